//! A bus in a folder, a clock that tests turn, and plugins that do what a test scripts.

use crate::{
    analysis::{Component, Deployed, Driver, Found, Guest, NewMessages, PluginsOptions, PluginsWork, StepOptions, analysis_worker},
    status::LiveState,
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tidemill_bus::{
    Bus, Clock, Compression, RecordBuf, Start, TopicPartition, TopicSpec,
    embedded::{EmbeddedBus, EmbeddedOptions},
    partition_of,
};
use tidemill_message::{MessageRef, MessageWriter};
use tidemill_runtime::{
    Batch, CallError, CallErrorKind, CallReport, ColumnKind, ColumnRequest, Delivery, Kind, Plan, Scope, Shape, Subscription,
};

/// 2018-11-01, in seconds: where event time begins in tests.
pub const BEGIN_S: i64 = 1_541_030_400;

/// A clock that moves only when told so.
#[derive(Debug, Default)]
pub struct Hand(Mutex<Duration>);

impl Hand {
    pub fn pass(&self, ms: u64) {
        *self.0.lock() += Duration::from_millis(ms);
    }
}

impl Clock for Hand {
    fn now_ns(&self) -> i64 {
        BEGIN_S * 1_000_000_000 + self.0.lock().as_nanos() as i64
    }

    fn elapsed(&self) -> Duration {
        *self.0.lock()
    }
}

/// A bus in a folder that outlives the stages of a test.
pub struct House {
    pub bus: Arc<dyn Bus>,
    pub clock: Arc<Hand>,
    pub live: Arc<LiveState>,
    _folder: TempDir,
}

impl House {
    pub fn new(partitions: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::open(EmbeddedOptions::new(folder.path())).expect("a bus"));
        let names = ["raw", "validated", "errors", "derived", "alerts", "graphs", "outbox-sender", "elsewhere"];
        let topics: Vec<_> = names
            .iter()
            .map(|name| TopicSpec { name: (*name).into(), partitions, compacted: false, compression: Compression::None })
            .collect();
        bus.ensure_topics(&topics).expect("topics");
        Self { bus, _folder: folder, clock: Arc::default(), live: Arc::default() }
    }

    /// Publishes messages numbered so, each a tenth of a second after the one before.
    pub fn publish(&self, topic: &str, numbers: std::ops::Range<i64>) {
        let partitions = self.bus.partitions(topic).expect("a topic");
        let mut records: BTreeMap<u32, RecordBuf> = BTreeMap::new();
        for number in numbers {
            let key = format!("id-{number}");
            let value = message(topic, number);
            records.entry(partition_of(key.as_bytes(), partitions)).or_default().push(number, key.as_bytes(), &[("tm-v", b"1")], &value);
        }
        for (partition, records) in records {
            let (sender, receiver) = crossbeam_channel::bounded(1);
            self.bus.publish(topic, partition, records, Box::new(move |result| sender.send(result).expect("somebody waits")));
            receiver.recv().expect("an answer").expect("durable");
        }
    }

    /// What is in a topic: each record's value, with its `tm-src`.
    pub fn read(&self, topic: &str) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for partition in 0..self.bus.partitions(topic).expect("a topic") {
            let place = TopicPartition { topic: topic.into(), partition };
            let mut reader = self.bus.reader(&place, Start::Beginning).expect("a reader");
            while let Some(batch) = reader.poll(Duration::ZERO).expect("records") {
                for (_, record) in batch.iter() {
                    let source = String::from_utf8_lossy(record.header("tm-src").unwrap_or_default()).into_owned();
                    found.push((source, record.value.to_vec()));
                }
            }
        }
        found
    }

    /// The field `number` of each message of a topic, sorted.
    pub fn numbers(&self, topic: &str) -> Vec<i64> {
        let number = |value: &[u8]| MessageRef::parse(value).expect("a message").field("number").and_then(|field| field.integer());
        let mut found: Vec<_> = self.read(topic).iter().filter_map(|(_, value)| number(value)).collect();
        found.sort_unstable();
        found
    }

    /// A text field of each message of a topic.
    pub fn texts(&self, topic: &str, name: &str) -> Vec<String> {
        let text = |value: &[u8]| {
            let message = MessageRef::parse(value).expect("a message");
            message.field(name).and_then(|field| field.bytes()).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        self.read(topic).iter().filter_map(|(_, value)| text(value)).collect()
    }

    pub fn options(&self, plugins: &[&Scripted]) -> PluginsOptions {
        let deployed = |plugin: &&Scripted| Deployed { component: Arc::new((*plugin).clone()), matcher: String::new() };
        PluginsOptions {
            bus: Arc::clone(&self.bus),
            live: Arc::clone(&self.live),
            clock: Arc::clone(&self.clock) as _,
            plugins: plugins.iter().map(deployed).collect(),
            workers: 1,
            step: StepOptions::default(),
            epoch: 0,
        }
    }

    pub fn analysis(&self, plugins: &[&Scripted]) -> Driver<PluginsWork> {
        analysis_worker(&self.options(plugins)).expect("a worker").never_wait()
    }

    /// Turns until everything is read and worked on, then commits.
    pub fn drain(&self, worker: &mut Driver<PluginsWork>) {
        let mut quiet = 0;
        for _ in 0..20_000 {
            self.clock.pass(10);
            worker.turn();
            quiet = if is_busy(worker) { 0 } else { quiet + 1 };
            if quiet > 3 && worker.commit() && !is_busy(worker) && self.is_read() {
                return;
            }
        }
        panic!("the stage does not come to an end");
    }

    fn is_read(&self) -> bool {
        let positions = self.bus.group_positions().expect("positions");
        self.bus.topics().expect("topics").iter().filter(|topic| ["validated", "errors"].contains(&&*topic.name)).all(|topic| {
            (0u32..).zip(&topic.partitions).all(|(partition, range)| {
                let place = TopicPartition { topic: Arc::clone(&topic.name), partition };
                let is_there = |group: &tidemill_bus::GroupPosition| group.partition == place && group.position == range.end;
                range.end == 0 || positions.iter().any(is_there)
            })
        })
    }
}

fn is_busy(worker: &mut Driver<PluginsWork>) -> bool {
    worker.work().slots().any(|slot| !slot.is_drained() || !slot.joined)
}

/// A message: field `number`, and a document `{"n": number}`.
pub fn message(topic: &str, number: i64) -> Vec<u8> {
    let mut value = Vec::new();
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&number.to_le_bytes());
    MessageWriter::new(&mut value, &uuid, BEGIN_S * 1_000_000_000 + number * 100_000_000)
        .type_(topic.as_bytes())
        .logger(b"test")
        .field_integer("number", "", number)
        .field_string("documentId", format!("id-{number}").as_bytes())
        .field_bytes("submission", "json", format!(r#"{{"n": {number}}}"#).as_bytes());
    value
}

/// What a scripted plugin sees of a row, and what it has counted.
pub struct Seen<'a> {
    pub number: i64,
    pub time_ns: i64,
    pub row: u32,
    pub found: &'a mut Found,
    pub deliveries: &'a mut Vec<Delivery>,
}

type Script = dyn Fn(&mut Seen<'_>) -> Result<(), CallErrorKind> + Send + Sync;
type Tick = dyn Fn(i64, u64, &mut Found) + Send + Sync;

/// A plugin whose state is how many rows it counted and the sum of their numbers.
#[derive(Clone)]
pub struct Scripted {
    pub name: &'static str,
    pub kind: Kind,
    pub scope: Scope,
    pub tick_ms: u32,
    pub matcher: &'static str,
    pub script: Arc<Script>,
    pub tick: Arc<Tick>,
    pub has_state: bool,
    pub opened: Arc<AtomicU64>,
    pub fails_to_open: Arc<AtomicU64>,
    pub fails_to_save: Arc<AtomicU64>,
    /// What a failing call costs.
    pub clock: Arc<Hand>,
}

impl Scripted {
    pub fn new(
        name: &'static str,
        house: &House,
        script: impl Fn(&mut Seen<'_>) -> Result<(), CallErrorKind> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            kind: Kind::Analysis,
            scope: Scope::Partition,
            tick_ms: 0,
            matcher: "Type == 'validated'",
            script: Arc::new(script),
            tick: Arc::new(|_, _, _| {}),
            has_state: true,
            opened: Arc::default(),
            fails_to_open: Arc::default(),
            fails_to_save: Arc::default(),
            clock: Arc::clone(&house.clock),
        }
    }

    fn plan(&self) -> Plan {
        let column = |path: &str| ColumnRequest { path: path.into(), kind: ColumnKind::Int64, shape: Shape::One, required: true };
        let columns = vec![column("Timestamp"), column("/n")];
        let subscription = Subscription { matcher: self.matcher.into(), columns, scope: self.scope, tick_ms: self.tick_ms };
        Plan { subscription, fields: Vec::new(), section_plans: Vec::new() }
    }
}

/// Emits each row's number as a message.
pub fn echo(seen: &mut Seen<'_>) -> Result<(), CallErrorKind> {
    emit(seen.found, seen.row, seen.number, seen.time_ns);
    Ok(())
}

pub fn emit(found: &mut Found, row: u32, number: i64, time_ns: i64) {
    let mut value = Vec::new();
    let mut uuid = [1; 16];
    uuid[..8].copy_from_slice(&number.to_le_bytes());
    MessageWriter::new(&mut value, &uuid, time_ns).type_(b"echo").field_integer("number", "", number);
    if let NewMessages::Listed(messages) = &mut found.messages {
        messages.push((row, String::new(), value));
    }
}

pub fn call_error(kind: CallErrorKind) -> CallError {
    CallError {
        kind,
        message: format!("scripted {}", kind.error_type()),
        backtrace: "a frame".into(),
        fuel: 7,
        limit: None,
        log: Vec::new(),
    }
}

impl Component for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    fn version(&self) -> &str {
        "v1"
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn has_state(&self) -> bool {
        self.has_state
    }

    fn has_timers(&self) -> bool {
        self.tick_ms > 0
    }

    fn open(&self) -> Result<Box<dyn Guest>, CallError> {
        if take_one(&self.fails_to_open) {
            return Err(call_error(CallErrorKind::Trap));
        }
        self.opened.fetch_add(1, Ordering::Relaxed);
        let report = CallReport { fuel: 1, memory_bytes: 1_000, ..CallReport::default() };
        Ok(Box::new(ScriptedGuest { plugin: self.clone(), plan: self.plan(), count: 0, sum: 0, report }))
    }
}

fn take_one(counter: &AtomicU64) -> bool {
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

struct ScriptedGuest {
    plugin: Scripted,
    plan: Plan,
    count: u64,
    sum: i64,
    report: CallReport,
}

impl ScriptedGuest {
    fn run(&mut self, batch: &Batch) -> Result<(Found, Vec<Delivery>), CallError> {
        let (mut found, mut deliveries) = (Found::default(), Vec::new());
        let cells: Vec<_> = batch.columns.int64s.chunks(8).map(|cell| i64::from_le_bytes(cell.try_into().expect("8 bytes"))).collect();
        let (times, numbers) = cells.split_at(batch.rows as usize);
        for (row, (time_ns, number)) in (0u32..).zip(times.iter().zip(numbers)) {
            let (number, time_ns) = (*number, *time_ns);
            let mut seen = Seen { number, time_ns, row, found: &mut found, deliveries: &mut deliveries };
            if let Err(kind) = (self.plugin.script)(&mut seen) {
                self.plugin.clock.pass(50);
                return Err(call_error(kind));
            }
            self.count += 1;
            self.sum += number;
        }
        Ok((found, deliveries))
    }
}

impl Guest for ScriptedGuest {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn process(&mut self, batch: &Batch) -> Result<Found, CallError> {
        self.run(batch).map(|(found, _)| found)
    }

    fn write(&mut self, batch: &Batch) -> Result<Vec<Delivery>, CallError> {
        self.run(batch).map(|(_, deliveries)| deliveries)
    }

    fn on_timer(&mut self, now_ms: i64) -> Result<Found, CallError> {
        let mut found = Found::default();
        (self.plugin.tick)(now_ms, self.count, &mut found);
        Ok(found)
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, CallError> {
        if take_one(&self.plugin.fails_to_save) {
            return Err(call_error(CallErrorKind::Trap));
        }
        Ok([self.count.to_le_bytes(), self.sum.to_le_bytes()].concat())
    }

    fn restore(&mut self, bytes: &[u8], from_version: &str) -> Result<(), CallError> {
        assert_eq!((bytes.len(), from_version), (16, "v1"));
        self.count = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
        self.sum = i64::from_le_bytes(bytes[8..].try_into().expect("8 bytes"));
        Ok(())
    }

    fn report(&self) -> &CallReport {
        &self.report
    }
}

/// Count and sum of the states that all slots of a plugin last saved.
pub fn saved_state(worker: &mut Driver<PluginsWork>, plugin: &str) -> (u64, i64) {
    let states = worker.work().slots().filter(|slot| slot.spec.name() == plugin).filter_map(|slot| slot.saved_state());
    states.fold((0, 0), |(count, sum), state| {
        let number = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().expect("8 bytes"));
        (count + number(&state[..8]) as u64, sum + number(&state[8..]))
    })
}
