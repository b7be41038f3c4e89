//! A loaded component: its kind, what else it exports, and where instances come from.

use std::sync::Arc;

use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{AsContextMut, Store};

use crate::bindings::exports::tidemill::plugin::{analysis, decoder, dictionary, output, state, timers};
use crate::error::CallError;
use crate::instance::Instance;
use crate::limits::Limits;
use crate::plan::{Kind, Plan};
use crate::runtime::RuntimeError;
use crate::store::HostState;

/// Imports that a plugin may have, up to the version's last number.
const IMPORTS: [&str; 2] = ["tidemill:plugin/host@0.1.", "tidemill:plugin/types@0.1."];
const WASI_HINT: &str = "a plugin may import only `tidemill:plugin/host@0.1`. Build it without WASI: Rust for \
     wasm32-unknown-unknown, Python with `--stub-wasi`, JavaScript with `disableFeatures`, Go with the stub adapter";
const VERSION_HINT: &str = "this host offers `tidemill:plugin/host@0.1`. Build it against that version";
const OTHER_HINT: &str = "a plugin may import only `tidemill:plugin/host@0.1`. Link it in or leave it out";

/// A component that exports exactly one kind. Clones share everything.
#[derive(Clone)]
pub struct Plugin(Arc<Loaded>);

struct Loaded {
    name: String,
    version: String,
    pre: InstancePre<HostState>,
    kind: KindIndices,
    timers: Option<timers::GuestIndices>,
    state: Option<state::GuestIndices>,
    dictionary: Option<dictionary::GuestIndices>,
}

enum KindIndices {
    Decoder(decoder::GuestIndices),
    Analysis(analysis::GuestIndices),
    Output(output::GuestIndices),
}

/// The exports of one instance.
pub(crate) struct Exports {
    pub(crate) kind: KindGuest,
    pub(crate) timers: Option<timers::Guest>,
    pub(crate) state: Option<state::Guest>,
    pub(crate) dictionary: Option<dictionary::Guest>,
}

pub(crate) enum KindGuest {
    Decoder(decoder::Guest),
    Analysis(analysis::Guest),
    Output(output::Guest),
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plugin({} {} {})", self.name(), self.kind(), self.version())
    }
}

impl Plugin {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The first 12 hexadecimal digits of the blake3 of the component.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// Which interface it exports.
    pub fn kind(&self) -> Kind {
        match self.0.kind {
            KindIndices::Decoder(_) => Kind::Decoder,
            KindIndices::Analysis(_) => Kind::Analysis,
            KindIndices::Output(_) => Kind::Output,
        }
    }

    /// Whether it exports `timers`.
    pub fn has_timers(&self) -> bool {
        self.0.timers.is_some()
    }

    /// Whether it exports `state`.
    pub fn has_state(&self) -> bool {
        self.0.state.is_some()
    }

    /// Whether it exports `dictionary`: it reads [batches with dictionaries](crate::ColumnsBuilder::with_dictionaries).
    pub fn has_dictionary(&self) -> bool {
        self.0.dictionary.is_some()
    }

    /// A new instance that answered `open`. Costs 10 to 50 us for a Rust guest, about a millisecond for an interpreter.
    pub fn open(&self, config_json: &str, limits: &Limits) -> Result<Instance, CallError> {
        Instance::open(self, config_json, limits)
    }

    /// As [`open`](Self::open), for an instance that replaces or joins others: an answer that differs from theirs is refused
    /// as [`Output`](crate::CallErrorKind::Output).
    pub fn open_as(&self, config_json: &str, limits: &Limits, deployed: &Plan) -> Result<Instance, CallError> {
        let mut instance = self.open(config_json, limits)?;
        instance.check_plan_is(deployed)?;
        Ok(instance)
    }

    pub(crate) fn new(name: &str, hash: &blake3::Hash, component: &Component, linker: &Linker<HostState>) -> Result<Self, RuntimeError> {
        check_imports(name, component)?;
        let unfit = |error: wasmtime::Error| RuntimeError::Types { plugin: name.into(), reason: format!("{error:#}") };
        let pre = linker.instantiate_pre(component).map_err(unfit)?;
        let kind = find_kind(name, &pre)?;
        let has = |interface: &str| component.get_export_index(None, interface).is_some();
        let timers = has("tidemill:plugin/timers@0.1.0").then(|| timers::GuestIndices::new(&pre));
        let state = has("tidemill:plugin/state@0.1.0").then(|| state::GuestIndices::new(&pre));
        let dictionary = has("tidemill:plugin/dictionary@0.1.0").then(|| dictionary::GuestIndices::new(&pre));
        let version = hash.to_hex()[..12].to_owned();
        let (timers, state) = (timers.transpose().map_err(unfit)?, state.transpose().map_err(unfit)?);
        let dictionary = dictionary.transpose().map_err(unfit)?;
        Ok(Self(Arc::new(Loaded { name: name.into(), version, pre, kind, timers, state, dictionary })))
    }

    /// Instantiates into a Store; the guest's initialisers run.
    pub(crate) fn instantiate(&self, store: &mut Store<HostState>) -> wasmtime::Result<Exports> {
        let instance = self.0.pre.instantiate(store.as_context_mut())?;
        let kind = match &self.0.kind {
            KindIndices::Decoder(indices) => KindGuest::Decoder(indices.load(&mut *store, &instance)?),
            KindIndices::Analysis(indices) => KindGuest::Analysis(indices.load(&mut *store, &instance)?),
            KindIndices::Output(indices) => KindGuest::Output(indices.load(&mut *store, &instance)?),
        };
        let timers = self.0.timers.as_ref().map(|indices| indices.load(&mut *store, &instance)).transpose()?;
        let state = self.0.state.as_ref().map(|indices| indices.load(&mut *store, &instance)).transpose()?;
        let dictionary = self.0.dictionary.as_ref().map(|indices| indices.load(&mut *store, &instance)).transpose()?;
        Ok(Exports { kind, timers, state, dictionary })
    }

    /// A Store of the same engine.
    pub(crate) fn store(&self, state: HostState) -> Store<HostState> {
        Store::new(self.0.pre.engine(), state)
    }
}

fn check_imports(plugin: &str, component: &Component) -> Result<(), RuntimeError> {
    let ty = component.component_type();
    let foreign = ty.imports(component.engine()).find(|(name, _)| !IMPORTS.iter().any(|allowed| name.starts_with(allowed)));
    let Some((import, _)) = foreign else { return Ok(()) };
    let hint = match import {
        _ if import.starts_with("wasi:") || import.starts_with("wasi_") => WASI_HINT,
        _ if import.starts_with("tidemill:plugin/") => VERSION_HINT,
        _ => OTHER_HINT,
    };
    Err(RuntimeError::Import { plugin: plugin.into(), import: import.into(), hint })
}

fn find_kind(plugin: &str, pre: &InstancePre<HostState>) -> Result<KindIndices, RuntimeError> {
    let has = |kind: &Kind| pre.component().get_export_index(None, format!("tidemill:plugin/{kind}@0.1.0").as_str()).is_some();
    let found: Vec<Kind> = [Kind::Decoder, Kind::Analysis, Kind::Output].into_iter().filter(has).collect();
    let indices = match found.as_slice() {
        [Kind::Decoder] => decoder::GuestIndices::new(pre).map(KindIndices::Decoder),
        [Kind::Analysis] => analysis::GuestIndices::new(pre).map(KindIndices::Analysis),
        [Kind::Output] => output::GuestIndices::new(pre).map(KindIndices::Output),
        _ => return Err(RuntimeError::Kind { plugin: plugin.into(), found: name_all(&found) }),
    };
    indices.map_err(|error| RuntimeError::Types { plugin: plugin.into(), reason: format!("{error:#}") })
}

fn name_all(kinds: &[Kind]) -> String {
    match kinds {
        [] => "no kind".into(),
        _ => kinds.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(" and "),
    }
}
