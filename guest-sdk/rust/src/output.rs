//! Plugins that send messages elsewhere. `use tidemill_guest::output::*` brings everything that one needs.
//!
//! A plugin does no I/O: it answers with deliveries, and the host performs them with retry, back-off and an idempotency key.

pub use crate::Failure;
pub use crate::Time;
pub use crate::config::Config;
pub use crate::host::{Level, log, metric_add};
pub use crate::json::{Array, Object};
pub use crate::rows::{Row, Rows};
pub use crate::state::{State, StateReader, StateWriter};
pub use crate::subscription::*;

use crate::export::apart;
use crate::{host, wire};

/// A plugin that sends messages elsewhere.
pub trait Output: Sized {
    /// The first call on every instance, also after a trap: says what to read. An answer that differs from the deployed one
    /// refuses the instance, so it may depend on the configuration only.
    fn open(config: &Config<'_>, read: &mut Subscription) -> Result<Self, Failure>;

    /// One message. Rows for which nothing is written are held to be dropped on purpose. A failure fails the whole batch as a
    /// panic would: the host then looks for the message that did it.
    fn message(&mut self, row: Row<'_>, out: &mut Deliveries) -> Result<(), Failure>;
}

/// Where a delivery goes; the host's allow-list must have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An HTTP request.
    Http {
        /// `POST`, `PUT`, `PATCH`, ...
        method: String,
        /// An absolute URL.
        url: String,
        /// Names and values.
        headers: Vec<(String, String)>,
    },
    /// An object to put, by its path below the configured store.
    Object(String),
    /// A file to append to, by its path below the configured folder.
    Append(String),
    /// A record of a topic of the plugin's own choice.
    Bus {
        /// The topic's name without prefix.
        topic: String,
        /// The record's key.
        key: Vec<u8>,
    },
}

impl Target {
    /// An HTTP POST.
    pub fn post(url: impl Into<String>) -> Self {
        Self::Http { method: "POST".into(), url: url.into(), headers: Vec::new() }
    }

    /// Adds a header to an HTTP target; the other targets have none and stay as they are.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Http { headers, .. } = &mut self {
            headers.push((name.into(), value.into()));
        }
        self
    }

    /// Whether bodies may be put behind one another: an object or a record is one thing.
    fn is_appendable(&self) -> bool {
        matches!(self, Self::Http { .. } | Self::Append(_))
    }
}

impl From<Target> for wire::Target {
    fn from(target: Target) -> Self {
        match target {
            Target::Http { method, url, headers } => Self::Http(wire::Request { method, url, headers }),
            Target::Object(path) => Self::Object(path),
            Target::Append(path) => Self::Append(path),
            Target::Bus { topic, key } => Self::Bus(wire::BusKey { topic, key }),
        }
    }
}

/// The deliveries of a call.
#[derive(Debug)]
pub struct Deliveries {
    row: u32,
    done: Vec<Delivery>,
    /// Those that still grow, each to another target.
    open: Vec<Delivery>,
}

#[derive(Debug)]
struct Delivery {
    target: Target,
    first_row: u32,
    last_row: u32,
    body: Vec<u8>,
}

impl Deliveries {
    /// The body of the growing delivery to this target: what several rows append goes out as one piece at the end of the call,
    /// or when [`Deliveries::close`] ends it. An object or a bus record is never shared: each call begins a new one.
    pub fn to(&mut self, target: &Target) -> &mut Vec<u8> {
        if !target.is_appendable() {
            self.close(target);
        }
        let place = self.open.iter().position(|delivery| delivery.target == *target).unwrap_or_else(|| self.begin(target));
        let delivery = &mut self.open[place];
        delivery.last_row = self.row;
        &mut delivery.body
    }

    /// Ends the growing delivery to this target, if there is one: the next [`Deliveries::to`] begins another. Let the decision
    /// depend on the body, not on the number of rows in the call.
    pub fn close(&mut self, target: &Target) {
        if let Some(place) = self.open.iter().position(|delivery| delivery.target == *target) {
            self.done.push(self.open.remove(place));
        }
    }

    fn begin(&mut self, target: &Target) -> usize {
        let (target, first_row, last_row) = (target.clone(), self.row, self.row);
        self.open.push(Delivery { target, first_row, last_row, body: Vec::new() });
        self.open.len() - 1
    }

    /// In the order of their last rows, so that settling them in order never runs ahead.
    fn finish(mut self) -> Vec<wire::Delivery> {
        self.done.append(&mut self.open);
        self.done.sort_by_key(|delivery| delivery.last_row);
        let done = self.done.into_iter().filter(|delivery| !delivery.body.is_empty() || !delivery.target.is_appendable());
        done.map(Delivery::into_wire).collect()
    }
}

impl Delivery {
    fn into_wire(self) -> wire::Delivery {
        let Self { target, first_row, last_row, body } = self;
        wire::Delivery { target: target.into(), first_row, last_row, body }
    }
}

/// Runs a plugin: what the exported functions call. Public for `export_output!` only.
#[doc(hidden)]
pub struct Driver<T> {
    plugin: T,
    read: Subscription,
}

impl<T: Output> Driver<T> {
    pub fn open(config: &str) -> Result<(Self, wire::Subscription), Failure> {
        host::log_panics();
        let config = Config::new(config)?;
        let mut read = Subscription::new(Scope::Stateless);
        let plugin = T::open(&config, &mut read)?;
        config.refuse_unused()?;
        let answer = read.to_wire();
        Ok((Self { plugin, read }, answer))
    }

    pub fn write(&mut self, batch: &wire::Batch) -> Result<Vec<wire::Delivery>, Failure> {
        let rows = Rows::new(batch, self.read.columns())?;
        let mut out = Deliveries { row: 0, done: Vec::new(), open: Vec::new() };
        apart(|| {
            rows.iter().try_for_each(|row| {
                out.row = row.index();
                self.plugin.message(row, &mut out)
            })
        })?;
        Ok(out.finish())
    }

    pub fn plugin(&mut self) -> &mut T {
        &mut self.plugin
    }
}
