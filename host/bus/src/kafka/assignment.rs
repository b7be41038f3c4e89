//! What a member does when its group deals partitions out.

use super::{
    admin::{Isolation, Wanted},
    creations::{Creations, is_of_another},
    errors::meaning,
    group::Rebalance,
    member::{KafkaMember, Owned, Phase, name},
};
use crate::{BusError, Event, TopicPartition};
use rdkafka::{
    Offset,
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use std::{sync::Arc, time::Duration};

/// A look at the group between two waits for its positions.
const POSITIONS_WAIT: Duration = Duration::from_secs(2);

impl KafkaMember {
    /// Does what the event before announced.
    pub(super) fn settle_phase(&mut self) -> Result<(), BusError> {
        match self.phase {
            Phase::Reading | Phase::Asking(_) => Ok(()),
            Phase::Revoked { by_group: true } => self.give_up(),
            Phase::Revoked { by_group: false } => {
                self.phase = Phase::Asking(std::mem::take(&mut self.owned).into_keys().collect());
                Ok(())
            }
            Phase::Assigned => self.begin_reading(),
        }
    }

    fn give_up(&mut self) -> Result<(), BusError> {
        self.owned.clear();
        self.membership = None;
        // The next owner, this member perhaps, begins with what is committed, whatever that is.
        (self.doubt, self.must_restart) = (None, false);
        self.phase = Phase::Reading;
        self.consumer.unassign().map_err(|error| meaning(&format!("group {}", self.group), &error))
    }

    pub(super) fn begin_reading(&mut self) -> Result<(), BusError> {
        let list = self.list(self.owned.iter().map(|(partition, owned)| (partition, owned.next)))?;
        let what = format!("group {}", self.group);
        self.consumer.assign(&list).map_err(|error| meaning(&what, &error))?;
        self.phase = Phase::Reading;
        let paused = self.list(self.owned.iter().filter(|(_, owned)| owned.is_paused).map(|(partition, owned)| (partition, owned.next)))?;
        if paused.count() > 0 {
            self.consumer.pause(&paused).map_err(|error| meaning(&what, &error))?;
        }
        Ok(())
    }

    /// The event that the group's decisions make now, if any.
    pub(super) fn decided(&mut self) -> Result<Option<Event>, BusError> {
        if let Some(decision) = self.consumer.decision() {
            return self.heard(decision);
        }
        if let Phase::Asking(partitions) = &self.phase {
            let partitions = partitions.clone();
            return self.assigned(&partitions);
        }
        let restarts = std::mem::take(&mut self.must_restart) && !self.owned.is_empty();
        Ok(restarts.then(|| self.revoked(false)))
    }

    fn heard(&mut self, decision: Rebalance) -> Result<Option<Event>, BusError> {
        match decision {
            Rebalance::Revoked if self.owned.is_empty() => self.give_up().map(|()| None),
            Rebalance::Revoked => Ok(Some(self.revoked(true))),
            Rebalance::Assigned(list, membership) => {
                self.membership = membership.map(Arc::new);
                let partitions: Vec<_> =
                    list.elements().iter().filter_map(|found| self.partition(found.topic(), found.partition())).collect();
                self.phase = Phase::Asking(partitions.clone());
                self.assigned(&partitions)
            }
        }
    }

    fn partition(&self, full: &str, partition: i32) -> Option<TopicPartition> {
        Some(TopicPartition { topic: Arc::from(self.cluster.short(full)?), partition: u32::try_from(partition).ok()? })
    }

    fn revoked(&mut self, by_group: bool) -> Event {
        self.waiting.clear();
        self.refused = None;
        self.phase = Phase::Revoked { by_group };
        Event::Revoked(self.owned.keys().cloned().collect())
    }

    /// Asks where the group's positions are; `None` while an open transaction of the last owner keeps them unsettled.
    fn assigned(&mut self, partitions: &[TopicPartition]) -> Result<Option<Event>, BusError> {
        let topics = || partitions.iter().map(|partition| &partition.topic);
        let creations = Creations::ask(&self.cluster, topics())?;
        let Some(positions) = self.positions(partitions, &creations)? else { return Ok(None) };
        // Else a position may be of one creation and its start of the next.
        if !creations.equal(&Creations::ask(&self.cluster, topics())?) {
            return Ok(None);
        }
        self.creations = creations;
        self.checkpoints.clear();
        self.waiting.clear();
        let owned = |&next: &i64| Owned { next, committed: next, is_paused: false, is_lost: false };
        self.owned = positions.iter().map(|(partition, next)| (partition.clone(), owned(next))).collect();
        // Whatever asked for it before has it.
        self.must_restart = false;
        self.phase = Phase::Assigned;
        Ok(Some(Event::Assigned(positions)))
    }

    /// A position of an earlier creation of a topic is none.
    fn positions(&self, partitions: &[TopicPartition], creations: &Creations) -> Result<Option<Vec<(TopicPartition, i64)>>, BusError> {
        if partitions.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let list = self.list(partitions.iter().map(|partition| (partition, 0)))?;
        let found = match self.consumer.committed_offsets(list, POSITIONS_WAIT) {
            Ok(found) => found,
            Err(error) if is_unsettled(&error) => return Ok(None),
            Err(error) => return Err(meaning(&format!("the positions of group {}", self.group), &error)),
        };
        let starts = self.starts(partitions)?;
        let mut positions = Vec::new();
        for (partition, start) in partitions.iter().zip(starts) {
            let Some(found) = found.find_partition(&self.full(partition), partition.partition as i32) else { return Ok(None) };
            match (found.error(), found.offset()) {
                (Err(error), _) if is_unsettled(&error) => return Ok(None),
                (Err(error), _) => return Err(meaning(&name(partition), &error)),
                (Ok(()), Offset::Offset(offset)) if !is_of_another(found.metadata(), creations.of(&partition.topic)) => {
                    positions.push((partition.clone(), offset));
                }
                (Ok(()), _) => positions.push((partition.clone(), start)),
            }
        }
        Ok(Some(positions))
    }

    /// The first offsets that are there.
    fn starts(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>, BusError> {
        let names: Vec<_> = partitions.iter().map(|partition| (self.full(partition), partition.partition)).collect();
        let asked: Vec<_> = names.iter().map(|(topic, partition)| (topic.as_str(), *partition)).collect();
        self.cluster.all_offsets(&asked, Wanted::Earliest, Isolation::Committed)
    }
}

/// Whether the last owner's transaction is still open, or the group's coordinator is on its way: ask again.
fn is_unsettled(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(Code::UnstableOffsetCommit | Code::OperationTimedOut | Code::WaitingForCoordinator | Code::NotCoordinator))
}
