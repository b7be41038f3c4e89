//! Hosts under load, and what must be true of them in the end, whatever happened to them: one platform on the embedded log, or several
//! in one group on Kafka.

use crate::{Acknowledged, BusSetup, Lake, Load, Ping, Platform, Setup, component, field, plugin, post_all, tap};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// A host that says nothing for so long is put out of its groups.
pub const SESSION: Duration = Duration::from_secs(4);
/// How long hosts run between two events.
pub const STRETCH: Duration = Duration::from_secs(2);
const PARTITIONS: u32 = 4;
/// Of each host.
const RATE: f64 = 200.0;
const CONNECTIONS: usize = 8;
/// Nothing that is waited for takes so long.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Rows of a second without a message after which the monitor says so.
const INACTIVE_ROWS: u64 = 20;
/// Pings that are sent again and again: enough for every partition.
const REPEATED: usize = 24;
/// A copy is taken for a redelivery, which leaves no record, once in 16,384. One may be, and one more of so many.
const COPIES_FOR_ONE_UNSEEN: usize = 400;

/// A host and its clients.
pub struct Host {
    name: &'static str,
    /// The host.
    pub platform: Platform,
    /// Its clients.
    pub load: Load,
}

impl Host {
    /// Starts it under load.
    pub fn start(name: &'static str, setup: &Setup) -> Self {
        let platform = Platform::start(setup);
        let load = Load::start(platform.address(), CONNECTIONS, RATE, make);
        Self { name, platform, load }
    }

    /// Its clients go, and it is stopped in order.
    ///
    /// # Panics
    /// When it does not end well.
    pub fn stops(&mut self) {
        self.load.set_address(None);
        assert_eq!(self.platform.terminate().code, Some(0), "{}", self.name);
    }

    /// It starts again, with its clients.
    pub fn comes_back(&mut self) {
        self.platform.restart();
        self.load.set_address(Some(self.platform.address()));
    }

    /// Waits until the group `decode` has read nearly everything, in all partitions: this host has them all.
    ///
    /// # Panics
    /// When it does not within two minutes.
    pub fn catches_up(&self, why: &str) {
        self.reads("raw", "decode", why);
    }

    /// The same for any group.
    ///
    /// # Panics
    /// When it does not within two minutes.
    pub fn reads(&self, topic: &str, group: &str, why: &str) {
        let began = Instant::now();
        let near = |streams: &Value| has_read(streams, topic, group);
        if let Err(streams) = self.platform.wait_for("/api/v1/streams", PATIENCE, near) {
            panic!("{}: {group} did not take over after {why}: {streams}", self.name);
        }
        eprintln!("{}: {group} caught up {:.1} s after {why}", self.name, began.elapsed().as_secs_f64());
    }
}

/// Whether a group has read nearly everything of a topic, in all partitions.
pub fn has_read(streams: &Value, topic: &str, group: &str) -> bool {
    lag(streams, topic, group).is_some_and(|lag| lag < RATE as u64)
}

/// What a group has not read of the partitions of a topic, where it has a position in all of them.
fn lag(streams: &Value, topic: &str, group: &str) -> Option<u64> {
    let found = streams.as_array()?.iter().find(|found| found["topic"] == topic)?;
    let of_group = |partition: &Value| {
        let groups = partition["groups"].as_array()?.iter().find(|found| found["group"] == group)?;
        groups["lag"].as_u64()
    };
    found["partitions"].as_array()?.iter().map(of_group).sum()
}

/// A configuration of two plugins that count, with the lake and the schema in this folder; `None`, after a line that names the
/// test, where no guest toolchain is installed.
///
/// # Panics
/// When the folder cannot be written.
pub fn counting(test: &str, bus: BusSetup, folder: &Path) -> Option<Setup> {
    let schemas = folder.join("schemas");
    let place = schemas.join("test/ping");
    fs::create_dir_all(&place).expect("made");
    let schema = r#"{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}"#;
    fs::write(place.join("ping.1.schema.json"), schema).expect("written");
    let (session, is_kafka) = (SESSION.as_millis().to_string(), matches!(bus, BusSetup::Kafka(..)));
    let mut setup = Setup::new(bus, PARTITIONS, vec![schemas]);
    let monitor = json!({"rows": 1200, "seconds_per_row": 1, "inactive_rows": INACTIVE_ROWS});
    setup.plugins = vec![
        plugin("doctype-monitor", &component(test, "doctype-monitor")?, monitor, &[]),
        plugin("example-count", &component(test, "example-count")?, json!({}), &[]),
    ];
    setup.keys = vec![("lake.url", json!(format!("file:{}", lake(folder).display())))];
    if is_kafka {
        setup.keys.push(("bus.kafka.options", json!({"session.timeout.ms": session, "heartbeat.interval.ms": "500"})));
    }
    Some(setup)
}

fn lake(folder: &Path) -> PathBuf {
    folder.join("lake")
}

/// Every tenth breaks its schema.
fn make(number: u64) -> Ping {
    ping(&if number % 10 == 9 { json!("nine") } else { json!(number) })
}

fn ping(n: &Value) -> Ping {
    Ping::new(|id| format!("/submit/test/ping/1/{id}"), json!({"n": n}).to_string().as_bytes())
}

/// Pings that are sent again under the same ids: one row each, and a record of Type `duplicate` for each copy.
#[derive(Debug)]
pub struct Repeated {
    pings: Vec<Ping>,
    /// Of each ping.
    copies: Vec<Copies>,
}

/// How often a ping was sent again.
#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    /// With the answer 200: each leaves a record.
    acknowledged: usize,
    /// With another answer or none: they may leave one or not.
    unknown: usize,
}

impl Repeated {
    /// Sends them the first time.
    ///
    /// # Panics
    /// When one is not acknowledged.
    pub fn first(host: &Host) -> Self {
        Self::first_to(host.platform.address())
    }

    /// The same where there is but an address.
    ///
    /// # Panics
    /// When one is not acknowledged.
    pub fn first_to(address: SocketAddr) -> Self {
        let pings: Vec<Ping> = (0..REPEATED).map(|n| ping(&json!(n))).collect();
        let statuses = post_all(address, &pings, CONNECTIONS);
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        Self { pings, copies: vec![Copies::default(); REPEATED] }
    }

    /// Sends them once more.
    ///
    /// # Panics
    /// When one is not acknowledged.
    pub fn again(&mut self, host: &Host) {
        let unknown = self.try_again(host.platform.address());
        assert_eq!(unknown, 0, "{}: copies were not acknowledged", host.name);
    }

    /// Sends them once more to a host that may be killed meanwhile; how many were not acknowledged.
    pub fn try_again(&mut self, address: SocketAddr) -> usize {
        let statuses = post_all(address, &self.pings, CONNECTIONS);
        for (copies, status) in self.copies.iter_mut().zip(&statuses) {
            let count = if *status == 200 { &mut copies.acknowledged } else { &mut copies.unknown };
            *count += 1;
        }
        statuses.iter().filter(|status| **status != 200).count()
    }

    /// Their ids, all of them acknowledged.
    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.pings.iter().map(|ping| &ping.id)
    }

    /// Copies that were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.copies.iter().map(|copies| copies.acknowledged).sum()
    }

    /// What is wrong with the records of copies, given by their document ids: no ping has more of them than it was sent again, and
    /// each acknowledged copy has one.
    pub fn wrong<'a>(&self, records: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut found: BTreeMap<&str, usize> = self.ids().map(|id| (id.as_str(), 0)).collect();
        let mut wrong = vec![];
        for id in records {
            match found.get_mut(id) {
                Some(count) => *count += 1,
                None => wrong.push(format!("{id} was sent once and is a duplicate")),
            }
        }
        let (acknowledged, unknown) = (self.acknowledged(), self.copies.iter().map(|copies| copies.unknown).sum::<usize>());
        eprintln!("{} copies recognised of {acknowledged} acknowledged and {unknown} without an answer", found.values().sum::<usize>());
        let mut unseen = 0;
        for (id, copies) in self.ids().zip(&self.copies) {
            let (count, most) = (found[id.as_str()], copies.acknowledged + copies.unknown);
            unseen += copies.acknowledged.saturating_sub(count);
            if count > most {
                wrong.push(format!("{id} has {count} records of {most} copies"));
            }
        }
        if unseen > 1 + acknowledged / COPIES_FOR_ONE_UNSEEN {
            wrong.push(format!("{unseen} of {acknowledged} acknowledged copies have no record"));
        }
        wrong
    }
}

/// Waits until everything was worked on and checks it, and that all hosts show the same: every acknowledged ping is in one place, in
/// one row; plugins counted each once; each alert is there once; copies were recognised.
///
/// # Panics
/// When something is not as it must be.
pub fn check(test: &str, hosts: Vec<Host>, repeated: &Repeated, folder: &Path) {
    let (loads, hosts): (Vec<Acknowledged>, Vec<Platform>) = hosts.into_iter().map(|host| (host.load.stop(), host.platform)).unzip();
    hosts[0].wait_drained(PATIENCE);
    let known: Vec<&String> = loads.iter().flat_map(|load| &load.ids).chain(repeated.ids()).collect();
    let (validated, errors) = read_all(&hosts[0], &known);
    let (duplicates, errors): (Vec<Value>, Vec<Value>) = errors.into_iter().partition(|message| message["type"] == "duplicate");
    let (valid, refused) = (ids(&validated), ids(&errors));
    let unknown: usize = loads.iter().map(|load| load.unknown.len()).sum();
    eprintln!("{} acknowledged, {unknown} without an answer; {} validated, {} errors", known.len(), validated.len(), errors.len());
    assert_eq!((valid.len(), refused.len()), (validated.len(), errors.len()), "some are there twice");
    assert_eq!(valid.intersection(&refused).next(), None, "a ping is in both of validated and errors");
    assert_eq!(repeated.wrong(duplicates.iter().map(|message| field(message, "documentId"))), Vec::<String>::new());
    check_graphs(&hosts, validated.len(), errors.len());
    check_alerts(&hosts);
    for host in &hosts {
        let beat = host.api("/__heartbeat__");
        assert_eq!(beat["status"], "ok", "{beat}");
    }
    check_lake(test, &lake(folder), &valid, &refused);
}

/// Reads `validated` and `errors` until all these pings are there: on a busy machine a reader may need longer to begin than a tap waits.
fn read_all(host: &Platform, known: &[&String]) -> (Vec<Value>, Vec<Value>) {
    let began = Instant::now();
    loop {
        let (validated, errors) = (tap(host, "validated"), tap(host, "errors"));
        let (valid, refused) = (ids(&validated), ids(&errors));
        let missing = known.iter().filter(|id| !valid.contains(**id) && !refused.contains(**id)).count();
        if missing == 0 {
            return (validated, errors);
        }
        assert!(began.elapsed() < PATIENCE, "{missing} acknowledged pings are missing: {}", host.api("/api/v1/streams"));
    }
}

fn ids(messages: &[Value]) -> BTreeSet<String> {
    messages.iter().map(|message| message["fields"]["documentId"].as_str().expect("a document id").to_owned()).collect()
}

fn check_graphs(hosts: &[Platform], validated: usize, errors: usize) {
    let graphs = [
        ("doctype-monitor", "test%2Fping%20volume", validated),
        ("doctype-monitor", "test%2Fping%20errors", errors),
        ("example-count", "messages%20by%20channel", validated),
    ];
    for (plugin, title, expected) in graphs {
        let path = format!("/api/v1/plugins/{plugin}/graphs/{title}");
        let counted = |graph: &Value| total(graph) == expected;
        let found = hosts.iter().map(|host| host.wait_for(&path, Duration::from_secs(20), counted).unwrap_or_else(|graph| graph));
        let found: Vec<Value> = found.collect();
        let totals: Vec<usize> = found.iter().map(total).collect();
        eprintln!("{plugin} {title}: {totals:?} of {expected}");
        assert!(totals.iter().all(|total| *total == expected));
        assert!(found.iter().all(|graph| rows(graph) == rows(&found[0])), "the hosts show different graphs");
    }
}

fn total(graph: &Value) -> usize {
    let cells = graph["data"].as_array().into_iter().flatten().filter_map(Value::as_array).flatten();
    cells.filter_map(Value::as_f64).sum::<f64>() as usize
}

/// The rows with data by their time: how far a graph's window has moved depends on when it is asked for.
fn rows(graph: &Value) -> Vec<(u64, &Value)> {
    let (start, width) = (graph["start"].as_u64().unwrap_or(0), graph["seconds_per_row"].as_u64().unwrap_or(0));
    let rows = (0..).zip(graph["data"].as_array().into_iter().flatten()).map(|(number, row)| (start + number * width, row));
    rows.filter(|(_, row)| row.as_array().into_iter().flatten().any(|cell| !cell.is_null())).collect()
}

/// Silence is noticed once, by whoever merges the graph, and shown by all.
fn check_alerts(hosts: &[Platform]) {
    let silent =
        |alerts: &Value| alerts.as_array().is_some_and(|alerts| alerts.iter().any(|alert| alert["id"].as_str().is_some_and(is_silence)));
    let found: Vec<Value> = hosts.iter().map(|host| host.wait_for("/api/v1/alerts", PATIENCE, silent).expect("an alert")).collect();
    let silences = found[0].as_array().into_iter().flatten().filter(|alert| alert["id"].as_str().is_some_and(is_silence));
    assert_eq!(silences.count(), 1, "{}", found[0]);
    assert!(found.iter().all(|alerts| *alerts == found[0]), "the hosts show different alerts: {found:?}");
}

fn is_silence(id: &str) -> bool {
    id.contains("test/ping") && id.contains("inactive")
}

/// Rows are there once, whichever host wrote them.
fn check_lake(test: &str, folder: &Path, valid: &BTreeSet<String>, refused: &BTreeSet<String>) {
    let complete = || {
        let lake = Lake::read(test, folder, &[])?;
        let (documents, errors) = (lake.documents(), lake.errors());
        let rows: BTreeSet<String> = documents.keys().map(|id| (*id).to_owned()).collect();
        let ids: BTreeSet<String> = errors.iter().map(|(id, _)| (*id).to_owned()).collect();
        assert_eq!(ids.len(), errors.len(), "rows of errors are there twice");
        Some(rows == *valid && ids == *refused)
    };
    let began = Instant::now();
    while let Some(false) = complete() {
        assert!(began.elapsed() < Duration::from_secs(30), "the lake is not complete");
        thread::sleep(Duration::from_secs(1));
    }
}
