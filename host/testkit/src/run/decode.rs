//! The decode stage over the pings: with the plugin where it is a decoder, else by the host alone.

use super::{
    capture::capture,
    error::RunError,
    facts::{field_value, text},
    messages,
    report::{CallsReport, PingReport, PingVerdict, Report},
};
use crate::{Fixture, Verdict};
use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};
use tidemill_bus::{FetchedBatch, Step};
use tidemill_message::MessageRef;
use tidemill_pipeline::{
    decode::{DecodeLimits, DecodeSettings, DecodeTopics, Decoder, DecoderPlugin, VersionPointers},
    plugins::Configured,
    source::Source,
    status::{LiveState, PluginStatus},
};
use tidemill_schema::Registry;

/// What a ping became.
pub(super) struct Outcome {
    /// Whether it is in `validated`, else in `errors`.
    pub is_valid: bool,
    /// The message.
    pub value: Vec<u8>,
}

/// All pings decoded by the host alone: the records for the bus, and what each became.
pub(super) fn by_the_host(fixtures: &[Fixture], registry: &Arc<Registry>) -> Result<(Step, Vec<Outcome>), RunError> {
    let batch = messages::raw(fixtures);
    let mut step = Step::default();
    Decoder::new(&settings(registry, Vec::new()))?.decode_batch(&batch, &mut step)?;
    let outcomes = outcomes(&step, fixtures.len());
    Ok((step, outcomes))
}

fn settings(registry: &Arc<Registry>, plugins: Vec<DecoderPlugin>) -> DecodeSettings {
    DecodeSettings {
        registry: Arc::clone(registry),
        city: None,
        version_pointers: VersionPointers::default(),
        plugins,
        limits: DecodeLimits::default(),
        topics: DecodeTopics { raw_incarnation: "run".into(), validated_partitions: 1, errors_partitions: 1 },
        generation: 0,
        epoch: 0,
    }
}

fn outcomes(step: &Step, count: usize) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = (0..count).map(|_| Outcome { is_valid: false, value: Vec::new() }).collect();
    for (to, records) in &step.publish {
        for record in records.iter() {
            let offset = record.header("tm-src").and_then(Source::parse).and_then(|source| usize::try_from(source.offset).ok());
            if let Some(outcome) = offset.and_then(|offset| outcomes.get_mut(offset)) {
                *outcome = Outcome { is_valid: &*to.topic == "validated", value: record.value.to_vec() };
            }
        }
    }
    outcomes
}

/// Runs a decoder, a ping a call: so each has its own fuel, and a failure its own name.
pub(super) fn run(configured: &Configured, fixtures: &[Fixture], registry: &Arc<Registry>, report: &mut Report) -> Result<(), RunError> {
    let Configured { plugin, config, limits } = configured.clone();
    let status = LiveState::default().plugin(plugin.name(), plugin.kind().as_str(), plugin.version());
    let plugin = DecoderPlugin { plugin, config, limits, matcher: None, status: Arc::clone(&status) };
    let batch = messages::raw(fixtures);
    let (done, captured) = capture(|| -> Result<Vec<PingReport>, RunError> {
        let mut run = DecoderRun { decoder: Decoder::new(&settings(registry, vec![plugin]))?, status, batch, report };
        fixtures.iter().enumerate().map(|(number, fixture)| run.ping(number, fixture)).collect()
    });
    report.pings = done?;
    report.log.extend(captured.log);
    for (name, value) in captured.metrics {
        *report.metrics.entry(name).or_default() += value;
    }
    report.fuel.sum_up();
    Ok(())
}

struct DecoderRun<'a> {
    decoder: Decoder,
    status: Arc<PluginStatus>,
    batch: FetchedBatch,
    report: &'a mut Report,
}

/// The plugin's figures at a moment.
#[derive(Clone, Copy)]
struct Figures {
    messages_in: u64,
    fuel: u64,
    traps: u64,
}

impl DecoderRun<'_> {
    fn ping(&mut self, number: usize, fixture: &Fixture) -> Result<PingReport, RunError> {
        let before = self.figures();
        let mut step = Step::default();
        self.decoder.decode_rows(&self.batch, number..number + 1, &mut step)?;
        let after = self.figures();
        let outcome = outcomes(&step, self.batch.offsets.len()).swap_remove(number);
        let mut ping = of_outcome(fixture, &outcome);
        ping.selected = after.messages_in > before.messages_in;
        if ping.selected {
            self.account(&mut ping, before, after);
        } else if outcome.is_valid {
            ping.reason = "its matcher does not select it".to_owned();
        }
        if outcome.is_valid {
            self.show_added(&mut ping, &outcome);
        }
        Ok(ping)
    }

    fn figures(&self) -> Figures {
        let PluginStatus { messages_in, fuel_total, traps, .. } = &*self.status;
        Figures { messages_in: PluginStatus::get(messages_in), fuel: PluginStatus::get(fuel_total), traps: PluginStatus::get(traps) }
    }

    /// All calls on a row fail but the last, which fails too where the row is poison. A row without a call used no fuel.
    fn account(&mut self, ping: &mut PingReport, before: Figures, after: Figures) {
        let (fuel, failed) = (after.fuel - before.fuel, after.traps - before.traps);
        let count = failed + u64::from(ping.verdict != PingVerdict::Poison);
        let fuel_report = &mut self.report.fuel;
        ping.fuel = Some(fuel);
        if fuel > 0 {
            fuel_report.add_call(CallsReport { call: "decode", count, failed, rows: count, fuel });
            fuel_report.call_max = fuel_report.call_max.max(fuel / count.max(1));
        }
        fuel_report.traps = after.traps;
        fuel_report.restarts = PluginStatus::get(&self.status.restarts);
        fuel_report.memory_bytes = fuel_report.memory_bytes.max(self.status.memory_bytes.load(Ordering::Relaxed));
    }

    /// The fields that the plugin declared, and the sections it moved.
    fn show_added(&self, ping: &mut PingReport, outcome: &Outcome) {
        let Ok(message) = MessageRef::parse(&outcome.value) else { return };
        let plan = &self.report.plan;
        let names: BTreeSet<&str> = plan.fields.iter().map(|field| field.name.as_str()).collect();
        let sections: BTreeSet<String> = plan.section_plans.iter().flatten().map(|section| dotted(&section.path)).collect();
        for field in message.fields() {
            let name = String::from_utf8_lossy(field.name).into_owned();
            if names.contains(name.as_str()) {
                ping.fields.push((name, field_value(&field)));
            } else if sections.contains(&name) {
                ping.sections.push((name, field.bytes().map_or(0, <[u8]>::len)));
            }
        }
    }
}

/// The name of a section's field.
fn dotted(pointer: &str) -> String {
    let segments: Vec<_> = pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect();
    segments.join(".")
}

/// A ping as the decode stage left it.
pub(super) fn of_outcome(fixture: &Fixture, outcome: &Outcome) -> PingReport {
    let expected = if fixture.verdict == Verdict::Pass { "pass" } else { "fail" };
    let mut ping = PingReport {
        ping: messages::label(fixture),
        expected,
        verdict: PingVerdict::Accepted,
        selected: false,
        reason: String::new(),
        detail: String::new(),
        backtrace: String::new(),
        fuel: None,
        fields: Vec::new(),
        sections: Vec::new(),
    };
    if !outcome.is_valid {
        refuse(&mut ping, &outcome.value);
    }
    ping
}

/// Takes the verdict over from an error record.
pub(super) fn refuse(ping: &mut PingReport, value: &[u8]) {
    let Ok(message) = MessageRef::parse(value) else { return };
    let field = |name| match message.field(name).and_then(|field| field.bytes()).map(text) {
        Some(serde_json::Value::String(text)) => text,
        _ => String::new(),
    };
    let kind = field("DecodeErrorType");
    ping.verdict = match kind.as_str() {
        "plugin_rejected" => PingVerdict::Rejected,
        "plugin_trap" | "plugin_fuel" | "plugin_memory" | "plugin_output" => PingVerdict::Poison,
        _ => PingVerdict::Refused,
    };
    ping.reason = format!("{kind}: {}", field("DecodeError"));
    if ping.verdict != PingVerdict::Refused {
        (ping.detail, ping.backtrace) = (field("DecodeErrorDetail"), field("backtrace"));
    }
}
