"""Break everything around the pipeline, and check that nothing is lost and nothing is there twice."""
