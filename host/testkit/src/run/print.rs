//! The report for people.

use super::report::{
    DeliveryReport, FuelReport, GraphReport, MessageReport, PingReport, PingVerdict, PlanReport, PluginReport, Report, SectionReport,
};
use serde_json::Value;
use std::io::{self, Write};

/// Characters of a value that are shown.
const VALUE_CHARS: usize = 80;
/// Lines of a body that are shown.
const BODY_LINES: usize = 3;
/// Characters of each that are.
const LINE_CHARS: usize = 200;

/// Prints the report as text. It is the same for equal reports.
///
/// # Errors
/// When `out` cannot be written.
pub fn print(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let Report { plugin, plan, pings, messages, graphs, alerts, payloads, deliveries, log, metrics, fuel, gave_up } = report;
    print_pings(pings, out)?;
    print_plan(plugin, plan, out)?;
    section(out, "messages", messages.iter().map(message_line))?;
    print_graphs(graphs, out)?;
    section(out, "alerts", alerts.iter().map(|alert| format!("{} {} {}: {}", alert.time, alert.kind, alert.id, alert.summary)))?;
    section(
        out,
        "payloads",
        payloads.iter().map(|payload| format!("{} ({}): {}", payload.name, payload.media_type, value(&payload.data))),
    )?;
    print_deliveries(deliveries, out)?;
    section(out, "log", log.iter().map(|line| format!("{:<5} {}", line.level, line.text)))?;
    section(out, "metrics", metrics.iter().map(|(name, value)| format!("{name} {value}")))?;
    print_fuel(fuel, out)?;
    match gave_up {
        Some(why) => writeln!(out, "gave up: {why}"),
        None => Ok(()),
    }
}

fn section(out: &mut dyn Write, title: &str, lines: impl ExactSizeIterator<Item = String>) -> io::Result<()> {
    if lines.len() > 0 {
        writeln!(out, "{title} ({})", lines.len())?;
    }
    for line in lines {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

fn print_pings(pings: &[PingReport], out: &mut dyn Write) -> io::Result<()> {
    let count = |wanted: fn(&PingReport) -> bool| pings.iter().filter(|ping| wanted(ping)).count();
    let verdicts = [
        ("accepted", count(|ping| ping.verdict == PingVerdict::Accepted)),
        ("refused by the host", count(|ping| ping.verdict == PingVerdict::Refused)),
        ("rejected by the plugin", count(|ping| ping.verdict == PingVerdict::Rejected)),
        ("poison", count(|ping| ping.verdict == PingVerdict::Poison)),
    ];
    let verdicts: Vec<_> = verdicts.iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!("{count} {word}")).collect();
    writeln!(out, "pings ({}: {}; {} selected)", pings.len(), verdicts.join(", "), count(|ping| ping.selected))?;
    let surprising = count(|ping| ping.verdict == PingVerdict::Refused && ping.expected == "pass");
    if surprising > 0 {
        writeln!(out, "  {surprising} of the refused are named pass: is --schemas right?")?;
    }
    pings.iter().try_for_each(|ping| print_ping(ping, out))
}

fn print_ping(ping: &PingReport, out: &mut dyn Write) -> io::Result<()> {
    let verdict = match ping.verdict {
        PingVerdict::Accepted => "accepted",
        PingVerdict::Refused => "refused",
        PingVerdict::Rejected => "rejected",
        PingVerdict::Poison => "poison",
    };
    let selected = if ping.selected { "selected" } else { "-" };
    write!(out, "  {verdict:<8} {selected:<8} {}", ping.ping)?;
    if let Some(fuel) = ping.fuel {
        write!(out, " [fuel {}]", grouped(fuel))?;
    }
    let reason = ping.reason.replace('\n', " ");
    writeln!(out, "{}{}", if reason.is_empty() { "" } else { ": " }, shorten(&reason, LINE_CHARS))?;
    for (title, text) in [("logged", &ping.detail), ("frames", &ping.backtrace)].iter().filter(|(_, text)| !text.is_empty()) {
        writeln!(out, "    {title}: {}", text.trim_end().replace('\n', "\n      "))?;
    }
    for (name, field) in &ping.fields {
        writeln!(out, "    {name} = {}", value(field))?;
    }
    for (name, bytes) in &ping.sections {
        writeln!(out, "    section {name}: {bytes} bytes")?;
    }
    Ok(())
}

fn print_plan(plugin: &PluginReport, plan: &PlanReport, out: &mut dyn Write) -> io::Result<()> {
    let PluginReport { name, version, kind, timers, state } = plugin;
    let extras = [(*timers, ", timers"), (*state, ", state")].map(|(has, text)| if has { text } else { "" }).concat();
    writeln!(out, "plan of {name} {version} ({kind}{extras})")?;
    writeln!(out, "  matcher {}", plan.matcher)?;
    writeln!(out, "  scope {}", plan.scope)?;
    if plan.tick_ms > 0 {
        writeln!(out, "  tick {} ms", plan.tick_ms)?;
    }
    for column in &plan.columns {
        let shape = if column.shape == "one" { String::new() } else { format!(" {}", column.shape) };
        let required = if column.required { ", required" } else { "" };
        writeln!(out, "  column {} {}{shape}{required}", quoted(&column.path), column.kind)?;
    }
    for field in &plan.fields {
        let representation = if field.representation.is_empty() { String::new() } else { format!(" ({})", field.representation) };
        writeln!(out, "  field {} {}{representation}", field.name, field.kind)?;
    }
    for (number, sections) in plan.section_plans.iter().enumerate() {
        let name = |section: &SectionReport| if section.fate == "drop" { format!("drop {}", section.path) } else { section.path.clone() };
        let names: Vec<_> = sections.iter().map(name).collect();
        writeln!(out, "  sections {number}: {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") })?;
    }
    Ok(())
}

/// Only the empty pointer needs quotes to be seen.
fn quoted(path: &str) -> &str {
    if path.is_empty() { "\"\"" } else { path }
}

fn message_line(message: &MessageReport) -> String {
    let ping = message.ping.as_deref().unwrap_or("the beginning");
    let mut line = format!("{} type={}", message.time, value(&message.r#type));
    for (name, text) in [("logger", &message.logger), ("payload", &message.payload)] {
        if !text.is_null() {
            line.push_str(&format!(" {name}={}", value(text)));
        }
    }
    for (name, field) in &message.fields {
        line.push_str(&format!(" {name}={}", value(field)));
    }
    format!("{line} (at {ping})")
}

fn print_graphs(graphs: &[GraphReport], out: &mut dyn Write) -> io::Result<()> {
    if !graphs.is_empty() {
        writeln!(out, "graphs ({})", graphs.len())?;
    }
    for GraphReport { title, rows, seconds_per_row, columns, cells } in graphs {
        writeln!(out, "  {title:?}: {rows} rows of {seconds_per_row} s")?;
        let width = columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0);
        for cell in cells {
            let known = columns.iter().find(|column| column.name == cell.column);
            let (unit, aggregation) = known.map_or(("", ""), |column| (&column.unit, column.aggregation));
            writeln!(out, "    {:<width$}  {}  {} {unit} ({aggregation})", cell.column, cell.time, cell.value)?;
        }
        if cells.is_empty() {
            writeln!(out, "    no data")?;
        }
    }
    Ok(())
}

fn print_deliveries(deliveries: &[DeliveryReport], out: &mut dyn Write) -> io::Result<()> {
    if !deliveries.is_empty() {
        writeln!(out, "deliveries ({}), none of them performed", deliveries.len())?;
    }
    for DeliveryReport { target, headers, first, last, body, body_bytes } in deliveries {
        let name = |ping: &Option<String>| ping.clone().unwrap_or_else(|| "?".to_owned());
        writeln!(out, "  {target}: {body_bytes} bytes, from {} to {}", name(first), name(last))?;
        for (name, value) in headers {
            writeln!(out, "    {name}: {value}")?;
        }
        let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        for line in text.lines().take(BODY_LINES) {
            writeln!(out, "    | {}", shorten(line, LINE_CHARS))?;
        }
        if text.lines().nth(BODY_LINES).is_some() {
            writeln!(out, "    | ... {} more lines", text.lines().count() - BODY_LINES)?;
        }
    }
    Ok(())
}

fn print_fuel(fuel: &FuelReport, out: &mut dyn Write) -> io::Result<()> {
    let FuelReport { total, open, per_call, per_message, call_max, call_fuel_max, calls, memory_bytes, traps, restarts, engine } = fuel;
    writeln!(
        out,
        "fuel {} in all, {} a call, {} a message; open {}",
        grouped(*total),
        grouped(*per_call),
        grouped(*per_message),
        grouped(*open)
    )?;
    writeln!(out, "  largest call {} of {} (call_fuel_max)", grouped(*call_max), grouped(*call_fuel_max))?;
    for calls in calls {
        let failed = if calls.failed == 0 { String::new() } else { format!(", {} failed", calls.failed) };
        let (count, rows) = (counted(calls.count, "call"), counted(calls.rows, "row"));
        writeln!(out, "  {}: {count}{failed}, {rows}, fuel {}", calls.call, grouped(calls.fuel))?;
    }
    let (traps, restarts) = (counted(*traps, "trap"), counted(*restarts, "restart"));
    writeln!(out, "  memory {} bytes, {traps}, {restarts}", grouped(*memory_bytes))?;
    writeln!(out, "  {engine}")
}

fn value(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains(char::is_whitespace) || text.is_empty() => shorten(&format!("{text:?}"), VALUE_CHARS),
        Value::String(text) => shorten(text, VALUE_CHARS),
        value => shorten(&value.to_string(), VALUE_CHARS),
    }
}

/// The beginning of a text, with its length where it is longer.
fn shorten(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// 1234567 as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
