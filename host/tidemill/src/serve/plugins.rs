//! Loads the configured components.

use crate::exit::{Failure, surroundings, wrong_use};
use std::sync::Arc;
use tidemill_config::{Config, Plugin as Configured};
use tidemill_message::Matcher;
use tidemill_pipeline::{
    analysis::Deployed,
    plugins::Configured as Component,
    status::{LiveState, PluginStatus},
};
use tidemill_runtime::{Kind, Limits, Plugin, Runtime, RuntimeOptions};

/// The largest component file that is read.
const COMPONENT_BYTES_MAX: u64 = 256 << 20;

/// A plugin that is ready to be opened.
#[derive(Clone)]
pub struct Ready {
    pub name: String,
    pub plugin: Plugin,
    pub config: String,
    pub limits: Limits,
    pub matcher: Option<Matcher>,
    pub matcher_text: String,
    pub allow: tidemill_config::Allow,
    pub status: Arc<PluginStatus>,
}

impl Ready {
    /// The plugin for the analysis and output stages.
    pub fn deployed(&self) -> Deployed {
        let component = Component { plugin: self.plugin.clone(), config: self.config.clone(), limits: self.limits.clone() };
        Deployed { component: Arc::new(component), matcher: self.matcher_text.clone() }
    }
}

/// All configured plugins by kind, in the order of the file.
#[derive(Default)]
pub struct Loaded {
    pub decoders: Vec<Ready>,
    pub analyses: Vec<Ready>,
    pub outputs: Vec<Ready>,
}

/// Loads every component; compiled ones come from the cache in `data_dir`.
///
/// # Errors
/// The plugin and what is wrong with it.
pub fn load(config: &Config, live: &LiveState) -> Result<Loaded, Failure> {
    let mut loaded = Loaded::default();
    if config.plugins.is_empty() {
        return Ok(loaded);
    }
    let runtime = Runtime::new(RuntimeOptions { cache_dir: Some(config.data_dir.join("components")) }).map_err(surroundings)?;
    for configured in &config.plugins {
        let started = std::time::Instant::now();
        let ready = load_one(&runtime, configured, live)
            .map_err(|failure| Failure { text: format!("plugin {}: {}", configured.name, failure.text), ..failure })?;
        tracing::info!(plugin = ready.name, version = ready.plugin.version(), kind = %ready.plugin.kind(), ms = started.elapsed().as_millis() as u64, "loaded");
        match ready.plugin.kind() {
            Kind::Decoder => loaded.decoders.push(ready),
            Kind::Analysis => loaded.analyses.push(ready),
            Kind::Output => loaded.outputs.push(ready),
        }
    }
    Ok(loaded)
}

fn load_one(runtime: &Runtime, configured: &Configured, live: &LiveState) -> Result<Ready, Failure> {
    let bytes = read(&configured.component)?;
    let plugin = runtime.load(&configured.name, &bytes).map_err(wrong_use)?;
    let (limits, matcher) = settings(configured)?;
    let status = live.plugin(&configured.name, &plugin.kind().to_string(), plugin.version());
    Ok(Ready {
        name: configured.name.clone(),
        plugin,
        config: configured.config.to_string(),
        limits,
        matcher,
        matcher_text: configured.matcher.clone(),
        allow: configured.allow.clone(),
        status,
    })
}

/// What the configuration says of a plugin, beside its component.
///
/// # Errors
/// What of it is wrong.
pub fn settings(configured: &Configured) -> Result<(Limits, Option<Matcher>), Failure> {
    let limits = serde_json::from_value(configured.limits.clone()).map_err(|error| wrong_use(format!("limits: {error}")))?;
    let matcher = match configured.matcher.as_str() {
        "" => None,
        text => Some(Matcher::parse(text).map_err(|error| wrong_use(format!("matcher: {error}")))?),
    };
    Ok((limits, matcher))
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    let fail = |error: std::io::Error| wrong_use(format!("component {}: {error}", path.display()));
    let length = std::fs::metadata(path).map_err(fail)?.len();
    if length > COMPONENT_BYTES_MAX {
        return Err(wrong_use(format!("component {}: {length} bytes, at most {COMPONENT_BYTES_MAX} are loaded", path.display())));
    }
    std::fs::read(path).map_err(fail)
}
