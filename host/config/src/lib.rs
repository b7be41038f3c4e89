//! The configuration: one TOML file, `TIDEMILL_SECTION__KEY` overrides it, a flag overrides that.
//!
//! Every key stands once in [`KEYS`], with its default, kind and a sentence; the file's check, the environment's names, `config show`
//! and the JSON Schema are made from that table, and a test holds it against [`Config`].

mod keys;
mod load;
mod model;
mod schema;
mod suggest;

pub use keys::{KEYS, Key, Kind, PLUGIN_KEYS};
pub use load::{ConfigError, Loaded, Origin, load};
pub use model::{
    Allow, Bus, BusKind, Config, Dedupe, Embedded, GeoIp, Http, Kafka, Lake, Log, LogFormat, OnLost, Plugin, Role, Schemas, Spool,
};
pub use schema::json_schema;
