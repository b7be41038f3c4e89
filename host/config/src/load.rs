//! File, environment and flags become one configuration; every mistake is reported with its place.

use crate::{Config, KEYS, Key, Kind, PLUGIN_KEYS, Role, suggest::nearest};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The file.
    File,
    /// This environment variable.
    Environment(String),
    /// A flag of the command.
    Flag,
}

/// All mistakes of a configuration, a line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// A configuration and where its values come from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The effective values as TOML, paths resolved.
    pub values: Table,
    /// By dotted key.
    pub origins: BTreeMap<String, Origin>,
}

/// Loads a file (or only defaults), then `TIDEMILL_SECTION__KEY` of `environment`, then `flags` by dotted key.
///
/// # Errors
/// All mistakes at once, each with its place and what to do.
pub fn load(file: Option<&Path>, environment: &[(String, String)], flags: &[(&str, Value)]) -> Result<Loaded, ConfigError> {
    let mut loading = Loading { values: Table::new(), origins: BTreeMap::new(), errors: vec![] };
    let base = loading.read_file(file);
    loading.read_environment(environment);
    for (path, value) in flags {
        loading.set(path, value.clone(), Origin::Flag);
    }
    loading.fill_defaults();
    loading.check_values();
    loading.resolve_paths(&base);
    loading.finish()
}

struct Loading {
    values: Table,
    origins: BTreeMap<String, Origin>,
    errors: Vec<String>,
}

impl Loading {
    /// Reads the file; the folder that relative paths are relative to.
    fn read_file(&mut self, file: Option<&Path>) -> PathBuf {
        let Some(path) = file else { return PathBuf::new() };
        match std::fs::read_to_string(path).map_err(|error| error.to_string()).and_then(|text| parse(&text)) {
            Ok(table) => self.take_table("", table, &path.display().to_string()),
            Err(error) => self.errors.push(format!("{}: {error}", path.display())),
        }
        path.parent().map(Path::to_owned).unwrap_or_default()
    }

    fn take_table(&mut self, prefix: &str, table: Table, file: &str) {
        for (name, value) in table {
            let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match value {
                Value::Array(plugins) if path == "plugins" => self.take_plugins(plugins, file),
                value if KEYS.iter().any(|key| key.path == path) => self.set(&path, value, Origin::File),
                Value::Table(section) if is_section(&path) => self.take_table(&path, section, file),
                _ if is_section(&path) || path == "plugins" => self.errors.push(format!("{file}: {path} is a section, not a value")),
                _ => self.errors.push(unknown(file, &path, KEYS.iter().map(|key| key.path))),
            }
        }
    }

    fn take_plugins(&mut self, plugins: Vec<Value>, file: &str) {
        for (index, plugin) in plugins.iter().enumerate() {
            let Value::Table(table) = plugin else {
                self.errors.push(format!("{file}: plugins[{index}] is not a table: write [[plugins]] above its keys"));
                continue;
            };
            for name in table.keys().filter(|name| !PLUGIN_KEYS.iter().any(|key| key.path == *name)) {
                self.errors.push(unknown(file, &format!("plugins[{index}].{name}"), PLUGIN_KEYS.iter().map(|key| key.path)));
            }
            for name in ["name", "component"].into_iter().filter(|name| !table.contains_key(*name)) {
                self.errors.push(format!("{file}: plugins[{index}] has no {name}: every plugin needs one"));
            }
        }
        self.set("plugins", Value::Array(plugins), Origin::File);
    }

    fn read_environment(&mut self, environment: &[(String, String)]) {
        for (name, text) in environment {
            let Some(path) = name.strip_prefix("TIDEMILL_").map(|rest| rest.to_lowercase().replace("__", ".")) else { continue };
            let Some(key) = KEYS.iter().find(|key| key.path == path) else {
                if name.contains("__") {
                    self.errors.push(unknown(&format!("environment variable {name}"), &path, KEYS.iter().map(|key| key.path)));
                }
                continue;
            };
            match environment_value(key, text) {
                Ok(value) => self.set(key.path, value, Origin::Environment(name.clone())),
                Err(error) => self.errors.push(format!("environment variable {name}: {error}")),
            }
        }
    }

    fn set(&mut self, path: &str, value: Value, origin: Origin) {
        set_at(&mut self.values, path, value);
        self.origins.insert(path.to_owned(), origin);
    }

    fn fill_defaults(&mut self) {
        for key in KEYS {
            let Some(default) = key.default.filter(|_| !self.origins.contains_key(key.path)) else { continue };
            match parse(&format!("v = {default}")).map(|mut table| table.remove("v")) {
                Ok(Some(value)) => self.set(key.path, value, Origin::Default),
                Ok(None) | Err(_) => self.errors.push(format!("the default of {} is broken", key.path)),
            }
        }
    }

    fn check_values(&mut self) {
        for key in KEYS {
            if let Some(error) = get_at(&self.values, key.path).and_then(|value| mistake(key.kind, value)) {
                let origin = self.place(key.path);
                self.errors.push(format!("{origin}{} {error}: {}", key.path, key.doc));
            }
        }
        let roles = get_at(&self.values, "roles").and_then(Value::as_array).cloned().unwrap_or_default();
        for role in roles.iter().filter_map(Value::as_str).filter(|role| Role::parse(role).is_none()) {
            self.errors.push(format!("{}roles has no {role:?}: edge, decode, analysis, output, lake", self.place("roles")));
        }
    }

    fn place(&self, path: &str) -> String {
        match self.origins.get(path) {
            Some(Origin::Environment(name)) => format!("environment variable {name}: "),
            Some(Origin::Flag) => "flag: ".to_owned(),
            _ => String::new(),
        }
    }

    fn resolve_paths(&mut self, base: &Path) {
        for key in KEYS.iter().filter(|key| self.origins.get(key.path) != Some(&Origin::Flag)) {
            let Some(value) = get_at(&self.values, key.path).filter(|_| matches!(key.kind, Kind::Path | Kind::Paths)) else { continue };
            let resolved = resolve(base, value);
            set_at(&mut self.values, key.path, resolved);
        }
        let Some(Value::Array(plugins)) = self.values.get_mut("plugins") else { return };
        for plugin in plugins.iter_mut().filter_map(Value::as_table_mut) {
            if let Some(component) = plugin.get("component") {
                let resolved = resolve(base, component);
                plugin.insert("component".into(), resolved);
            }
            if let Some(folder) = plugin.get("allow").and_then(|allow| allow.get("folder")) {
                let resolved = resolve(base, folder);
                set_at(plugin, "allow.folder", resolved);
            }
        }
    }

    fn finish(mut self) -> Result<Loaded, ConfigError> {
        if !self.errors.is_empty() {
            return Err(ConfigError(self.errors));
        }
        match Config::deserialize_from(self.values.clone()) {
            Ok(config) => {
                self.errors.extend(duplicate_names(&config));
                if self.errors.is_empty() {
                    Ok(Loaded { config, values: self.values, origins: self.origins })
                } else {
                    Err(ConfigError(self.errors))
                }
            }
            Err(error) => Err(ConfigError(vec![error])),
        }
    }
}

impl Config {
    fn deserialize_from(values: Table) -> Result<Self, String> {
        serde::Deserialize::deserialize(Value::Table(values)).map_err(|error: toml::de::Error| error.message().to_owned())
    }
}

fn duplicate_names(config: &Config) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let repeated = config.plugins.iter().filter(|plugin| !seen.insert(plugin.name.as_str()));
    repeated.map(|plugin| format!("two plugins are called {}: a name must be unique", plugin.name)).collect()
}

fn parse(text: &str) -> Result<Table, String> {
    text.parse::<Table>().map_err(|error| error.to_string().trim_end().to_owned())
}

fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

fn unknown<'a>(place: &str, path: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let last = path.rsplit('.').next().unwrap_or(path);
    let meant = nearest(path, known.clone()).or_else(|| {
        let named: Vec<&str> =
            known.filter(|key| nearest(last, std::iter::once(key.rsplit('.').next().unwrap_or(key))).is_some()).collect();
        named.first().copied()
    });
    let hint = meant.map_or_else(|| "`tidemill config schema` lists the keys".to_owned(), |meant| format!("did you mean {meant}?"));
    format!("{place}: unknown key {path}: {hint}")
}

fn environment_value(key: &Key, text: &str) -> Result<Value, String> {
    match key.kind {
        Kind::Text | Kind::Path | Kind::OneOf(_) => Ok(Value::String(text.to_owned())),
        Kind::Texts | Kind::Paths => Ok(Value::Array(text.split(',').map(|part| Value::String(part.trim().to_owned())).collect())),
        Kind::Bool => text.parse().map(Value::Boolean).map_err(|_| format!("{text:?} is neither true nor false")),
        Kind::Integer(_) => text.parse().map(Value::Integer).map_err(|_| format!("{text:?} is not a whole number")),
        Kind::Number => text.parse().map(Value::Float).map_err(|_| format!("{text:?} is not a number")),
        Kind::Table | Kind::TableOfTexts | Kind::Any => {
            parse(&format!("v = {text}")).and_then(|mut table| table.remove("v").ok_or_else(|| "no value".to_owned()))
        }
    }
}

/// What is wrong with a value, as the rest of a sentence that begins with its key.
fn mistake(kind: Kind, value: &Value) -> Option<String> {
    let is_texts = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_str));
    match kind {
        Kind::Text | Kind::Path => (!value.is_str()).then(|| "must be text".to_owned()),
        Kind::Texts | Kind::Paths => (!is_texts(value)).then(|| "must be a list of texts".to_owned()),
        Kind::Bool => (!value.is_bool()).then(|| format!("must be true or false, not {value}")),
        Kind::Integer(least) => match value.as_integer() {
            Some(number) if u64::try_from(number).is_ok_and(|number| number >= least) => None,
            _ => Some(format!("must be a whole number of at least {least}, not {value}")),
        },
        Kind::Number => match value.as_float().or_else(|| value.as_integer().map(|number| number as f64)) {
            Some(number) if number > 0.0 && number.is_finite() => None,
            _ => Some(format!("must be a number above 0, not {value}")),
        },
        Kind::OneOf(choices) => match value.as_str() {
            Some(text) if choices.contains(&text) => None,
            _ => Some(format!("must be one of {}, not {value}", choices.join(", "))),
        },
        Kind::Table => {
            (!value.as_table().is_some_and(|table| table.values().all(Value::is_str))).then(|| "must be a table of texts".to_owned())
        }
        Kind::TableOfTexts => {
            (!value.as_table().is_some_and(|table| table.values().all(is_texts))).then(|| "must be a table of lists of texts".to_owned())
        }
        Kind::Any => (!value.is_table()).then(|| "must be a table".to_owned()),
    }
}

fn resolve(base: &Path, value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(base.join(text).to_string_lossy().into_owned()),
        Value::Array(list) => Value::Array(list.iter().map(|value| resolve(base, value)).collect()),
        other => other.clone(),
    }
}

fn get_at<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((section, rest)) => get_at(table.get(section)?.as_table()?, rest),
    }
}

fn set_at(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                set_at(section, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let folder = std::env::temp_dir().join(format!("tidemill-config-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let file = folder.join("t.toml");
        std::fs::write(&file, text).map_err(|error| error.to_string())?;
        let environment: Vec<_> = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let loaded = load(Some(&file), &environment, &[]);
        let name = format!("{}", file.display());
        loaded.map(|loaded| loaded.config).map_err(|error| error.to_string().replace(&name, "t.toml"))
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = load(None, &[], &[]).map(|loaded| loaded.config).unwrap();
        assert_eq!(config.http.listen, "127.0.0.1:8000");
        assert_eq!(config.bus.kind, crate::BusKind::Embedded);
        assert_eq!((config.bus.partitions, config.bus.step_ms, config.bus.compression.as_str()), (4, 100, "zstd:1"));
        assert_eq!(config.lake.commit_bytes, 134_217_728);
        assert_eq!(config.roles, Role::ALL);
        assert_eq!(config.schemas.version_members["telemetry"], ["version", "v"]);
        assert!(config.geoip.city.is_none() && config.plugins.is_empty());
    }

    #[test]
    fn mistakes_say_what_where_and_what_to_do() {
        let errors = [
            ("[bus]\npartition = 3", "t.toml: unknown key bus.partition: did you mean bus.partitions?"),
            (
                "[bus]\npartitions = 0",
                "bus.partitions must be a whole number of at least 1, not 0: Partitions of topics that are created; an existing topic keeps its own number.",
            ),
            ("[bus]\nkind = \"redis\"", "bus.kind must be one of embedded, kafka, not \"redis\": The log in data_dir, or a Kafka cluster."),
            ("roles = [\"edge\", \"lakes\"]", "roles has no \"lakes\": edge, decode, analysis, output, lake"),
            ("bus = 3", "t.toml: bus is a section, not a value"),
            ("[[plugins]]\nname = \"a\"", "t.toml: plugins[0] has no component: every plugin needs one"),
            (
                "[[plugins]]\nname = \"a\"\ncomponent = \"a.wasm\"\nmatche = \"TRUE\"",
                "t.toml: unknown key plugins[0].matche: did you mean matcher?",
            ),
            (
                "[[plugins]]\nname = \"a\"\ncomponent = \"a.wasm\"\n[[plugins]]\nname = \"a\"\ncomponent = \"b.wasm\"",
                "two plugins are called a: a name must be unique",
            ),
        ];
        for (text, expected) in errors {
            assert_eq!(check(text, &[]).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let config = check(
            "[bus]\nstep_ms = 50\npartitions = 2",
            &[("TIDEMILL_BUS__STEP_MS", "70"), ("TIDEMILL_ROLES", "edge, decode"), ("TIDEMILL_URL", "x")],
        )
        .unwrap();
        assert_eq!((config.bus.step_ms, config.bus.partitions), (70, 2));
        assert_eq!(config.roles, [Role::Edge, Role::Decode]);
        let error = check("", &[("TIDEMILL_BUS__STEPMS", "70")]).unwrap_err();
        assert_eq!(error, "environment variable TIDEMILL_BUS__STEPMS: unknown key bus.stepms: did you mean bus.step_ms?");
        let error = check("", &[("TIDEMILL_BUS__STEP_MS", "soon")]).unwrap_err();
        assert_eq!(error, "environment variable TIDEMILL_BUS__STEP_MS: \"soon\" is not a whole number");
    }

    #[test]
    fn relative_paths_are_relative_to_the_file() {
        let config =
            check("data_dir = \"d\"\n[[plugins]]\nname = \"a\"\ncomponent = \"a.wasm\"\nallow = { folder = \"out\" }", &[]).unwrap();
        assert!(config.data_dir.is_absolute() && config.data_dir.ends_with("d"));
        assert!(config.plugins[0].component.is_absolute());
        assert!(config.plugins[0].allow.folder.as_ref().is_some_and(|folder| folder.is_absolute()));
    }
}
