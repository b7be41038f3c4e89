//! A bus that is away, silent or refuses, and comes back.

use crate::{
    double::{Double, Mode, Seen},
    kit::{World, ids, options},
};
use std::collections::{BTreeMap, BTreeSet};
use tidemill_bus::faults::FaultFiles;

/// The Uuids each id is there with, as often as it is there.
fn by_id(seen: &[Seen]) -> BTreeMap<&str, Vec<[u8; 16]>> {
    let mut found: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    seen.iter().for_each(|one| found.entry(&one.id).or_default().push(one.uuid));
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bus_refuses_is_spooled_and_drained_in_order() {
    let world = World::new(Mode::Up).await;
    world.post_all(&ids("before", 3)).await;
    assert_eq!((world.bus.seen().len(), world.spool().await.records), (3, 0));
    world.bus.set(Mode::Refusing);
    let during = ids("during", 40);
    world.post_all(&during).await;
    let health = world.health().await;
    let spool = health.spool.as_ref().expect("a spool");
    assert_eq!((world.bus.seen().len(), spool.records, health.takes_pings()), (3, 40, true));
    assert!(spool.bytes > 40 * 100 && spool.disk_bytes > spool.bytes, "{spool:?}");
    assert_eq!(health.trouble(), "the bus: refused");

    world.bus.set(Mode::Up);
    world.drained().await;
    let spool = world.spool().await;
    assert_eq!((spool.records, spool.bytes), (0, 0));
    let seen = world.bus.seen();
    let drained: Vec<&Seen> = seen.iter().filter(|one| one.id.starts_with("during")).collect();
    assert_eq!(drained.iter().map(|one| one.id.clone()).collect::<BTreeSet<_>>(), during.into_iter().collect());
    for partition in 0..3 {
        let of_it: Vec<_> = drained.iter().filter(|one| one.partition == partition).map(|one| &one.id).collect();
        assert!(of_it.len() > 3 && of_it.is_sorted(), "partition {partition}: {of_it:?}");
    }
    let wrong = seen.iter().find(|one| one.partition != tidemill_bus::partition_of(one.id.as_bytes(), 3));
    assert_eq!(wrong, None, "in another partition than its key says");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_with_fewer_partitions_takes_what_the_spool_holds() {
    let world = World::new(Mode::Up).await;
    world.bus.set(Mode::Refusing);
    world.post_all(&ids("before", 40)).await;
    // The drain has found three partitions and stands at what they refuse.
    world.bus.set(Mode::Up);
    world.bus.keep_partitions(1);
    world.post_all(&ids("after", 40)).await;
    world.drained().await;
    world.bus_is_up().await;
    world.post_all(&ids("later", 40)).await;
    let seen = world.bus.seen();
    assert_eq!(by_id(&seen).len(), 120);
    assert_eq!(seen.iter().filter(|one| one.id.starts_with("later") && one.partition != 0).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_bus_is_waited_for_once() {
    let world = World::new(Mode::Up).await;
    world.post_all(&ids("before", 1)).await;
    world.bus.set(Mode::Silent);
    let during = ids("during", 50);
    world.post_all(&during).await;
    // One request, and one batch of the drain, which waits for its answer.
    assert!(world.bus.asked() <= 3, "the bus was asked {} times", world.bus.asked());
    world.bus.set(Mode::Up);
    world.drained().await;
    let seen = world.bus.seen();
    let found = by_id(&seen);
    assert_eq!(found.len(), 51, "each is there");
    let twice: Vec<_> = found.iter().filter(|(_, uuids)| uuids.len() > 1).collect();
    assert_eq!(twice.iter().map(|(id, _)| **id).collect::<Vec<_>>(), ["during-00000"], "the one that was late is there twice");
    assert!(twice.iter().all(|(_, uuids)| uuids.iter().all(|uuid| uuid == &uuids[0])), "with one Uuid");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_pings_do_not_queue_behind_the_spool() {
    let slow = tidemill_edge::SpoolOptions { drain_bytes_per_s: 1, ..options() };
    let world = World::with(&Double::new(Mode::Refusing), FaultFiles::default(), slow).await;
    let body = vec![b'x'; 4_000];
    for id in ids("during", 20) {
        assert_eq!(world.post(&id, body.clone()).await.0, 200);
    }
    world.bus.set(Mode::Up);
    world.bus_is_up().await;
    world.post_all(&ids("after", 5)).await;
    let waiting = world.spool().await.records;
    assert!((1..20).contains(&waiting), "a batch of them is drained, the rest waits for the rate: {waiting}");
    assert_eq!(world.bus.seen().iter().filter(|one| one.id.starts_with("after")).count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_starts_without_its_bus() {
    let world = World::new(Mode::Refusing).await;
    world.post_all(&ids("early", 10)).await;
    assert_eq!(world.bus.asked(), 0, "nobody knows its partitions");
    world.bus.set(Mode::Up);
    world.drained().await;
    assert_eq!(by_id(&world.bus.seen()).len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_is_drained_after_the_next_start_even_where_the_spool_is_off() {
    let bus = Double::new(Mode::Refusing);
    let first = World::with(&bus, FaultFiles::default(), options()).await;
    first.post_all(&ids("left", 10)).await;
    first.intake.stop();
    let found = first.files.power_cut(tidemill_bus::faults::PowerCut::LosesUnsynced);
    bus.set(Mode::Up);
    let off = tidemill_edge::SpoolOptions { max_bytes: 0, ..options() };
    let second = World::with(&bus, found, off).await;
    second.drained().await;
    assert_eq!(by_id(&bus.seen()).len(), 10);
    bus.set(Mode::Refusing);
    let refused = second.post("x", b"small".to_vec()).await;
    assert_eq!(refused, (500, "the ping could not be made durable: send it again later".to_owned()));
    assert!(!second.health().await.takes_pings());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_published_is_not_spooled() {
    let world = World::new(Mode::Narrow).await;
    let (status, _) = world.post("large", b"small".to_vec()).await;
    assert_eq!((status, world.spool().await.records), (500, 0));
    world.bus.set(Mode::Up);
    world.post_all(&ids("after", 1)).await;
}
