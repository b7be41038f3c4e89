//! The command line.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A streaming platform whose decoders, analyses and outputs are WebAssembly plugins.
#[derive(Debug, Parser)]
#[command(
    name = "tidemill",
    version,
    after_help = "Exit codes: 0 done; 1 the answer is no; 2 wrong use or configuration; 3 the surroundings."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the platform, or some roles of it.
    #[command(
        after_help = "Examples:\n  tidemill serve\n  tidemill serve --config tidemill.toml --data /var/lib/tidemill\n  tidemill serve --role edge,decode"
    )]
    Serve(Serve),
    /// Post recorded pings as a real client would: gzip, new document ids, retries.
    #[command(
        after_help = "Examples:\n  tidemill send pings/ --rate 50 --repeat 10\n  tidemill send telemetry/main.4.sample.pass.json --to http://edge.example:8000"
    )]
    Send(Send),
    /// Follow a topic through a running host.
    #[command(
        after_help = "Examples:\n  tidemill tap validated --matcher \"Fields[docType] == 'main'\" --json\n  tidemill tap errors --from beginning --idle 2"
    )]
    Tap(Tap),
    /// Work with schemas.
    #[command(subcommand)]
    Schema(Schema),
    /// Write, build, try and list plugins.
    #[command(subcommand)]
    Plugin(Plugin),
    /// Explain the configuration.
    #[command(subcommand)]
    Config(Config),
    /// Run the platform with a live sample stream and show what happens.
    #[command(hide = true)]
    Demo(Demo),
}

#[derive(Debug, Args)]
pub struct Serve {
    /// The configuration file; without one the defaults hold.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Overrides data_dir.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Overrides roles: edge, decode, analysis, output, lake.
    #[arg(long, value_delimiter = ',')]
    pub role: Vec<String>,
}

/// How to reach a running host.
#[derive(Debug, Args)]
pub struct Host {
    /// The running host.
    #[arg(long, env = "TIDEMILL_URL", default_value = "http://127.0.0.1:8000")]
    pub url: url::Url,
}

#[derive(Debug, Args)]
pub struct Send {
    /// Recorded pings, named NAMESPACE/DOCTYPE.VERSION.NAME.(pass|fail).json, or folders of them.
    #[arg(required = true, value_name = "FILE_OR_DIR")]
    pub paths: Vec<PathBuf>,
    /// The edge to post to.
    #[arg(long, env = "TIDEMILL_URL", default_value = "http://127.0.0.1:8000")]
    pub to: url::Url,
    /// Pings a second; as fast as answers come unless given.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Stop after so many pings.
    #[arg(long)]
    pub count: Option<u64>,
    /// Send everything so many times.
    #[arg(long, default_value_t = 1)]
    pub repeat: u64,
    /// Print the summary as one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Tap {
    /// raw, validated, errors, derived or alerts.
    pub topic: String,
    /// beginning, end, or a time (RFC 3339).
    #[arg(long, default_value = "end")]
    pub from: String,
    /// Only messages that this message matcher selects.
    #[arg(long)]
    pub matcher: Option<String>,
    /// Stop after so many messages.
    #[arg(long)]
    pub limit: Option<u64>,
    /// Stop when nothing came for so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub idle: Option<f64>,
    /// One JSON object a message.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub host: Host,
}

#[derive(Debug, Subcommand)]
pub enum Schema {
    /// Validate recorded pings against the schema their name states.
    #[command(after_help = "Example:\n  tidemill schema check validation/ --schemas schemas/")]
    Check {
        /// Recorded pings, or folders of them.
        #[arg(required = true, value_name = "FILE_OR_DIR")]
        paths: Vec<PathBuf>,
        /// Folders of schemas; the configuration's default, `schemas`, unless given.
        #[arg(long, value_name = "PATH")]
        schemas: Vec<PathBuf>,
        /// One JSON object a ping.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// Write a plugin project that builds at once.
    #[command(after_help = "Example:\n  tidemill plugin new my-monitor --kind analysis")]
    New {
        /// The plugin's name; also the folder's.
        name: String,
        /// decoder, analysis or output.
        #[arg(long, default_value = "analysis")]
        kind: String,
        /// The language.
        #[arg(long, default_value = "rust")]
        lang: String,
    },
    /// Build a plugin project into a component.
    #[command(after_help = "Example:\n  tidemill plugin build my-monitor")]
    Build {
        /// The project.
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// The component; DIR/NAME.wasm unless given.
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Build every plugin project of a folder.
    #[command(hide = true)]
    BuildAll {
        /// The folder.
        dir: PathBuf,
    },
    /// Feed recorded pings to a plugin; print what it did and its fuel.
    #[command(after_help = "Example:\n  tidemill plugin run my-monitor.wasm --fixtures fixtures/ --config '{\"channel\": \"nightly\"}'")]
    Run {
        /// The component.
        file: PathBuf,
        /// Recorded pings.
        #[arg(long, required = true, value_name = "PATH")]
        fixtures: Vec<PathBuf>,
        /// Folders of schemas.
        #[arg(long, value_name = "PATH", default_value = "schemas")]
        schemas: Vec<PathBuf>,
        /// The plugin's configuration, a JSON object.
        #[arg(long, default_value = "{}")]
        config: String,
        /// One JSON object for everything.
        #[arg(long)]
        json: bool,
    },
    /// List the plugins of a running host.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        host: Host,
    },
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Explain what is wrong with a configuration.
    Check {
        /// The file.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Print the effective configuration with each value's origin.
    Show {
        /// The file.
        #[arg(long)]
        config: Option<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the configuration's JSON Schema.
    Schema,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// The project's folder.
    #[arg(long, default_value = ".")]
    pub project: PathBuf,
    /// End by itself after so many seconds, 0: never; with 0 when what it shows was really seen.
    #[arg(long, env = "DEMO_SECONDS", default_value_t = 0)]
    pub seconds: u64,
}
