//! A running platform: the real binary on a port of its own.

use crate::{
    get_json,
    setup::{Setup, clean},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long it may take until it listens: plugins are compiled before.
const START_MAX: Duration = Duration::from_secs(60);
/// Lines of the log that a failed test shows.
const LOG_LINES: usize = 60;
/// Characters of a line that are shown.
const LOG_LINE_CHARS: usize = 400;

/// How a platform ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// The exit code; `None`: by a signal.
    pub code: Option<i32>,
    /// How long it took.
    pub took: Duration,
}

/// A platform. Dropping it kills it; a failed test shows its log.
#[derive(Debug)]
pub struct Platform {
    folder: TempDir,
    child: Option<Child>,
    address: SocketAddr,
    environment: Vec<(String, String)>,
    program: PathBuf,
    /// Bytes of the log that earlier starts wrote.
    log_before: usize,
}

impl Platform {
    /// Starts one on an empty data folder.
    ///
    /// # Panics
    /// When it does not listen within a minute.
    pub fn start(setup: &Setup) -> Self {
        let folder = tempfile::Builder::new().prefix("tidemill-test-").tempdir().expect("a folder");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut platform = Self { folder, child: None, address, environment: vec![], program: PathBuf::new(), log_before: 0 };
        platform.set_up(setup);
        platform.restart();
        platform
    }

    /// This configuration and program are its own from the next start on.
    ///
    /// # Panics
    /// When the configuration cannot be written.
    pub fn set_up(&mut self, setup: &Setup) {
        std::fs::write(self.folder.path().join("tidemill.toml"), setup.toml()).expect("written");
        self.program.clone_from(&setup.program);
    }

    /// Starts it again on the same data; the port is another one.
    ///
    /// # Panics
    /// When it does not listen within a minute.
    pub fn restart(&mut self) {
        assert!(self.try_restart(), "it does not listen");
    }

    /// The same; `false` where it ends before it listens.
    ///
    /// # Panics
    /// When it runs already.
    pub fn try_restart(&mut self) -> bool {
        assert!(self.child.is_none(), "it runs");
        self.log_before = self.log_bytes().len();
        let log = File::options().create(true).append(true).open(self.log_file()).expect("a log file");
        let mut child = self.command().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().expect("the binary runs");
        let stdout = child.stdout.take().expect("a pipe");
        self.child = Some(child);
        let address = listening(stdout);
        self.address = address.unwrap_or(self.address);
        address.is_some()
    }

    /// These variables are set from the next start on, and no others of the platform's own.
    pub fn set_environment(&mut self, variables: &[(&str, String)]) {
        self.environment = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    }

    /// Whether it was started and not ended by us.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Writes the end of its log to stderr.
    pub fn show_log(&self) {
        show_end(&self.log_file());
    }

    /// Waits until it has killed itself at this crash point; `false` where it still runs after this time.
    ///
    /// # Panics
    /// When it does not run, or ended in another way or at another point.
    pub fn wait_crash(&mut self, point: &str, max: Duration) -> bool {
        let Some(status) = self.wait_gone(max) else { return false };
        let log = String::from_utf8_lossy(&self.log_bytes()[self.log_before..]).into_owned();
        let is_there = is_killed(status) && log.contains(&format!("crash point {point}: the process ends"));
        assert!(is_there, "it was to be killed at {point}, and ended otherwise: {status}");
        true
    }

    /// Waits until it has ended by itself, and says how; `None` where it still runs after this time.
    fn wait_gone(&mut self, max: Duration) -> Option<ExitStatus> {
        let child = self.child.as_mut().expect("it runs");
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("a status") {
                self.child = None;
                return Some(status);
            }
            if began.elapsed() > max {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--config").arg(self.folder.path().join("tidemill.toml")).arg("--data").arg(self.data());
        clean(&mut command);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A second platform on the same data: its exit code and what it said.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn second(&self) -> (Option<i32>, String) {
        let output = self.command().output().expect("the binary runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its resident memory, MB; 0 where it does not run.
    pub fn resident_mb(&self) -> u64 {
        let status = self.child.as_ref().and_then(|child| std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok());
        let line = status.as_deref().and_then(|status| status.lines().find_map(|line| line.strip_prefix("VmRSS:")));
        let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
        kib.unwrap_or(0) / 1_000
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder of its lake.
    pub fn lake(&self) -> PathBuf {
        self.data().join("lake")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("serve.log")
    }

    /// What it wrote to stderr so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log_bytes()).into_owned()
    }

    fn log_bytes(&self) -> Vec<u8> {
        std::fs::read(self.log_file()).unwrap_or_default()
    }

    /// Asks its API; null where there is no answer.
    pub fn api(&self, path: &str) -> Value {
        get_json(self.address, path)
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// When it does not run, or had ended by itself.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("killed");
        let status = child.wait().expect("gone");
        assert!(is_killed(status), "it had ended by itself before it was killed: {status}");
    }

    /// Stops its clock (SIGSTOP): connections stay open and nothing is answered, until [`Platform::thaw`].
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).expect("signalled");
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).expect("signalled");
    }

    /// The memory it has in use, in megabytes.
    ///
    /// # Panics
    /// When it does not run.
    pub fn memory_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.as_ref().expect("it runs").id().cast_signed()).expect("a process id")
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// When it does not run, or not end within a minute.
    pub fn terminate(&mut self) -> Ended {
        let mut child = self.child.take().expect("it runs");
        let began = Instant::now();
        let pid = Pid::from_raw(child.id().cast_signed()).expect("a process id");
        kill_process(pid, Signal::TERM).expect("signalled");
        while began.elapsed() < Duration::from_secs(60) {
            if let Some(status) = child.try_wait().expect("a status") {
                return Ended { code: status.code(), took: began.elapsed() };
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("it did not end within a minute of SIGTERM");
    }

    /// Waits until what the API shows satisfies a condition; the last it showed where it never does.
    ///
    /// # Errors
    /// When the time is over.
    pub fn wait_for(&self, path: &str, max: Duration, mut is_good: impl FnMut(&Value) -> bool) -> Result<Value, Value> {
        let began = Instant::now();
        loop {
            let found = self.api(path);
            if is_good(&found) {
                return Ok(found);
            }
            if began.elapsed() > max {
                return Err(found);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until no group is behind. On Kafka a partition's end may be a marker, which no group's position passes, and after a
    /// kill records wait until the dead host's transaction has timed out (10 s), so nothing may move for a while.
    pub fn wait_drained(&self, max: Duration) {
        let (mut last, mut since) = (Value::Null, Instant::now());
        let done = |streams: &Value| {
            if *streams != last {
                (last, since) = (streams.clone(), Instant::now());
            }
            let still = if worst_lag(streams) <= Some(1) { QUIET } else { STUCK };
            !streams.is_null() && since.elapsed() > still
        };
        if let Err(streams) = self.wait_for("/api/v1/streams", max, done) {
            eprintln!("not drained: a group is {:?} records behind", worst_lag(&streams));
        }
    }
}

/// Groups that are at the end for so long have nothing in hand: more than a step and a commit of the lake.
const QUIET: Duration = Duration::from_millis(1_500);
/// Groups that do not move for so long never will.
const STUCK: Duration = Duration::from_secs(20);

/// The records that the group which is furthest behind in a partition has not read.
fn worst_lag(streams: &Value) -> Option<u64> {
    let partitions = streams.as_array()?.iter().filter_map(|topic| topic["partitions"].as_array()).flatten();
    let groups = partitions.filter_map(|partition| partition["groups"].as_array()).flatten();
    Some(groups.filter_map(|group| group["lag"].as_u64()).max().unwrap_or(0))
}

fn is_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}

/// Reads the line with the address; what follows is read too, so that the pipe never fills.
fn listening(stdout: impl std::io::Read + Send + 'static) -> Option<SocketAddr> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let began = Instant::now();
    while let Ok(line) = receiver.recv_timeout(START_MAX.saturating_sub(began.elapsed())) {
        if let Some(address) = line.strip_prefix("listening on http://") {
            return address.parse().ok();
        }
    }
    None
}

impl Drop for Platform {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            show_end(&self.log_file());
        }
    }
}

fn show_end(path: &Path) {
    let log = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = log.lines().collect();
    eprintln!("--- the end of the platform's log ({} lines)", lines.len());
    lines.iter().skip(lines.len().saturating_sub(LOG_LINES)).for_each(|line| eprintln!("{line:.LOG_LINE_CHARS$}"));
}
