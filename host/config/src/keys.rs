//! Every key of the configuration, once.

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A file or folder; relative ones are relative to the configuration file.
    Path,
    /// A list of files or folders, with commas in the environment.
    Paths,
    /// A list of texts, with commas in the environment.
    Texts,
    /// `true` or `false`.
    Bool,
    /// A whole number of at least this.
    Integer(u64),
    /// A number above zero.
    Number,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A table of texts.
    Table,
    /// A table of lists of texts.
    TableOfTexts,
    /// A table of anything.
    Any,
}

/// A key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted, as in the file.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its default as TOML; `None`: absent.
    pub default: Option<&'static str>,
    /// One sentence, with units.
    pub doc: &'static str,
}

const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default: Some(default), doc }
}

const fn optional(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { path, kind, default: None, doc }
}

/// The keys outside `[[plugins]]`.
pub const KEYS: &[Key] = &[
    key("data_dir", Kind::Path, "\"tidemill-data\"", "Embedded log, state, component cache and spool live in this folder."),
    key(
        "roles",
        Kind::Texts,
        "[\"edge\", \"decode\", \"analysis\", \"output\", \"lake\"]",
        "What this process runs: edge, decode, analysis, output, lake.",
    ),
    key("http.listen", Kind::Text, "\"127.0.0.1:8000\"", "Address and port of the listener; port 0 takes a free one."),
    key("bus.kind", Kind::OneOf(&["embedded", "kafka"]), "\"embedded\"", "The log in data_dir, or a Kafka cluster."),
    key("bus.partitions", Kind::Integer(1), "4", "Partitions of topics that are created; an existing topic keeps its own number."),
    key("bus.topic_prefix", Kind::Text, "\"\"", "In front of every topic's name."),
    key(
        "bus.step_ms",
        Kind::Integer(1),
        "100",
        "How long a step (outputs, state and positions, all or nothing) collects, in milliseconds.",
    ),
    key("bus.compression", Kind::Text, "\"zstd:1\"", "Of validated, derived and errors: none, lz4 or zstd:LEVEL."),
    key(
        "bus.on_lost",
        Kind::OneOf(&["stop", "continue"]),
        "\"stop\"",
        "Where records were removed before a stage read them: stop its partition, or continue at the earliest that is there; both are counted and alerted.",
    ),
    key("bus.kafka.brokers", Kind::Text, "\"127.0.0.1:9092\"", "host:port of the brokers, with commas."),
    key("bus.kafka.options", Kind::Table, "{}", "Any librdkafka key, as text."),
    key("bus.embedded.retention_s", Kind::Integer(1), "604800", "Records of the embedded log are kept for so many seconds (7 days)."),
    key(
        "bus.embedded.retention_bytes",
        Kind::Integer(16_777_216),
        "17179869184",
        "Above so many bytes, states not counted, the embedded log's oldest records go, whoever has not read them (16 GiB).",
    ),
    key(
        "bus.embedded.segment_bytes",
        Kind::Integer(1_048_576),
        "134217728",
        "A file of the embedded log is full at so many bytes, and goes as a whole (128 MiB; at most 1 GiB).",
    ),
    key(
        "spool.max_bytes",
        Kind::Integer(0),
        "17179869184",
        "With the Kafka bus, pings that it does not take are kept in data_dir/spool, up to so many bytes (16 GiB); 0: none are.",
    ),
    key(
        "spool.publish_timeout_ms",
        Kind::Integer(1),
        "1000",
        "A ping that Kafka has not confirmed after so long goes to the spool, and those after it at once, until Kafka confirms again.",
    ),
    key(
        "spool.drain_bytes_per_s",
        Kind::Integer(1),
        "67108864",
        "The spool is emptied at so many bytes a second at most, so that Kafka has room for new pings (64 MiB).",
    ),
    key(
        "spool.disk_reserve_bytes",
        Kind::Integer(0),
        "268435456",
        "With less free on its disk the spool takes nothing and pings are answered 507 (256 MiB).",
    ),
    key("schemas.paths", Kind::Paths, "[\"schemas\"]", "Folders of schemas: NAMESPACE/DOCTYPE/DOCTYPE.VERSION.schema.json."),
    key(
        "schemas.version_members",
        Kind::TableOfTexts,
        "{ telemetry = [\"version\", \"v\"] }",
        "By namespace whose URI has no version: the document's members that state it, the first found counts.",
    ),
    optional("geoip.city", Kind::Path, "A MaxMind City database; without one there is no look-up and the address is dropped all the same."),
    key("dedupe.enabled", Kind::Bool, "true", "Whether the decode stage recognises copies of documents."),
    key("dedupe.window_h", Kind::Integer(1), "24", "For how long a document is remembered, in hours of its partition's time."),
    key(
        "dedupe.ids_max",
        Kind::Integer(1),
        "32000000",
        "Documents, refused messages and copies remembered at most in all partitions of raw, 8.7 bytes each; beyond it the oldest go early.",
    ),
    key("lake.url", Kind::Text, "\"\"", "Where the tables are: any object store URL; empty: lake/ in data_dir."),
    key("lake.commit_interval_s", Kind::Number, "60", "A table with rows is committed after so many seconds at the latest."),
    key("lake.commit_bytes", Kind::Integer(1), "134217728", "A table with so many bytes of rows is committed at once (128 MiB)."),
    key(
        "lake.upkeep_interval_s",
        Kind::Number,
        "30",
        "So often small files are merged and the tables' logs get their checkpoints, in seconds.",
    ),
    key("lake.small_files_max", Kind::Integer(2), "16", "A date with more small files than this has them merged."),
    key("lake.checkpoint_commits", Kind::Integer(1), "100", "A table's log gets a checkpoint after so many commits."),
    key(
        "log.filter",
        Kind::Text,
        "\"info,buoyant_kernel=warn,buoyant_kernel_engine=warn,deltalake_core=warn,deltalake_core::kernel::transaction=error\"",
        "A level, or levels by module: warn,tidemill_lake=debug.",
    ),
    key("log.format", Kind::OneOf(&["auto", "text", "json"]), "\"auto\"", "auto: text on a terminal, JSON otherwise."),
];

/// The keys of each `[[plugins]]`.
pub const PLUGIN_KEYS: &[Key] = &[
    optional("name", Kind::Text, "Unique; names its state, graphs and metrics."),
    optional("component", Kind::Path, "The component's file; the interface it exports says what kind it is."),
    key("matcher", Kind::Text, "\"\"", "Narrows what the plugin itself subscribes to."),
    key("config", Kind::Any, "{}", "Handed to the plugin as JSON."),
    key("limits", Kind::Any, "{}", "The runtime's limits, by name."),
    key(
        "allow",
        Kind::Any,
        "{}",
        "What deliveries may reach: http = [\"host:port\"], topics = [..], folder = \"..\"; nothing unless named.",
    ),
];
