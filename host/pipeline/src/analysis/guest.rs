//! What the stages need of a plugin. The runtime's instances are one implementation; tests script others.

use tidemill_runtime::{
    Alert, AlertRule, Batch, CallError, CallReport, Delivery, Findings, Graph, GraphCell, GraphColumn, Kind, Messages, Payload, Plan,
};

/// A plugin, ready to make instances of.
pub trait Component: Send + Sync {
    /// As configured.
    fn name(&self) -> &str;
    /// Tells two components apart.
    fn version(&self) -> &str;
    /// Analysis or output.
    fn kind(&self) -> Kind;
    /// Whether it has state; a plugin without is never restored.
    fn has_state(&self) -> bool;
    /// Whether it acts on time.
    fn has_timers(&self) -> bool;
    /// Whether it can be given batches in which a text that repeats is there once.
    fn has_dictionary(&self) -> bool {
        false
    }
    /// A new instance.
    ///
    /// # Errors
    /// When the plugin refuses or fails.
    fn open(&self) -> Result<Box<dyn Guest>, CallError>;
}

/// An instance. After an error it is dropped.
pub trait Guest: Send {
    /// What it answered to `open`.
    fn plan(&self) -> &Plan;
    /// A batch for an analysis plugin.
    ///
    /// # Errors
    /// When the call fails.
    fn process(&mut self, batch: &Batch) -> Result<Found, CallError>;
    /// A batch for an output plugin.
    ///
    /// # Errors
    /// When the call fails.
    fn write(&mut self, batch: &Batch) -> Result<Vec<Delivery>, CallError>;
    /// A tick.
    ///
    /// # Errors
    /// When the call fails.
    fn on_timer(&mut self, now_ms: i64) -> Result<Found, CallError>;
    /// The whole state.
    ///
    /// # Errors
    /// When the call fails.
    fn snapshot(&mut self) -> Result<Vec<u8>, CallError>;
    /// Puts a state back.
    ///
    /// # Errors
    /// When the call fails.
    fn restore(&mut self, bytes: &[u8], from_version: &str) -> Result<(), CallError>;
    /// The account of the last call.
    fn report(&self) -> &CallReport;
}

/// What an analysis call found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// For the `derived` topic.
    pub messages: NewMessages,
    /// Declared for the first time on this instance.
    pub new_graphs: Vec<Graph>,
    /// Declared for the first time on this instance.
    pub new_columns: Vec<GraphColumn>,
    /// Alert rules.
    pub new_rules: Vec<AlertRule>,
    /// Changes of graphs.
    pub cells: Vec<GraphCell>,
    /// Things to show.
    pub payloads: Vec<Payload>,
    /// Alerts about single messages.
    pub alerts: Vec<Alert>,
}

/// The messages of a call.
#[derive(Clone, Debug)]
pub enum NewMessages {
    /// Checked by the runtime.
    Checked(Messages),
    /// Made by hand: row, key, bytes.
    Listed(Vec<(u32, String, Vec<u8>)>),
}

impl Default for NewMessages {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl NewMessages {
    /// Each as row, key and bytes, in order.
    pub fn for_each(&self, mut act: impl FnMut(u32, &str, &[u8])) {
        match self {
            Self::Checked(messages) => messages.iter().for_each(|message| act(message.row, message.key, message.bytes)),
            Self::Listed(messages) => messages.iter().for_each(|(row, key, bytes)| act(*row, key, bytes)),
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Checked(messages) => messages.len(),
            Self::Listed(messages) => messages.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Findings> for Found {
    fn from(findings: Findings) -> Self {
        let Findings { messages, new_graphs, new_columns, new_rules, cells, payloads, alerts } = findings;
        Self { messages: NewMessages::Checked(messages), new_graphs, new_columns, new_rules, cells, payloads, alerts }
    }
}
