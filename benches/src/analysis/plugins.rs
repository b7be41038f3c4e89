//! What a plugin more on the same stream costs.

use crate::{
    corpus::Small,
    harness::best,
    table::{Row, Table},
    worker::{Wanted, Worker},
};
use anyhow::ensure;
use serde_json::json;

pub const ONE: &str = "analysis/plugins-1";
pub const FOUR: &str = "analysis/plugins-4";
pub const SIXTEEN: &str = "analysis/plugins-16";

const GUEST: &str = "benches/guests/log-counter";
/// Messages of a run.
const MESSAGES: usize = 60_000;
/// What a fetch from the bus returns.
const FETCH_BYTES: usize = 1 << 20;

/// A plugin: its matcher, the texts it counts by and the numbers it sums.
type Subscription = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Sixteen plugins, each with a matcher of its own and a set of columns that no other has, as a team that watches an access log has them.
const PLUGINS: [Subscription; 16] = [
    ("Type == 'nginx.access'", &[], &["Fields[body_bytes_sent]"]),
    ("Type == 'nginx.access' && Fields[status] == 200", &["Fields[request]"], &[]),
    ("Logger == 'fxa-auth'", &["Hostname"], &[]),
    ("Type =~ '^nginx%.'", &["Type"], &["Fields[request_time]"]),
    ("Fields[status] < 400", &[], &["Fields[body_bytes_sent]", "Fields[request_time]"]),
    ("Fields[request] =~ '/v1/'", &["Fields[request]"], &["Fields[status]"]),
    ("Hostname != 'web-3.example.net'", &["Hostname"], &["Fields[status]"]),
    ("Fields[http_user_agent] =~ 'Firefox'", &["Fields[http_user_agent]"], &[]),
    ("Type != 'app.audit' && Severity <= 6", &["Type"], &[]),
    ("Fields[request_time] > 0.01", &[], &["Fields[request_time]"]),
    ("Fields[body_bytes_sent] > 1000 && Fields[status] != 304", &[], &["Fields[status]"]),
    ("Pid == 4242", &[], &["Fields[status]", "Severity"]),
    ("TRUE", &["Logger"], &[]),
    ("Fields[remote_addr] =~ '^198%.51'", &["Hostname"], &["Fields[body_bytes_sent]"]),
    ("Fields[status] == 200 || Fields[status] == 304", &["Fields[request]"], &["Fields[request_time]"]),
    ("Type == 'nginx.access' && Fields[status] >= 200 && Logger == 'fxa-auth'", &["Fields[request]", "Hostname"], &[]),
];

/// The first plugin alone.
pub fn one(table: &mut Table) -> anyhow::Result<()> {
    plugins(table, ONE, 1)
}

/// The first four.
pub fn four(table: &mut Table) -> anyhow::Result<()> {
    plugins(table, FOUR, 4)
}

/// All of them.
pub fn sixteen(table: &mut Table) -> anyhow::Result<()> {
    plugins(table, SIXTEEN, 16)
}

/// Everything from fetched batches to graph changes in a step (reading, matching, columns, calls, checks, checkpoints), by plugin
/// and message that its matcher selects: what is read and not selected is paid by those that are.
fn plugins(table: &mut Table, name: &str, count: usize) -> anyhow::Result<()> {
    let corpus = Small::load(FETCH_BYTES)?;
    let batches = corpus.batches(MESSAGES);
    let messages: usize = batches.iter().map(|batch| batch.offsets.len()).sum();
    let wanted: Vec<_> = PLUGINS[..count].iter().enumerate().map(wanted).collect();
    let mut worker = Worker::new(&wanted)?;
    worker.run(&batches, |_| {})?;
    let selected = worker.rows();
    let share = selected as f64 / (messages * count) as f64;
    eprintln!("{count} matchers select {:.0} % of {messages} messages on average", share * 100.0);
    let mut run = || {
        let before = worker.rows();
        let time = worker.run(&batches, |_| {})?;
        ensure!(worker.rows() - before == selected, "a run gave the plugins other rows than the first one");
        Ok(time)
    };
    let value = best(&mut run)? / selected as f64 * 1e9;
    table.add(&Row { name, value, unit: "ns", baseline: None, n: messages, corpus: corpus.name })
}

fn wanted((number, (matcher, texts, numbers)): (usize, &Subscription)) -> Wanted<'static> {
    let config = json!({"matcher": matcher, "texts": texts, "numbers": numbers}).to_string();
    Wanted { project: GUEST, name: format!("counter-{number}"), config }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_plugins_have_the_same_matcher_or_columns() {
        let matchers: BTreeSet<_> = PLUGINS.iter().map(|(matcher, ..)| matcher).collect();
        let columns: BTreeSet<BTreeSet<_>> = PLUGINS.iter().map(|(_, texts, numbers)| texts.iter().chain(*numbers).collect()).collect();
        assert_eq!((matchers.len(), columns.len()), (PLUGINS.len(), PLUGINS.len()));
    }
}
