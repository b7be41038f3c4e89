//! What the calls of a plugin did since its last checkpoint, kept apart from the step until the checkpoint is made: both are
//! published together or not at all.

use super::emit::{Envelope, Outlet};
use crate::{
    graphs::{Alert, Delta, GraphDelta, SourcePartition},
    source::Source,
    status::Payload,
};
use std::{collections::BTreeMap, sync::Arc};
use tidemill_bus::{Bus, BusError, Step, TopicPartition};

/// Where the records of a stage go.
#[derive(Clone, Debug)]
pub struct Outlets {
    /// Of analysis plugins.
    pub derived: Option<Outlet>,
    /// Of analysis plugins.
    pub graphs: Option<Outlet>,
    /// Of plugins and the host.
    pub alerts: Outlet,
    /// Of messages on which plugins failed.
    pub errors: Outlet,
    /// Of output plugins, by the plugin's name.
    pub outboxes: BTreeMap<String, Outlet>,
    /// The incarnation of each input topic.
    pub incarnations: BTreeMap<Arc<str>, Arc<str>>,
    /// The configuration's number.
    pub epoch: u64,
}

impl Outlets {
    /// Those of both stages; `derived` and `graphs`, or an outbox for each plugin, are added by the stage.
    ///
    /// # Errors
    /// When a topic is missing or the bus cannot be reached.
    pub fn new(bus: &dyn Bus, inputs: &[&str], epoch: u64) -> Result<Self, BusError> {
        let incarnation = |topic: &&str| Ok((Arc::from(*topic), bus.incarnation(topic)?));
        Ok(Self {
            derived: None,
            graphs: None,
            alerts: Outlet::new(bus, crate::graphs::ALERTS)?,
            errors: Outlet::new(bus, "errors")?,
            outboxes: BTreeMap::new(),
            incarnations: inputs.iter().map(incarnation).collect::<Result<_, BusError>>()?,
            epoch,
        })
    }
}

/// A record made of an offset.
#[derive(Clone, Debug)]
pub struct Made {
    /// The offset it was made of.
    pub offset: i64,
    /// Which of those made of it.
    pub n: u32,
    /// Chooses the partition.
    pub key: Vec<u8>,
    /// Event time.
    pub timestamp_ns: i64,
    /// The message.
    pub value: Vec<u8>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Staged {
    /// For `derived`.
    pub derived: Vec<Made>,
    /// For `alerts`.
    pub alerts: Vec<Made>,
    /// For `errors`.
    pub errors: Vec<Made>,
    /// For the plugin's outbox.
    pub outbox: Vec<Made>,
    /// For `graphs`.
    pub graphs: Vec<GraphDelta>,
    /// To be shown when the step is durable.
    pub payloads: Vec<(String, Payload)>,
    bytes: usize,
}

impl Staged {
    /// Counts bytes that were added, against [`Staged::bytes`].
    pub fn grew(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// About how many bytes wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Stages an alert.
    pub fn alert(&mut self, offset: i64, n: u32, alert: &Alert) {
        let mut value = Vec::new();
        alert.write(&mut value);
        self.grew(value.len());
        self.alerts.push(Made { offset, n, key: alert.uuid().to_vec(), timestamp_ns: alert.time_ns, value });
    }

    /// Publishes everything but graphs and payloads.
    pub fn publish(&mut self, plugin: &str, from: &TopicPartition, outlets: &Outlets, step: &mut Step) {
        let Self { derived, alerts, errors, outbox, graphs: _, payloads: _, bytes } = self;
        let incarnation = outlets.incarnations.get(&from.topic).map_or("", |incarnation| incarnation);
        let mut publish = |made: &mut Vec<Made>, outlet: Option<&Outlet>, stays: bool| {
            let Some(outlet) = outlet else { return made.clear() };
            for Made { offset, n, key, timestamp_ns, value } in made.drain(..) {
                let source = Source { producer: plugin, generation: 0, incarnation, partition: from.partition, offset, n };
                let envelope = Envelope { key: &key, source, epoch: outlets.epoch, timestamp_ns };
                match stays {
                    true => outlet.publish_to(from.partition, step, envelope, &value),
                    false => outlet.publish(step, envelope, &value),
                }
            }
        };
        publish(derived, outlets.derived.as_ref(), false);
        publish(alerts, Some(&outlets.alerts), false);
        publish(errors, Some(&outlets.errors), false);
        // Deliveries of one input partition stay in order.
        publish(outbox, outlets.outboxes.get(plugin), true);
        *bytes = 0;
    }

    /// Publishes the graphs' changes and how far the partition has come.
    pub fn publish_graphs(&mut self, plugin: &str, from: &TopicPartition, progress: Progress, outlets: &Outlets, step: &mut Step) {
        let Some(outlet) = &outlets.graphs else { return };
        let Progress { watermark_ms, idle, offset, n } = progress;
        let source = SourcePartition { topic: from.topic.to_string(), partition: from.partition };
        let delta = Delta { source, watermark_ms, idle, graphs: std::mem::take(&mut self.graphs) };
        let incarnation = outlets.incarnations.get(&from.topic).map_or("", |incarnation| incarnation);
        let source = Source { producer: plugin, generation: 0, incarnation, partition: from.partition, offset, n };
        let timestamp_ns = watermark_ms.unwrap_or(0).saturating_mul(1_000_000);
        let envelope = Envelope { key: plugin.as_bytes(), source, epoch: outlets.epoch, timestamp_ns };
        outlet.publish(step, envelope, &delta.encode());
    }
}

/// How far an input partition has come for a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The greatest event time.
    pub watermark_ms: Option<i64>,
    /// Nothing is coming now.
    pub idle: bool,
    /// The last offset seen.
    pub offset: i64,
    /// Numbers the record among those of the offset.
    pub n: u32,
}
