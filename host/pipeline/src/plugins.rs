//! Components of the runtime as the stages see them.

use crate::analysis::{Component, Found, Guest};
use tidemill_runtime::{Batch, CallError, CallReport, Delivery, Instance, Kind, Limits, Plan, Plugin};

/// A loaded component with its configuration and limits.
#[derive(Clone)]
pub struct Configured {
    /// The component.
    pub plugin: Plugin,
    /// A JSON object.
    pub config: String,
    /// What an instance may use.
    pub limits: Limits,
}

impl Component for Configured {
    fn name(&self) -> &str {
        self.plugin.name()
    }

    fn version(&self) -> &str {
        self.plugin.version()
    }

    fn kind(&self) -> Kind {
        self.plugin.kind()
    }

    fn has_state(&self) -> bool {
        self.plugin.has_state()
    }

    fn has_timers(&self) -> bool {
        self.plugin.has_timers()
    }

    fn has_dictionary(&self) -> bool {
        self.plugin.has_dictionary()
    }

    fn open(&self) -> Result<Box<dyn Guest>, CallError> {
        Ok(Box::new(self.plugin.open(&self.config, &self.limits)?))
    }
}

impl Guest for Instance {
    fn plan(&self) -> &Plan {
        self.plan()
    }

    fn process(&mut self, batch: &Batch) -> Result<Found, CallError> {
        self.process(batch).map(Found::from)
    }

    fn write(&mut self, batch: &Batch) -> Result<Vec<Delivery>, CallError> {
        self.write(batch)
    }

    fn on_timer(&mut self, now_ms: i64) -> Result<Found, CallError> {
        self.on_timer(now_ms).map(Found::from)
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, CallError> {
        self.snapshot()
    }

    fn restore(&mut self, bytes: &[u8], from_version: &str) -> Result<(), CallError> {
        self.restore(bytes, from_version)
    }

    fn report(&self) -> &CallReport {
        self.report()
    }
}
