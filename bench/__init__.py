"""Benchmarks that print a table; never timed tests."""
