//! What a guest may call: `log` and `metric-add`, and nothing else.
//!
//! Host work is not metered by wasmtime, so both charge fuel: a guest that calls them in a loop is stopped as one that
//! computes in a loop. Text is looked at only when it is kept.

use wasmtime::component::{Linker, WasmStr};
use wasmtime::{AsContext, Engine, StoreContextMut, Trap};

use crate::bindings::tidemill::plugin::host as wit;
use crate::report::{CallReport, Level, LogLine, Metric, cut};
use crate::store::HostState;

/// Fuel of one call of an import: about 100 ns, what it costs.
const IMPORT_FUEL: u64 = 300;
/// Fuel of each byte of text that the host looks at: about 0.3 ns, what the UTF-8 check costs.
const TEXT_FUEL_PER_BYTE: u64 = 1;

/// The linker of all plugins.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    let mut host = linker.instance("tidemill:plugin/host@0.1.0")?;
    host.func_wrap("log", |cx: StoreContextMut<'_, HostState>, (level, text): (wit::Level, WasmStr)| log(cx, level, &text))?;
    host.func_wrap("metric-add", |cx: StoreContextMut<'_, HostState>, (name, delta): (WasmStr, f64)| metric_add(cx, &name, delta))?;
    Ok(linker)
}

fn log(mut cx: StoreContextMut<'_, HostState>, level: wit::Level, text: &WasmStr) -> wasmtime::Result<()> {
    charge(&mut cx, IMPORT_FUEL)?;
    let state = cx.data_mut();
    if state.report.log.len() as u64 >= state.limits.log_lines_max {
        state.report.log_dropped += 1;
        return Ok(());
    }
    let kept_max = state.limits.log_line_bytes_max;
    let (text, bytes) = read(&cx, text, kept_max)?;
    cx.data_mut().report.log.push(LogLine { level: level.into(), text });
    charge(&mut cx, bytes * TEXT_FUEL_PER_BYTE)
}

fn metric_add(mut cx: StoreContextMut<'_, HostState>, name: &WasmStr, delta: f64) -> wasmtime::Result<()> {
    charge(&mut cx, IMPORT_FUEL)?;
    let limits = &cx.data().limits;
    let (bytes_max, names_max) = (limits.metric_name_bytes_max, limits.metric_names_max);
    let (name, bytes) = read(&cx, name, bytes_max.saturating_add(1))?;
    let is_named = !name.is_empty() && name.len() as u64 <= bytes_max;
    let report = &mut cx.data_mut().report;
    if !(is_named && delta.is_finite() && add(report, name, delta, names_max)) {
        report.metrics_dropped += 1;
    }
    charge(&mut cx, bytes * TEXT_FUEL_PER_BYTE)
}

/// Whether the counter was there or there was room for it.
fn add(report: &mut CallReport, name: String, delta: f64, names_max: u64) -> bool {
    if let Some(metric) = report.metrics.iter_mut().find(|metric| metric.name == name) {
        metric.delta += delta;
        return true;
    }
    let has_room = (report.metrics.len() as u64) < names_max;
    if has_room {
        report.metrics.push(Metric { name, delta });
    }
    has_room
}

/// At most `bytes_max` bytes of a guest's text, and how long it is.
fn read(cx: &StoreContextMut<'_, HostState>, text: &WasmStr, bytes_max: u64) -> wasmtime::Result<(String, u64)> {
    let text = text.to_str(cx.as_context())?;
    Ok((cut(&text, bytes_max).to_owned(), text.len() as u64))
}

fn charge(cx: &mut StoreContextMut<'_, HostState>, fuel: u64) -> wasmtime::Result<()> {
    match cx.get_fuel()?.checked_sub(fuel) {
        Some(left) => cx.set_fuel(left),
        None => {
            cx.set_fuel(0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}

impl From<wit::Level> for Level {
    fn from(level: wit::Level) -> Self {
        match level {
            wit::Level::Debug => Self::Debug,
            wit::Level::Info => Self::Info,
            wit::Level::Warn => Self::Warn,
            wit::Level::Error => Self::Error,
        }
    }
}
