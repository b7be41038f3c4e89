//! Every benchmark: `tidemill-benches [NAME]`, where NAME is a bench (`decode/main-ping`) or a group (`decode`).
//!
//! Prints a table and appends a JSON line a row to `target/bench.json`. What each row means stands in `README.md`.
//! Exit codes: 0 done, what cannot run here is skipped by name; 1 a bench failed or an output was wrong; 2 no such bench.

mod analysis;
mod bus;
mod corpus;
mod decode;
mod edge;
mod harness;
mod lake;
mod latency;
mod latency_row;
mod matcher;
mod memory;
mod paths;
mod platform;
mod small;
mod state;
mod table;
mod worker;

use harness::Skipped;
use std::process::ExitCode;
use table::Table;

type Bench = fn(&mut Table) -> anyhow::Result<()>;

const BENCHES: [(&str, Bench); 25] = [
    (decode::MAIN_PING, decode::main_ping),
    (decode::DIRTY, decode::dirty),
    (decode::TO_DURABLE, decode::to_durable),
    (decode::TWO_CORES, decode::two_cores),
    (analysis::FIVE_COLUMNS, analysis::five_columns),
    (analysis::COMPUTE_HEAVY, analysis::compute_heavy),
    (analysis::BYTE_SCAN, analysis::byte_scan),
    (analysis::ONE, analysis::one),
    (analysis::FOUR, analysis::four),
    (analysis::SIXTEEN, analysis::sixteen),
    (analysis::HISTOGRAM_SUM, analysis::histogram_sum),
    (matcher::MISS, matcher::miss),
    (small::END_TO_END, small::end_to_end),
    (state::SNAPSHOT, state::snapshot),
    (state::CHECKPOINT_RATE, state::checkpoint_rate),
    (lake::MAIN_PING, lake::main_ping),
    (bus::EMBEDDED_APPEND, bus::embedded_append),
    (bus::EMBEDDED_READ, bus::embedded_read),
    (bus::KAFKA_PRODUCE, bus::kafka_produce),
    (bus::KAFKA_CONSUME, bus::kafka_consume),
    (edge::POST_4K, edge::post_4k),
    (latency::GRAPH, latency::graph),
    (latency_row::ROW, latency_row::row),
    (memory::IDLE, memory::idle),
    (memory::DECODE, memory::decode),
];

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let chosen: Vec<_> = BENCHES.iter().filter(|(name, _)| is_chosen(name, &wanted)).collect();
    if chosen.is_empty() {
        let names = BENCHES.map(|(name, _)| name).join(", ");
        eprintln!("there is no bench `{wanted}`; there are: {names}");
        return ExitCode::from(2);
    }
    match run(&chosen) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("{failed} of {} benches failed", chosen.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("target/bench.json: {error:#}");
            ExitCode::from(3)
        }
    }
}

/// A name chooses itself, a group all of its own, nothing everything.
fn is_chosen(name: &str, wanted: &str) -> bool {
    wanted.is_empty() || name == wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
}

fn run(chosen: &[&(&str, Bench)]) -> anyhow::Result<usize> {
    let mut table = Table::create()?;
    let mut failed = 0;
    for (name, bench) in chosen {
        match bench(&mut table) {
            Ok(()) => {}
            Err(error) if error.is::<Skipped>() => eprintln!("SKIPPED {name}: {error}"),
            Err(error) => {
                failed += 1;
                eprintln!("FAILED {name}: {error:#}");
            }
        }
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::is_chosen;

    #[test]
    fn a_bench_is_chosen_by_its_name_or_its_group() {
        for (wanted, expected) in [("", true), ("bus", true), ("bus/kafka-produce", true), ("bus/kafka", false), ("decode", false)] {
            assert_eq!(is_chosen("bus/kafka-produce", wanted), expected, "{wanted:?}");
        }
    }
}
