//! Plugins that turn a valid document into fields. `use tidemill_guest::decoder::*` brings everything that one needs.

mod fields;

pub use crate::Failure;
pub use crate::Time;
pub use crate::config::Config;
pub use crate::host::{Level, log, metric_add};
pub use crate::rows::{Row, Rows};
pub use crate::state::{State, StateReader, StateWriter};
pub use crate::subscription::*;
pub use fields::{Field, Writable};

use crate::export::apart;
use crate::{host, wire};
use fields::FieldColumn;

/// A plugin that turns a valid document into fields.
pub trait Decoder: Sized {
    /// The first call on every instance, also after a trap: says what to read and what there will be to write. An answer that
    /// differs from the deployed one refuses the instance, so it may depend on the configuration only.
    fn open(config: &Config<'_>, read: &mut Subscription, write: &mut Plan) -> Result<Self, Failure>;

    /// One document. A refused one goes to the errors topic as `plugin_rejected`, without the fields that it got.
    fn message(&mut self, row: Row<'_>, out: &mut Decoded<'_>) -> Result<(), Reject>;
}

/// Why a decoder refuses a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The plugin's own number; the host only shows it.
    pub code: u32,
    /// What is wrong with the document; becomes `DecodeErrorDetail`.
    pub text: String,
}

impl Reject {
    /// A refusal with a number of the plugin's own.
    pub fn new(code: u32, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl From<&str> for Reject {
    fn from(text: &str) -> Self {
        Self::new(0, text)
    }
}

impl From<String> for Reject {
    fn from(text: String) -> Self {
        Self::new(0, text)
    }
}

/// The handle of a section plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionPlan(u8);

/// What becomes of a member of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section(String, wire::Fate);

impl Section {
    /// Moves the member at a JSON pointer of one or two segments into a bytes field of its own, named by its dotted path.
    pub fn own_field(pointer: impl Into<String>) -> Self {
        Self(pointer.into(), wire::Fate::OwnField)
    }

    /// Leaves the member out of the validated message.
    pub fn drop(pointer: impl Into<String>) -> Self {
        Self(pointer.into(), wire::Fate::Drop)
    }
}

/// What a decoder writes: its fields, and what may become of the document's sections.
#[derive(Debug, Default)]
pub struct Plan {
    fields: Vec<wire::Field>,
    section_plans: Vec<Vec<wire::Section>>,
}

impl Plan {
    /// A field of the validated message; its kind is that of the handle's type.
    pub fn field<S: Writable>(&mut self, name: impl Into<String>) -> Field<S> {
        self.field_with(name, "")
    }

    /// A field with a unit or format: `ms`, `B`, `json`, `date-time`.
    pub fn field_with<S: Writable>(&mut self, name: impl Into<String>, representation: impl Into<String>) -> Field<S> {
        self.fields.push(wire::Field { name: name.into(), kind: S::KIND, representation: representation.into() });
        Field::new(self.fields.len() - 1)
    }

    /// A section plan. The first one holds for every row for which [`Decoded::sections`] chose none. At most 256.
    pub fn sections(&mut self, sections: impl IntoIterator<Item = Section>) -> SectionPlan {
        let sections = sections.into_iter().map(|Section(path, fate)| wire::Section { path, fate });
        self.section_plans.push(sections.collect());
        SectionPlan((self.section_plans.len() - 1) as u8)
    }
}

/// What became of the rows of a call.
#[derive(Debug)]
pub struct Decoded<'d> {
    columns: &'d mut [FieldColumn],
    plan: u8,
}

impl Decoded<'_> {
    /// Sets a field of the current row; of several values the last one counts.
    pub fn set<S: Writable>(&mut self, field: Field<S>, value: S::Value<'_>) {
        if let Some(column) = self.columns.get_mut(field.index()) {
            column.clear_cell();
            S::write(column, value);
        }
    }

    /// Sets a field where there is a value.
    pub fn set_some<S: Writable>(&mut self, field: Field<S>, value: Option<S::Value<'_>>) {
        if let Some(value) = value {
            self.set(field, value);
        }
    }

    /// Chooses what becomes of the current row's sections.
    pub fn sections(&mut self, plan: SectionPlan) {
        self.plan = plan.0;
    }
}

/// Runs a plugin: what the exported functions call. Public for `export_decoder!` only.
#[doc(hidden)]
pub struct Driver<T> {
    plugin: T,
    read: Subscription,
    columns: Vec<FieldColumn>,
}

impl<T: Decoder> Driver<T> {
    pub fn open(config: &str) -> Result<(Self, wire::DecoderPlan), Failure> {
        host::log_panics();
        let config = Config::new(config)?;
        let (mut read, mut plan) = (Subscription::new(Scope::Stateless), Plan::default());
        let plugin = T::open(&config, &mut read, &mut plan)?;
        config.refuse_unused()?;
        let Plan { fields, section_plans } = plan;
        if section_plans.len() > 256 {
            return Err(Failure::new(format!("{} section plans; a row's plan is one byte, so 256 are the most", section_plans.len())));
        }
        let columns = fields.iter().map(|field| FieldColumn::new(field.kind)).collect();
        let answer = wire::DecoderPlan { subscription: read.to_wire(), fields, section_plans };
        Ok((Self { plugin, read, columns }, answer))
    }

    pub fn decode(&mut self, batch: &wire::Batch) -> Result<wire::Decoded, Failure> {
        let rows = Rows::new(batch, self.read.columns())?;
        let mut plan_of = Vec::with_capacity(rows.len());
        let mut rejections = Vec::new();
        self.columns.iter_mut().for_each(FieldColumn::clear);
        for row in rows.iter() {
            let mut out = Decoded { columns: &mut self.columns, plan: 0 };
            let verdict = apart(|| self.plugin.message(row, &mut out));
            plan_of.push(out.plan);
            if let Err(Reject { code, text }) = verdict {
                self.columns.iter_mut().for_each(FieldColumn::clear_cell);
                rejections.push(wire::Rejection { row: row.index(), code, text });
            }
            self.columns.iter_mut().for_each(FieldColumn::finish_row);
        }
        if plan_of.iter().all(|&plan| plan == 0) {
            plan_of.clear();
        }
        Ok(wire::Decoded { columns: fields::join(&self.columns), plan_of, rejections })
    }

    pub fn plugin(&mut self) -> &mut T {
        &mut self.plugin
    }
}
