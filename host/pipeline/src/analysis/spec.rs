//! The plugins of a stage, ready to be fed: what each asked for, its matcher, and the pointers of all of them together.

use super::{
    block::{SharedColumns, SharedPlan},
    document::Pointers,
    guest::{Component, Guest},
};
use crate::{
    columns::{ColumnError, ColumnPlan},
    status::{LiveState, PluginStatus},
};
use std::sync::Arc;
use tidemill_message::{FieldNames, Matcher, MatcherError, MatcherSet};
use tidemill_runtime::{CallError, ColumnRequest, ColumnsBuilder, Kind, Plan, Scope};

/// A plugin that a stage cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It failed in `open`.
    #[error("plugin {plugin:?} cannot be opened: {error}")]
    Open {
        /// The plugin.
        plugin: String,
        /// Why.
        error: Box<CallError>,
    },
    /// One of the two matchers is no expression.
    #[error("plugin {plugin:?}: its {whose} matcher is not valid: {error}")]
    Matcher {
        /// The plugin.
        plugin: String,
        /// `own` or `configured`.
        whose: &'static str,
        /// What is wrong and where.
        error: MatcherError,
    },
    /// A column that cannot be filled.
    #[error("plugin {plugin:?}: {error}")]
    Column {
        /// The plugin.
        plugin: String,
        /// Which and why.
        error: ColumnError,
    },
    /// A scope that this stage has not.
    #[error("plugin {plugin:?} asks for scope global, which no stage offers yet: use partition and let graphs and derived messages merge")]
    Global {
        /// The plugin.
        plugin: String,
    },
}

/// A plugin of a stage.
pub struct PluginSpec {
    /// Makes instances.
    pub component: Arc<dyn Component>,
    /// Its figures.
    pub status: Arc<PluginStatus>,
    /// What every instance must answer to `open`.
    pub plan: Plan,
    /// How its batches are filled.
    pub columns: ColumnPlan,
    /// The place of each of its pointers among those of all plugins.
    pub pointers: Vec<usize>,
    /// The place of each column's field among those of all plugins; of a column that is none, a place where nothing is.
    pub fields: Vec<usize>,
    /// Its columns among those that plugins share, where all of them are headers or fields.
    pub shared: Option<SharedColumns>,
}

/// What to run: a component and the configured matcher, empty where nothing is narrowed.
#[derive(Clone)]
pub struct Deployed {
    /// The plugin.
    pub component: Arc<dyn Component>,
    /// Narrows what the plugin itself subscribes to.
    pub matcher: String,
}

/// The plugins of a stage.
pub struct PluginSet {
    /// In the order of the configuration.
    pub plugins: Vec<Arc<PluginSpec>>,
    /// Their matchers, in the same order.
    pub matchers: MatcherSet,
    /// The pointers of all of them.
    pub pointers: Pointers,
    /// The fields that their matchers and columns name.
    pub fields: FieldNames,
    /// The columns that they share.
    pub shared: SharedPlan,
}

impl PluginSet {
    /// Opens each plugin once to learn what it asks for.
    ///
    /// # Errors
    /// Names the plugin that cannot be run, and why.
    pub fn new(deployed: &[Deployed], live: &LiveState) -> Result<Self, SpecError> {
        let mut pointers = Pointers::default();
        let (mut plugins, mut matchers) = (Vec::new(), Vec::new());
        for Deployed { component, matcher } in deployed {
            let spec = PluginSpec::new(component, live, &mut pointers)?;
            matchers.push(join_matchers(component.name(), &spec.plan.subscription.matcher, matcher)?);
            plugins.push(spec);
        }
        let matchers = MatcherSet::new(matchers);
        let mut fields = matchers.field_names().clone();
        let mut shared = SharedPlan::default();
        for spec in &mut plugins {
            spec.fields = spec.columns.field_places(&mut fields);
            spec.shared = shared.add(&spec.columns, &spec.fields);
        }
        shared.share_with(&matchers);
        let plugins = plugins.into_iter().map(Arc::new).collect();
        Ok(Self { plugins, matchers, pointers, fields, shared })
    }
}

impl PluginSpec {
    fn new(component: &Arc<dyn Component>, live: &LiveState, pointers: &mut Pointers) -> Result<Self, SpecError> {
        let plugin = || component.name().to_owned();
        let guest = component.open().map_err(|error| SpecError::Open { plugin: plugin(), error: Box::new(error) })?;
        let plan = guest.plan().clone();
        if plan.subscription.scope == Scope::Global {
            return Err(SpecError::Global { plugin: plugin() });
        }
        let columns = ColumnPlan::new(&plan.subscription.columns).map_err(|error| SpecError::Column { plugin: plugin(), error })?;
        let pointers = columns.pointers().iter().map(|pointer| pointers.add(pointer)).collect();
        let status = live.plugin(component.name(), component.kind().as_str(), component.version());
        Ok(Self { component: Arc::clone(component), status, plan, columns, pointers, fields: Vec::new(), shared: None })
    }

    /// As configured.
    pub fn name(&self) -> &str {
        self.component.name()
    }

    /// The columns it asked for.
    pub fn requests(&self) -> &[ColumnRequest] {
        &self.plan.subscription.columns
    }

    /// One instance a worker serves all partitions, and nothing of it is saved.
    pub fn is_shared(&self) -> bool {
        self.plan.subscription.scope == Scope::Stateless
    }

    /// Whether its state is saved.
    pub fn has_state(&self) -> bool {
        self.component.has_state() && !self.is_shared()
    }

    /// Whether it takes its rows from blocks: it asks for headers and fields only, and no tick may lie between two rows.
    pub fn takes_blocks(&self) -> bool {
        self.shared.is_some() && self.tick_ms().is_none()
    }

    /// Collects its rows.
    pub fn builder(&self) -> ColumnsBuilder {
        match self.takes_blocks() && self.component.kind() == Kind::Analysis && self.component.has_dictionary() {
            true => ColumnsBuilder::with_dictionaries(self.requests()),
            false => ColumnsBuilder::new(self.requests()),
        }
    }

    /// Milliseconds between ticks; `None` where it has no timers.
    pub fn tick_ms(&self) -> Option<i64> {
        let tick_ms = i64::from(self.plan.subscription.tick_ms);
        (self.component.has_timers() && tick_ms > 0).then_some(tick_ms)
    }

    /// A new instance, which must answer as the first one did.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(&self) -> Result<Box<dyn Guest>, CallError> {
        let guest = self.component.open()?;
        if *guest.plan() == self.plan {
            return Ok(guest);
        }
        Err(CallError {
            kind: tidemill_runtime::CallErrorKind::Output,
            message: "`open` answered otherwise than before: the answer may depend on the configuration only".to_owned(),
            backtrace: String::new(),
            fuel: 0,
            limit: None,
            log: Vec::new(),
        })
    }
}

fn join_matchers(plugin: &str, own: &str, configured: &str) -> Result<Matcher, SpecError> {
    let parse = |whose, text: &str| Matcher::parse(text).map_err(|error| SpecError::Matcher { plugin: plugin.to_owned(), whose, error });
    let own = parse("own", own)?;
    if configured.trim().is_empty() { Ok(own) } else { Ok(own.and(&parse("configured", configured)?)) }
}
