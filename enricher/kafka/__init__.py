"""What source, sink and dead letters share of Kafka: the cluster, consumer, producer, offsets."""
