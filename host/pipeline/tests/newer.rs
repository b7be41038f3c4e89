//! What a newer program wrote is not passed over: the partition stands still, it is said, and the others go on.

use std::{
    sync::{Arc, atomic::AtomicBool, mpsc},
    time::{Duration, Instant},
};
use tidemill_bus::{
    Bus, Compression, RecordBuf, SystemClock, TopicSpec,
    embedded::{EmbeddedBus, EmbeddedOptions},
    stopped,
};
use tidemill_pipeline::{
    analysis::{StageHandle, StepOptions},
    graphs::{Aggregation, Cell, ColumnShape, Delta, GRAPHS, GraphDelta, GraphShape, GraphsOptions, SourcePartition, graphs_worker},
    status::LiveState,
};

const BEGIN_S: i64 = 1_541_030_400;

fn delta() -> Vec<u8> {
    let shape = GraphShape { title: "volume".into(), rows: 60, seconds_per_row: 10 };
    let columns = vec![ColumnShape { name: "events".into(), unit: "count".into(), aggregation: Aggregation::Sum }];
    let cells = vec![Cell { column: 0, time_s: BEGIN_S, value: 1.0 }];
    let source = SourcePartition { topic: "validated".into(), partition: 0 };
    let graphs = vec![GraphDelta { shape, columns, rules: Vec::new(), cells }];
    Delta { source, watermark_ms: Some(BEGIN_S * 1_000), idle: false, graphs }.encode()
}

fn publish(bus: &dyn Bus, partition: u32, plugin: &str, value: &[u8]) {
    let (mut records, (sender, receiver)) = (RecordBuf::default(), mpsc::channel());
    records.push(0, plugin.as_bytes(), &[], value);
    bus.publish(GRAPHS, partition, records, Box::new(move |result| sender.send(result).expect("heard")));
    receiver.recv().expect("an answer").expect("durable");
}

fn positions(bus: &dyn Bus) -> Vec<i64> {
    let mut found: Vec<_> = bus.group_positions().expect("positions").into_iter().filter(|group| &*group.group == GRAPHS).collect();
    found.sort_by_key(|group| group.partition.partition);
    found.iter().map(|group| group.position).collect()
}

#[test]
fn a_change_of_graphs_that_a_newer_program_made_stops_its_partition_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::open(EmbeddedOptions::new(folder.path())).expect("opened"));
    let topic = |name: &str| TopicSpec { name: name.into(), partitions: 2, compacted: false, compression: Compression::None };
    bus.ensure_topics(&[GRAPHS, "alerts"].map(topic)).expect("topics");
    let newer = [&[2][..], &delta()[1..]].concat();
    for value in [&delta()[..], &delta(), &newer, &delta()] {
        publish(&*bus, 0, "behind", value);
    }
    (0..3).for_each(|_| publish(&*bus, 1, "other", &delta()));

    let step = StepOptions { step_ms: 10, ..StepOptions::default() };
    let live = Arc::new(LiveState::default());
    let options = GraphsOptions { step, ..GraphsOptions::default() };
    let worker = graphs_worker(&*bus, Arc::clone(&live), Arc::new(SystemClock::default()), options).expect("a worker");
    let handle = StageHandle::start("graphs", vec![move |stop: &AtomicBool| worker.run(stop)]).expect("started");
    let deadline = Instant::now() + Duration::from_secs(60);
    let total = |plugin: &str| {
        let graph = live.graph(plugin, "volume")?;
        Some(graph.data.iter().flatten().flatten().sum::<f64>())
    };
    while positions(&*bus) != [2, 3] || stopped::all().is_empty() {
        assert!(Instant::now() < deadline, "{:?} {:?}", positions(&*bus), stopped::all());
        std::thread::sleep(Duration::from_millis(20));
    }
    let why =
        "graphs of partition 0 \"behind\": a graph delta has format version 2; this program reads up to 1: start the newer program again";
    let [stopped] = &stopped::all()[..] else { panic!("one stands still: {:?}", stopped::all()) };
    assert_eq!((&stopped.stage[..], stopped.partition.partition, stopped.why.ends_with(why)), (GRAPHS, 0, true), "{}", stopped.why);
    publish(&*bus, 1, "other", &delta());
    while positions(&*bus) != [2, 4] {
        assert!(Instant::now() < deadline, "{:?}", positions(&*bus));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!((total("behind"), total("other")), (None, Some(4.0)), "what stands still is not shown, and not judged");
    assert!(handle.join());
    assert_eq!(positions(&*bus), [2, 4], "what the newer program wrote is still to be read");
}
