"""Enrich logs from Kafka into Elasticsearch: nothing lost, nothing twice."""

__version__ = "0.1.0"
