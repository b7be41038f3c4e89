//! What a guest may call: `log` and `metric-add`, and nothing else.
//!
//! Host work is not metered by wasmtime, so both charge fuel: a guest that calls them in a loop is stopped as one that
//! computes in a loop. Text is looked at only when it is kept.

use wasmtime::component::{Linker, WasmStr};
use wasmtime::{AsContext, Engine, StoreContextMut, Trap};

use crate::bindings::tidemill::plugin::host as wit;
use crate::report::{Level, LogLine, Metric, cut};
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
    let (counter, bytes) = find_counter(&cx, name)?;
    let state = cx.data_mut();
    let has_room = (state.report.metrics.len() as u64) < state.limits.metric_names_max;
    match counter {
        Counter::At(at) if delta.is_finite() => state.report.metrics[at].delta += delta,
        Counter::New(name) if delta.is_finite() && has_room => state.report.metrics.push(Metric { name, delta }),
        _ => state.report.metrics_dropped += 1,
    }
    charge(&mut cx, bytes * TEXT_FUEL_PER_BYTE)
}

/// A counter that a guest named.
enum Counter {
    At(usize),
    New(String),
    Misnamed,
}

/// The counter of this name, and how long the name is. Nothing is allocated for one that is there.
fn find_counter(cx: &StoreContextMut<'_, HostState>, name: &WasmStr) -> wasmtime::Result<(Counter, u64)> {
    let name = name.to_str(cx.as_context())?;
    let bytes = name.len() as u64;
    let state = cx.data();
    let counter = match state.report.metrics.iter().position(|metric| metric.name == *name) {
        Some(at) => Counter::At(at),
        None if (1..=state.limits.metric_name_bytes_max).contains(&bytes) => Counter::New(name.into_owned()),
        None => Counter::Misnamed,
    };
    Ok((counter, bytes))
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
