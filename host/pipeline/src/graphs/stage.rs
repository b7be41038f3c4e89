//! The stage that merges deltas: group `graphs`, from `graphs` to `alerts`. A plugin's deltas all lie in one partition, so one
//! member merges them; its contents are in the live state for the API and in checkpoints for whoever comes after it.

use super::{
    alert::Alert,
    codec::{CodecError, Decoder, Encoder},
    delta::Delta,
    merge::{Evaluated, PluginGraphs},
    save,
};
use crate::{
    analysis::{Driver, Envelope, Numbering, Outlet, Refused, StepOptions, Work},
    lost::publish_lost_alert,
    source::Source,
    status::LiveState,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tidemill_bus::{Bus, BusError, Checkpoint, Clock, FetchedBatch, Member, Step, TopicPartition, lost::Lost};

/// The group and the topic of deltas.
pub const GRAPHS: &str = "graphs";
/// The topic of alerts.
pub const ALERTS: &str = "alerts";

const VERSION: u8 = 1;

/// How often the clock completes rows in silence.
const TICK: Duration = Duration::from_secs(1);

/// How the stage works.
#[derive(Clone, Copy, Debug)]
pub struct GraphsOptions {
    /// When its steps end. A step saves the blocks of rows that changed.
    pub step: StepOptions,
    /// So many seconds after its end a row is held to be complete: edges are not exactly in step. Later cells still land.
    pub lateness_s: i64,
    /// The configuration's number, for `tm-epoch`.
    pub epoch: u64,
}

impl Default for GraphsOptions {
    /// Steps of 500 ms, rows complete 2 s after their end.
    fn default() -> Self {
        Self { step: StepOptions { step_ms: 500, ..StepOptions::default() }, lateness_s: 2, epoch: 0 }
    }
}

/// What the stage keeps.
pub struct GraphsWork {
    live: Arc<LiveState>,
    clock: Arc<dyn Clock>,
    options: GraphsOptions,
    alerts: Outlet,
    incarnation: Arc<str>,
    partitions: BTreeMap<TopicPartition, Merging>,
    ticked: Duration,
}

/// The plugins whose deltas lie in one partition.
#[derive(Default)]
struct Merging {
    plugins: BTreeSet<String>,
    changed: BTreeSet<String>,
    numbering: Numbering,
    position: i64,
}

/// A worker of the stage.
///
/// # Errors
/// When the bus cannot be reached.
pub fn graphs_worker(
    bus: &dyn Bus,
    live: Arc<LiveState>,
    clock: Arc<dyn Clock>,
    options: GraphsOptions,
) -> Result<Driver<GraphsWork>, BusError> {
    let alerts = Outlet::new(bus, ALERTS)?;
    let incarnation = bus.incarnation(GRAPHS)?;
    let member = bus.join(GRAPHS, &[GRAPHS])?;
    let ticked = clock.elapsed();
    let work = GraphsWork { live, clock: Arc::clone(&clock), options, alerts, incarnation, partitions: BTreeMap::new(), ticked };
    Ok(Driver::new(GRAPHS, member, work, options.step, clock))
}

impl GraphsWork {
    fn now_ms(&self) -> i64 {
        self.clock.now_ns().div_euclid(1_000_000)
    }

    fn merge(&mut self, batch: &FetchedBatch, step: &mut Step) -> Result<(), Refused> {
        let now_ms = self.now_ms();
        let Some(merging) = self.partitions.get_mut(&batch.partition) else { return Ok(()) };
        let (mut touched, mut refused) = (BTreeSet::new(), None);
        for (offset, record) in batch.iter() {
            let plugin = String::from_utf8_lossy(record.key).into_owned();
            let delta = Delta::decode(record.value);
            // To pass it over would be to lose what only the newer program can read.
            if let Err(error @ CodecError::Newer { .. }) = &delta {
                refused = Some(Refused { offset, error: unusable(batch.partition.partition, &plugin, error) });
                break;
            }
            if merging.plugins.insert(plugin.clone()) {
                // Whatever is shown under this name was never committed.
                self.live.set_graphs(&plugin, None);
            }
            match delta {
                Ok(delta) => self.live.with_graphs(&plugin, |graphs| graphs.apply(delta, now_ms)),
                Err(error) => tracing::error!(%error, plugin, offset, "a graph delta cannot be read; it is passed over"),
            }
            touched.insert(plugin);
        }
        let next = refused.as_ref().map(|refused| refused.offset).or(batch.next_offset());
        merging.position = next.unwrap_or(merging.position);
        merging.changed.extend(touched.iter().cloned());
        touched.iter().for_each(|plugin| self.evaluate(&batch.partition, plugin, now_ms, step));
        refused.map_or(Ok(()), Err)
    }

    fn evaluate(&mut self, partition: &TopicPartition, plugin: &str, now_ms: i64, step: &mut Step) {
        let Some(merging) = self.partitions.get_mut(partition) else { return };
        let Evaluated { raised, changed } = self.live.with_graphs(plugin, |graphs| graphs.evaluate(now_ms, self.options.lateness_s));
        if changed {
            merging.changed.insert(plugin.to_owned());
        }
        for raised in raised {
            let alert = Alert::of_rule(plugin, raised);
            tracing::warn!(plugin, id = alert.id, kind = alert.kind, "{}", alert.summary);
            metrics::counter!("tidemill_alerts_total", "plugin" => plugin.to_owned()).increment(1);
            let (offset, n) = merging.numbering.take_before(merging.position);
            let source =
                Source { producer: GRAPHS, generation: 0, incarnation: &self.incarnation, partition: partition.partition, offset, n };
            let (uuid, mut value) = (alert.uuid(), Vec::new());
            alert.write(&mut value);
            let envelope = Envelope { key: &uuid, source, epoch: self.options.epoch, timestamp_ns: alert.time_ns };
            self.alerts.publish(step, envelope, &value);
        }
    }

    fn save(&self, partition: u32, merging: &Merging, step: &mut Step) {
        for plugin in &merging.changed {
            self.live.with_graphs(plugin, |graphs| save_plugin(partition, plugin, graphs, &mut step.checkpoints));
        }
        let bytes = Some(encode_list(merging).into());
        step.checkpoints.push(Checkpoint { key: list_key(partition), bytes });
    }
}

impl Work for GraphsWork {
    fn assign(&mut self, member: &mut dyn Member, partition: &TopicPartition, position: i64) -> Result<i64, BusError> {
        let number = partition.partition;
        let mut merging = Merging { position, ..Merging::default() };
        if let Some(bytes) = member.checkpoint(&list_key(number))? {
            decode_list(&bytes, &mut merging).map_err(|error| unusable(number, "", &error))?;
        }
        merging.position = position;
        for plugin in &merging.plugins {
            self.live.set_graphs(plugin, Some(load_plugin(member, number, plugin)?));
        }
        self.partitions.insert(partition.clone(), merging);
        Ok(position)
    }

    fn release(&mut self, partition: &TopicPartition) {
        let Some(merging) = self.partitions.remove(partition) else { return };
        merging.plugins.iter().for_each(|plugin| self.live.set_graphs(plugin, None));
    }

    fn batch(&mut self, batch: &FetchedBatch, step: &mut Step) -> Result<(), Refused> {
        self.merge(batch, step)
    }

    fn tick(&mut self, step: &mut Step) -> bool {
        let elapsed = self.clock.elapsed();
        if elapsed.saturating_sub(self.ticked) < TICK {
            return false;
        }
        self.ticked = elapsed;
        let now_ms = self.now_ms();
        let plugins: Vec<_> = self
            .partitions
            .iter()
            .flat_map(|(partition, merging)| merging.plugins.iter().map(|plugin| (partition.clone(), plugin.clone())))
            .collect();
        plugins.iter().for_each(|(partition, plugin)| self.evaluate(partition, plugin, now_ms, step));
        self.partitions.values().any(|merging| !merging.changed.is_empty())
    }

    fn finish(&mut self, step: &mut Step) {
        let changed = self.partitions.iter().filter(|(_, merging)| !merging.changed.is_empty());
        changed.for_each(|(partition, merging)| self.save(partition.partition, merging, step));
    }

    fn committed(&mut self) {
        self.partitions.values_mut().for_each(|merging| merging.changed.clear());
    }

    fn lost(&mut self, partition: &TopicPartition, offsets: i64, step: &mut Step) {
        let number = partition.partition;
        tracing::error!(partition = number, offsets, "graph deltas were removed before they were merged: graphs are incomplete");
        let position = self.partitions.get(partition).map_or(0, |merging| merging.position);
        let lost = Lost { partition: partition.clone(), position, offsets, resumed: None };
        publish_lost_alert(GRAPHS, &lost, &self.incarnation, &*self.clock, step);
    }
}

fn list_key(partition: u32) -> String {
    format!("graphs/{partition}")
}

fn head_key(partition: u32, plugin: &str) -> String {
    format!("graphs/{partition}/{plugin}")
}

fn block_key(partition: u32, plugin: &str, title: &str, block: u32) -> String {
    format!("graphs/{partition}/{plugin}/{title}/{block}")
}

fn encode_list(merging: &Merging) -> Vec<u8> {
    let mut out = Encoder::new(VERSION);
    out.signed(merging.numbering.offset.unwrap_or(-1));
    out.unsigned(u64::from(merging.numbering.next));
    out.unsigned(merging.plugins.len() as u64);
    merging.plugins.iter().for_each(|plugin| out.text(plugin));
    out.finish()
}

fn decode_list(bytes: &[u8], merging: &mut Merging) -> Result<(), CodecError> {
    let (mut reader, _) = Decoder::new(bytes, "the checkpoint of the graphs' plugins", VERSION)?;
    let offset = Some(reader.signed()?).filter(|offset| *offset >= 0);
    merging.numbering = Numbering { offset, next: reader.u32()? };
    for _ in 0..reader.count()? {
        merging.plugins.insert(reader.text()?);
    }
    reader.finish()
}

fn save_plugin(partition: u32, plugin: &str, graphs: &mut PluginGraphs, out: &mut Vec<Checkpoint>) {
    out.push(Checkpoint { key: head_key(partition, plugin), bytes: Some(save::encode_head(graphs).into()) });
    for (title, graph) in &mut graphs.graphs {
        for block in graph.ring.take_dirty() {
            let bytes = save::encode_block(&graph.ring, block).map(Bytes::from);
            out.push(Checkpoint { key: block_key(partition, plugin, title, block), bytes });
        }
    }
}

fn load_plugin(member: &mut dyn Member, partition: u32, plugin: &str) -> Result<PluginGraphs, BusError> {
    let Some(head) = member.checkpoint(&head_key(partition, plugin))? else { return Ok(PluginGraphs::default()) };
    let mut graphs = save::decode_head(&head).map_err(|error| unusable(partition, plugin, &error))?;
    for (title, graph) in &mut graphs.graphs {
        // A new ring is dirty all over: the blocks to look for.
        for block in graph.ring.take_dirty() {
            let Some(bytes) = member.checkpoint(&block_key(partition, plugin, title, block))? else { continue };
            save::restore_block(&mut graph.ring, &bytes).map_err(|error| unusable(partition, plugin, &error))?;
        }
    }
    Ok(graphs)
}

fn unusable(partition: u32, plugin: &str, error: &CodecError) -> BusError {
    BusError::Unusable(format!("graphs of partition {partition} {plugin:?}: {error}"))
}
