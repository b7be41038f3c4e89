//! A loaded decoder plugin: its batch, its instance and what it said of each row.

use super::{
    failure::{ErrorType, Failure, PluginFailure},
    hunt::{On, Verdict, hunt},
    known::HOST_FIELDS,
    sections::{Section, SectionError, SectionPlan},
};
use crate::{
    columns::{ColumnError, ColumnPlan, Document, FillScratch},
    status::{LogEntry, PluginStatus},
};
use std::{ops::Range, sync::Arc};
use tidemill_bus::{Clock, SystemClock};
use tidemill_message::{Matcher, MatcherError, MessageRef};
use tidemill_runtime::{
    Batch, CallError, CallErrorKind, ColumnsBuilder, Decoded, Fate, Field, Instance, Kind, Level, Limits, LogLine, Plan, Plugin, Scope,
};

/// So many poison rows without an answer between them put a plugin into quarantine.
const POISON_RUN_MAX: u32 = 16;
/// In quarantine, one row of so many is tried all the same; an answer ends the quarantine.
const QUARANTINE_PROBE_ROWS: u32 = 1_024;

/// A decoder plugin as it is deployed.
#[derive(Clone)]
pub struct DecoderPlugin {
    /// The component.
    pub plugin: Plugin,
    /// Its configuration, a JSON object.
    pub config: String,
    /// What an instance may use.
    pub limits: Limits,
    /// Narrows what the plugin itself subscribes to.
    pub matcher: Option<Matcher>,
    /// Its figures.
    pub status: Arc<PluginStatus>,
}

/// A decoder plugin that cannot be deployed.
#[derive(Debug, thiserror::Error)]
#[error("decoder plugin {name}: {reason}")]
pub struct DeployError {
    /// The plugin.
    pub name: String,
    /// Why.
    pub reason: DeployReason,
}

/// Why a decoder plugin cannot be deployed.
#[derive(Debug, thiserror::Error)]
pub enum DeployReason {
    /// It exports another interface.
    #[error("its component is of kind {0}; the decode stage takes decoders only")]
    Kind(Kind),
    /// `open` failed.
    #[error("open failed: {0}")]
    Open(Box<CallError>),
    /// Its matcher.
    #[error("its matcher is wrong: {0}")]
    Matcher(#[from] MatcherError),
    /// Its columns.
    #[error(transparent)]
    Column(#[from] ColumnError),
    /// Its sections.
    #[error(transparent)]
    Section(#[from] SectionError),
    /// Its JSON pointers.
    #[error(transparent)]
    Pointer(#[from] tidemill_json::PointerError),
    /// Its instances would have a state of their own.
    #[error("its scope is {0:?}; a decoder has no state that moves with a partition, so only stateless is possible")]
    Scope(Scope),
    /// A field of the host.
    #[error("it adds a field {0:?}, which the host writes itself; choose another name")]
    Field(String),
}

/// What the plugin said of a row.
pub enum RowVerdict {
    /// Fields and section plan: the answer, and the row in it.
    Decoded(u32, u32),
    /// The row ends in `errors`.
    Refused(Box<Failure>),
}

/// A loaded plugin.
pub struct LoadedDecoder {
    deployed: DecoderPlugin,
    plan: Plan,
    matcher: Matcher,
    columns: ColumnPlan,
    sections: Vec<SectionPlan>,
    instance: Option<Instance>,
    builder: ColumnsBuilder,
    /// The pending rows that the builder has.
    rows: Vec<u32>,
    verdicts: Vec<(u32, RowVerdict)>,
    answers: Vec<Decoded>,
    poison_run: u32,
    quarantined_rows: u32,
    last_error: Option<CallError>,
}

/// What a batch says beside its columns.
#[derive(Clone, Copy, Debug)]
pub struct BatchHead {
    /// The input partition.
    pub partition: u32,
    /// The edge's time of the newest row so far.
    pub now_ms: i64,
}

/// Fills a pending row of this number anew.
pub type Refill<'f> = &'f mut dyn FnMut(u32, &ColumnPlan, &mut ColumnsBuilder);

impl LoadedDecoder {
    /// Opens the first instance and checks what it asks for.
    ///
    /// # Errors
    /// Where the plugin is no decoder, `open` fails, or it asks for something that is not possible.
    pub fn load(deployed: DecoderPlugin) -> Result<Self, DeployError> {
        let name = deployed.plugin.name().to_owned();
        Self::try_load(deployed).map_err(|reason| DeployError { name, reason })
    }

    fn try_load(deployed: DecoderPlugin) -> Result<Self, DeployReason> {
        if deployed.plugin.kind() != Kind::Decoder {
            return Err(DeployReason::Kind(deployed.plugin.kind()));
        }
        let instance = deployed.plugin.open(&deployed.config, &deployed.limits).map_err(|error| DeployReason::Open(Box::new(error)))?;
        let plan = instance.plan().clone();
        if plan.subscription.scope != Scope::Stateless {
            return Err(DeployReason::Scope(plan.subscription.scope));
        }
        let matcher = Matcher::parse(&plan.subscription.matcher)?;
        let matcher = deployed.matcher.as_ref().map_or_else(|| matcher.clone(), |extra| matcher.and(extra));
        let columns = ColumnPlan::new(&plan.subscription.columns)?;
        let sections = plan.section_plans.iter().map(|sections| compile(sections)).collect::<Result<Vec<_>, _>>()?;
        check_names(&plan, &sections)?;
        let builder = ColumnsBuilder::new(&plan.subscription.columns);
        Ok(Self {
            deployed,
            plan,
            matcher,
            columns,
            sections,
            instance: Some(instance),
            builder,
            rows: Vec::new(),
            verdicts: Vec::new(),
            answers: Vec::new(),
            poison_run: 0,
            quarantined_rows: 0,
            last_error: None,
        })
    }

    /// Whether it wants this message: the validated message as far as it is known, and the request's other fields.
    pub fn selects(&self, message: &MessageRef<'_>) -> bool {
        self.matcher.matches(message)
    }

    /// What to capture in documents for it.
    pub fn columns(&self) -> &ColumnPlan {
        &self.columns
    }

    /// The fields it adds.
    pub fn fields(&self) -> &[Field] {
        &self.plan.fields
    }

    /// Adds a pending row to its batch, or refuses it where a required column is null.
    pub fn add(&mut self, row: u32, message: &MessageRef<'_>, document: &impl Document, scratch: &mut FillScratch) {
        PluginStatus::add(&self.deployed.status.messages_in, 1);
        match self.columns.fill_row(message, document, &mut self.builder, scratch) {
            Ok(()) => self.rows.push(row),
            Err(missing) => {
                let text = format!("{}: the required column {} is null", self.name(), self.columns.path(missing.0));
                self.refuse(row, ErrorType::PluginRejected, text, None);
            }
        }
    }

    /// Whether its batch has to go.
    pub fn is_full(&self) -> bool {
        self.builder.is_full()
    }

    /// Calls the plugin for its batch. Afterwards [`Self::verdict`] says what became of each row; [`Self::clear`] forgets it.
    pub fn decode(&mut self, head: BatchHead, refill: Refill<'_>) {
        if self.rows.is_empty() {
            return;
        }
        let rows = std::mem::take(&mut self.rows);
        if self.poison_run >= POISON_RUN_MAX {
            self.builder.take();
            self.probe(head, &rows, refill);
        } else {
            match self.call(head, On::Instance) {
                Ok(answer) => self.settle(&rows, answer),
                Err(error) => {
                    self.last_error = Some(error);
                    self.hunt(head, &rows, refill);
                }
            }
        }
        self.rows = rows;
        self.rows.clear();
        self.verdicts.sort_by_key(|(row, _)| *row);
    }

    /// What the plugin said of a pending row; `None` where it did not want it.
    pub fn verdict(&self, row: u32) -> Option<&RowVerdict> {
        let at = self.verdicts.binary_search_by_key(&row, |(row, _)| *row).ok()?;
        Some(&self.verdicts[at].1)
    }

    /// An answer by its number.
    pub fn answer(&self, answer: u32) -> Option<&Decoded> {
        self.answers.get(answer as usize)
    }

    /// The section plan that an answer chose for a row.
    pub fn sections(&self, answer: &Decoded, row: u32) -> Option<&SectionPlan> {
        self.sections.get(usize::from(answer.plan_of(row))).filter(|plan| !plan.is_empty())
    }

    /// Forgets the verdicts.
    pub fn clear(&mut self) {
        self.verdicts.clear();
        self.answers.clear();
        self.rows.clear();
        self.builder.take();
    }

    fn name(&self) -> &str {
        self.deployed.plugin.name()
    }

    /// Calls the instance with what the builder has.
    fn call(&mut self, head: BatchHead, on: On) -> Result<Decoded, CallError> {
        let rows = self.builder.rows();
        let columns = self.builder.take();
        if on == On::FreshInstance {
            self.instance = None;
        }
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.renew()?,
        };
        let batch = Batch { partition: head.partition, rows, now_ms: head.now_ms, columns };
        let decoded = instance.decode(&batch);
        self.builder.recycle(batch.columns);
        self.account(&instance);
        if decoded.is_ok() {
            self.instance = Some(instance);
        } else {
            PluginStatus::add(&self.deployed.status.traps, 1);
        }
        decoded
    }

    fn renew(&self) -> Result<Instance, CallError> {
        PluginStatus::add(&self.deployed.status.restarts, 1);
        let DecoderPlugin { plugin, config, limits, .. } = &self.deployed;
        plugin.open_as(config, limits, &self.plan).inspect_err(|error| self.log(&error.log))
    }

    fn account(&self, instance: &Instance) {
        let report = instance.report();
        let status = &self.deployed.status;
        PluginStatus::add(&status.fuel_total, report.fuel);
        status.memory_bytes.fetch_max(report.memory_bytes, std::sync::atomic::Ordering::Relaxed);
        self.log(&report.log);
        for metric in report.metrics.iter().filter(|metric| metric.delta != 0.0) {
            let labels = [("plugin", self.name().to_owned()), ("name", metric.name.clone())];
            metrics::gauge!("tidemill_plugin_metric", &labels).increment(metric.delta);
            status.add_metric(&metric.name, metric.delta);
        }
    }

    fn log(&self, lines: &[LogLine]) {
        // The time is for those who read the log; nothing is decided by it.
        let time_ms = if lines.is_empty() { 0 } else { SystemClock::default().now_ns().div_euclid(1_000_000) };
        for line in lines {
            self.deployed.status.push_log(LogEntry::new(time_ms, line));
            let (plugin, LogLine { level, text }) = (self.name(), line);
            match level {
                Level::Debug => tracing::debug!(target: "tidemill::plugin", plugin, "{text}"),
                Level::Info => tracing::info!(target: "tidemill::plugin", plugin, "{text}"),
                Level::Warn => tracing::warn!(target: "tidemill::plugin", plugin, "{text}"),
                Level::Error => tracing::error!(target: "tidemill::plugin", plugin, "{text}"),
            }
        }
    }

    /// The batch failed: finds the rows that are at fault.
    fn hunt(&mut self, head: BatchHead, rows: &[u32], refill: Refill<'_>) {
        let mut poison_run = self.poison_run;
        let verdicts = hunt(0..rows.len() as u32, &mut poison_run, POISON_RUN_MAX, |range, on| {
            for row in &rows[range_of(&range)] {
                refill(*row, &self.columns, &mut self.builder);
            }
            self.call(head, on)
        });
        if !verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Poison(_))) {
            let error = self.last_error.as_ref().map_or("", |error| &error.message);
            tracing::warn!(plugin = self.name(), error, "an instance failed, but none of its messages fails alone; nothing is rejected");
        }
        if poison_run >= POISON_RUN_MAX && self.poison_run < POISON_RUN_MAX {
            tracing::error!(plugin = self.name(), "{POISON_RUN_MAX} messages failed in a row: the plugin is in quarantine");
            metrics::gauge!("tidemill_plugin_quarantined", "plugin" => self.name().to_owned()).set(1.0);
        }
        self.poison_run = poison_run;
        for (range, verdict) in verdicts {
            let rows = &rows[range_of(&range)];
            match verdict {
                Verdict::Answered(answer) => self.settle(rows, answer),
                Verdict::Poison(error) => self.refuse_poison(rows, error),
                Verdict::Untried => self.refuse_untried(rows),
            }
        }
    }

    /// In quarantine: refuses the rows, but tries one of many.
    fn probe(&mut self, head: BatchHead, rows: &[u32], refill: Refill<'_>) {
        for row in rows {
            self.quarantined_rows += 1;
            if self.quarantined_rows < QUARANTINE_PROBE_ROWS && self.poison_run >= POISON_RUN_MAX {
                self.refuse_untried(&[*row]);
                continue;
            }
            self.quarantined_rows = 0;
            refill(*row, &self.columns, &mut self.builder);
            match self.call(head, On::FreshInstance) {
                Ok(answer) => {
                    tracing::info!(plugin = self.name(), "the plugin answers again: its quarantine ends");
                    metrics::gauge!("tidemill_plugin_quarantined", "plugin" => self.name().to_owned()).set(0.0);
                    self.poison_run = 0;
                    self.settle(&[*row], answer);
                }
                Err(error) => self.refuse_poison(&[*row], error),
            }
        }
    }

    fn settle(&mut self, rows: &[u32], answer: Decoded) {
        let number = self.answers.len() as u32;
        let mut rejections = answer.rejections.iter().peekable();
        for (at, row) in (0..).zip(rows) {
            match rejections.next_if(|rejection| rejection.row == at) {
                Some(rejection) => {
                    let failure = self.failure(ErrorType::PluginRejected, format!("{}: {}", self.name(), rejection.text), None);
                    let failure = failure.with_detail(format!("code {}", rejection.code));
                    self.verdicts.push((*row, RowVerdict::Refused(Box::new(failure))));
                }
                None => self.verdicts.push((*row, RowVerdict::Decoded(number, at))),
            }
        }
        self.poison_run = 0;
        PluginStatus::add(&self.deployed.status.rejected, answer.rejections.len() as u64);
        PluginStatus::add(&self.deployed.status.messages_out, (rows.len() - answer.rejections.len()) as u64);
        self.answers.push(answer);
    }

    fn refuse_poison(&mut self, rows: &[u32], error: CallError) {
        for row in rows {
            self.refuse(*row, error_type(error.kind), format!("{}: {}", self.name(), error.message), Some(&error));
        }
        self.last_error = Some(error);
    }

    fn refuse_untried(&mut self, rows: &[u32]) {
        let error = self.last_error.take();
        let (kind, last) = error.as_ref().map_or((ErrorType::PluginTrap, ""), |error| (error_type(error.kind), error.message.as_str()));
        for row in rows {
            let text = format!("{}: not tried, {POISON_RUN_MAX} messages in a row had failed, the last one with: {last}", self.name());
            self.refuse(*row, kind, text, None);
        }
        self.last_error = error;
    }

    fn refuse(&mut self, row: u32, kind: ErrorType, text: String, error: Option<&CallError>) {
        let failure = self.failure(kind, text, error);
        self.verdicts.push((row, RowVerdict::Refused(Box::new(failure))));
        PluginStatus::add(&self.deployed.status.rejected, 1);
    }

    fn failure(&self, kind: ErrorType, text: String, error: Option<&CallError>) -> Failure {
        let plugin = PluginFailure {
            name: self.name().to_owned(),
            version: self.deployed.plugin.version().to_owned(),
            fuel: error.map(|error| error.fuel),
            backtrace: error.map(|error| error.backtrace.clone()).unwrap_or_default(),
        };
        Failure { plugin: Some(Box::new(plugin)), ..Failure::new(kind, text) }
    }
}

fn range_of(rows: &Range<u32>) -> Range<usize> {
    rows.start as usize..rows.end as usize
}

fn error_type(kind: CallErrorKind) -> ErrorType {
    match kind {
        CallErrorKind::Trap | CallErrorKind::Failure { .. } => ErrorType::PluginTrap,
        CallErrorKind::Fuel { .. } => ErrorType::PluginFuel,
        CallErrorKind::Memory => ErrorType::PluginMemory,
        CallErrorKind::Output => ErrorType::PluginOutput,
        CallErrorKind::Poisoned => ErrorType::Internal,
    }
}

fn compile(sections: &[tidemill_runtime::Section]) -> Result<SectionPlan, SectionError> {
    let sections: Vec<_> =
        sections.iter().map(|section| Section { path: section.path.clone(), moved: section.fate == Fate::OwnField }).collect();
    SectionPlan::new(&sections)
}

/// A plugin's fields and sections have names of their own: nobody could tell them from the host's.
fn check_names(plan: &Plan, sections: &[SectionPlan]) -> Result<(), DeployReason> {
    let fields = plan.fields.iter().map(|field| field.name.as_str());
    let mut names = fields.chain(sections.iter().flat_map(SectionPlan::names).map(String::as_str));
    names.find(|name| HOST_FIELDS.contains(name)).map_or(Ok(()), |name| Err(DeployReason::Field(name.to_owned())))
}
