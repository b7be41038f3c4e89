//! `tidemill config`: what is configured, and why.

use crate::{
    cli,
    exit::{DONE, Outcome, wrong_use},
    serve::{logging, plugins},
};
use std::path::Path;
use tidemill_config::{KEYS, Loaded, Origin};

pub fn run(command: cli::Config) -> Outcome {
    match command {
        cli::Config::Check { config } => {
            let loaded = load(config.as_deref(), &[])?;
            let wrong: Vec<_> = missing_files(&loaded).into_iter().chain(wrong_settings(&loaded)).collect();
            if !wrong.is_empty() {
                return Err(wrong_use(wrong.join("\n")));
            }
            println!("the configuration is good: {} values, {} plugins", loaded.origins.len(), loaded.config.plugins.len());
        }
        cli::Config::Show { config, json } => show(&load(config.as_deref(), &[])?, json),
        cli::Config::Schema => println!("{:#}", tidemill_config::json_schema()),
    }
    Ok(DONE)
}

/// Loads the file, the environment and flags.
pub fn load(file: Option<&Path>, flags: &[(&str, toml::Value)]) -> Result<Loaded, crate::exit::Failure> {
    let environment: Vec<(String, String)> = std::env::vars().filter(|(name, _)| name.starts_with("TIDEMILL_")).collect();
    tidemill_config::load(file, &environment, flags).map_err(wrong_use)
}

/// Files that the configuration names and that are not there.
fn missing_files(loaded: &Loaded) -> Vec<String> {
    let config = &loaded.config;
    let plugins = config.plugins.iter().map(|plugin| (format!("plugin {}: component", plugin.name), &plugin.component));
    let city = config.geoip.city.iter().map(|path| ("geoip.city".to_owned(), path));
    let schemas = config.schemas.paths.iter().map(|path| ("schemas.paths".to_owned(), path));
    plugins
        .chain(city)
        .chain(schemas)
        .filter(|(_, path)| !path.exists())
        .map(|(what, path)| format!("{what}: {} is not there", path.display()))
        .collect()
}

/// What only a start would find out: a filter of the log, limits and matchers of plugins.
fn wrong_settings(loaded: &Loaded) -> impl Iterator<Item = String> {
    let filter = logging::filter(&loaded.config.log).err().map(|failure| failure.text);
    let of_plugin = |plugin: &tidemill_config::Plugin| {
        let failure = plugins::settings(plugin).err()?;
        Some(format!("plugin {}: {}", plugin.name, failure.text))
    };
    filter.into_iter().chain(loaded.config.plugins.iter().filter_map(of_plugin))
}

fn show(loaded: &Loaded, json: bool) {
    if json {
        let origins: serde_json::Map<_, _> = loaded.origins.iter().map(|(key, origin)| (key.clone(), describe(origin).into())).collect();
        println!("{:#}", serde_json::json!({"values": loaded.values, "origins": origins}));
        return;
    }
    for key in KEYS {
        let value = value_at(&loaded.values, key.path).map_or_else(|| "(absent)".to_owned(), ToString::to_string);
        println!("{} = {value}  # {}", key.path, loaded.origins.get(key.path).map_or("absent".into(), describe));
    }
    for plugin in &loaded.config.plugins {
        println!("[[plugins]] {} = {:?}  # file", plugin.name, plugin.component);
    }
}

fn value_at<'a>(values: &'a toml::Table, path: &str) -> Option<&'a toml::Value> {
    let mut parts = path.split('.');
    let first = values.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

fn describe(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".into(),
        Origin::File => "file".into(),
        Origin::Environment(name) => format!("environment {name}"),
        Origin::Flag => "flag".into(),
    }
}
