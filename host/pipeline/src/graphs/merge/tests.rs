use super::*;
use crate::graphs::{
    delta::{Declared, Pending},
    shape::{Aggregation, ColumnShape},
};

const WIDTH: u32 = 10;

fn rule(id: &str, test: Test, threshold: f64, window_rows: u32, throttle_s: u32) -> RuleShape {
    RuleShape { column: 0, id: id.into(), test, threshold, window_rows, throttle_s }
}

fn all_rules() -> Vec<RuleShape> {
    vec![
        rule("quiet", Test::Inactive, 0.0, 2, 0),
        rule("high", Test::Above, 30.0, 1, 25),
        rule("low", Test::Below, 3.0, 2, 0),
        rule("change", Test::PercentChange, 50.0, 2, 0),
    ]
}

fn declared(rules: Vec<RuleShape>) -> Declared {
    let mut declared = Declared::default();
    declared.graph(GraphShape { title: "volume".into(), rows: 60, seconds_per_row: WIDTH });
    declared.column(0, ColumnShape { name: "main".into(), unit: "count".into(), aggregation: Aggregation::Sum });
    rules.into_iter().for_each(|rule| assert!(declared.rule(0, rule)));
    declared
}

/// One instance: what it publishes for a step whose events have these times (seconds).
struct Instance {
    source: SourcePartition,
    declared: Declared,
    pending: Pending,
    watermark_ms: Option<i64>,
}

impl Instance {
    fn new(partition: u32, rules: Vec<RuleShape>) -> Self {
        let mut pending = Pending::default();
        pending.declare(0);
        let source = SourcePartition { topic: "validated".into(), partition };
        Self { source, declared: declared(rules), pending, watermark_ms: None }
    }

    fn step(&mut self, times: &[i64], idle: bool) -> Delta {
        for time in times {
            self.pending.add(&self.declared, 0, 0, *time, 1.0);
            self.watermark_ms = self.watermark_ms.max(Some(*time * 1_000));
        }
        let graphs = self.pending.take(&self.declared);
        Delta { source: self.source.clone(), watermark_ms: self.watermark_ms, idle, graphs }
    }
}

fn sentences(raised: impl AsRef<[Raised]>) -> Vec<String> {
    raised.as_ref().iter().map(|raised| format!("{} {} {}", raised.time_s, raised.id, raised.firing.summary)).collect()
}

/// A made stream of (time, number of events): a rhythm, a peak, a hole, and life again.
fn stream() -> Vec<i64> {
    let counts = [8, 9, 10, 9, 8, 40, 9, 0, 0, 0, 9, 8, 2, 0, 1, 9, 9];
    let rows = (1_000i64..).zip(counts);
    rows.flat_map(|(row, count)| (0..count).map(move |n| row * i64::from(WIDTH) + n % i64::from(WIDTH))).collect()
}

/// Runs the stream over so many partitions, each publishing after so many of its events, one partition far behind.
fn run(partitions: usize, events_per_step: usize) -> (Vec<Option<f64>>, Vec<String>) {
    let mut graphs = PluginGraphs::default();
    let mut instances: Vec<_> = (0..partitions).map(|number| Instance::new(number as u32, all_rules())).collect();
    let mut queues = vec![Vec::new(); partitions];
    let events = stream();
    events.iter().enumerate().for_each(|(number, time)| queues[number % partitions].push(*time));
    let mut raised = Vec::new();
    instances.iter_mut().for_each(|instance| graphs.apply(instance.step(&[], false), 0));
    for (instance, queue) in instances.iter_mut().zip(&queues) {
        for step in queue.chunks(events_per_step) {
            graphs.apply(instance.step(step, false), 0);
            raised.extend(graphs.evaluate(0, 2).raised);
        }
        graphs.apply(instance.step(&[], true), 0);
        raised.extend(graphs.evaluate(0, 2).raised);
    }
    let ring = &graphs.graphs["volume"].ring;
    ((1_000..1_017).map(|row| ring.cell(0, row)).collect(), sentences(raised))
}

#[test]
fn numbers_and_alerts_do_not_depend_on_partitions_or_steps() {
    let expected = run(1, 1);
    assert_eq!(
        expected.1,
        [
            "10060 high volume: main was 40 count in 10 s, above 30",
            "10060 change volume: main changed by +152.6 % in 20 s, from 19 to 48 count",
            "10070 change volume: main changed by +188.2 % in 20 s, from 17 to 49 count",
            "10080 change volume: main changed by -81.2 % in 20 s, from 48 to 9 count",
            "10090 quiet volume: main had no data for 20 s",
            "10090 low volume: main was 0 count in 20 s, below 3",
            "10090 change volume: main changed by -100.0 % in 20 s, from 49 to 0 count",
            "10100 quiet volume: main had no data for 20 s",
            "10100 low volume: main was 0 count in 20 s, below 3",
            "10100 change volume: main changed by -100.0 % in 20 s, from 9 to 0 count",
            "10140 low volume: main was 2 count in 20 s, below 3",
            "10140 change volume: main changed by -88.2 % in 20 s, from 17 to 2 count",
            "10150 low volume: main was 1 count in 20 s, below 3",
            "10150 change volume: main changed by -90.0 % in 20 s, from 10 to 1 count",
            "10160 change volume: main changed by +400.0 % in 20 s, from 2 to 10 count",
        ]
        .map(String::from)
        .to_vec()
    );
    for (partitions, events) in [(1, 7), (1, 1_000), (2, 3), (8, 1), (8, 5), (8, 1_000)] {
        assert_eq!(run(partitions, events), expected, "{partitions} partitions, {events} events a step");
    }
}

#[test]
fn a_partition_that_has_not_begun_holds_rows_back_until_it_is_idle() {
    let mut graphs = PluginGraphs::default();
    let rules = || vec![rule("low", Test::Below, 3.0, 1, 0)];
    let (mut first, mut second) = (Instance::new(0, rules()), Instance::new(1, rules()));
    graphs.apply(second.step(&[], false), 0);
    graphs.apply(first.step(&[100, 113, 125], false), 0);
    assert_eq!(sentences(graphs.evaluate(0, 2).raised), [""; 0]);
    graphs.apply(second.step(&[], true), 0);
    let expected = ["110 low volume: main was 1 count in 10 s, below 3", "120 low volume: main was 1 count in 10 s, below 3"];
    assert_eq!(sentences(graphs.evaluate(0, 2).raised), expected);
    assert_eq!(sentences(graphs.evaluate(0, 2).raised), [""; 0], "each row is tested once");
}

#[test]
fn a_silent_partition_is_given_up() {
    let mut graphs = PluginGraphs::default();
    let rules = || vec![rule("low", Test::Below, 3.0, 1, 0)];
    graphs.apply(Instance::new(1, rules()).step(&[100], false), 0);
    let mut first = Instance::new(0, rules());
    graphs.apply(first.step(&[100, 115], false), SILENCE_MS_MAX - 1);
    assert_eq!(sentences(graphs.evaluate(SILENCE_MS_MAX - 1, 2).raised), [""; 0]);
    assert_eq!(sentences(graphs.evaluate(SILENCE_MS_MAX, 2).raised), ["110 low volume: main was 2 count in 10 s, below 3"]);
}

#[test]
fn the_clock_completes_rows_only_in_silence_and_only_for_inactive() {
    let mut graphs = PluginGraphs::default();
    let mut instance = Instance::new(0, all_rules());
    graphs.apply(instance.step(&[1_000, 1_010, 1_020, 1_021, 1_022, 1_029], false), 1_030_000);
    graphs.evaluate(1_030_000, 0);
    assert_eq!(sentences(graphs.evaluate(1_060_000, 0).raised), [""; 0], "the partition is not idle");
    graphs.apply(instance.step(&[], true), 1_060_000);
    assert_eq!(sentences(graphs.evaluate(1_049_999, 0).raised), [""; 0]);
    assert_eq!(sentences(graphs.evaluate(1_050_000, 0).raised), ["1050 quiet volume: main had no data for 20 s"]);
    assert_eq!(graphs.graphs["volume"].ring.head(), Some(105), "the graph advances");
    graphs.apply(instance.step(&[1_065, 1_075], false), 1_075_000);
    let raised = sentences(graphs.evaluate(1_075_000, 0).raised);
    assert!(raised.iter().all(|sentence| !sentence.starts_with("1050 quiet")), "a row is tested once: {raised:?}");
    assert!(raised.contains(&"1060 low volume: main was 0 count in 20 s, below 3".to_string()), "{raised:?}");
}

#[test]
fn alerts_are_throttled_by_id_in_event_time() {
    let mut graphs = PluginGraphs::default();
    let mut instance = Instance::new(0, vec![rule("low", Test::Below, 3.0, 1, 25)]);
    graphs.apply(instance.step(&(10..20).map(|row| row * 10).collect::<Vec<_>>(), false), 0);
    let times: Vec<_> = graphs.evaluate(0, 0).raised.iter().map(|raised| raised.time_s).collect();
    assert_eq!(times, [110, 140, 170]);
}

#[test]
fn limits_refuse_and_count() {
    let mut graphs = PluginGraphs::default();
    let wide = GraphDelta {
        shape: GraphShape { title: "wide".into(), rows: 11_520, seconds_per_row: 60 },
        columns: (0..=GRAPH_COLUMNS_MAX)
            .map(|n| ColumnShape { name: n.to_string(), unit: String::new(), aggregation: Aggregation::Sum })
            .collect(),
        rules: Vec::new(),
        cells: Vec::new(),
    };
    let delta = |graphs| Delta { source: SourcePartition { topic: "t".into(), partition: 0 }, watermark_ms: None, idle: false, graphs };
    graphs.apply(delta(vec![wide.clone()]), 0);
    assert_eq!((graphs.dropped.refused, graphs.graphs.len()), (1, 0));
    let narrow = |title: &str| GraphDelta {
        shape: GraphShape { title: title.into(), ..wide.shape.clone() },
        columns: wide.columns[1..].to_vec(),
        ..wide.clone()
    };
    graphs.apply(delta(vec![narrow("a"), narrow("b"), narrow("c")]), 0);
    assert_eq!(graphs.graphs.keys().collect::<Vec<_>>(), ["a", "b"], "a third would be over 64 MiB");
    let untestable = GraphDelta { columns: wide.columns[..1].to_vec(), rules: vec![rule("x", Test::Above, 1.0, 11_520, 0)], ..narrow("a") };
    graphs.apply(delta(vec![untestable]), 0);
    assert_eq!(graphs.dropped.refused, 3);
}

#[test]
fn late_cells_land_while_their_row_is_there() {
    let mut graphs = PluginGraphs::default();
    let mut instance = Instance::new(0, Vec::new());
    graphs.apply(instance.step(&[1_000], false), 0);
    graphs.apply(instance.step(&[1_590], false), 0);
    graphs.apply(instance.step(&[1_001, 999], false), 0);
    let ring = &graphs.graphs["volume"].ring;
    assert_eq!((ring.cell(0, 100), ring.cell(0, 159), graphs.dropped.too_old), (Some(2.0), Some(1.0), 1));
}
