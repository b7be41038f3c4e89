//! Members of groups.

use super::*;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tidemill_bus::{Bus, BusError, Checkpoint, Event, GroupPosition, Step, TopicPartition};

/// Polls both in turn until each owns half of the partitions.
fn settle(a: &mut Consumer, b: &mut Consumer, halves: usize) {
    let deadline = Instant::now() + PATIENCE;
    while a.owned.len() != halves || b.owned.len() != halves {
        assert!(Instant::now() < deadline, "the group did not settle: {:?} and {:?}", a.owned, b.owned);
        a.poll(Duration::from_millis(20));
        b.poll(Duration::from_millis(20));
    }
}

fn fill(bus: &dyn Bus, partitions: u32, name: &str) {
    for partition in 0..partitions {
        publish_values(bus, "in", partition, &[&format!("{name} {partition}")]);
    }
}

fn commit_all(member: &mut Consumer) {
    let mut step = step_to("out", 0, &["done"]);
    let owned: Vec<_> = member.owned.iter().map(|(partition, _)| partition.clone()).collect();
    step.positions.extend(owned.into_iter().map(|partition| (partition.clone(), member.next(&partition))));
    member.member.commit(step).expect("committed");
}

pub fn two_members_share_and_one_leaves(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 4);
    fill(&*bus, 4, "first");
    let mut a = Consumer::joined(&*bus, "work", &["in"]);
    a.until_seen(4);
    commit_all(&mut a);

    let mut b = Consumer::join(&*bus, "work", &["in"]);
    settle(&mut a, &mut b, 2);
    assert!(a.revoked > 0, "it was told before it lost partitions");
    let both: BTreeSet<_> = a.owned.iter().chain(&b.owned).map(|(partition, _)| partition.clone()).collect();
    assert_eq!(both.len(), 4, "no partition is owned twice");
    fill(&*bus, 4, "second");
    let deadline = Instant::now() + PATIENCE;
    while a.seen.len() + b.seen.len() < 8 && Instant::now() < deadline {
        a.poll(Duration::from_millis(20));
        b.poll(Duration::from_millis(20));
    }
    assert_eq!((a.seen.len(), b.seen.len()), (6, 2), "each reads its own, nothing that was committed comes again");
    commit_all(&mut b);

    let second: Vec<_> = a.owned.iter().map(|(partition, _)| partition.clone()).collect();
    drop(a);
    b.until("all partitions", |b| b.owned.len() == 4);
    fill(&*bus, 4, "third");
    b.until_seen(2 + 2 + 4);
    b.during(SILENCE);
    assert_eq!(b.seen.len(), 8, "what the one who left had read and not committed comes again: {:?}", values(&b.seen));
    for partition in second {
        let number = partition.partition;
        assert_eq!(b.values_of(&partition), [format!("second {number}"), format!("third {number}")]);
    }
}

pub fn a_fenced_member_commits_nothing(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 2);
    fill(&*bus, 2, "first");
    let mut a = Consumer::joined(&*bus, "work", &["in"]);
    a.until_seen(2);
    let next: Vec<_> = [0, 1].map(|partition| (at("in", partition), a.next(&at("in", partition)))).to_vec();
    let mut b = Consumer::join(&*bus, "work", &["in"]);
    settle(&mut a, &mut b, 1);

    let mut step = step_to("out", 0, &["never"]);
    step.positions = next;
    step.checkpoints.push(Checkpoint { key: "state".into(), bytes: Some(Bytes::from_static(b"never")) });
    let refused = a.member.commit(step);
    assert!(matches!(refused, Err(BusError::Fenced(_))), "{refused:?}");
    assert!(read_all(&*bus, "out", 0, 0).is_empty());
    assert_eq!(b.checkpoint("state"), None);
    b.until_seen(1);
    let lost = b.owned[0].0.clone();
    assert_eq!(b.values_of(&lost), [format!("first {}", lost.partition)]);
}

/// A host that is stopped and goes on later looks like this to its group: it does not poll, and then it commits.
pub fn a_silent_member_loses_its_partitions_and_commits_nothing(factory: &impl Factory) {
    let bus = factory.open_narrow();
    in_and_out(&*bus, 2);
    fill(&*bus, 2, "first");
    let mut silent = Consumer::joined(&*bus, "work", &["in"]);
    silent.until_seen(2);
    let mut heir = Consumer::join(&*bus, "work", &["in"]);
    heir.until("all partitions", |heir| heir.owned.len() == 2);
    heir.until_seen(2);
    commit_all(&mut heir);

    let mut step = step_to("out", 0, &["never"]);
    step.positions = [0, 1].map(|partition| (at("in", partition), silent.next(&at("in", partition)))).to_vec();
    step.checkpoints.push(Checkpoint { key: "state".into(), bytes: Some(Bytes::from_static(b"never")) });
    let refused = silent.member.commit(step);
    assert!(matches!(refused, Err(BusError::Fenced(_))), "{refused:?}");
    assert_eq!(values(&read_all(&*bus, "out", 0, 1)), ["done"]);
    assert_eq!(heir.checkpoint("state"), None);
    silent.owned.clear();
    settle(&mut silent, &mut heir, 1);
    fill(&*bus, 2, "second");
    let deadline = Instant::now() + PATIENCE;
    while silent.seen.len() + heir.seen.len() < 6 && Instant::now() < deadline {
        silent.poll(Duration::from_millis(20));
        heir.poll(Duration::from_millis(20));
    }
    assert_eq!((silent.seen.len(), heir.seen.len()), (3, 3), "back in the group it reads its share, from what was committed");
}

/// A worker as a stage is one: copies `in` to `out` in steps, restarts behind the last step after a failure.
struct Copier {
    bus: Arc<dyn Bus>,
    copied: Arc<AtomicUsize>,
    committed: BTreeMap<TopicPartition, i64>,
}

impl Copier {
    fn run(mut self, stop: &AtomicBool) -> Box<dyn tidemill_bus::Member> {
        let mut member = self.bus.join("work", &["in"]).expect("joined");
        while !stop.load(Ordering::Relaxed) {
            match member.poll(Duration::from_millis(50)) {
                Ok(Event::Assigned(owned)) => self.committed.extend(owned),
                Ok(Event::Revoked(lost)) => self.committed.retain(|partition, _| !lost.contains(partition)),
                Ok(Event::Batch(batch)) => {
                    let taken: Vec<_> = batch.iter().take(3).map(|(_, record)| record.value.to_vec()).collect();
                    let next = batch.offsets[taken.len() - 1] + 1;
                    let mut step = Step::default();
                    *step.records(&at("out", batch.partition.partition)) = records(&taken);
                    step.positions.push((batch.partition.clone(), next));
                    if member.commit(step).is_ok() {
                        self.committed.insert(batch.partition.clone(), next);
                        self.copied.fetch_add(taken.len(), Ordering::Relaxed);
                    }
                    // Where it is owned no more, the next assignment says where to go on.
                    drop(self.committed.get(&batch.partition).map(|next| member.seek(&batch.partition, *next)));
                }
                Ok(Event::Idle) | Err(_) => {}
            }
        }
        member
    }
}

pub fn each_record_counts_once_while_members_come_and_go(factory: &impl Factory) {
    const COUNT: usize = 300;
    let bus = factory.open_narrow();
    in_and_out(&*bus, 4);
    let (copied, all, some, other) =
        (Arc::new(AtomicUsize::new(0)), AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    let copier = || Copier { bus: Arc::clone(&bus), copied: Arc::clone(&copied), committed: BTreeMap::new() };
    let until = |what: &str, count: usize| {
        let deadline = Instant::now() + PATIENCE;
        while copied.load(Ordering::Relaxed) < count {
            assert!(Instant::now() < deadline, "{what}: {} copied", copied.load(Ordering::Relaxed));
            thread::sleep(Duration::from_millis(5));
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..COUNT {
                publish_values(&*bus, "in", (n % 4) as u32, &[&format!("{n:04}")]);
                // The load lasts for as long as members come and go.
                while n > copied.load(Ordering::Relaxed) + 40 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let first = scope.spawn(|| copier().run(&all));
        until("the first", 20);
        let second = scope.spawn(|| copier().run(&some));
        until("a second joined", 80);
        let third = scope.spawn(|| copier().run(&other));
        until("a third joined", 140);
        some.store(true, Ordering::Relaxed);
        drop(second.join().expect("it leaves in order"));
        until("one left", 200);
        other.store(true, Ordering::Relaxed);
        // Its partitions are its own until it is missed.
        let killed = third.join().expect("it says nothing any more");
        let fourth = scope.spawn(|| copier().run(&all));
        until("one was killed and another came", COUNT);
        all.store(true, Ordering::Relaxed);
        drop((first.join().expect("the end"), fourth.join().expect("the end"), killed));
    });
    for partition in 0..4 {
        let expected: Vec<_> = (0..COUNT).filter(|n| n % 4 == partition).map(|n| format!("{n:04}")).collect();
        assert_eq!(values(&read_all(&*bus, "out", partition as u32, expected.len())), expected, "each once and in order");
    }
}

pub fn state_goes_with_its_partition(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 2);
    let mut a = Consumer::joined(&*bus, "work", &["in"]);
    let key = |partition: &TopicPartition| format!("state/{}", partition.partition);
    let save = |member: &mut Consumer, round: &str| {
        let checkpoint =
            |place: &TopicPartition| Checkpoint { key: key(place), bytes: Some(Bytes::from(format!("{round} {}", place.partition))) };
        let checkpoints = member.owned.iter().map(|(partition, _)| checkpoint(partition)).collect();
        member.member.commit(Step { checkpoints, ..Step::default() }).expect("committed");
    };
    save(&mut a, "first");
    let mut b = Consumer::join(&*bus, "work", &["in"]);
    settle(&mut a, &mut b, 1);
    for member in [&mut a, &mut b] {
        let place = member.owned[0].0.clone();
        assert_eq!(member.checkpoint(&key(&place)), Some(Bytes::from(format!("first {}", place.partition))));
        save(member, "second");
    }
    drop(a);
    b.until("all partitions", |b| b.owned.len() == 2);
    for partition in [0, 1] {
        assert_eq!(
            b.checkpoint(&format!("state/{partition}")),
            Some(Bytes::from(format!("second {partition}"))),
            "what the other one saved"
        );
    }
}

pub fn what_a_member_does_not_own_it_cannot_touch(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 1);
    let mut member = Consumer::joined(&*bus, "work", &["in"]);
    for partition in [at("out", 0), at("in", 1)] {
        assert!(member.member.seek(&partition, 0).is_err());
        assert!(member.member.pause(&partition, true).is_err());
        let mut step = step_to("out", 0, &["never"]);
        step.positions.push((partition, 1));
        assert!(matches!(member.member.commit(step), Err(BusError::Fenced(_))));
    }
    assert!(read_all(&*bus, "out", 0, 0).is_empty());
}

pub fn seek_reads_again(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 1);
    publish_values(&*bus, "in", 0, &["a", "b", "c"]);
    let mut member = Consumer::joined(&*bus, "work", &["in"]);
    member.until_seen(3);
    let second = member.seen[1].offset;
    member.member.seek(&at("in", 0), second).expect("owned");
    member.until_seen(5);
    let end = member.next(&at("in", 0));
    member.member.seek(&at("in", 0), end).expect("owned");
    publish_values(&*bus, "in", 0, &["d"]);
    member.until_seen(6);
    member.during(SILENCE);
    assert_eq!(values(&member.seen), ["a", "b", "c", "b", "c", "d"]);

    let mut other = Consumer::joined(&*bus, "skips", &["in"]);
    other.member.seek(&at("in", 0), end).expect("owned");
    other.until_seen(1);
    assert_eq!(values(&other.seen), ["d"], "a seek before the first poll counts");
}

pub fn a_paused_partition_is_silent(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 2);
    let mut member = Consumer::joined(&*bus, "work", &["in"]);
    member.member.pause(&at("in", 0), true).expect("owned");
    for round in 0..3 {
        fill(&*bus, 2, &format!("round {round}"));
    }
    member.until_seen(3);
    member.during(SILENCE);
    assert_eq!(member.values_of(&at("in", 0)), [""; 0]);
    assert_eq!(member.values_of(&at("in", 1)), ["round 0 1", "round 1 1", "round 2 1"]);
    member.member.pause(&at("in", 0), false).expect("owned");
    member.until_seen(6);
    assert_eq!(member.values_of(&at("in", 0)), ["round 0 0", "round 1 0", "round 2 0"]);
}

pub fn groups_do_not_see_each_other(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 1);
    publish_values(&*bus, "in", 0, &["a", "b"]);
    for group in ["one", "two"] {
        let mut member = Consumer::joined(&*bus, group, &["in"]);
        member.until_seen(2);
        assert_eq!(member.checkpoint("state"), None);
        commit_all(&mut member);
        let step = tidemill_bus::Step {
            checkpoints: vec![Checkpoint { key: "state".into(), bytes: Some(Bytes::from(group)) }],
            ..Default::default()
        };
        member.member.commit(step).expect("committed");
        assert_eq!(member.checkpoint("state"), Some(Bytes::from(group)));
    }
    let names = |found: &[GroupPosition]| found.iter().map(|found| found.group.to_string()).collect::<BTreeSet<_>>();
    let expected = BTreeSet::from(["one".to_owned(), "two".to_owned()]);
    assert_eq!(names(&group_positions(&*bus, |found| names(found) == expected)), expected);
}

pub fn an_idle_member_polls_in_time(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 1);
    let mut member = Consumer::joined(&*bus, "work", &["in"]);
    for wait in [Duration::ZERO, Duration::from_millis(300)] {
        let begin = Instant::now();
        let event = member.member.poll(wait).expect("a poll");
        let took = begin.elapsed();
        assert!(matches!(event, Event::Idle), "{event:?}");
        assert!(took >= wait.mul_f32(0.9) && took < wait + Duration::from_secs(2), "a poll of {wait:?} took {took:?}");
    }
}
