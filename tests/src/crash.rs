//! Crash runs: a platform under load that is ended again and again, at random and at named points, and in the end is asked what
//! became of every ping.
//!
//! One data folder lives through all rounds. Plugins of every sort are deployed: with state, driven by time, with several messages
//! for each ping (all three `tests/guests/witness`), with graphs, and with deliveries; what they said is in two HTTP sinks.

use crate::{Acknowledged, BusSetup, HttpSink, Lake, Load, Ping, Platform, Setup, component, group::Repeated, plugin};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};
use tidemill_bus::{CRASH_POINTS, CrashPoint, Where, faults::CRASH_AT_VARIABLE, partition_of};

/// What is posted at most, a second, while a platform is up that has the machine to itself; the promise is for 2,000.
pub const CRASH_RUN_RATE: f64 = 3_000.0;
const CONNECTIONS: usize = 64;
const PARTITIONS: u32 = 8;
/// How long a round waits until its point is reached.
const REACH_MAX: Duration = Duration::from_secs(40);
/// How long the end waits until everything was read, and then until it is right.
const DRAIN_MAX: Duration = Duration::from_secs(60);
const SETTLE_MAX: Duration = Duration::from_secs(20);

/// Copies are sent in each of the first rounds, and then in one of so many: a copy in 16,384 may leave no record, and must not hide
/// among them that others have none.
const ROUNDS_WITH_COPIES: usize = 20;
const COPIES_EVERY: usize = 8;

/// How a round ends.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// At a point, when it is reached for the nth time.
    At(&'static str, u64),
    /// `kill -9` after so long.
    After(Duration),
}

/// A crash run that is under way.
pub struct CrashRun {
    test: &'static str,
    platform: Platform,
    load: Load,
    repeated: Repeated,
    pings: HttpSink,
    witness: HttpSink,
    /// Points that were not reached.
    missed: BTreeSet<&'static str>,
    _schemas: tempfile::TempDir,
}

impl CrashRun {
    /// Starts the platform and a load of so many pings a second; `None`, after a line that names the test, where a tool is missing.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(test: &'static str, bus: BusSetup, rate: f64) -> Option<Self> {
        let schemas = tempfile::tempdir().expect("a folder");
        let (pings, witness) = (HttpSink::start(3), HttpSink::start(0));
        let setup = setup(test, bus, schemas.path(), &pings, &witness)?;
        let platform = Platform::start(&setup);
        let repeated = Repeated::first_to(platform.address());
        let load = Load::start(platform.address(), CONNECTIONS, rate, make);
        Some(Self { test, platform, load, repeated, pings, witness, missed: BTreeSet::new(), _schemas: schemas })
    }

    /// Ends the platform as the cut says; the first cut of a run is a `kill -9`, for the platform runs already.
    ///
    /// # Panics
    /// When a key was delivered with two bodies, or the platform ended in another way than the cut says.
    pub fn round(&mut self, number: usize, cut: Cut) {
        let began = Instant::now();
        let up = match cut {
            Cut::At(name, nth) => {
                let listens = self.restart(Some((name, nth)));
                let up = began.elapsed();
                if listens {
                    self.send_copies(number);
                }
                if !self.platform.wait_crash(name, REACH_MAX) {
                    self.missed.insert(name);
                    self.platform.kill();
                }
                up
            }
            Cut::After(time) => {
                if !self.platform.is_running() {
                    self.restart(None);
                }
                let up = began.elapsed();
                thread::sleep(time);
                self.send_copies(number);
                self.platform.kill();
                up
            }
        };
        self.load.set_address(None);
        let (up, all) = (up.as_secs_f64(), began.elapsed().as_secs_f64());
        eprintln!("{}: round {number}: {cut:?}; up after {up:.1} s, ended after {all:.1} s", self.test);
        for sink in [&self.pings, &self.witness] {
            assert_eq!(sink.conflict(), None, "a key came with two bodies");
        }
    }

    fn send_copies(&mut self, round: usize) {
        if round < ROUNDS_WITH_COPIES || round.is_multiple_of(COPIES_EVERY) {
            self.repeated.try_again(self.platform.address());
        }
    }

    /// Starts it again; `false` where it came to its point before it listened.
    fn restart(&mut self, crash_at: Option<(&str, u64)>) -> bool {
        let variable = crash_at.map(|(name, nth)| (CRASH_AT_VARIABLE, format!("{name}:{nth}")));
        self.platform.set_environment(variable.as_slice());
        let listens = self.platform.try_restart();
        assert!(listens || crash_at.is_some(), "it does not listen");
        if listens {
            self.load.set_address(Some(self.platform.address()));
        }
        listens
    }

    /// The points that rounds were to end at and did not.
    pub fn missed(&self) -> &BTreeSet<&'static str> {
        &self.missed
    }

    /// Starts the platform once more, ends the load, lets everything be worked off and says what is not as promised.
    ///
    /// # Panics
    /// When the platform does not start or end, or a tool fails.
    pub fn finish(mut self) -> Vec<String> {
        self.restart(None);
        thread::sleep(Duration::from_secs(1));
        let acknowledged = self.load.stop();
        let began = Instant::now();
        self.platform.wait_drained(DRAIN_MAX);
        eprintln!("{}: drained after {:.1} s", self.test, began.elapsed().as_secs_f64());
        let began = Instant::now();
        // Ticks of idle partitions, graphs and deliveries are a little behind.
        let copies = self.repeated.acknowledged();
        while !Told::read(&self.pings, &self.witness).is_plausible(copies) && began.elapsed() < SETTLE_MAX {
            thread::sleep(Duration::from_millis(250));
        }
        let graphs = graph_totals(&self.platform);
        let ended = self.platform.terminate();
        let told = Told::read(&self.pings, &self.witness);
        let mut wrong = vec![];
        if ended.code != Some(0) {
            wrong.push(format!("SIGTERM ended it with {:?}", ended.code));
        }
        match Lake::read(self.test, &self.platform.lake(), &[]) {
            Some(lake) => check(self.test, &acknowledged, &self.repeated, &lake, &told, &graphs, &mut wrong),
            None => eprintln!("SKIPPED {}: what became of the pings", self.test),
        }
        if !wrong.is_empty() {
            self.platform.show_log();
        }
        wrong
    }
}

/// The cuts of a run, in an order that the seed decides: every point of this bus as often as the rounds allow, and `kill -9` at
/// random in what is left, at least at the beginning.
pub fn cuts(rounds: usize, on_kafka: bool, seed: u64) -> Vec<Cut> {
    let mut dice = Dice(seed);
    let is_met = |point: &&CrashPoint| point.on == Where::Everywhere || (point.on == Where::Embedded && !on_kafka);
    let names: Vec<&'static str> = CRASH_POINTS.iter().filter(is_met).map(|point| point.name).collect();
    let whole = (rounds.saturating_sub(1) / names.len()).max(1);
    let mut drawn: Vec<Option<&'static str>> = names.iter().copied().cycle().take(whole * names.len()).map(Some).collect();
    drawn.resize(drawn.len().max(rounds.saturating_sub(1)), None);
    // There must be something to come back to: on Kafka the groups take a few seconds to begin.
    let mut cuts = vec![Cut::After(Duration::from_millis(if on_kafka { 8_000 } else { 1_500 }))];
    while cuts.len() < rounds {
        cuts.push(match drawn.swap_remove(dice.below(drawn.len() as u64) as usize) {
            None => Cut::After(Duration::from_millis(200 + dice.below(2_000))),
            Some(name) => Cut::At(name, 1 + dice.below(often(name))),
        });
    }
    cuts
}

/// How often a point is passed in about two seconds: a round ends somewhere in them.
fn often(name: &str) -> u64 {
    match name {
        "log-before-sync" | "log-after-sync" => 400,
        "step-before-commit" | "step-after-commit" | "checkpoint" => 60,
        "outbox-before-attempt" | "outbox-after-attempt" => 20,
        "restore" | "lake-before-commit" | "lake-after-commit" | "lake-before-position" => 6,
        _ => 1,
    }
}

/// A small generator (splitmix64).
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below this.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

/// Pings of a type of the test's own; every tenth breaks its schema.
fn make(number: u64) -> Ping {
    let n = if number % 10 == 9 { json!("nine") } else { json!(number) };
    Ping::new(|id| format!("/submit/test/ping/1/{id}"), json!({"n": n, "text": "small"}).to_string().as_bytes())
}

fn setup(test: &str, bus: BusSetup, schemas: &Path, pings: &HttpSink, witness: &HttpSink) -> Option<Setup> {
    let place = schemas.join("test/ping");
    fs::create_dir_all(&place).expect("made");
    let schema = r#"{"type": "object", "properties": {"n": {"type": "integer"}, "text": {"type": "string"}}, "required": ["n"]}"#;
    fs::write(place.join("ping.1.schema.json"), schema).expect("written");
    let (witnesses, sender) = (component(test, "witness")?, component(test, "http-json")?);
    let mut setup = Setup::new(bus, PARTITIONS, vec![schemas.to_owned()]);
    setup.lake_interval_s = 0.25;
    setup.keys = vec![
        ("bus.embedded.segment_bytes", json!(2 << 20)),
        ("bus.embedded.retention_bytes", json!(16 << 20)),
        ("lake.upkeep_interval_s", json!(0.5)),
        ("lake.small_files_max", json!(4)),
        ("lake.checkpoint_commits", json!(10)),
    ];
    let monitor = json!({"rows": 1440, "seconds_per_row": 60, "inactive_rows": 1000});
    let told = |name: &str, matcher: &str, sink: &HttpSink| {
        let config = json!({"url": sink.url(), "matcher": matcher, "fields": ["documentId"]});
        plugin(name, &sender, config, &[sink.authority()])
    };
    setup.plugins = vec![
        plugin("doctype-monitor", &component(test, "doctype-monitor")?, monitor, &[]),
        plugin("stateful", &witnesses, json!({"mode": "stateful"}), &[]),
        plugin("timed", &witnesses, json!({"mode": "timed"}), &[]),
        plugin("several", &witnesses, json!({"mode": "several"}), &[]),
        told("send-pings", "Type == 'validated' || Type == 'duplicate'", pings),
        told("send-witness", "Type == 'witness'", witness),
    ];
    Some(setup)
}

/// What the sinks were told, each key once.
#[derive(Debug, Default)]
struct Told {
    /// Document ids of validated pings, and how often each came.
    pings: BTreeMap<String, u32>,
    /// Document ids of the records of copies.
    copies: Vec<String>,
    /// The numbers of `stateful`, and how often each came.
    stateful: BTreeMap<u64, u32>,
    /// The sum of `timed`.
    timed: u64,
    /// Document id and number of `several`.
    several: BTreeMap<(String, u64), u32>,
}

impl Told {
    fn read(pings: &HttpSink, witness: &HttpSink) -> Self {
        let mut told = Self::default();
        let id = |line: &Value| line["documentId"].as_str().unwrap_or_default().to_owned();
        pings.each_line(|line| match line["type"].as_str() {
            Some("duplicate") => told.copies.push(id(&line)),
            _ => *told.pings.entry(id(&line)).or_default() += 1,
        });
        witness.each_line(|line| {
            let number = line["payload"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
            match line["logger"].as_str() {
                Some("stateful") => *told.stateful.entry(number).or_default() += 1,
                Some("timed") => told.timed += number,
                _ => *told.several.entry((id(&line), number)).or_default() += 1,
            }
        });
        told
    }

    /// Whether nothing seems to be on its way any more; so many copies were acknowledged.
    fn is_plausible(&self, copies: usize) -> bool {
        let count = self.pings.len() as u64;
        self.copies.len() >= copies
            && self.timed == count
            && self.several.len() as u64 == 2 * count
            && self.stateful.values().map(|n| u64::from(*n)).sum::<u64>() == count
    }
}

/// Validated and failed pings, as the monitor counted them.
fn graph_totals(platform: &Platform) -> [u64; 2] {
    ["volume", "errors"].map(|graph| {
        let graph = platform.api(&format!("/api/v1/plugins/doctype-monitor/graphs/test%2Fping%20{graph}"));
        let cells = graph["data"].as_array().into_iter().flatten().filter_map(Value::as_array).flatten();
        cells.filter_map(Value::as_f64).sum::<f64>() as u64
    })
}

fn check(
    test: &str,
    acknowledged: &Acknowledged,
    repeated: &Repeated,
    lake: &Lake,
    told: &Told,
    graphs: &[u64; 2],
    wrong: &mut Vec<String>,
) {
    let rows: Vec<&str> =
        lake.tables.iter().filter(|(name, _)| *name != "errors").flat_map(|(_, table)| &table.ids).map(String::as_str).collect();
    let refused: Vec<&str> = lake.errors().into_iter().map(|(id, _)| id).collect();
    let (documents, errors): (BTreeSet<&str>, BTreeSet<&str>) = (rows.iter().copied().collect(), refused.iter().copied().collect());
    let Acknowledged { ids, unknown, by_second, .. } = acknowledged;
    let (up, rate) = (acknowledged.answering().as_secs_f64(), acknowledged.rate_while_answering());
    let [whole, count, unanswered, found, failed] = [by_second.len(), ids.len(), unknown.len(), rows.len(), refused.len()];
    eprintln!("{test}: {count} acknowledged in {whole} s, {unanswered} without an answer; {found} rows, {failed} in errors");
    eprintln!("{test}: {rate:.0}/s in the {up:.1} s in which it answered");
    wrong.extend(repeated.wrong(told.copies.iter().map(String::as_str)));
    let mut expect = |what: &str, count: usize| {
        if count > 0 {
            wrong.push(format!("{count} {what}"));
        }
    };
    let is_in = |id: &&String| documents.contains(id.as_str()) || errors.contains(id.as_str());
    let known = || ids.iter().chain(repeated.ids());
    let sent: BTreeSet<&str> = known().chain(unknown).map(String::as_str).collect();
    expect("acknowledged pings are nowhere", known().filter(|id| !is_in(id)).count());
    expect("pings are in the lake and in errors", documents.intersection(&errors).count());
    expect("rows are there twice", rows.len() - documents.len() + refused.len() - errors.len());
    expect("pings were never sent", documents.union(&errors).filter(|id| !sent.contains(*id)).count());
    expect("validated pings were not delivered", documents.iter().filter(|id| !told.pings.contains_key(**id)).count());
    expect("deliveries are of no row", told.pings.keys().filter(|id| !documents.contains(id.as_str())).count());
    expect("pings were delivered under two keys", told.pings.values().filter(|count| **count > 1).count());
    let several = documents.iter().flat_map(|id| [((*id).to_owned(), 0), ((*id).to_owned(), 1)]);
    expect("messages of `several` are missing or twice", several.filter(|one| told.several.get(one) != Some(&1)).count());
    expect("messages of `several` are too many", told.several.len().saturating_sub(2 * documents.len()));
    expect("numbers of `stateful` are wrong", wrong_numbers(&documents, &told.stateful));
    expect("pings that `timed` counted wrongly", told.timed.abs_diff(documents.len() as u64) as usize);
    expect("validated pings that the monitor counted wrongly", graphs[0].abs_diff(documents.len() as u64) as usize);
    expect("errors that the monitor counted wrongly", graphs[1].abs_diff(errors.len() as u64) as usize);
}

/// In a partition of n messages each of 1 to n was said once.
fn wrong_numbers(documents: &BTreeSet<&str>, said: &BTreeMap<u64, u32>) -> usize {
    let mut partitions = [0u64; PARTITIONS as usize];
    documents.iter().for_each(|id| partitions[partition_of(id.as_bytes(), PARTITIONS) as usize] += 1);
    let most = partitions.iter().copied().max().unwrap_or(0).max(said.keys().copied().max().unwrap_or(0));
    let expected = |number: u64| partitions.iter().filter(|count| **count >= number).count() as u32;
    (1..=most).filter(|number| said.get(number).copied().unwrap_or(0) != expected(*number)).count()
}
