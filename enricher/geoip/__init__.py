"""GeoIP databases: opened safely, looked into, and remembered by network."""
