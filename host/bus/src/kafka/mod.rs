//! The Kafka bus.
