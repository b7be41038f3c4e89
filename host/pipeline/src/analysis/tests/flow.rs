//! Rows, steps, positions, ticks.

use super::support::*;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tidemill_bus::Clock;
use tidemill_runtime::{self as runtime, Scope};

#[test]
fn each_row_is_seen_once_and_what_it_made_has_a_source() {
    let house = House::new(3);
    let plugin = Scripted::new("echo", &house, |seen| {
        echo(seen)?;
        echo(seen)
    });
    house.publish("validated", 0..50);
    house.publish("errors", 50..60);
    let mut worker = house.analysis(&[&plugin]);
    house.drain(&mut worker);
    let twice: Vec<i64> = (0..50).flat_map(|number| [number, number]).collect();
    assert_eq!(house.numbers("derived"), twice);
    assert_eq!(saved_state(&mut worker, "echo"), (50, (0..50).sum()));
    let incarnation = house.bus.incarnation("validated").expect("a topic");
    let mut sources: Vec<_> = house.read("derived").into_iter().map(|(source, _)| source).collect();
    assert!(sources.contains(&format!("echo/0/{incarnation}/0/0/1")), "{sources:?}");
    sources.sort();
    sources.dedup();
    assert_eq!(sources.len(), 100, "each has a source of its own");
}

/// The same stream in batches of at most so many rows, with the worker dropped and made anew in between.
fn in_batches(rows_max: u32) -> (Vec<i64>, (u64, i64)) {
    let house = House::new(2);
    let plugin = Scripted {
        tick_ms: 1_000,
        ..Scripted::new("echo", &house, |seen| if seen.number % 7 == 3 { Err(runtime::CallErrorKind::Trap) } else { echo(seen) })
    };
    let plugin = Scripted { tick: Arc::new(|now_ms, count, found| emit(found, u32::MAX, count as i64, now_ms * 1_000_000)), ..plugin };
    let mut state = (0, 0);
    for part in 0..3 {
        house.publish("validated", part * 100..(part + 1) * 100);
        let mut worker = house.analysis(&[&plugin]);
        worker.work().limit_rows(rows_max);
        house.drain(&mut worker);
        state = saved_state(&mut worker, "echo");
    }
    (house.numbers("derived"), state)
}

#[test]
fn results_do_not_depend_on_batches() {
    let all = in_batches(u32::MAX);
    assert!(all.0.len() > 250, "messages and ticks: {}", all.0.len());
    assert_eq!(in_batches(1), all);
    assert_eq!(in_batches(7), all);
}

#[test]
fn a_worker_that_dies_between_steps_loses_and_repeats_nothing() {
    for die_after in [1, 2, 3, 5, 8, 13] {
        let house = House::new(2);
        let plugin = Scripted::new("echo", &house, echo);
        house.publish("validated", 0..300);
        let mut worker = house.analysis(&[&plugin]);
        for turn in 0..die_after {
            worker.turn();
            house.clock.pass(if turn % 2 == 0 { 150 } else { 10 });
        }
        drop(worker);
        let mut worker = house.analysis(&[&plugin]);
        house.drain(&mut worker);
        assert_eq!(house.numbers("derived"), (0..300).collect::<Vec<_>>(), "after {die_after} turns");
        assert_eq!(saved_state(&mut worker, "echo"), (300, (0..300).sum()));
    }
}

#[test]
fn a_plugin_that_was_away_gets_what_it_missed_and_a_new_one_begins_at_the_groups_position() {
    let house = House::new(2);
    let first = Scripted::new("first", &house, |_| Ok(()));
    let away = Scripted::new("away", &house, echo);
    house.publish("validated", 0..100);
    house.drain(&mut house.analysis(&[&first, &away]));
    house.publish("validated", 100..200);
    house.drain(&mut house.analysis(&[&first]));
    let new = Scripted::new("new", &house, |_| Ok(()));
    house.publish("validated", 200..300);
    let mut worker = house.analysis(&[&first, &away, &new]);
    house.drain(&mut worker);
    assert_eq!(house.numbers("derived"), (0..300).collect::<Vec<_>>());
    assert_eq!(saved_state(&mut worker, "first"), (300, (0..300).sum()));
    assert_eq!(saved_state(&mut worker, "new"), (100, (200..300).sum()));
    let lag: Vec<_> = house.live.plugins(&house.bus.topics().expect("topics")).iter().map(|plugin| plugin.lag).collect();
    assert_eq!(lag, [0, 0, 0]);
}

#[test]
fn records_that_its_matcher_does_not_select_are_no_lag() {
    let house = House::new(2);
    let choosy = Scripted { matcher: "Fields[number] < 10", ..Scripted::new("choosy", &house, echo) };
    let mut worker = house.analysis(&[&choosy]);
    for numbers in [0..100, 100..200] {
        house.publish("validated", numbers);
        house.drain(&mut worker);
        assert_eq!(house.live.plugins(&house.bus.topics().expect("topics"))[0].lag, 0);
    }
    assert_eq!(house.numbers("derived"), (0..10).collect::<Vec<_>>());
    drop(worker);
    // What it had was not saved anew, so it passes over it once more; it sees nothing twice.
    house.publish("validated", 200..210);
    let mut worker = house.analysis(&[&choosy]);
    house.drain(&mut worker);
    assert_eq!(house.numbers("derived"), (0..10).collect::<Vec<_>>());
    assert_eq!(saved_state(&mut worker, "choosy"), (10, (0..10).sum()));
}

/// Adds one to a graph at the row's time.
fn count(seen: &mut Seen<'_>) -> Result<(), runtime::CallErrorKind> {
    let graph = runtime::Graph { graph: 0, title: "rows".into(), rows: 1_000, seconds_per_row: 1 };
    let (name, unit, aggregation) = ("rows".into(), "count".into(), runtime::Aggregation::Sum);
    seen.found.new_graphs.push(graph);
    seen.found.new_columns.push(runtime::GraphColumn { graph: 0, column: 0, name, unit, aggregation });
    let time_s = (seen.time_ns / 1_000_000_000) as u32;
    seen.found.cells.push(runtime::GraphCell { graph: 0, column: 0, time_s, value: 1.0 });
    Ok(())
}

/// Of a turn in which records came a plugin has the worker for five milliseconds, whatever it has to do; and all of it when none come.
#[test]
fn a_slow_plugin_does_not_hold_up_the_reading() {
    let house = House::new(1);
    let clock = Arc::clone(&house.clock);
    let slow = Scripted::new("slow", &house, move |_| {
        clock.pass(20);
        Ok(())
    });
    let neighbour = Scripted::new("neighbour", &house, echo);
    let mut worker = house.analysis(&[&slow, &neighbour]);
    worker.work().limit_rows(1);
    worker.turn();
    let begin = house.clock.elapsed();
    for turn in 0..100 {
        house.publish("validated", turn * 10..(turn + 1) * 10);
        house.clock.pass(1);
        worker.turn();
    }
    let took = house.clock.elapsed() - begin;
    assert!(worker.commit());
    assert_eq!(house.numbers("derived"), (0..1_000).collect::<Vec<_>>(), "the neighbour keeps up");
    // 100 turns of 6 ms, a quantum for the end of each step, and one call that is not paid back; to work all off takes 20 s.
    assert!(took < Duration::from_millis(800), "{took:?}");
    house.drain(&mut worker);
    assert_eq!(saved_state(&mut worker, "slow").0, 1_000);
}

#[test]
fn older_records_behind_newer_ones_take_nothing_out_of_graphs() {
    let house = House::new(1);
    let plugin = Scripted::new("counter", &house, count);
    let mut worker = house.analysis(&[&plugin]);
    // Two fetches in one batch of the plugin: rows of minutes ahead of what comes behind them.
    worker.turn();
    house.publish("validated", 5_000..5_100);
    worker.turn();
    house.publish("validated", 0..100);
    house.drain(&mut worker);
    let deltas = house.read("graphs");
    let deltas = deltas.iter().map(|(_, value)| crate::graphs::Delta::decode(value).expect("a delta"));
    let cells = deltas.flat_map(|delta| delta.graphs).flat_map(|graph| graph.cells);
    assert_eq!(cells.map(|cell| cell.value).sum::<f64>(), 200.0);
}

#[test]
fn ticks_follow_the_partitions_time_and_the_clock_in_silence() {
    let house = House::new(1);
    let plugin = Scripted { tick_ms: 1_000, ..Scripted::new("ticker", &house, |_| Ok(())) };
    let plugin =
        Scripted { tick: Arc::new(|now_ms, count, found| emit(found, u32::MAX, (now_ms - BEGIN_S * 1_000) + count as i64, 0)), ..plugin };
    house.publish("validated", 0..25);
    let mut worker = house.analysis(&[&plugin]);
    house.drain(&mut worker);
    // Ten rows are before the first second, twenty before the next.
    assert_eq!(house.numbers("derived"), [1_010, 2_020]);
    house.clock.pass(10_000);
    for _ in 0..12 {
        worker.turn();
    }
    assert!(worker.commit());
    let elapsed_ms = tidemill_bus::Clock::elapsed(&*house.clock).as_millis() as i64;
    assert_eq!(house.numbers("derived"), [1_010, 2_020, elapsed_ms / 1_000 * 1_000 + 25]);
}

#[test]
fn a_stateless_plugin_has_one_instance_for_all_partitions() {
    let house = House::new(4);
    let plugin = Scripted { scope: Scope::Stateless, ..Scripted::new("echo", &house, echo) };
    house.publish("validated", 0..100);
    house.drain(&mut house.analysis(&[&plugin]));
    assert_eq!(house.numbers("derived"), (0..100).collect::<Vec<_>>());
    // One to learn what it asks for, one to work.
    assert_eq!(plugin.opened.load(Ordering::Relaxed), 2);
    let plugin = Scripted { scope: Scope::Global, ..plugin };
    let error = crate::analysis::analysis_worker(&house.options(&[&plugin])).err().expect("refused").to_string();
    assert_eq!(
        error,
        "plugin \"echo\" asks for scope global, which no stage offers yet: use partition and let graphs and derived messages merge"
    );
}

#[test]
fn single_alerts_are_throttled_in_event_time() {
    let house = House::new(1);
    let alert = |row, id: &str| runtime::Alert { row, id: id.into(), summary: id.into(), detail: String::new(), throttle_s: 2 };
    let plugin = Scripted::new("alarm", &house, move |seen| {
        seen.found.alerts.push(alert(seen.row, if seen.number == 7 { "seven" } else { "any" }));
        Ok(())
    });
    house.publish("validated", 0..50);
    house.drain(&mut house.analysis(&[&plugin]));
    house.publish("validated", 50..52);
    house.drain(&mut house.analysis(&[&plugin]));
    let mut ids = house.texts("alerts", "id");
    ids.sort();
    assert_eq!(ids, ["any", "any", "any", "seven"], "at 0 s, 2 s and 4 s, also over a restart");
}

#[test]
fn stages_refuse_what_they_cannot_run() {
    let house = House::new(1);
    let plugin = Scripted::new("one", &house, |_| Ok(()));
    let refused = |plugins: &[&Scripted]| crate::analysis::analysis_worker(&house.options(plugins)).err().expect("refused").to_string();
    assert_eq!(refused(&[&plugin, &plugin]), "two plugins are named \"one\": a name stands for a state, so give one of them another");
    let wrong = Scripted { matcher: "Type =", ..plugin.clone() };
    assert!(refused(&[&wrong]).starts_with("plugin \"one\": its own matcher is not valid: "), "{}", refused(&[&wrong]));
    plugin.fails_to_open.store(1, Ordering::Relaxed);
    assert_eq!(refused(&[&plugin]), "plugin \"one\" cannot be opened: scripted plugin_trap");
}
