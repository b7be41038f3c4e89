//! What the plugin left in the topics and in the live state.

use super::{
    decode,
    error::RunError,
    facts::{field_value, text},
    report::{AlertReport, CellReport, ColumnReport, DeliveryReport, GraphReport, MessageReport, PayloadReport, Report},
    stage::StageRun,
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};
use tidemill_message::MessageRef;
use tidemill_pipeline::{
    graphs::Alert,
    output::{OutboxEntry, outbox_topic},
    source::Source,
    status::{ColumnView, GraphData},
};
use tidemill_runtime::{Kind, Target};

/// Reads everything back.
pub(super) fn collect(run: &StageRun, kind: Kind, report: &mut Report) -> Result<(), RunError> {
    poison(run, report)?;
    report.alerts = alerts(run)?;
    if kind == Kind::Output {
        report.deliveries = deliveries(run)?;
        return Ok(());
    }
    report.messages = derived(run)?;
    let live = &run.house.live;
    let graphs = live.graphs(&run.name).into_iter().filter_map(|graph| live.graph(&run.name, &graph.title));
    report.graphs = graphs.map(graph).collect();
    let payloads = live.payloads(&run.name).into_iter();
    let shown = payloads.map(|(name, payload)| PayloadReport { name, media_type: payload.media_type, data: text(&payload.data) });
    report.payloads = shown.collect();
    Ok(())
}

/// Error records behind those of the decode stage are about the plugin.
fn poison(run: &StageRun, report: &mut Report) -> Result<(), RunError> {
    for read in run.house.read("errors")?.iter().skip(run.inputs.refused()) {
        let Ok(message) = MessageRef::parse(&read.value) else { continue };
        let source = message.field("source").and_then(|field| field.bytes()).and_then(|source| std::str::from_utf8(source).ok());
        let number = source.and_then(|source| run.inputs.of_source(source));
        if let Some(ping) = number.and_then(|number| report.pings.get_mut(number)) {
            decode::refuse(ping, &read.value);
        }
    }
    Ok(())
}

fn alerts(run: &StageRun) -> Result<Vec<AlertReport>, RunError> {
    let records = run.house.read("alerts")?;
    let alerts = records.iter().filter_map(|read| Alert::read(&MessageRef::parse(&read.value).ok()?));
    let report = alerts.map(|alert| {
        let Alert { time_ns, plugin: _, id, kind, summary, detail, measured: _ } = alert;
        AlertReport { time: time_text(time_ns), id, kind, summary, detail }
    });
    Ok(report.collect())
}

fn derived(run: &StageRun) -> Result<Vec<MessageReport>, RunError> {
    let validated: Arc<str> = run.house.bus.incarnation("validated")?;
    let ping_of = |source: &[u8]| {
        let source = Source::parse(source)?;
        let topic = if source.incarnation == &*validated { "validated" } else { "errors" };
        run.inputs.label(run.inputs.at(topic, source.offset)?)
    };
    let records = run.house.read("derived")?;
    let messages = records.iter().filter_map(|read| Some(message(&MessageRef::parse(&read.value).ok()?, ping_of(&read.source))));
    Ok(messages.collect())
}

fn message(message: &MessageRef<'_>, ping: Option<String>) -> MessageReport {
    let optional = |bytes: Option<&[u8]>| bytes.map_or(Value::Null, text);
    let mut fields: BTreeMap<String, Value> = BTreeMap::new();
    for field in message.fields() {
        fields.entry(String::from_utf8_lossy(field.name).into_owned()).or_insert_with(|| field_value(&field));
    }
    let time = time_text(message.timestamp());
    MessageReport {
        ping,
        time,
        r#type: optional(message.type_()),
        logger: optional(message.logger()),
        payload: optional(message.payload()),
        fields,
    }
}

fn graph(data: GraphData) -> GraphReport {
    let GraphData { graph, start, data } = data;
    let mut cells = Vec::new();
    for (row, values) in (0i64..).zip(&data) {
        let time = time_text((start + row * i64::from(graph.seconds_per_row)).saturating_mul(1_000_000_000));
        let known = graph.columns.iter().zip(values).filter_map(|(column, value)| Some((column.name.clone(), (*value)?)));
        cells.extend(known.map(|(column, value)| CellReport { column, time: time.clone(), value }));
    }
    let column =
        |column: &ColumnView| ColumnReport { name: column.name.clone(), unit: column.unit.clone(), aggregation: column.aggregation };
    let columns = graph.columns.iter().map(column).collect();
    GraphReport { title: graph.title, rows: graph.rows, seconds_per_row: graph.seconds_per_row, columns, cells }
}

fn deliveries(run: &StageRun) -> Result<Vec<DeliveryReport>, RunError> {
    let records = run.house.read(&outbox_topic(&run.name))?;
    let entries = records.iter().filter_map(|read| OutboxEntry::read(&read.value).ok());
    Ok(entries.map(|entry| delivery(run, entry)).collect())
}

fn delivery(run: &StageRun, entry: OutboxEntry) -> DeliveryReport {
    let OutboxEntry { plugin: _, key: _, target, first_source, last_source, body } = entry;
    let label = |source: &str| run.inputs.label(run.inputs.of_source(source)?);
    let (first, last) = (label(&first_source), label(&last_source));
    let (target, headers) = match target {
        Target::Http { method, url, headers } => (format!("{method} {url}"), headers),
        Target::Object(path) => (format!("object {path}"), Vec::new()),
        Target::Append(path) => (format!("append {path}"), Vec::new()),
        Target::Bus { topic, key } => (format!("bus {topic} key {}", String::from_utf8_lossy(&key)), Vec::new()),
    };
    DeliveryReport { target, headers, first, last, body: text(&body), body_bytes: body.len() }
}

fn time_text(time_ns: i64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time_ns));
    time.map_or_else(|_| format!("{time_ns} ns"), |time| time.to_string())
}
