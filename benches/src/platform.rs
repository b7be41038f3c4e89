//! A running platform: the real binary on a port and a data folder of its own.

use crate::{harness::skip, paths};
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// Names the binary.
const BINARY_VARIABLE: &str = "TIDEMILL_BIN";

/// A platform. Dropping it kills it and removes its data.
pub struct Platform {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Platform {
    /// Starts one on an empty folder; `config` is the configuration as JSON, without `http` and `data_dir`.
    ///
    /// # Errors
    /// No binary is named (a build of now would take minutes and have the wrong profile), or it does not listen.
    pub fn start(config: Value) -> anyhow::Result<Self> {
        Self::start_with(config, |_| Ok(()))
    }

    /// As [`Self::start`], on a data folder that `fill` has prepared.
    ///
    /// # Errors
    /// As there, and those of `fill`.
    pub fn start_with(mut config: Value, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<Self> {
        let binary = binary()?;
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(paths::target()).context("a folder")?;
        fill(&folder.path().join("data"))?;
        config["http"] = json!({"listen": "127.0.0.1:0"});
        config["data_dir"] = json!("data");
        std::fs::write(folder.path().join("tidemill.toml"), toml::to_string(&config)?).context("a configuration")?;
        let log = std::fs::File::create(folder.path().join("log")).context("a log")?;
        let mut command = Command::new(binary);
        command.args(["serve", "--config", "tidemill.toml"]).current_dir(folder.path()).env_remove(BINARY_VARIABLE);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().context("the binary")?;
        let stdout = child.stdout.take().context("its output")?;
        match listening(stdout) {
            Some(address) => Ok(Self { child, address, folder }),
            None => {
                let _ = child.kill();
                bail!("it does not listen: {}", std::fs::read_to_string(folder.path().join("log")).unwrap_or_default())
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its files are: its configuration and `data`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it; its files stay until it is dropped.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks its API.
    ///
    /// # Errors
    /// There is no answer, or it is no JSON.
    pub fn api(&self, path: &str) -> anyhow::Result<Value> {
        let mut stream = TcpStream::connect(self.address).context("connecting")?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").context("asking")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("reading")?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        serde_json::from_str(body).with_context(|| answer.clone())
    }

    /// Resident memory in MB.
    ///
    /// # Errors
    /// The process is gone.
    pub fn resident_mb(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).context("its status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("it has no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS")?;
        Ok(kib * 1024.0 / 1e6)
    }
}

/// The binary that [`Platform`] starts.
///
/// # Errors
/// None is named.
pub fn binary() -> anyhow::Result<PathBuf> {
    match std::env::var_os(BINARY_VARIABLE) {
        Some(path) => std::path::absolute(path).context(BINARY_VARIABLE),
        None => skip(format!("{BINARY_VARIABLE} does not name a tidemill binary; make bench builds one")),
    }
}

/// The address in the line that says it listens; what follows is read too, so that the pipe never fills.
fn listening(stdout: impl Read + Send + 'static) -> Option<SocketAddr> {
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("listening on http://")?.parse().ok());
    std::thread::spawn(move || lines.for_each(drop));
    address
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.kill();
    }
}
