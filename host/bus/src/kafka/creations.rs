//! Which creation of a topic a position is of: one that is deleted and made anew uses its offsets again, for other records.
//!
//! A committed position carries the id that the cluster gave the topic, so that one of an earlier creation is known as such even
//! where it was committed after the topic was made anew.

use super::{admin, cluster::Cluster};
use crate::BusError;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// How often a member that reads nothing looks whether its topics are what they were.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a look waits for the cluster.
const LOOK_WAIT: Duration = Duration::from_secs(2);
const TOPIC_ID: &str = "topic-id:";
const STEP: &str = "step:";

/// What is committed beside a position: the topic's creation and, at one position of a step, the step's label.
pub(super) fn metadata(creation: &str, label: Option<&str>) -> String {
    match label {
        Some(label) => format!("{TOPIC_ID}{creation} {STEP}{label}"),
        None => format!("{TOPIC_ID}{creation}"),
    }
}

/// Whether a position was committed by the step of this label.
pub(super) fn is_of_step(metadata: &str, label: &str) -> bool {
    metadata.split(' ').any(|word| word.strip_prefix(STEP) == Some(label))
}

/// Whether a position is of another creation than this. One that does not say, as of Kafka's own tools, is taken for what it is.
pub(super) fn is_of_another(metadata: &str, creation: &str) -> bool {
    metadata.split(' ').find_map(|word| word.strip_prefix(TOPIC_ID)).is_some_and(|found| found != creation)
}

/// The creations of the topics of which a member owns partitions.
#[derive(Default)]
pub(super) struct Creations {
    /// By the topic's short name.
    known: BTreeMap<Arc<str>, String>,
    looked: Option<Instant>,
}

impl Creations {
    /// # Errors
    /// When there is no such topic or no broker answers.
    pub(super) fn ask<'t>(cluster: &Cluster, topics: impl Iterator<Item = &'t Arc<str>>) -> Result<Self, BusError> {
        let topics: BTreeSet<_> = topics.collect();
        let ids = ask(cluster, &topics)?;
        let known = topics.into_iter().cloned().zip(ids).map(|(topic, id)| Ok((topic, id?)));
        Ok(Self { known: known.collect::<Result<_, BusError>>()?, looked: Some(Instant::now()) })
    }

    /// Whether they are of the same topics, and the same.
    pub(super) fn equal(&self, other: &Self) -> bool {
        self.known == other.known
    }

    /// Empty for a topic that is not known.
    pub(super) fn of(&self, topic: &str) -> &str {
        self.known.get(topic).map_or("", String::as_str)
    }

    /// A topic of these that was made anew. One that is gone was not: what was read is of the creation that is known.
    ///
    /// # Errors
    /// When no broker answers.
    pub(super) fn changed<'t>(
        &self,
        cluster: &Cluster,
        topics: impl Iterator<Item = &'t Arc<str>>,
    ) -> Result<Option<&'t Arc<str>>, BusError> {
        let topics: BTreeSet<_> = topics.collect();
        let ids = ask(cluster, &topics)?;
        let is_another = |topic: &str, id: &str| self.known.get(topic).is_some_and(|known| known != id);
        Ok(topics.into_iter().zip(ids).find(|(topic, id)| id.as_ref().is_ok_and(|id| is_another(topic, id))).map(|(topic, _)| topic))
    }

    /// One that was made anew, where it is time to look.
    pub(super) fn look(&mut self, cluster: &Cluster) -> Option<Arc<str>> {
        if self.looked.is_none_or(|looked| looked.elapsed() < LOOK_INTERVAL) {
            return None;
        }
        self.looked = Some(Instant::now());
        self.changed(cluster, self.known.keys()).ok().flatten().cloned()
    }
}

fn ask(cluster: &Cluster, topics: &BTreeSet<&Arc<str>>) -> Result<Vec<Result<String, BusError>>, BusError> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = topics.iter().map(|topic| cluster.full(topic)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    admin::topic_ids(cluster.handle(), &names, LOOK_WAIT.min(cluster.timeout()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_say_what_they_are_of() {
        let [plain, labelled] = [metadata("abc", None), metadata("abc", Some("host/7"))];
        assert_eq!((&*plain, &*labelled), ("topic-id:abc", "topic-id:abc step:host/7"));
        assert!(is_of_step(&labelled, "host/7") && !is_of_step(&labelled, "host/") && !is_of_step(&plain, "host/7"));
        for metadata in [&plain, &labelled] {
            assert!(is_of_another(metadata, "abd") && !is_of_another(metadata, "abc"));
        }
        for other in ["", "host/7", "set back by hand"] {
            assert!(!is_of_another(other, "abc"), "{other} does not say");
        }
    }
}
