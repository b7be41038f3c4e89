//! Opens the configured bus and makes its topics.

use super::plugins::Loaded;
use crate::exit::{Failure, surroundings, wrong_use};
use std::{path::Path, sync::Arc, time::Duration};
use tidemill_bus::{
    Bus, Compression, TopicSpec,
    embedded::{DeclaredGroup, EmbeddedBus, EmbeddedOptions},
    kafka::{KafkaBus, KafkaOptions},
};
use tidemill_config::{BusKind, Config};

/// The topics that every installation has, besides the outboxes of output plugins.
const TOPICS: [&str; 6] = ["raw", "validated", "errors", "derived", "graphs", "alerts"];

/// Opens the bus. A Kafka cluster need not be there yet.
///
/// # Errors
/// When the bus cannot be opened.
pub fn open(config: &Config, plugins: &Loaded) -> Result<Arc<dyn Bus>, Failure> {
    Ok(match config.bus.kind {
        BusKind::Embedded => Arc::new(EmbeddedBus::open(embedded(config, plugins)).map_err(surroundings)?),
        BusKind::Kafka => Arc::new(KafkaBus::connect(kafka(config)?).map_err(surroundings)?),
    })
}

/// The topics of this installation.
///
/// # Errors
/// When the configured compression is none.
pub fn topics(config: &Config, plugins: &Loaded) -> Result<Vec<TopicSpec>, Failure> {
    let compression = compression(&config.bus.compression)?;
    let outboxes = plugins.outputs.iter().map(|plugin| format!("outbox-{}", plugin.name));
    let names = TOPICS.iter().map(|name| (*name).to_owned()).chain(outboxes);
    Ok(names.map(|name| spec(&name, config.bus.partitions, compression)).collect())
}

fn spec(name: &str, partitions: u32, compression: Compression) -> TopicSpec {
    // Bodies in raw are gzip already.
    let compression = if name == "raw" { Compression::None } else { compression };
    TopicSpec { name: name.into(), partitions, compacted: false, compression }
}

fn embedded(config: &Config, plugins: &Loaded) -> EmbeddedOptions {
    let group = |group: &str, topics: &[&str]| DeclaredGroup {
        group: group.into(),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
    };
    let mut declared_groups = vec![group("decode", &["raw"])];
    let roles = &config.roles;
    if roles.contains(&tidemill_config::Role::Analysis) {
        declared_groups.extend([group("analysis", &["validated", "errors"]), group("graphs", &["graphs"])]);
    }
    if roles.contains(&tidemill_config::Role::Output) && !plugins.outputs.is_empty() {
        declared_groups.push(group("output", &["validated", "errors", "derived", "alerts"]));
        declared_groups
            .extend(plugins.outputs.iter().map(|plugin| group(&format!("deliver-{}", plugin.name), &[&format!("outbox-{}", plugin.name)])));
    }
    if roles.contains(&tidemill_config::Role::Lake) {
        declared_groups.push(group("lake", &["validated", "errors"]));
    }
    EmbeddedOptions {
        retention_age: Duration::from_secs(config.bus.embedded.retention_s),
        retention_bytes: config.bus.embedded.retention_bytes,
        segment_bytes: config.bus.embedded.segment_bytes,
        pinned_bytes_max: config.bus.embedded.retention_bytes.saturating_mul(4),
        declared_groups,
        ..EmbeddedOptions::new(config.data_dir.join("log"))
    }
}

fn kafka(config: &Config) -> Result<KafkaOptions, Failure> {
    Ok(KafkaOptions {
        brokers: config.bus.kafka.brokers.clone(),
        topic_prefix: config.bus.topic_prefix.clone(),
        options: config.bus.kafka.options.clone(),
        host: Some(host_id(&config.data_dir)?),
        ..KafkaOptions::default()
    })
}

/// This host's name, kept in the data folder: a host that died is known again when it comes back, and what it left open ends at once.
fn host_id(data_dir: &Path) -> Result<String, Failure> {
    let path = data_dir.join("host-id");
    let fail = |error: std::io::Error| surroundings(format!("{}: {error}", path.display()));
    match std::fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        _ => {
            let id = uuid::Uuid::new_v4().to_string();
            std::fs::create_dir_all(data_dir).map_err(fail)?;
            std::fs::write(&path, &id).map_err(fail)?;
            Ok(id)
        }
    }
}

/// Reads `none`, `lz4` or `zstd:LEVEL`.
fn compression(text: &str) -> Result<Compression, Failure> {
    let level = |text: &str| text.strip_prefix("zstd:").and_then(|level| level.parse().ok()).filter(|level| (1..=19).contains(level));
    match text {
        "none" => Ok(Compression::None),
        "lz4" => Ok(Compression::Lz4),
        text => level(text)
            .map(Compression::Zstd)
            .ok_or_else(|| wrong_use(format!("bus.compression {text:?}: none, lz4 or zstd:LEVEL with a level of 1 to 19"))),
    }
}
