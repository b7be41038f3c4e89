//! A real Apache Kafka (KRaft, one node) for tests and benchmarks.
//!
//! [`shared`] gives every test of a process the same broker; topics are a test's own. With `TIDEMILL_TEST_KAFKA=host:port` a
//! broker that runs already is used (`kafka-broker` of this crate starts one in the foreground), so that one run of many test
//! binaries needs one broker. Fault tests start a [`Broker`] of their own, which they may kill, freeze and start again.
//!
//! A broker never outlives the process that started it: a small shell script ends it, and removes its data, when the process is
//! gone, even after `kill -9`.

mod libs;
mod process;

use process::Warden;
use std::{
    env, fs, io,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The variable that names a broker which runs already.
pub const BROKER_VARIABLE: &str = "TIDEMILL_TEST_KAFKA";
/// How long a broker may take until it accepts. It takes 2 s on an idle machine.
const START_MAX: Duration = Duration::from_secs(60);
/// How often other ports are tried where some other process was quicker.
const PORT_ATTEMPTS: u32 = 3;
/// The largest record batch: a record of 10 MiB with its headers and what Kafka adds.
const BATCH_BYTES_MAX: u32 = 12 << 20;
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// Why there is no broker.
#[derive(Debug)]
pub enum Failure {
    /// A tool that is needed is not installed: its name.
    Missing(&'static str),
    /// Something went wrong: what.
    Broken(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(tool) => write!(formatter, "{tool} is not installed"),
            Self::Broken(what) => formatter.write_str(what),
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A broker. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Broker {
    address: String,
    dir: PathBuf,
    warden: Option<Mutex<Warden>>,
}

/// The broker that the tests of this process share, or `None`, after a line that names the skipped test, where a tool is missing.
///
/// # Panics
/// When everything needed is there and the broker does not start all the same.
pub fn shared(test: &str) -> Option<&'static Broker> {
    static SHARED: OnceLock<Result<Broker, Failure>> = OnceLock::new();
    found(test, SHARED.get_or_init(|| running().map_or_else(Broker::start, Ok)).as_ref())
}

/// A broker for one test alone; else as [`shared`].
///
/// # Panics
/// When everything needed is there and the broker does not start all the same.
pub fn own(test: &str) -> Option<Broker> {
    found(test, Broker::start())
}

fn found<B, F: std::borrow::Borrow<Failure>>(test: &str, broker: Result<B, F>) -> Option<B> {
    match broker {
        Ok(broker) => Some(broker),
        Err(failure) => match failure.borrow() {
            Failure::Missing(tool) => {
                eprintln!("SKIPPED {test}: {tool} is not installed");
                None
            }
            Failure::Broken(what) => panic!("Kafka did not start: {what}"),
        },
    }
}

fn running() -> Option<Broker> {
    let address = env::var(BROKER_VARIABLE).ok().filter(|address| !address.is_empty())?;
    Some(Broker { address, dir: PathBuf::new(), warden: None })
}

impl Broker {
    /// Starts a broker on free ports and waits until it accepts.
    ///
    /// # Errors
    /// When Java is missing, or Maven where the broker's libraries are not there yet; when it does not start within a minute.
    pub fn start() -> Result<Self, Failure> {
        if !answers("java", "-version") {
            return Err(Failure::Missing("java"));
        }
        let libs = libs::resolve()?;
        let mut failure = Failure::Broken("no attempt was made".to_owned());
        for _ in 0..PORT_ATTEMPTS {
            match Self::attempt(&libs) {
                Ok(broker) => return Ok(broker),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn attempt(libs: &Path) -> Result<Self, Failure> {
        let dir = new_dir()?;
        let (port, controller) = free_ports()?;
        let properties = dir.join("server.properties");
        fs::write(&properties, server_properties(&dir, port, controller))?;
        let java = Java { libs: libs.to_owned(), properties };
        java.format()?;
        let warden = Warden::new(&dir, &java.broker())?;
        let broker = Self { address: format!("127.0.0.1:{port}"), dir, warden: Some(Mutex::new(warden)) };
        broker.restart()?;
        Ok(broker)
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether this process may kill it; not where it was given by [`BROKER_VARIABLE`].
    pub fn is_own(&self) -> bool {
        self.warden.is_some()
    }

    /// Ends it in order (SIGTERM) and waits until it is gone.
    ///
    /// # Errors
    /// When it is not this process' own.
    pub fn stop(&self) -> Result<(), Failure> {
        self.order("term")
    }

    /// Ends it at once (SIGKILL).
    ///
    /// # Errors
    /// When it is not this process' own.
    pub fn kill(&self) -> Result<(), Failure> {
        self.order("kill")
    }

    /// Stops its clock: connections stay open and nothing is answered, until [`Broker::thaw`].
    ///
    /// # Errors
    /// When it is not this process' own.
    pub fn freeze(&self) -> Result<(), Failure> {
        self.order("freeze")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it is not this process' own.
    pub fn thaw(&self) -> Result<(), Failure> {
        self.order("thaw")
    }

    /// Starts it again with the same data and address and waits until it accepts.
    ///
    /// # Errors
    /// When it is not this process' own, or does not accept within a minute.
    pub fn restart(&self) -> Result<(), Failure> {
        self.order("start")?;
        let started = Instant::now();
        while TcpStream::connect(&self.address).is_err() {
            if started.elapsed() > START_MAX || self.gave_up() {
                return Err(Failure::Broken(format!("it does not accept; its last words: {}", self.last_words())));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn order(&self, order: &str) -> Result<(), Failure> {
        let warden = self.warden.as_ref().ok_or_else(|| Failure::Broken(format!("{BROKER_VARIABLE} names a broker of another process")))?;
        Ok(warden.lock().unwrap_or_else(PoisonError::into_inner).order(order)?)
    }

    fn gave_up(&self) -> bool {
        self.last_words().contains("ERROR Exiting Kafka")
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.dir.join("broker.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

struct Java {
    libs: PathBuf,
    properties: PathBuf,
}

impl Java {
    fn command(&self, options: &[&str], main: &[&str]) -> Vec<String> {
        let class_path = format!("{}/*", self.libs.display());
        let quiet = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-XX:TieredStopAtLevel=1", "-cp", &class_path];
        ["java"].iter().chain(options).chain(&quiet).chain(main).map(|&word| word.to_owned()).collect()
    }

    fn broker(&self) -> Vec<String> {
        self.command(&["-Xmx512m"], &["kafka.Kafka", &self.properties.to_string_lossy()])
    }

    fn format(&self) -> Result<(), Failure> {
        let properties = self.properties.to_string_lossy();
        let words = self.command(&["-Xmx128m"], &["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", &properties]);
        let output = Command::new(&words[0]).args(&words[1..]).stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(Failure::Broken(format!("its folder cannot be formatted: {}", String::from_utf8_lossy(&output.stderr))))
    }
}

fn answers(tool: &str, argument: &str) -> bool {
    let quiet = Command::new(tool).arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

fn new_dir() -> io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = env::temp_dir().join(format!("tidemill-kafka-{}-{number}", std::process::id()));
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Both are held until both are known, so that they differ.
fn free_ports() -> io::Result<(u16, u16)> {
    let first = TcpListener::bind("127.0.0.1:0")?;
    let second = TcpListener::bind("127.0.0.1:0")?;
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}

/// Short sessions and quick clean-up of abandoned transactions, so that fault tests need not wait for the defaults (a killed
/// broker is not taken back by its controller before its session is over: nine seconds); no retention, because tests write
/// records of years ago.
fn server_properties(dir: &Path, port: u16, controller: u16) -> String {
    let dir = dir.display();
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={dir}/log\n\
         auto.create.topics.enable=false\n\
         message.max.bytes={BATCH_BYTES_MAX}\n\
         replica.fetch.max.bytes={BATCH_BYTES_MAX}\n\
         broker.heartbeat.interval.ms=200\n\
         broker.session.timeout.ms=1000\n\
         log.retention.ms=-1\n\
         log.index.size.max.bytes=1048576\n\
         log.cleaner.dedupe.buffer.size=16777216\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=4\n\
         transaction.abort.timed.out.transaction.cleanup.interval.ms=500\n\
         group.initial.rebalance.delay.ms=0\n\
         group.min.session.timeout.ms=500\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_accepts_dies_comes_back_and_leaves_nothing() {
        let Some(broker) = own("a_broker_accepts_dies_comes_back_and_leaves_nothing") else { return };
        let (address, dir) = (broker.address().to_owned(), broker.dir.clone());
        assert!(TcpStream::connect(&address).is_ok());
        broker.kill().unwrap();
        assert!(TcpStream::connect(&address).is_err(), "it accepts after it was killed");
        broker.restart().unwrap();
        assert!(TcpStream::connect(&address).is_ok());
        drop(broker);
        assert!(TcpStream::connect(&address).is_err(), "it accepts after its owner is gone");
        assert!(!dir.exists(), "{} is left", dir.display());
    }

    #[test]
    fn the_libraries_are_resolved_once_by_many() {
        if !answers("java", "-version") || !answers("mvn", "-v") {
            eprintln!("SKIPPED the_libraries_are_resolved_once_by_many: java or mvn is not installed");
            return;
        }
        let found: Vec<_> = (0..4).map(|_| thread::spawn(libs::resolve)).map(|thread| thread.join().unwrap().unwrap()).collect();
        assert!(found.iter().all(|libs| libs.join("kafka_2.13-4.1.1.jar").is_file()), "{found:?}");
    }

    #[test]
    fn a_missing_tool_skips_by_name() {
        assert_eq!(Failure::Missing("mvn").to_string(), "mvn is not installed");
        assert!(found::<Broker, _>("the_test", Err(Failure::Missing("mvn"))).is_none());
        assert!(!answers("tidemill-no-such-tool", "-v"));
    }
}
