//! The Kafka bus on a real broker: what every bus promises, and what only a broker can do to it. All of it is in the module
//! `on_kafka`, by whose name `make test` runs it beside other tests: it mostly waits.

mod conformance;
#[path = "kafka/mod.rs"]
mod on_kafka;
