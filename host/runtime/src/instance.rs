//! One instance of a plugin: its calls, and their answers checked.

use std::sync::Arc;

use wasmtime::Store;

use crate::bindings::exports::tidemill::plugin::dictionary;
use crate::bindings::tidemill::plugin::types as wit;
use crate::call::Call;
use crate::columns::{Batch, Columns, Dictionaries};
use crate::declared::Declared;
use crate::decoded::Decoded;
use crate::delivery::{Delivery, check_deliveries};
use crate::error::{Broken, CallError, CallErrorKind, broken};
use crate::findings::Findings;
use crate::limits::Limits;
use crate::plan::Plan;
use crate::plan_check::Terms;
use crate::plugin::{Exports, KindGuest, Plugin};
use crate::report::CallReport;
use crate::store::HostState;

/// One wasmtime Store with one instance in it, opened. Calls go one at a time; an instance may move between threads.
///
/// A call that fails with a kind that [poisons](CallErrorKind::poisons) ends the instance: every later call says so. Open a
/// new one then, restore its state, and replay.
pub struct Instance {
    store: Store<HostState>,
    exports: Exports,
    plugin: Plugin,
    limits: Arc<Limits>,
    plan: Plan,
    declared: Declared,
    /// What ended the instance.
    poisoned: Option<String>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("plugin", &self.plugin).field("poisoned", &self.poisoned).finish_non_exhaustive()
    }
}

impl Instance {
    pub(crate) fn open(plugin: &Plugin, config_json: &str, limits: &Limits) -> Result<Self, CallError> {
        let limits = Arc::new(limits.clone());
        let call = Call::open(&limits);
        let mut store = plugin.store(HostState::new(Arc::clone(&limits)));
        limits.check().map_err(|limit| call.broken(store.data(), limit.into()))?;
        store.limiter(|state| &mut state.limiter);
        store.set_max_component_handles(usize::try_from(limits.handles_max).unwrap_or(usize::MAX));
        let (exports, answer) = call.run(plugin.name(), &mut store, |store| {
            let exports = plugin.instantiate(store)?;
            Ok(ask(&exports, config_json, store)?.map(|answer| (exports, answer)))
        })?;
        let terms = Terms { kind: plugin.kind(), has_timers: plugin.has_timers(), limits: &limits };
        let plan = answer.check(&terms).map_err(|broken| call.broken(store.data(), broken))?;
        let plugin = plugin.clone();
        Ok(Self { store, exports, plugin, limits, plan, declared: Declared::default(), poisoned: None })
    }

    pub(crate) fn check_plan_is(&mut self, deployed: &Plan) -> Result<(), CallError> {
        let same = difference(&self.plan, deployed).map_or(Ok(()), |part| {
            Err(broken!("it answers other {part} than the deployed instances: the same configuration must give the same answer"))
        });
        self.checked(Call::open(&self.limits), same)
    }

    /// What `open` answered.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plugin it belongs to.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// The account of the last call, also of one that failed.
    pub fn report(&self) -> &CallReport {
        &self.store.data().report
    }

    /// Whether an earlier failure ended the instance.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.is_some()
    }

    /// Calls a decoder with the documents of a batch.
    pub fn decode(&mut self, batch: &Batch) -> Result<Decoded, CallError> {
        let call = Call::data("decode", &self.limits);
        let KindGuest::Decoder(guest) = &self.exports.kind else { return Err(self.wrong_kind(call)) };
        let guest = guest.clone();
        let raw = self.run(call, |store| guest.call_decode(store, lower(batch)))?;
        let checked = Decoded::check(raw, batch.rows, &self.plan, &self.limits);
        self.checked(call, checked)
    }

    /// Calls an analysis plugin with the messages of a batch.
    pub fn process(&mut self, batch: &Batch) -> Result<Findings, CallError> {
        let call = Call::data("process", &self.limits);
        let KindGuest::Analysis(guest) = &self.exports.kind else { return Err(self.wrong_kind(call)) };
        let raw = match &batch.columns.dictionaries {
            None => {
                let guest = guest.clone();
                self.run(call, |store| guest.call_process(store, lower(batch)))
            }
            Some(Dictionaries { texts, codes }) => {
                let Some(guest) = self.exports.dictionary.clone() else { return Err(self.no_dictionary(call)) };
                let dictionaries = dictionary::Dictionaries { texts, codes };
                self.run(call, |store| guest.call_process(store, lower(batch), dictionaries))
            }
        }?;
        let checked = Findings::check(raw, Some(batch.rows), &mut self.declared, &self.limits);
        self.checked(call, checked)
    }

    /// Calls an output plugin with the messages of a batch.
    pub fn write(&mut self, batch: &Batch) -> Result<Vec<Delivery>, CallError> {
        let call = Call::data("write", &self.limits);
        let KindGuest::Output(guest) = &self.exports.kind else { return Err(self.wrong_kind(call)) };
        let guest = guest.clone();
        let raw = self.run(call, |store| guest.call_write(store, lower(batch)))?;
        self.checked(call, check_deliveries(raw, batch.rows, &self.limits))
    }

    /// Tells the plugin the time. One without `timers` finds nothing.
    pub fn on_timer(&mut self, now_ms: i64) -> Result<Findings, CallError> {
        let call = Call::data("on-timer", &self.limits);
        let Some(guest) = self.exports.timers.clone() else { return Ok(Findings::default()) };
        let raw = self.run(call, |store| guest.call_on_timer(store, now_ms))?;
        let checked = Findings::check(raw, None, &mut self.declared, &self.limits);
        self.checked(call, checked)
    }

    /// The whole state. A plugin without `state` has none: no bytes.
    pub fn snapshot(&mut self) -> Result<Vec<u8>, CallError> {
        let Some(guest) = self.exports.state.clone() else { return Ok(Vec::new()) };
        self.run(Call::state("snapshot", &self.limits), |store| guest.call_snapshot(store).map(Ok))
    }

    /// Gives a new instance its state. A plugin without `state` ignores it.
    pub fn restore(&mut self, bytes: &[u8], from_version: &str) -> Result<(), CallError> {
        let Some(guest) = self.exports.state.clone() else { return Ok(()) };
        self.run(Call::state("restore", &self.limits), |store| guest.call_restore(store, bytes, from_version))
    }

    fn run<T>(
        &mut self,
        call: Call,
        guest: impl FnOnce(&mut Store<HostState>) -> wasmtime::Result<Result<T, wit::Failure>>,
    ) -> Result<T, CallError> {
        if let Some(why) = &self.poisoned {
            let message = format!("`{}` on an instance that failed before: {why}. Open a new one", call.name);
            return Err(self.plain(CallErrorKind::Poisoned, message));
        }
        let answer = call.run(self.plugin.name(), &mut self.store, guest);
        answer.inspect_err(|error| poison(&mut self.poisoned, error))
    }

    fn checked<T>(&mut self, call: Call, checked: Result<T, Broken>) -> Result<T, CallError> {
        let answer = checked.map_err(|broken| call.broken(self.store.data(), broken));
        answer.inspect_err(|error| poison(&mut self.poisoned, error))
    }

    fn wrong_kind(&self, call: Call) -> CallError {
        let message = format!("`{}` was called, but `{}` is a plugin of kind {}", call.name, self.plugin.name(), self.plugin.kind());
        self.plain(CallErrorKind::Output, message)
    }

    fn no_dictionary(&self, call: Call) -> CallError {
        let message = format!("`{}` was called with dictionaries, but `{}` does not export `dictionary`", call.name, self.plugin.name());
        self.plain(CallErrorKind::Output, message)
    }

    /// An error of a call that never reached the guest.
    fn plain(&self, kind: CallErrorKind, message: String) -> CallError {
        CallError { kind, message, backtrace: String::new(), fuel: 0, limit: None, log: Vec::new() }
    }
}

fn poison(poisoned: &mut Option<String>, error: &CallError) {
    if error.kind.poisons() {
        *poisoned = Some(error.message.clone());
    }
}

/// What a guest answered to `open`, by its kind.
enum Answer {
    Decoder(wit::DecoderPlan),
    Other(wit::Subscription),
}

impl Answer {
    fn check(self, terms: &Terms<'_>) -> Result<Plan, Broken> {
        match self {
            Self::Decoder(plan) => terms.decoder_plan(plan),
            Self::Other(subscription) => terms.plan(subscription),
        }
    }
}

fn ask(exports: &Exports, config: &str, store: &mut Store<HostState>) -> wasmtime::Result<Result<Answer, wit::Failure>> {
    Ok(match &exports.kind {
        KindGuest::Decoder(guest) => guest.call_open(store, config)?.map(Answer::Decoder),
        KindGuest::Analysis(guest) => guest.call_open(store, config)?.map(Answer::Other),
        KindGuest::Output(guest) => guest.call_open(store, config)?.map(Answer::Other),
    })
}

/// Borrows a batch for the boundary: the lists are copied once, into the guest.
fn lower(batch: &Batch) -> wit::Batch<'_> {
    let Batch { partition, rows, now_ms, columns } = batch;
    let Columns { int64s, float64s, bits, spans, offsets, arena, dictionaries: _ } = columns;
    let columns = wit::ColumnsParam { int64s, float64s, bits, spans, offsets, arena };
    wit::Batch { partition: *partition, rows: *rows, now_ms: *now_ms, columns }
}

/// The first part in which two plans differ.
fn difference(answered: &Plan, deployed: &Plan) -> Option<&'static str> {
    let Plan { subscription, fields, section_plans } = answered;
    let parts = [
        ("subscription", *subscription != deployed.subscription),
        ("fields", *fields != deployed.fields),
        ("section plans", *section_plans != deployed.section_plans),
    ];
    parts.into_iter().find_map(|(part, differs)| differs.then_some(part))
}
