"""Run history through the rules of a pipeline, in event time, and see what they would have done."""
