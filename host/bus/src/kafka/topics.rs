//! Creating topics and checking those that are there.

use super::{
    cluster::{CHECKPOINTS, Cluster},
    errors::{meaning, of_code, unavailable},
    options::BATCH_BYTES_MAX,
};
use crate::{BusError, Compression, TopicSpec};
use rdkafka::{
    admin::{AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication},
    error::RDKafkaErrorCode as Code,
};
use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// How often a new topic is looked for until every broker knows it.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Makes the topics and the one of checkpoints where they are missing, and checks the others.
///
/// # Errors
/// When no broker answers, or a topic's configuration would break a promise.
pub(super) fn ensure(cluster: &Cluster, topics: &[TopicSpec]) -> Result<(), BusError> {
    let mut wanted: Vec<TopicSpec> = topics.to_vec();
    if !wanted.iter().any(|topic| &*topic.name == CHECKPOINTS) {
        wanted.push(checkpoints(cluster));
    }
    let names: Vec<String> = wanted.iter().map(|topic| cluster.full(&topic.name)).collect();
    for (topic, name) in wanted.iter().zip(&names) {
        cluster.set_compression(name, topic.compression);
    }
    let existing = create(cluster, &wanted, &names)?;
    for index in existing {
        check(cluster, &wanted[index], &names[index])?;
    }
    names.iter().try_for_each(|name| wait_for(cluster, name))
}

/// The topic of checkpoints as it is made where it is missing.
pub(super) fn checkpoints(cluster: &Cluster) -> TopicSpec {
    let (name, partitions) = (Arc::from(CHECKPOINTS), cluster.options.checkpoint_partitions.max(1));
    TopicSpec { name, partitions, compacted: true, compression: Compression::Zstd(1) }
}

/// Returns which of them were there already.
fn create(cluster: &Cluster, topics: &[TopicSpec], names: &[String]) -> Result<Vec<usize>, BusError> {
    let (batch_bytes, latest) = (BATCH_BYTES_MAX.to_string(), i64::MAX.to_string());
    let replication = cluster.options.replication.map_or(-1, |copies| copies as i32);
    let new = topics.iter().zip(names).map(|(topic, name)| {
        let new = NewTopic::new(name, topic.partitions.max(1) as i32, TopicReplication::Fixed(replication));
        let new = new.set("cleanup.policy", if topic.compacted { "compact" } else { "delete" }).set("compression.type", "producer");
        let new = new.set("max.message.bytes", &batch_bytes).set("message.timestamp.type", "CreateTime");
        // A producer's clock may be wrong by days; by default Kafka 4 refuses what is an hour ahead.
        new.set("message.timestamp.after.max.ms", &latest)
    });
    let new: Vec<_> = new.collect();
    let options = AdminOptions::new().request_timeout(Some(cluster.timeout())).operation_timeout(Some(cluster.timeout()));
    let results = wait(cluster.admin.create_topics(&new, &options)).map_err(|error| meaning("the topics", &error))?;
    let mut existing = Vec::new();
    for result in results {
        match result {
            Ok(_) => {}
            Err((name, Code::TopicAlreadyExists)) => existing.extend(names.iter().position(|known| *known == name)),
            Err((name, code)) => return Err(of_code(&format!("creating topic {name}"), code, code)),
        }
    }
    Ok(existing)
}

/// A topic that was made a moment ago may have no configuration yet, as its broker tells: it is asked again.
fn check(cluster: &Cluster, topic: &TopicSpec, name: &str) -> Result<(), BusError> {
    let started = Instant::now();
    loop {
        match configuration(cluster, name)? {
            Some(config) => return check_config(&config, topic, name),
            None if started.elapsed() < cluster.timeout() => thread::sleep(LOOK_INTERVAL),
            None => return Err(unavailable(&format!("the configuration of topic {name}"), "the broker does not tell it")),
        }
    }
}

fn configuration(cluster: &Cluster, name: &str) -> Result<Option<ConfigResource>, BusError> {
    let options = AdminOptions::new().request_timeout(Some(cluster.timeout()));
    let asked = [ResourceSpecifier::Topic(name)];
    let found = wait(cluster.admin.describe_configs(&asked, &options)).map_err(|error| meaning(name, &error))?;
    match found.into_iter().next() {
        Some(Ok(config)) => Ok((!config.entries.is_empty()).then_some(config)),
        Some(Err(Code::UnknownTopicOrPartition)) | None => Ok(None),
        Some(Err(code)) => Err(of_code(&format!("the configuration of topic {name}"), code, code)),
    }
}

fn check_config(config: &ConfigResource, topic: &TopicSpec, name: &str) -> Result<(), BusError> {
    let value = |key: &str| config.get(key).and_then(|entry| entry.value.as_deref()).unwrap_or_default();
    let batch_bytes = value("max.message.bytes").parse::<usize>().unwrap_or(0);
    let policy = value("cleanup.policy");
    let wrong = if batch_bytes < BATCH_BYTES_MAX {
        format!("accepts record batches of {batch_bytes} bytes, Tidemill needs {BATCH_BYTES_MAX}: set max.message.bytes={BATCH_BYTES_MAX}")
    } else if value("message.timestamp.type") == "LogAppendTime" {
        "replaces timestamps: set message.timestamp.type=CreateTime".to_owned()
    } else if policy.contains("compact") != topic.compacted {
        let right = if topic.compacted { "compact" } else { "delete" };
        format!("has cleanup.policy={policy}, Tidemill needs {right}: set cleanup.policy={right}")
    } else {
        return Ok(());
    };
    Err(BusError::Unusable(format!("topic {name} {wrong}")))
}

/// A topic is made before all brokers know it.
fn wait_for(cluster: &Cluster, name: &str) -> Result<(), BusError> {
    let started = Instant::now();
    loop {
        match cluster.partitions(name) {
            Err(BusError::NotFound(_)) if started.elapsed() < cluster.timeout() => thread::sleep(LOOK_INTERVAL),
            result => return result.map(|_| ()),
        }
    }
}

/// Wakes a thread that waits for an admin call.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs an admin call to its end, which its own time limit sets.
fn wait<F: Future>(call: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut call = pin!(call);
    loop {
        match call.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
