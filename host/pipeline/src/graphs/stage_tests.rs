//! From instances to merged graphs and alerts, on the embedded bus.

use super::{GraphsOptions, GraphsWork, follow_alerts, graphs_worker};
use crate::{
    analysis::{
        Driver,
        tests::support::{BEGIN_S, House, Scripted, Seen},
    },
    status::{GraphData, LiveState},
};
use std::{sync::Arc, time::Duration};
use tidemill_bus::Clock;
use tidemill_runtime::{Aggregation, AlertRule, AlertTest, CallErrorKind, Graph, GraphCell, GraphColumn};

/// Counts events in rows of ten seconds (a message is 0.1 s after the one before), and keeps their greatest number. A burst of
/// 160 messages has only one in ten counted: a dip.
fn count(seen: &mut Seen<'_>) -> Result<(), CallErrorKind> {
    if seen.row == 0 {
        declare(seen);
    }
    let time_s = (seen.time_ns / 1_000_000_000) as u32;
    let is_dip = (1_000..1_160).contains(&seen.number);
    if !is_dip || seen.number % 10 == 0 {
        seen.found.cells.push(GraphCell { graph: 0, column: 0, time_s, value: 1.0 });
    }
    seen.found.cells.push(GraphCell { graph: 0, column: 1, time_s, value: seen.number as f64 });
    Ok(())
}

fn declare(seen: &mut Seen<'_>) {
    seen.found.new_graphs.push(Graph { graph: 0, title: "volume".into(), rows: 60, seconds_per_row: 10 });
    for (column, name, aggregation) in [(0, "events", Aggregation::Sum), (1, "newest", Aggregation::Max)] {
        seen.found.new_columns.push(GraphColumn { graph: 0, column, name: name.into(), unit: "count".into(), aggregation });
    }
    let rule = |id: &str, test, threshold| AlertRule { graph: 0, column: 0, id: id.into(), test, threshold, window_rows: 1, throttle_s: 0 };
    seen.found.new_rules.push(rule("low", AlertTest::Below, 50.0));
    seen.found.new_rules.push(rule("change", AlertTest::PercentChange, 80.0));
    seen.found.new_rules.push(AlertRule { window_rows: 2, throttle_s: 60, ..rule("quiet", AlertTest::Inactive, 0.0) });
}

fn merger(house: &House) -> Driver<GraphsWork> {
    let clock = Arc::clone(&house.clock) as _;
    graphs_worker(&*house.bus, Arc::clone(&house.live), clock, GraphsOptions::default()).expect("a worker").never_wait()
}

fn merge(house: &House, merger: &mut Driver<GraphsWork>) {
    for _ in 0..30 {
        house.clock.pass(100);
        merger.turn();
    }
    assert!(merger.commit());
}

/// Works on everything and says that nothing more is coming.
fn analyse(house: &House, plugin: &Scripted) {
    let mut worker = house.analysis(&[plugin]);
    house.drain(&mut worker);
    house.clock.pass(3_000);
    for _ in 0..10 {
        worker.turn();
    }
    assert!(worker.commit());
}

fn data(house: &House) -> GraphData {
    house.live.graph("counter", "volume").expect("a graph")
}

fn newest_rows(house: &House, rows: usize) -> Vec<Vec<Option<f64>>> {
    let data = data(house).data;
    data[data.len() - rows..].to_vec()
}

fn alerts(house: &House) -> Vec<String> {
    let mut found = house.texts("alerts", "summary");
    found.sort();
    found
}

/// 2,000 messages over so many partitions, in three parts, each with stages of its own.
fn run(partitions: u32, traps: bool) -> (Vec<Vec<Option<f64>>>, Vec<String>) {
    let house = House::new(partitions);
    let plugin = Scripted::new("counter", &house, move |seen| {
        if traps && seen.number % 50 == 13 && seen.row > 0 { Err(CallErrorKind::Trap) } else { count(seen) }
    });
    for part in 0..4 {
        house.publish("validated", part * 500..(part + 1) * 500);
        analyse(&house, &plugin);
        merge(&house, &mut merger(&house));
    }
    (newest_rows(&house, 20), alerts(&house))
}

#[test]
fn numbers_and_alerts_do_not_depend_on_partitions_restarts_or_traps() {
    let expected = run(1, false);
    let counts: Vec<_> = expected.0.iter().map(|row| row[0]).collect();
    let mut even = vec![Some(100.0); 20];
    (even[10], even[11]) = (Some(10.0), Some(46.0));
    assert_eq!(counts, even);
    assert_eq!(expected.0[19][1], Some(1_999.0));
    let summaries = [
        "volume: events changed by +117.4 % in 10 s, from 46 to 100 count",
        "volume: events changed by +360.0 % in 10 s, from 10 to 46 count",
        "volume: events changed by -90.0 % in 10 s, from 100 to 10 count",
        "volume: events was 10 count in 10 s, below 50",
        "volume: events was 46 count in 10 s, below 50",
    ];
    assert_eq!(expected.1, summaries);
    assert_eq!(run(8, false), expected);
    assert_eq!(run(3, true), expected, "a batch that trapped is worked on in parts");
}

#[test]
fn silence_is_noticed_by_the_clock() {
    let house = House::new(2);
    let plugin = Scripted::new("counter", &house, count);
    house.publish("validated", 0..300);
    let mut worker = house.analysis(&[&plugin]);
    house.drain(&mut worker);
    let mut merger = merger(&house);
    merge(&house, &mut merger);
    assert_eq!(alerts(&house), [""; 0]);
    house.clock.pass(60_000);
    for _ in 0..10 {
        worker.turn();
    }
    assert!(worker.commit());
    merge(&house, &mut merger);
    assert_eq!(alerts(&house), ["volume: events had no data for 20 s"]);
    let now_s = house.clock.now_ns() / 1_000_000_000;
    let data = data(&house);
    assert!(data.start + 600 > now_s - 10 && now_s > BEGIN_S + 60, "the graph has advanced to now");
}

#[test]
fn a_step_that_failed_is_merged_again_from_the_checkpoint() {
    let house = House::new(1);
    let plugin = Scripted::new("counter", &house, count);
    house.publish("validated", 0..300);
    analyse(&house, &plugin);
    let mut first = merger(&house);
    // It has merged, but not committed, when it dies.
    first.turn();
    first.turn();
    drop(first);
    assert_eq!(house.live.graphs("counter").len(), 1, "shown before it was committed");
    let mut second = merger(&house);
    merge(&house, &mut second);
    let counts: Vec<_> = newest_rows(&house, 3).iter().map(|row| row[0]).collect();
    assert_eq!(counts, [Some(100.0); 3], "merged once");
}

#[test]
fn alerts_are_there_again_after_a_restart() {
    let house = House::new(2);
    let plugin = Scripted::new("counter", &house, count);
    house.publish("validated", 0..2_000);
    analyse(&house, &plugin);
    merge(&house, &mut merger(&house));
    let live = Arc::new(LiveState::default());
    let follower = follow_alerts(Arc::clone(&house.bus), Arc::clone(&live)).expect("a thread");
    for _ in 0..200 {
        if live.alerts().len() == 5 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let found: Vec<_> = live.alerts().iter().map(|alert| (alert.plugin.clone(), alert.kind.clone(), alert.time as i64 - BEGIN_S)).collect();
    let alert = |kind: &str, time| ("counter".to_owned(), kind.to_owned(), time);
    let mut expected = vec![
        alert("percent-change", 130),
        alert("below", 120),
        alert("percent-change", 120),
        alert("below", 110),
        alert("percent-change", 110),
    ];
    let mut sorted = found.clone();
    sorted.sort();
    expected.sort();
    assert_eq!(sorted, expected);
    assert!(found.is_sorted_by(|a, b| a.2 >= b.2), "newest first: {found:?}");
    assert!(follower.join());
}
