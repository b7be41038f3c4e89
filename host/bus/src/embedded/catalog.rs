//! What the log says beside records: topics, positions of groups, places of checkpoints.

use super::{
    format::{Item, Place},
    index::{OFFSET_MAX, Partition, Slot},
};
use crate::{BusError, Compression, GroupPosition, TopicInfo, TopicPartition};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// A topic of the log.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) incarnation: Arc<str>,
    pub(super) compacted: bool,
    pub(super) compression: Compression,
    pub(super) partitions: Vec<Arc<Partition>>,
}

impl Topic {
    /// The partition of this number.
    pub(super) fn partition(&self, number: u32) -> Result<&Arc<Partition>, BusError> {
        let missing = || BusError::NotFound(format!("partition {number} of topic {}, which has {}", self.name, self.partitions.len()));
        self.partitions.get(number as usize).ok_or_else(missing)
    }
}

/// The state that entries build up. Rebuilt at opening from the newest snapshot and the entries after it.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    topics: BTreeMap<u32, Topic>,
    ids: HashMap<Arc<str>, u32>,
    positions: BTreeMap<(Arc<str>, u32, u32), i64>,
    checkpoints: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Place>>,
}

impl Catalog {
    /// The topic of this name with its number.
    pub(super) fn topic(&self, name: &str) -> Result<(u32, &Topic), BusError> {
        let id = *self.ids.get(name).ok_or_else(|| BusError::NotFound(format!("topic {name}")))?;
        Ok((id, &self.topics[&id]))
    }

    pub(super) fn topic_mut(&mut self, name: &str) -> Option<&mut Topic> {
        self.topics.get_mut(self.ids.get(name)?)
    }

    /// The partition of this name with its topic's number.
    pub(super) fn partition(&self, name: &TopicPartition) -> Result<(u32, &Arc<Partition>), BusError> {
        let (id, topic) = self.topic(&name.topic)?;
        Ok((id, topic.partition(name.partition)?))
    }

    pub(super) fn by_id(&self, topic: u32, partition: u32) -> Option<&Arc<Partition>> {
        self.topics.get(&topic)?.partitions.get(partition as usize)
    }

    /// A number that no topic has.
    pub(super) fn next_id(&self) -> u32 {
        self.topics.last_key_value().map_or(0, |(id, _)| id + 1)
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.topics.values().flat_map(|topic| &topic.partitions)
    }

    pub(super) fn position(&self, group: &str, name: &TopicPartition) -> Option<i64> {
        let id = *self.ids.get(&name.topic)?;
        self.positions.get(&(Arc::from(group), id, name.partition)).copied()
    }

    pub(super) fn checkpoint(&self, group: &str, key: &str) -> Option<Place> {
        self.checkpoints.get(group)?.get(key).copied()
    }

    /// The checkpoints that lie in this segment or an older one.
    pub(super) fn checkpoints_within(&self, segment: u32) -> Vec<(Arc<str>, Arc<str>, Place)> {
        let all = self.checkpoints.iter().flat_map(|(group, keys)| keys.iter().map(move |(key, place)| (group, key, place)));
        all.filter(|(_, _, place)| place.segment <= segment)
            .map(|(group, key, place)| (Arc::clone(group), Arc::clone(key), *place))
            .collect()
    }

    /// What all checkpoints take.
    pub(super) fn checkpoint_bytes(&self) -> u64 {
        self.checkpoints.values().flat_map(BTreeMap::values).map(|place| u64::from(place.length)).sum()
    }

    pub(super) fn infos(&self) -> Vec<TopicInfo> {
        let info = |topic: &Topic| TopicInfo {
            name: Arc::clone(&topic.name),
            partitions: topic.partitions.iter().map(|partition| partition.range()).collect(),
        };
        self.topics.values().map(info).collect()
    }

    pub(super) fn group_positions(&self) -> Vec<GroupPosition> {
        let named = |((group, topic, partition), position): (&(Arc<str>, u32, u32), &i64)| {
            let partition = self.by_id(*topic, *partition)?.name.clone();
            Some(GroupPosition { group: Arc::clone(group), partition, position: *position })
        };
        self.positions.iter().filter_map(named).collect()
    }

    /// Does what the item says; `place` is its frame's, where it has one. `false` where the item makes no sense here.
    pub(super) fn apply(&mut self, item: &Item, place: Place) -> bool {
        match item {
            Item::Snapshot => {}
            Item::Topic { id, .. } => return self.apply_topic(*id, item),
            Item::End { topic, partition, end } => match self.by_id(*topic, *partition) {
                Some(found) if *end <= OFFSET_MAX => found.advance_end(*end),
                _ => return false,
            },
            Item::Batch { topic, partition, base, count, time_max_ms, .. } => {
                let Place { segment, position, length } = place;
                let slot = Slot { base: *base, time_max_ms: *time_max_ms, count: *count, segment, position, length };
                return self.by_id(*topic, *partition).is_some_and(|found| found.push(slot));
            }
            Item::Position { group, topic, partition, position } => {
                self.positions.insert((Arc::clone(group), *topic, *partition), *position);
            }
            Item::Checkpoint { group, key, .. } => self.keep(group, key, place),
            Item::Kept { group, key, place } => self.keep(group, key, *place),
            Item::Forget { group, key } => {
                if let Some(keys) = self.checkpoints.get_mut(group) {
                    keys.remove(key);
                }
            }
        }
        true
    }

    fn keep(&mut self, group: &Arc<str>, key: &Arc<str>, place: Place) {
        self.checkpoints.entry(Arc::clone(group)).or_default().insert(Arc::clone(key), place);
    }

    fn apply_topic(&mut self, id: u32, item: &Item) -> bool {
        let Item::Topic { name, partitions, compacted, compression, incarnation, .. } = item else { return false };
        if id == u32::MAX
            || *partitions == 0
            || self.topics.contains_key(&id)
            || self.ids.contains_key(name)
            || *partitions > PARTITIONS_MAX
        {
            return false;
        }
        let named = |partition| Arc::new(Partition::new(TopicPartition { topic: Arc::clone(name), partition }));
        let topic = Topic {
            name: Arc::clone(name),
            incarnation: Arc::clone(incarnation),
            compacted: *compacted,
            compression: *compression,
            partitions: (0..*partitions).map(named).collect(),
        };
        self.ids.insert(Arc::clone(name), id);
        self.topics.insert(id, topic);
        true
    }

    /// Everything, as the first entry of a segment says it.
    pub(super) fn snapshot(&self) -> Vec<Item> {
        let Self { topics, ids: _, positions, checkpoints } = self;
        let mut items = vec![Item::Snapshot];
        for (&id, topic) in topics {
            items.push(topic_item(id, topic));
            let ends = topic.partitions.iter().filter(|partition| partition.end() > 0);
            items.extend(ends.map(|found| Item::End { topic: id, partition: found.name.partition, end: found.end() }));
        }
        let position = |((group, topic, partition), position): (&(Arc<str>, u32, u32), &i64)| Item::Position {
            group: Arc::clone(group),
            topic: *topic,
            partition: *partition,
            position: *position,
        };
        items.extend(positions.iter().map(position));
        for (group, keys) in checkpoints {
            items.extend(keys.iter().map(|(key, place)| Item::Kept { group: Arc::clone(group), key: Arc::clone(key), place: *place }));
        }
        items
    }
}

/// More partitions than this in a topic are a mistake.
pub(super) const PARTITIONS_MAX: u32 = 65_536;

fn topic_item(id: u32, topic: &Topic) -> Item {
    let Topic { name, incarnation, compacted, compression, partitions } = topic;
    Item::Topic {
        id,
        name: Arc::clone(name),
        partitions: partitions.len() as u32,
        compacted: *compacted,
        compression: *compression,
        incarnation: Arc::clone(incarnation),
    }
}
