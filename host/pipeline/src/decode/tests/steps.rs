//! Steps: all or nothing, and again where one fails.

use super::support::*;
use crate::decode::{Decoder, Fence, StepLimits, Worker, WorkerParts};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tidemill_bus::{BusError, Clock, Event, FetchedBatch, Member, Step, SystemFiles, TopicPartition};

/// A member with its records in memory, whose commits fail when told so.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    records: Vec<Vec<u8>>,
    assigned: bool,
    revoke: bool,
    position: i64,
    committed: i64,
    batch_max: usize,
    published: Vec<Out>,
    commits: Vec<Vec<(TopicPartition, i64)>>,
    fail_commits: Vec<BusError>,
    seeks: Vec<i64>,
    fail_polls: Vec<BusError>,
    paused: Vec<TopicPartition>,
}

impl Memory {
    fn new(records: &[Vec<u8>], batch_max: usize) -> Self {
        let state = State { records: records.to_vec(), position: 100, committed: 100, batch_max, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl Member for Memory {
    fn poll(&mut self, _: Duration) -> Result<Event, BusError> {
        let mut state = self.0.lock();
        if !state.assigned {
            state.assigned = true;
            return Ok(Event::Assigned(vec![(raw_partition(3), state.committed)]));
        }
        if let Some(error) = state.fail_polls.pop() {
            return Err(error);
        }
        if std::mem::take(&mut state.revoke) {
            return Ok(Event::Revoked(vec![raw_partition(3)]));
        }
        let from = (state.position - 100) as usize;
        let records: Vec<_> = state.records.iter().skip(from).take(state.batch_max).cloned().collect();
        if records.is_empty() {
            return Ok(Event::Idle);
        }
        let all = batch(&records);
        let offsets = all.offsets.iter().map(|offset| offset + from as i64).collect();
        state.position += records.len() as i64;
        Ok(Event::Batch(FetchedBatch { offsets, ..all }))
    }

    fn commit(&mut self, step: Step) -> Result<(), BusError> {
        let mut state = self.0.lock();
        if let Some(error) = state.fail_commits.pop() {
            return Err(error);
        }
        state.published.extend(outs(&step));
        for (_, position) in &step.positions {
            state.committed = *position;
        }
        state.commits.push(step.positions);
        Ok(())
    }

    fn checkpoint(&mut self, _: &str) -> Result<Option<Bytes>, BusError> {
        Ok(None)
    }

    fn seek(&mut self, _: &TopicPartition, offset: i64) -> Result<(), BusError> {
        let mut state = self.0.lock();
        state.position = offset;
        state.seeks.push(offset);
        Ok(())
    }

    fn pause(&mut self, partition: &TopicPartition, _: bool) -> Result<(), BusError> {
        self.0.lock().paused.push(partition.clone());
        Ok(())
    }
}

/// A clock that a test turns.
#[derive(Debug, Default)]
struct Hand(Mutex<Duration>);

impl Clock for Hand {
    fn now_ns(&self) -> i64 {
        TIMESTAMP
    }

    fn elapsed(&self) -> Duration {
        *self.0.lock()
    }
}

struct Bench {
    worker: Worker,
    memory: Memory,
    clock: Arc<Hand>,
}

fn bench(records: &[Vec<u8>], batch_max: usize, adjust: impl FnOnce(&mut Decoder), fence: Option<&std::path::Path>) -> Bench {
    let mut decoder = Decoder::new(&settings(own_registry())).expect("a decoder");
    adjust(&mut decoder);
    let memory = Memory::new(records, batch_max);
    let clock = Arc::new(Hand::default());
    let fence = fence.map(|folder| {
        let fence = Arc::new(Fence::open(Arc::new(SystemFiles), folder).expect("opens"));
        let note = fence.note(0).expect("a note");
        (fence, note)
    });
    let member = Box::new(memory.clone());
    let worker = Worker::new(WorkerParts {
        member,
        decoder,
        limits: StepLimits::default(),
        clock: Arc::clone(&clock) as _,
        fence,
        duplicates: None,
    });
    Bench { worker, memory, clock }
}

impl Bench {
    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.worker.turn();
        }
    }

    fn pass(&self, milliseconds: u64) {
        *self.clock.0.lock() += Duration::from_millis(milliseconds);
    }

    fn published(&self) -> Vec<(i64, String)> {
        self.memory.0.lock().published.iter().map(|out| (out.offset(), out.topic.clone())).collect()
    }
}

fn pages(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|at| raw(&format!("/submit/web/page/1/id-{at}"), format!(r#"{{"a": {at}}}"#).as_bytes())).collect()
}

fn all_validated(count: i64) -> Vec<(i64, String)> {
    (100..100 + count).map(|offset| (offset, "validated".to_owned())).collect()
}

#[test]
fn a_step_ends_after_its_time() {
    let mut bench = bench(&pages(4), 2, |_| {}, None);
    bench.turns(3);
    assert_eq!(bench.published(), [], "the step is still open");
    bench.pass(100);
    bench.turns(1);
    assert_eq!(bench.published(), all_validated(4));
    assert_eq!(bench.memory.0.lock().commits, [vec![(raw_partition(3), 104)]]);
    bench.pass(1000);
    bench.turns(3);
    assert_eq!(bench.memory.0.lock().commits.len(), 1, "nothing to commit");
}

#[test]
fn a_failed_step_is_done_again_exactly_once() {
    for error in [BusError::Unavailable("broker away".to_owned()), BusError::Fenced("another host".to_owned())] {
        let mut bench = bench(&pages(5), 2, |_| {}, None);
        bench.turns(2);
        bench.pass(100);
        bench.memory.0.lock().fail_commits.push(error);
        assert!(bench.worker.turn().is_some(), "it waits before it tries again");
        assert_eq!((bench.published(), bench.memory.0.lock().seeks.clone()), (vec![], vec![100]));
        bench.turns(4);
        bench.pass(100);
        bench.turns(1);
        assert_eq!(bench.published(), all_validated(5));
    }
}

#[test]
fn a_partition_whose_messages_are_gone_is_told_and_a_bus_that_is_away_is_asked_again() {
    let mut bench = bench(&pages(2), 2, |_| {}, None);
    let gone = BusError::OutOfRange { partition: raw_partition(9), position: 5, start: 7, end: 9 };
    bench.memory.0.lock().fail_polls.extend([gone, BusError::Unavailable("broker away".to_owned())]);
    bench.turns(1);
    let pauses = [bench.worker.turn(), bench.worker.turn()];
    assert_eq!(pauses.iter().flatten().count(), 1, "it waits before it asks a bus again that is away");
    assert!(bench.memory.0.lock().seeks.is_empty(), "the partition stays where it is");
    bench.turns(1);
    bench.pass(100);
    bench.turns(1);
    let published = bench.published();
    assert_eq!(published.iter().filter(|(_, topic)| topic == "alerts").count(), 1);
    assert_eq!(published.into_iter().filter(|(_, topic)| topic != "alerts").collect::<Vec<_>>(), all_validated(2));
}

#[test]
fn pauses_grow_and_end_with_success() {
    let mut bench = bench(&pages(1), 1, |_| {}, None);
    bench.memory.0.lock().fail_commits.extend((0..3).map(|_| BusError::Full("no room".to_owned())));
    let mut pauses = Vec::new();
    for _ in 0..20 {
        bench.pass(100);
        pauses.extend(bench.worker.turn().map(|pause| pause.as_millis()));
    }
    assert_eq!(pauses, [50, 100, 200]);
    assert_eq!(bench.published(), all_validated(1));
}

#[test]
fn what_is_decoded_is_committed_before_a_partition_goes() {
    let mut bench = bench(&pages(2), 2, |_| {}, None);
    bench.turns(2);
    bench.memory.0.lock().revoke = true;
    bench.turns(1);
    assert_eq!(bench.published(), all_validated(2));
}

#[test]
fn a_message_that_makes_the_code_panic_is_an_error_and_its_neighbours_are_not() {
    let mut records = pages(5);
    records[2] = raw("/submit/web/page/1/evil", br#"{"a": 666}"#);
    let mut bench = bench(&records, 5, |decoder| decoder.panic_on = Some(br#"{"a": 666}"#), None);
    bench.turns(3);
    bench.pass(100);
    bench.turns(1);
    let mut expected = all_validated(5);
    expected[2].1 = "errors".to_owned();
    assert_eq!(bench.published(), expected);
    let state = bench.memory.0.lock();
    let error = &state.published[2];
    assert_eq!(error.field("DecodeErrorType").as_deref(), Some("internal"));
    assert_eq!(error.field("DecodeError").as_deref(), Some("the message could not be decoded: the decoder failed"));
    assert!(error.field("DecodeErrorDetail").is_some_and(|detail| detail.contains("as the test wants")));
    assert_eq!(error.field("content").as_deref(), Some(r#"{"a": 666}"#));
    assert_eq!(error.field("documentId").as_deref(), Some("evil"));
}

#[test]
fn a_message_that_killed_the_process_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let range = |first, last| crate::decode::SourceRange { incarnation: "inc".into(), partition: 3, first, last };
    for noted in [range(100, 104), range(100, 104), range(102, 102), range(102, 102)] {
        let fence = Fence::open(Arc::new(SystemFiles), folder.path()).expect("opens");
        fence.note(0).and_then(|note| note.set(&noted)).expect("noted");
    }
    let mut bench = bench(&pages(5), 5, |_| {}, Some(folder.path()));
    bench.turns(2);
    bench.pass(100);
    bench.turns(1);
    let mut expected = all_validated(5);
    expected[2].1 = "errors".to_owned();
    assert_eq!(bench.published(), expected);
    let detail = bench.memory.0.lock().published[2].field("DecodeErrorDetail");
    assert_eq!(detail.as_deref(), Some("the process died while it decoded this message"));
    let suspects = std::fs::read_to_string(folder.path().join("suspects")).expect("there");
    assert_eq!(suspects, "tidemill-suspects 1", "what is committed is no suspect any more");
}

#[test]
fn a_large_batch_makes_several_steps() {
    let records = pages(100);
    let bytes = records.iter().map(Vec::len).sum::<usize>();
    let memory = Memory::new(&records, 100);
    let decoder = Decoder::new(&settings(own_registry())).expect("a decoder");
    let limits = StepLimits { step_ms: 100, step_bytes_max: 1, slice_bytes_max: bytes / 10, ..StepLimits::default() };
    let parts =
        WorkerParts { member: Box::new(memory.clone()), decoder, limits, clock: Arc::new(Hand::default()), fence: None, duplicates: None };
    let mut worker = Worker::new(parts);
    worker.turn();
    worker.turn();
    let state = memory.0.lock();
    assert!((10..=12).contains(&state.commits.len()), "{} steps", state.commits.len());
    assert_eq!(state.committed, 200);
    let offsets: BTreeMap<_, _> = state.published.iter().map(|out| (out.offset(), &out.topic)).collect();
    assert_eq!((offsets.len(), state.published.len()), (100, 100));
}
