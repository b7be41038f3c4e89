//! The report's beginning: what the plugin is and what it answers to `open`; and how messages' values are shown.

use super::{
    error::RunError,
    report::{FieldReport, FuelReport, LogReport, PlanReport, PluginReport, Report, RequestReport, SectionReport},
};
use base64::Engine;
use serde_json::{Value, json};
use tidemill_message::{FieldRef, Value as FieldValue};
use tidemill_pipeline::plugins::Configured;
use tidemill_runtime::{CONFIG_LABEL, ColumnKind, Fate, Level, LogLine, Plan, Scope, Shape, WASMTIME_VERSION};

/// Opens the plugin once to learn what it asks for.
pub(super) fn open(configured: &Configured) -> Result<(Report, Plan), RunError> {
    let Configured { plugin, config, limits } = configured;
    let opened = plugin.open(config, limits);
    let instance = opened.map_err(|error| RunError::Open { plugin: plugin.name().to_owned(), error: Box::new(error) })?;
    let (name, version, kind) = (plugin.name().to_owned(), plugin.version().to_owned(), plugin.kind().to_string());
    let fuel = FuelReport {
        open: instance.report().fuel,
        call_fuel_max: limits.call_fuel_max,
        memory_bytes: instance.report().memory_bytes,
        engine: format!("wasmtime {WASMTIME_VERSION} {CONFIG_LABEL}"),
        ..FuelReport::default()
    };
    let report = Report {
        plugin: PluginReport { name, version, kind, timers: plugin.has_timers(), state: plugin.has_state() },
        plan: describe(instance.plan()),
        pings: Vec::new(),
        messages: Vec::new(),
        graphs: Vec::new(),
        alerts: Vec::new(),
        payloads: Vec::new(),
        deliveries: Vec::new(),
        log: instance.report().log.iter().map(log_line).collect(),
        metrics: instance.report().metrics.iter().map(|metric| (metric.name.clone(), metric.delta)).collect(),
        fuel,
        gave_up: None,
    };
    Ok((report, instance.plan().clone()))
}

fn describe(plan: &Plan) -> PlanReport {
    let columns = plan.subscription.columns.iter().map(|column| RequestReport {
        path: column.path.clone(),
        kind: kind_name(column.kind),
        shape: match column.shape {
            Shape::One => "one",
            Shape::Many => "many",
            Shape::Entries => "entries",
        },
        required: column.required,
    });
    let fields = plan.fields.iter().map(|field| FieldReport {
        name: field.name.clone(),
        kind: kind_name(field.kind),
        representation: field.representation.clone(),
    });
    let fate = |fate| if fate == Fate::Drop { "drop" } else { "own-field" };
    let sections = plan
        .section_plans
        .iter()
        .map(|sections| sections.iter().map(|section| SectionReport { path: section.path.clone(), fate: fate(section.fate) }).collect());
    PlanReport {
        matcher: plan.subscription.matcher.clone(),
        scope: match plan.subscription.scope {
            Scope::Stateless => "stateless",
            Scope::Partition => "partition",
            Scope::Global => "global",
        },
        tick_ms: plan.subscription.tick_ms,
        columns: columns.collect(),
        fields: fields.collect(),
        section_plans: sections.collect(),
    }
}

fn kind_name(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Int64 => "int64",
        ColumnKind::Float64 => "float64",
        ColumnKind::Boolean => "boolean",
        ColumnKind::Text => "text",
        ColumnKind::Bytes => "bytes",
        ColumnKind::Json => "json",
    }
}

/// A log line.
pub(super) fn log_line(line: &LogLine) -> LogReport {
    let level = match line.level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    LogReport { level, text: line.text.clone() }
}

/// Text as text, other bytes as `{"base64": ..}`.
pub(super) fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({"base64": base64::engine::general_purpose::STANDARD.encode(bytes)}),
    }
}

/// A field's value; an array where it has several.
pub(super) fn field_value(field: &FieldRef<'_>) -> Value {
    let value = |value| match value {
        FieldValue::String(bytes) | FieldValue::Bytes(bytes) => text(bytes),
        FieldValue::Integer(number) => json!(number),
        FieldValue::Double(number) => json!(number),
        FieldValue::Bool(truth) => json!(truth),
    };
    let mut values: Vec<_> = field.values().map(value).collect();
    if values.len() == 1 { values.remove(0) } else { Value::Array(values) }
}
