//! The configuration as the program uses it.

use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};

/// A part of the platform that a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Accepts pings over HTTP.
    Edge,
    /// Raw to validated and errors.
    Decode,
    /// Analysis plugins, graphs and alerts.
    Analysis,
    /// Output plugins and their deliveries.
    Output,
    /// The Delta lake's writer.
    Lake,
}

impl Role {
    /// All roles, in the order of the stream.
    pub const ALL: [Self; 5] = [Self::Edge, Self::Decode, Self::Analysis, Self::Output, Self::Lake];

    /// The role of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "edge" => Self::Edge,
            "decode" => Self::Decode,
            "analysis" => Self::Analysis,
            "output" => Self::Output,
            "lake" => Self::Lake,
            _ => return None,
        })
    }
}

/// Everything that can be set. Paths are absolute or relative to the working directory after loading.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Embedded log, state, cache and spool live here.
    pub data_dir: PathBuf,
    /// What this process runs.
    pub roles: Vec<Role>,
    /// The listener.
    pub http: Http,
    /// The bus.
    pub bus: Bus,
    /// Where pings wait for a bus that is away.
    pub spool: Spool,
    /// Where schemas are.
    pub schemas: Schemas,
    /// The GeoIP database.
    #[serde(default)]
    pub geoip: GeoIp,
    /// Copies of documents.
    pub dedupe: Dedupe,
    /// The lake.
    pub lake: Lake,
    /// How the program talks.
    pub log: Log,
    /// The plugins, in the order of the file.
    #[serde(default)]
    pub plugins: Vec<Plugin>,
}

/// The HTTP listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address and port; port 0 takes a free one.
    pub listen: String,
}

/// Which bus carries the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BusKind {
    /// A log in `data_dir`: nothing else is needed.
    Embedded,
    /// A Kafka cluster.
    Kafka,
}

/// What a stage does where records were removed before it read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLost {
    /// Its partition stands still.
    Stop,
    /// It goes on at the earliest record that is there.
    Continue,
}

/// The bus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bus {
    /// Embedded or Kafka.
    pub kind: BusKind,
    /// Partitions of topics that are created.
    pub partitions: u32,
    /// In front of every topic's name.
    pub topic_prefix: String,
    /// How long a step collects, in milliseconds.
    pub step_ms: u64,
    /// Compression of validated, derived and errors: `none`, `lz4` or `zstd:LEVEL`.
    pub compression: String,
    /// Where records were removed before a stage read them.
    pub on_lost: OnLost,
    /// Of the Kafka bus.
    pub kafka: Kafka,
    /// Of the embedded bus.
    pub embedded: Embedded,
}

/// The Kafka bus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// Any librdkafka key.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// The embedded bus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedded {
    /// Records are kept for at least so many seconds unless the log is over its size.
    pub retention_s: u64,
    /// The log's size, in bytes, states not counted, above which the oldest records go.
    pub retention_bytes: u64,
    /// A file of the log is full at so many bytes.
    pub segment_bytes: u64,
}

/// Where pings wait for a bus that is away.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spool {
    /// What it holds at most; 0: there is none.
    pub max_bytes: u64,
    /// How long the bus may take for a ping.
    pub publish_timeout_ms: u64,
    /// How fast it is emptied at most.
    pub drain_bytes_per_s: u64,
    /// What it leaves free on its disk.
    pub disk_reserve_bytes: u64,
}

/// Where schemas are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schemas {
    /// Folders in the layout `NAMESPACE/DOCTYPE/DOCTYPE.VERSION.schema.json`.
    pub paths: Vec<PathBuf>,
    /// For namespaces whose URI has no version: the members of the document that state it, the first found counts.
    #[serde(default)]
    pub version_members: BTreeMap<String, Vec<String>>,
}

/// GeoIP look-up.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeoIp {
    /// A MaxMind City database; without one there is no look-up.
    #[serde(default)]
    pub city: Option<PathBuf>,
}

/// How copies of documents are recognised.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dedupe {
    /// Whether they are.
    pub enabled: bool,
    /// A document is remembered for so many hours of its partition's time.
    pub window_h: u32,
    /// Documents, refused messages and copies remembered at most, in all partitions of `raw` together.
    pub ids_max: u64,
}

/// The lake.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lake {
    /// An object store URL; empty: `lake/` in `data_dir`.
    pub url: String,
    /// A table with rows is committed after so many seconds at the latest.
    pub commit_interval_s: f64,
    /// A table with so many bytes of rows is committed at once.
    pub commit_bytes: u64,
    /// So often small files are merged and logs get their checkpoints.
    pub upkeep_interval_s: f64,
    /// A date with more small files than this has them merged.
    pub small_files_max: usize,
    /// A table's log gets a checkpoint after so many commits.
    pub checkpoint_commits: u64,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Always text.
    Text,
    /// Always one JSON object a line.
    Json,
}

/// How the program talks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// A level or a `tracing` filter: `info`, `warn,tidemill_lake=debug`.
    pub filter: String,
    /// The lines' format.
    pub format: LogFormat,
}

/// A plugin to run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// Unique; names its state, graphs and metrics.
    pub name: String,
    /// The component's file.
    pub component: PathBuf,
    /// Narrows what the plugin itself subscribes to; empty: nothing narrowed.
    #[serde(default)]
    pub matcher: String,
    /// Handed to the plugin as JSON.
    #[serde(default = "empty_object")]
    pub config: serde_json::Value,
    /// The runtime's limits, by name.
    #[serde(default = "empty_object")]
    pub limits: serde_json::Value,
    /// What deliveries of an output plugin may reach.
    #[serde(default)]
    pub allow: Allow,
}

fn empty_object() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

/// What deliveries of an output plugin may reach; nothing unless named.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// `host` or `host:port` of HTTP targets.
    #[serde(default)]
    pub http: Vec<String>,
    /// Topics of bus targets.
    #[serde(default)]
    pub topics: Vec<String>,
    /// The folder of append and object targets.
    #[serde(default)]
    pub folder: Option<PathBuf>,
}
