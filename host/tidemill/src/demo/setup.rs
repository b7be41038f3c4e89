//! The demo's folder and configuration, made anew each time.

use crate::exit::{Failure, surroundings, wrong_use};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tidemill_config::Config;
use tidemill_testkit::Fixture;

/// What the demo runs with.
pub struct Setup {
    pub config: Config,
    pub config_file: PathBuf,
    pub data_dir: PathBuf,
    pub fixtures: Vec<Fixture>,
}

/// Makes the folder and the configuration, and reads the recorded pings.
///
/// # Errors
/// When the project's folder is another or not built.
pub fn prepare(project: &Path, sink: SocketAddr) -> Result<Setup, Failure> {
    let project = std::path::absolute(project).map_err(surroundings)?;
    let missing =
        ["schemas", "tests/fixtures", "plugins/doctype-monitor/doctype-monitor.wasm"].into_iter().find(|path| !project.join(path).exists());
    if let Some(path) = missing {
        return Err(wrong_use(format!("{} is not there: run `make demo` in the project's folder", project.join(path).display())));
    }
    let fixtures = tidemill_testkit::load(&[project.join("tests/fixtures")]).map_err(surroundings)?;
    let data_dir = project.join("target/demo");
    // Only what an earlier demo left: a log of its own would show the old stream's figures among the new.
    let _ = std::fs::remove_dir_all(data_dir.join("data"));
    std::fs::create_dir_all(&data_dir).map_err(surroundings)?;
    let config_file = data_dir.join("tidemill.toml");
    std::fs::write(&config_file, text(&project, sink)).map_err(surroundings)?;
    let config = crate::commands::load_config(Some(&config_file))?.config;
    Ok(Setup { data_dir: config.data_dir.clone(), config, config_file, fixtures })
}

fn text(project: &Path, sink: SocketAddr) -> String {
    let project = project.display();
    format!(
        r#"# Written by `make demo`; `tidemill serve --config` takes it too.
data_dir = "data"

[schemas]
paths = ["{project}/schemas"]

[lake]
commit_interval_s = 2

[log]
filter = "error"

[[plugins]]
name = "moz-telemetry"
component = "{project}/plugins/moz-telemetry/moz-telemetry.wasm"

[[plugins]]
name = "doctype-monitor"
component = "{project}/plugins/doctype-monitor/doctype-monitor.wasm"
config = {{ seconds_per_row = 1, inactive_rows = 5, change_percent = 1000.0 }}

[[plugins]]
name = "http-json"
component = "{project}/plugins/http-json/http-json.wasm"
config = {{ url = "http://{sink}/" }}
allow = {{ http = ["{sink}"] }}
"#
    )
}
