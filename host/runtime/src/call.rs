//! One call into a guest: fuel set and read, and every way to fail told apart.

use std::time::{Duration, Instant};

use wasmtime::{Store, Trap, WasmBacktrace};

use crate::bindings::tidemill::plugin::types::Failure;
use crate::error::{Broken, CallError, CallErrorKind};
use crate::limits::{LimitExceeded, Limits};
use crate::report::{Level, cut};
use crate::store::HostState;

/// Bytes kept of a backtrace.
const BACKTRACE_BYTES_MAX: u64 = 8 << 10;
/// Bytes of the last error line that become part of a trap's message.
const PANIC_BYTES_MAX: u64 = 1 << 10;
/// Bytes kept of wasmtime's own words.
const REASON_BYTES_MAX: u64 = 1 << 10;
/// How wasmtime says that an answer was too large; the type is private to it.
const TOO_LARGE: &str = "too much data is being copied between the host and the guest";

/// Which call, and what it may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    fuel_limit_name: &'static str,
    fuel_max: u64,
    output_limit_name: &'static str,
    output_bytes_max: u64,
}

impl Call {
    /// `decode`, `process`, `write` and `on-timer`.
    pub(crate) fn data(name: &'static str, limits: &Limits) -> Self {
        Self {
            name,
            fuel_limit_name: "call_fuel_max",
            fuel_max: limits.call_fuel_max,
            output_limit_name: "output_bytes_max",
            output_bytes_max: limits.output_bytes_max,
        }
    }

    /// Instantiation and `open`.
    pub(crate) fn open(limits: &Limits) -> Self {
        Self { fuel_limit_name: "open_fuel_max", fuel_max: limits.open_fuel_max, ..Self::data("open", limits) }
    }

    /// `snapshot` and `restore`.
    pub(crate) fn state(name: &'static str, limits: &Limits) -> Self {
        Self {
            name,
            fuel_limit_name: "state_fuel_max",
            fuel_max: limits.state_fuel_max,
            output_limit_name: "state_bytes_max",
            output_bytes_max: limits.state_bytes_max,
        }
    }

    /// Runs it, and leaves the account in the report.
    pub(crate) fn run<T>(
        self,
        plugin: &str,
        store: &mut Store<HostState>,
        guest: impl FnOnce(&mut Store<HostState>) -> wasmtime::Result<Result<T, Failure>>,
    ) -> Result<T, CallError> {
        store.data_mut().begin();
        store.set_hostcall_fuel(usize::try_from(self.output_bytes_max).unwrap_or(usize::MAX));
        let started = Instant::now();
        let answer = store.set_fuel(self.fuel_max).and_then(|()| guest(store));
        self.account(plugin, store, started.elapsed());
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(failure)) => Err(self.refused(store.data(), failure)),
            Err(error) => Err(self.failed(store.data(), &error)),
        }
    }

    fn account(self, plugin: &str, store: &mut Store<HostState>, elapsed: Duration) {
        let left = store.get_fuel().unwrap_or(0);
        let state = store.data_mut();
        state.report.fuel = self.fuel_max.saturating_sub(left);
        state.report.elapsed = elapsed;
        state.report.memory_bytes = state.limiter.memory_bytes();
        if elapsed.as_millis() >= u128::from(state.limits.wall_clock_report_ms) {
            let (call, elapsed_ms, fuel) = (self.name, elapsed.as_millis(), state.report.fuel);
            tracing::warn!(plugin, call, elapsed_ms, fuel, "slow call");
        }
    }

    fn failed(self, state: &HostState, error: &wasmtime::Error) -> CallError {
        let backtrace = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string).unwrap_or_default();
        let (_, backtrace) = backtrace.split_once('\n').unwrap_or_default();
        let failed = self.classify(state, error);
        CallError { backtrace: cut(backtrace, BACKTRACE_BYTES_MAX).to_owned(), ..failed }
    }

    fn classify(self, state: &HostState, error: &wasmtime::Error) -> CallError {
        let root = error.root_cause().to_string();
        let root = cut(root.strip_prefix("wasm trap: ").unwrap_or(&root), REASON_BYTES_MAX);
        match (error.downcast_ref::<Trap>(), &state.limiter.refused) {
            (Some(Trap::OutOfFuel), _) => self.out_of_fuel(state),
            (_, Some(refused)) => self.out_of_memory(state, refused, root),
            (Some(_), None) => self.trapped(state, root),
            (None, None) if root.starts_with(TOO_LARGE) => self.broken(state, self.too_large().into()),
            (None, None) => self.broken(state, Broken::Contract(root.to_owned())),
        }
    }

    fn out_of_fuel(self, state: &HostState) -> CallError {
        let Self { name, fuel_limit_name, fuel_max, .. } = self;
        let message = format!("`{name}` used up its fuel: limit `{fuel_limit_name}` is {fuel_max}. Do less in a call, or raise it");
        let limit = LimitExceeded { name: fuel_limit_name, limit: fuel_max, current: fuel_max, requested: 1 };
        error(state, CallErrorKind::Fuel { limit: fuel_max }, message, Some(limit))
    }

    fn out_of_memory(self, state: &HostState, refused: &LimitExceeded, root: &str) -> CallError {
        let message = format!("`{}` ran out of memory: {refused}; then it gave up: {root}", self.name);
        error(state, CallErrorKind::Memory, message, Some(refused.clone()))
    }

    /// A Rust trap carries no text, but a panic hook logs it first.
    fn trapped(self, state: &HostState, root: &str) -> CallError {
        let last_words = state.report.log.last().filter(|line| line.level == Level::Error);
        let last_words = last_words.map(|line| format!(": {}", cut(&line.text, PANIC_BYTES_MAX))).unwrap_or_default();
        error(state, CallErrorKind::Trap, format!("`{}` trapped: {root}{last_words}", self.name), None)
    }

    /// How much was asked for is not known: wasmtime stops reading at the limit.
    fn too_large(self) -> LimitExceeded {
        let limit = self.output_bytes_max;
        LimitExceeded { name: self.output_limit_name, limit, current: limit, requested: 1 }
    }

    fn refused(self, state: &HostState, Failure { code, text }: Failure) -> CallError {
        let message = format!("`{}` refused with code {code}: {}", self.name, cut(&text, state.limits.log_line_bytes_max));
        error(state, CallErrorKind::Failure { code }, message, None)
    }

    /// The answer came, but is not what the contract says.
    pub(crate) fn broken(self, state: &HostState, broken: Broken) -> CallError {
        let message = format!("`{}` broke the contract: {broken}", self.name);
        let limit = if let Broken::Limit(limit) = broken { Some(limit) } else { None };
        error(state, CallErrorKind::Output, message, limit)
    }
}

fn error(state: &HostState, kind: CallErrorKind, message: String, limit: Option<LimitExceeded>) -> CallError {
    let (fuel, log) = (state.report.fuel, state.report.log.clone());
    CallError { kind, message, backtrace: String::new(), fuel, limit: limit.map(Box::new), log }
}
