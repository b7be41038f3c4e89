//! What can be set, and what it means for each librdkafka client.

use crate::{BusError, RECORD_BYTES_MAX};
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use std::{collections::BTreeMap, time::Duration};

/// Room in a record batch beside the largest record: Kafka's own framing.
const BATCH_OVERHEAD_BYTES: usize = 1 << 20;
/// The record batch that every topic must accept: `max.message.bytes`.
pub(super) const BATCH_BYTES_MAX: usize = RECORD_BYTES_MAX + BATCH_OVERHEAD_BYTES;
/// A transaction that is open longer is aborted by the broker, so that an abandoned one does not hold readers up for long.
pub(super) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Options that Tidemill's promises stand on.
const OURS: [&str; 15] = [
    "acks",
    "request.required.acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "compression.codec",
    "compression.type",
    "delivery.report.only.error",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "group.id",
    "group.protocol",
    "isolation.level",
    "partition.assignment.strategy",
    "transactional.id",
];

/// What a consumer is set to unless the options say otherwise.
const CONSUMER_DEFAULTS: [(&str, &str); 5] = [
    ("fetch.wait.max.ms", "100"),
    ("queued.max.messages.kbytes", "32768"),
    // The partitions of a host that died stand still for so long: the least that a broker accepts by default.
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "1000"),
    // A member that does not answer holds its group up for so long, as on the embedded bus. Longer than any step may take.
    ("max.poll.interval.ms", "60000"),
];

/// How to reach a Kafka cluster and how to behave there.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// Put before the names of topics, groups and transactional ids; empty for none.
    pub topic_prefix: String,
    /// Any librdkafka option, for every client; those that Tidemill's promises stand on are refused.
    pub options: BTreeMap<String, String>,
    /// This host's name in transactional ids: the same after a restart, so that what the host left unfinished is aborted at once
    /// and not after ten seconds; never the same on two hosts. `None`: a new one each time.
    pub host: Option<String>,
    /// Partitions of the topic `checkpoints`, where that is made. A host reads one of them whole to find a checkpoint.
    pub checkpoint_partitions: u32,
    /// Copies of the topics that are made; `None`: the cluster's default.
    pub replication: Option<u32>,
    /// A published record that is not acknowledged within this time has failed.
    pub publish_timeout: Duration,
    /// Published records that wait for their acknowledgement, in bytes; beyond it a publish is refused as full.
    pub publish_bytes_max: usize,
    /// How long any other call waits for the cluster.
    pub call_timeout: Duration,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            topic_prefix: String::new(),
            options: BTreeMap::new(),
            host: None,
            checkpoint_partitions: 8,
            replication: None,
            publish_timeout: Duration::from_secs(10),
            publish_bytes_max: 64 << 20,
            call_timeout: Duration::from_secs(10),
        }
    }
}

impl KafkaOptions {
    /// # Errors
    /// When an option is one of ours.
    pub(super) fn check(&self) -> Result<(), BusError> {
        match self.options.keys().find(|key| OURS.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(BusError::Unusable(format!("the Kafka option `{key}` is set by Tidemill: remove it from bus.kafka.options"))),
        }
    }

    /// A client that asks and administers.
    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        // Else rdkafka asks the `log` crate, which nobody listens to here.
        config.set_log_level(if self.options.contains_key("debug") { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
        config.set("client.id", "tidemill");
        config.set("reconnect.backoff.max.ms", "1000");
        config.set("topic.metadata.propagation.max.ms", "5000");
        // New partitions and lost topics are found within so long; librdkafka's own interval is five minutes.
        config.set("topic.metadata.refresh.interval.ms", "10000");
        for (key, value) in &self.options {
            config.set(key, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// A producer whose records are written once and in order.
    fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        for (key, value) in [("linger.ms", "5"), ("queue.buffering.max.messages", "10000000")] {
            config.set(key, self.options.get(key).map_or(value, String::as_str));
        }
        config.set("enable.idempotence", "true").set("acks", "all").set("message.max.bytes", BATCH_BYTES_MAX.to_string());
        config
    }

    /// The producer of what is published outside steps.
    pub(super) fn publisher(&self) -> ClientConfig {
        let mut config = self.producer();
        config.set("message.timeout.ms", self.publish_timeout.as_millis().to_string());
        // Our own bound is the narrower one: librdkafka's would let half of a publish in.
        config.set("queue.buffering.max.kbytes", (self.publish_bytes_max / 512).max(4 * BATCH_BYTES_MAX / 1024).to_string());
        config
    }

    /// The producer of a member's steps.
    pub(super) fn transactional(&self, id: &str) -> ClientConfig {
        let mut config = self.producer();
        config.set("transactional.id", id).set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string());
        // Successes are known by the commit; a report each would have to be polled for, which costs a step 100 ms in rdkafka.
        config.set("delivery.report.only.error", "true");
        config.set("queue.buffering.max.kbytes", (1 << 20).to_string());
        config
    }

    /// A consumer of committed records that stores no positions by itself.
    pub(super) fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.client();
        for (key, value) in CONSUMER_DEFAULTS {
            config.set(key, self.options.get(key).map_or(value, String::as_str));
        }
        config.set("group.id", format!("{}{group}", self.topic_prefix));
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false").set("auto.offset.reset", "error");
        config.set("isolation.level", "read_committed").set("partition.assignment.strategy", "range");
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_ours_are_refused_by_name() {
        let with = |key: &str| KafkaOptions { options: BTreeMap::from([(key.to_owned(), "1".to_owned())]), ..KafkaOptions::default() };
        let refused = with("isolation.level").check().unwrap_err();
        assert_eq!(refused.to_string(), "the Kafka option `isolation.level` is set by Tidemill: remove it from bus.kafka.options");
        assert!(with("linger.ms").check().is_ok());
    }

    #[test]
    fn options_reach_the_clients_and_ours_win() {
        let options = BTreeMap::from([("linger.ms".to_owned(), "20".to_owned())]);
        let options = KafkaOptions { options, topic_prefix: "t-".to_owned(), ..KafkaOptions::default() };
        assert_eq!(options.publisher().get("linger.ms"), Some("20"));
        assert_eq!(options.transactional("t-work/h/0").get("acks"), Some("all"));
        assert_eq!(options.consumer("work").get("group.id"), Some("t-work"));
    }
}
