//! The analysis or the output stage over the decoded pings.

use super::{
    decode::{self, Outcome},
    error::RunError,
    findings,
    house::House,
    messages,
    report::{PingReport, PingVerdict, Report},
    watch::{Account, Selection, Watched},
};
use crate::Fixture;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tidemill_bus::OnLost;
use tidemill_message::{Matcher, MessageRef};
use tidemill_pipeline::{
    analysis::{Deployed, Driver, PluginsOptions, PluginsWork, StepOptions, analysis_worker, output_worker},
    graphs::{GraphsOptions, graphs_worker},
    output::outbox_topic,
    plugins::Configured,
    status::PluginStatus,
};
use tidemill_runtime::{Kind, Plan};
use tidemill_schema::Registry;

/// Topics that are there for every run.
const TOPICS: [&str; 5] = ["validated", "errors", "derived", "graphs", "alerts"];
/// What the analysis stage reads.
const ANALYSIS_INPUTS: [&str; 2] = ["validated", "errors"];
/// What the output stage reads.
const OUTPUT_INPUTS: [&str; 4] = ["validated", "errors", "derived", "alerts"];
/// Steps of few milliseconds of the injected clock: a poll waits no longer than a step in real time.
const STEP: StepOptions = StepOptions { step_ms: 5, step_bytes_max: 64 << 20, on_lost: OnLost::Continue };
/// A partition is held to be idle after 2 s and 8 polls; then timers follow the clock.
const IDLE_TURNS: u32 = 12;
/// What passes from one of these turns to the next.
const IDLE_TURN: Duration = Duration::from_millis(250);

/// A run of one plugin.
pub(super) struct StageRun {
    /// The bus, the clock and the live state.
    pub house: House,
    /// The plugin's name.
    pub name: String,
    /// Where `validated` and `errors` have which ping.
    pub inputs: Inputs,
}

/// The pings by their offsets.
pub(super) struct Inputs {
    /// Those in `validated`.
    valid: Vec<usize>,
    /// Those in `errors`.
    refused: Vec<usize>,
    /// All by number, `NAMESPACE/FILE`.
    labels: Vec<String>,
}

impl Inputs {
    fn new(fixtures: &[Fixture], outcomes: &[Outcome]) -> Self {
        let (valid, refused) = (0..outcomes.len()).partition(|number| outcomes[*number].is_valid);
        Self { valid, refused, labels: fixtures.iter().map(messages::label).collect() }
    }

    /// How many pings were in `errors` before the plugin was called.
    pub fn refused(&self) -> usize {
        self.refused.len()
    }

    /// The number of the ping at an offset.
    pub fn at(&self, topic: &str, offset: i64) -> Option<usize> {
        let numbers = if topic == "validated" { &self.valid } else { &self.refused };
        numbers.get(usize::try_from(offset).ok()?).copied()
    }

    /// The ping that `topic/partition/offset` names.
    pub fn of_source(&self, source: &str) -> Option<usize> {
        let mut parts = source.split('/');
        let (topic, offset) = (parts.next()?, parts.nth(1)?);
        self.at(topic, offset.parse().ok()?)
    }

    /// The name of a ping.
    pub fn label(&self, number: usize) -> Option<String> {
        self.labels.get(number).cloned()
    }
}

/// Runs an analysis or output plugin that answered this plan.
pub(super) fn run(
    configured: &Configured,
    plan: &Plan,
    fixtures: &[Fixture],
    registry: &Arc<Registry>,
    report: &mut Report,
) -> Result<(), RunError> {
    let (step, outcomes) = decode::by_the_host(fixtures, registry)?;
    report.pings = fixtures.iter().zip(&outcomes).map(|(fixture, outcome)| decode::of_outcome(fixture, outcome)).collect();
    let account = Arc::<Mutex<Account>>::default();
    let name = configured.plugin.name().to_owned();
    let selection = Selection::new(&name, configured.plugin.kind(), plan);
    let seen = Arc::clone(&selection.seen);
    let names = [outbox_topic(&name), outbox_topic(selection.name())];
    let topics: Vec<_> = TOPICS.iter().map(|topic| (*topic).to_owned()).chain(names).collect();
    let house = House::new(&topics, messages::START_S + fixtures.len() as i64)?;
    house.publish(step)?;
    let run = StageRun { house, name, inputs: Inputs::new(fixtures, &outcomes) };
    let is_done = run.stage(configured, Arc::clone(&account), selection, report)?;
    for number in seen.lock().iter().filter_map(|time_ns| messages::ping_at(*time_ns)) {
        if let Some(ping) = report.pings.get_mut(number) {
            ping.selected = true;
        }
    }
    explain(&mut report.pings, &outcomes, &plan.subscription.matcher);
    run.take_account(&mut account.lock(), is_done, report);
    findings::collect(&run, configured.plugin.kind(), report)
}

impl StageRun {
    /// Feeds the stage until everything is worked on; `false` where the plugin makes no progress.
    fn stage(
        &self,
        configured: &Configured,
        account: Arc<Mutex<Account>>,
        selection: Selection,
        report: &Report,
    ) -> Result<bool, RunError> {
        let name = selection.name().to_owned();
        let deployed = |component| Deployed { component, matcher: String::new() };
        let watched = Watched { inner: configured.clone(), account };
        let options = PluginsOptions {
            bus: Arc::clone(&self.house.bus),
            live: Arc::clone(&self.house.live),
            clock: Arc::clone(&self.house.clock) as _,
            plugins: vec![deployed(Arc::new(watched)), deployed(Arc::new(selection))],
            workers: 1,
            step: STEP,
            epoch: 0,
        };
        let plugins = [self.name.as_str(), &name];
        if configured.plugin.kind() == Kind::Output {
            return self.house.drain(&mut output_worker(&options)?, "output", &OUTPUT_INPUTS, &plugins);
        }
        let mut worker = analysis_worker(&options)?;
        let is_done = self.house.drain(&mut worker, "analysis", &ANALYSIS_INPUTS, &plugins)?;
        if is_done && report.plugin.timers && report.plan.tick_ms > 0 {
            self.tick(&mut worker, report.plan.tick_ms, &plugins)?;
        }
        self.merge_graphs()?;
        Ok(is_done)
    }

    /// Lets the stream fall silent and a tick's time pass: a few pings take less time than most ticks.
    fn tick(&self, worker: &mut Driver<PluginsWork>, tick_ms: u32, plugins: &[&str]) -> Result<(), RunError> {
        for _ in 0..IDLE_TURNS {
            self.house.clock.pass(IDLE_TURN);
            worker.turn();
        }
        self.house.clock.pass(Duration::from_millis(u64::from(tick_ms)));
        self.house.drain(worker, "analysis", &ANALYSIS_INPUTS, plugins)?;
        Ok(())
    }

    fn merge_graphs(&self) -> Result<(), RunError> {
        let House { bus, clock, live, .. } = &self.house;
        let options = GraphsOptions { step: STEP, ..GraphsOptions::default() };
        let mut worker = graphs_worker(&**bus, Arc::clone(live), Arc::clone(clock) as _, options)?;
        self.house.drain(&mut worker, "graphs", &["graphs"], &[])?;
        Ok(())
    }

    fn take_account(&self, account: &mut Account, is_done: bool, report: &mut Report) {
        let Account { fuel, log, metrics, last_error } = std::mem::take(account);
        report.log.extend(log);
        for (name, value) in metrics {
            *report.metrics.entry(name).or_default() += value;
        }
        report.fuel.calls = fuel.calls;
        report.fuel.call_max = fuel.call_max;
        report.fuel.memory_bytes = report.fuel.memory_bytes.max(fuel.memory_bytes);
        if let Some(status) = self.house.live.find_plugin(&self.name) {
            report.fuel.traps = PluginStatus::get(&status.traps);
            report.fuel.restarts = PluginStatus::get(&status.restarts);
        }
        report.fuel.sum_up();
        report.gave_up = (!is_done).then(|| format!("the plugin makes no progress; its last failure: {last_error}"));
    }
}

/// Says why pings were not selected.
fn explain(pings: &mut [PingReport], outcomes: &[Outcome], matcher: &str) {
    // The stage has compiled it already.
    let Ok(matcher) = Matcher::parse(matcher) else { return };
    for (ping, outcome) in pings.iter_mut().zip(outcomes).filter(|(ping, _)| !ping.selected && ping.verdict == PingVerdict::Accepted) {
        let is_matched = MessageRef::parse(&outcome.value).is_ok_and(|message| matcher.matches(&message));
        let reason = if is_matched { "a required column is null in it" } else { "its matcher does not select it" };
        ping.reason = reason.to_owned();
    }
}
