//! What the deliveries of a plugin may reach: nothing that the configuration does not name.

use reqwest::Url;
use std::path::{Component, Path, PathBuf};
use tidemill_config::Allow;
use tidemill_runtime::Target;

/// A target that the configuration does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// An HTTP host.
    #[error("http target {host:?} is not allowed: add it to `allow.http` of plugin {plugin:?}")]
    Http {
        /// Host and port.
        host: String,
        /// The plugin.
        plugin: String,
    },
    /// Not a URL.
    #[error("{url:?} is not a URL: {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// A topic.
    #[error("topic {topic:?} is not allowed: add it to `allow.topics` of plugin {plugin:?}")]
    Topic {
        /// The topic.
        topic: String,
        /// The plugin.
        plugin: String,
    },
    /// There is no folder to write to.
    #[error("files are not allowed: set `allow.folder` of plugin {plugin:?}")]
    Folder {
        /// The plugin.
        plugin: String,
    },
    /// A path that leads elsewhere.
    #[error("path {path:?} leads out of the folder: use a relative path without `..`")]
    Path {
        /// What was given.
        path: String,
    },
}

/// A target that may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// A request.
    Http(Url),
    /// A file to append to.
    Append(PathBuf),
    /// A file to replace.
    Object(PathBuf),
    /// A record of this topic.
    Bus(String),
}

/// Holds a target against what the plugin may reach.
///
/// # Errors
/// Why it may not be reached, and what to configure.
pub fn check(plugin: &str, allow: &Allow, target: &Target) -> Result<Allowed, Refused> {
    let plugin = || plugin.to_owned();
    match target {
        Target::Http { url, .. } => {
            let parsed = Url::parse(url).map_err(|error| Refused::Url { url: url.clone(), why: error.to_string() })?;
            let (name, host) = host_of(&parsed);
            let is_listed = allow.http.iter().any(|entry| entry.eq_ignore_ascii_case(&host) || entry.eq_ignore_ascii_case(&name));
            if is_listed { Ok(Allowed::Http(parsed)) } else { Err(Refused::Http { host, plugin: plugin() }) }
        }
        Target::Bus { topic, .. } if allow.topics.contains(topic) => Ok(Allowed::Bus(topic.clone())),
        Target::Bus { topic, .. } => Err(Refused::Topic { topic: topic.clone(), plugin: plugin() }),
        Target::Append(path) => below(allow, path, plugin()).map(Allowed::Append),
        Target::Object(path) => below(allow, path, plugin()).map(Allowed::Object),
    }
}

/// The host alone, and with its port.
fn host_of(url: &Url) -> (String, String) {
    let name = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or_default();
    let host = format!("{name}:{port}");
    (name, host)
}

fn below(allow: &Allow, path: &str, plugin: String) -> Result<PathBuf, Refused> {
    let folder = allow.folder.as_ref().ok_or(Refused::Folder { plugin })?;
    let is_sound = !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if is_sound { Ok(folder.join(path)) } else { Err(Refused::Path { path: path.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow() -> Allow {
        Allow { http: vec!["127.0.0.1:9000".into(), "Example.com".into()], topics: vec!["out".into()], folder: Some("/srv/out".into()) }
    }

    #[track_caller]
    fn check_target(allow: &Allow, target: Target, expected: &str) {
        let found = check("p", allow, &target).map_or_else(|error| error.to_string(), |_| "allowed".to_owned());
        assert_eq!(found, expected, "{target:?}");
    }

    fn http(url: &str) -> Target {
        Target::Http { method: "POST".into(), url: url.into(), headers: Vec::new() }
    }

    #[test]
    fn only_what_is_named_is_allowed() {
        let allow = allow();
        let check = |target, expected: &str| check_target(&allow, target, expected);
        check(http("http://127.0.0.1:9000/x"), "allowed");
        check(http("https://example.com/x"), "allowed");
        check(http("https://example.com:8443/x"), "allowed");
        check(http("http://127.0.0.1:9001/"), "http target \"127.0.0.1:9001\" is not allowed: add it to `allow.http` of plugin \"p\"");
        check(http("http://127.0.0.1/"), "http target \"127.0.0.1:80\" is not allowed: add it to `allow.http` of plugin \"p\"");
        check(http("http://example.com@evil.test/"), "http target \"evil.test:80\" is not allowed: add it to `allow.http` of plugin \"p\"");
        check(http("http://"), "\"http://\" is not a URL: empty host");
        check(Target::Bus { topic: "out".into(), key: vec![] }, "allowed");
        check(Target::Bus { topic: "raw".into(), key: vec![] }, "topic \"raw\" is not allowed: add it to `allow.topics` of plugin \"p\"");
        check(Target::Append("a/b.jsonl".into()), "allowed");
        for path in ["", "/etc/passwd", "../x", "a/../../x", "."] {
            check(Target::Object(path.into()), &format!("path {path:?} leads out of the folder: use a relative path without `..`"));
        }
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        let check = |target, expected: &str| check_target(&Allow::default(), target, expected);
        check(http("http://localhost/"), "http target \"localhost:80\" is not allowed: add it to `allow.http` of plugin \"p\"");
        check(Target::Append("a".into()), "files are not allowed: set `allow.folder` of plugin \"p\"");
    }
}
