//! Who owns which partition: members of groups within this process.
//!
//! Eager, as on Kafka: when a member comes or goes, every member gives up what it owns (it is told, and keeps it until its next
//! poll), then the partitions are dealt anew in ranges. A member that others wait for and that does not poll is expelled.

use super::catalog::Catalog;
use crate::{BusError, TopicPartition, safeguard};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// All groups.
pub(super) struct Groups {
    groups: Mutex<HashMap<Arc<str>, Group>>,
    session_timeout: Duration,
}

#[derive(Default)]
struct Group {
    seats: BTreeMap<u64, Seat>,
    next: u64,
}

struct Seat {
    topics: Vec<Arc<str>>,
    owned: Vec<TopicPartition>,
    phase: Phase,
    polled: Duration,
    committing: bool,
}

enum Phase {
    /// It owns its partitions.
    Stable,
    /// It is to be told that it will lose them.
    Revoke,
    /// It was told and has them until its next poll.
    Yielding,
    /// It owns nothing and waits for the others.
    Waiting,
    /// It is to be told what it owns.
    Assign(Vec<TopicPartition>),
    /// It was silent for too long and lost these.
    Expelled(Vec<TopicPartition>),
}

/// What a member that polls has to do.
pub(super) enum Turn {
    /// Read.
    Read,
    /// Wait for the other members.
    Wait,
    /// Tell its owner.
    Revoked(Vec<TopicPartition>),
    /// Tell its owner.
    Assigned(Vec<TopicPartition>),
}

impl Groups {
    pub(super) fn new(session_timeout: Duration) -> Self {
        Self { groups: Mutex::default(), session_timeout }
    }

    /// A seat in the group; everybody is dealt anew.
    pub(super) fn join(&self, name: &Arc<str>, topics: Vec<Arc<str>>, now: Duration, catalog: &Catalog) -> u64 {
        let mut groups = self.groups.lock();
        let group = groups.entry(Arc::clone(name)).or_default();
        let id = group.next;
        group.next += 1;
        group.seats.insert(id, Seat { topics, owned: Vec::new(), phase: Phase::Waiting, polled: now, committing: false });
        group.rebalance(catalog);
        id
    }

    pub(super) fn leave(&self, name: &str, id: u64, catalog: &Catalog) {
        let mut groups = self.groups.lock();
        let Some(group) = groups.get_mut(name) else { return };
        group.seats.remove(&id);
        group.rebalance(catalog);
        if group.seats.is_empty() {
            groups.remove(name);
        }
    }

    /// A member polls (`again` while it waits within one poll). The second value says whether others should wake.
    pub(super) fn turn(&self, name: &str, id: u64, again: bool, now: Duration, catalog: &Catalog) -> (Turn, bool) {
        let mut groups = self.groups.lock();
        let Some(group) = groups.get_mut(name) else { return (Turn::Wait, false) };
        let mut changed = group.expel(id, now, self.session_timeout, catalog);
        let Some(seat) = group.seats.get_mut(&id) else { return (Turn::Wait, changed) };
        seat.polled = now;
        if matches!(seat.phase, Phase::Yielding) && !again {
            seat.owned.clear();
            seat.phase = Phase::Waiting;
            group.deal(catalog);
            changed = true;
        } else if let Phase::Expelled(lost) = &mut seat.phase {
            let lost = std::mem::take(lost);
            seat.phase = Phase::Waiting;
            group.rebalance(catalog);
            return (Turn::Revoked(lost), true);
        }
        (group.seats.get_mut(&id).map_or(Turn::Wait, Seat::turn), changed)
    }

    /// Lets a member commit if it owns all these partitions; nobody else gets them until [`Self::committed`].
    pub(super) fn begin_commit<'a>(
        &self,
        name: &str,
        id: u64,
        mut partitions: impl Iterator<Item = &'a TopicPartition>,
    ) -> Result<(), BusError> {
        let mut groups = self.groups.lock();
        let seat = groups.get_mut(name).and_then(|group| group.seats.get_mut(&id));
        let fenced = |what: String| BusError::Fenced(format!("{what} in group {name}"));
        let seat = seat.ok_or_else(|| fenced("the member is gone".to_owned()))?;
        if !safeguard("group-fence") {
            return Ok(());
        }
        if matches!(seat.phase, Phase::Expelled(_)) {
            return Err(fenced("the member did not poll in time and was expelled".to_owned()));
        }
        if let Some(lost) = partitions.find(|partition| !seat.owned.contains(partition)) {
            return Err(fenced(format!("partition {} of topic {} is not owned by the member", lost.partition, lost.topic)));
        }
        seat.committing = true;
        Ok(())
    }

    pub(super) fn committed(&self, name: &str, id: u64, now: Duration) {
        let mut groups = self.groups.lock();
        if let Some(seat) = groups.get_mut(name).and_then(|group| group.seats.get_mut(&id)) {
            seat.committing = false;
            seat.polled = now;
        }
    }
}

impl Seat {
    fn turn(&mut self) -> Turn {
        match std::mem::replace(&mut self.phase, Phase::Waiting) {
            Phase::Assign(owned) => {
                self.owned.clone_from(&owned);
                self.phase = Phase::Stable;
                Turn::Assigned(owned)
            }
            Phase::Revoke => {
                self.phase = Phase::Yielding;
                Turn::Revoked(self.owned.clone())
            }
            phase => {
                let turn = if matches!(phase, Phase::Stable) { Turn::Read } else { Turn::Wait };
                self.phase = phase;
                turn
            }
        }
    }
}

impl Group {
    /// Takes back what everybody owns.
    fn rebalance(&mut self, catalog: &Catalog) {
        for seat in self.seats.values_mut() {
            match seat.phase {
                Phase::Stable if seat.owned.is_empty() => seat.phase = Phase::Waiting,
                Phase::Stable => seat.phase = Phase::Revoke,
                Phase::Assign(_) => seat.phase = Phase::Waiting,
                Phase::Revoke | Phase::Yielding | Phase::Waiting | Phase::Expelled(_) => {}
            }
        }
        self.deal(catalog);
    }

    /// Expels those who hold the others up.
    fn expel(&mut self, but: u64, now: Duration, timeout: Duration, catalog: &Catalog) -> bool {
        let mut expelled = false;
        for (id, seat) in self.seats.iter_mut().filter(|(id, _)| **id != but) {
            let holds_up = matches!(seat.phase, Phase::Revoke | Phase::Yielding);
            if holds_up && !seat.committing && now.saturating_sub(seat.polled) > timeout {
                tracing::warn!(member = id, "expelled: it did not poll within {timeout:?} while others waited for its partitions");
                seat.phase = Phase::Expelled(std::mem::take(&mut seat.owned));
                expelled = true;
            }
        }
        if expelled {
            self.deal(catalog);
        }
        expelled
    }

    /// When nobody owns anything any more: ranges of each topic's partitions to the members that read it, in their order.
    fn deal(&mut self, catalog: &Catalog) {
        let settled = |seat: &Seat| matches!(seat.phase, Phase::Waiting | Phase::Expelled(_));
        if !self.seats.values().all(settled) {
            return;
        }
        let mut dealt: BTreeMap<u64, Vec<TopicPartition>> = BTreeMap::new();
        let waiting = self.seats.iter().filter(|(_, seat)| matches!(seat.phase, Phase::Waiting));
        let mut readers: BTreeMap<Arc<str>, Vec<u64>> = BTreeMap::new();
        for (id, seat) in waiting {
            dealt.insert(*id, Vec::new());
            seat.topics.iter().for_each(|topic| readers.entry(Arc::clone(topic)).or_default().push(*id));
        }
        for (topic, ids) in readers {
            let Ok((_, found)) = catalog.topic(&topic) else { continue };
            let all = found.partitions.len();
            for (n, id) in ids.iter().enumerate() {
                let range = n * all / ids.len()..(n + 1) * all / ids.len();
                dealt.entry(*id).or_default().extend(found.partitions[range].iter().map(|partition| partition.name.clone()));
            }
        }
        for (id, owned) in dealt {
            if let Some(seat) = self.seats.get_mut(&id) {
                seat.phase = Phase::Assign(owned);
            }
        }
    }
}
