//! A spool on a disk that is full, slow, broken, or loses its power.

use crate::{
    double::{Double, Mode},
    kit::{World, ids, options},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tidemill_bus::faults::{FaultFiles, PowerCut};
use tidemill_edge::SpoolOptions;

const FULL: &str = "there is no room now: send it again later";

fn seen(bus: &Double) -> BTreeSet<String> {
    bus.seen().into_iter().map(|one| one.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_refuses_and_takes_again_when_it_was_drained() {
    let small = SpoolOptions { max_bytes: 1 << 20, ..options() };
    let world = World::with(&Double::new(Mode::Refusing), FaultFiles::default(), small).await;
    let body = vec![b'x'; 20_000];
    let (refused, mut taken) = world.until_status("a", 507, &body).await;
    assert_eq!(world.post("again", body.clone()).await, (507, FULL.to_owned()));
    let health = world.health().await;
    let full = health.spool.clone().expect("a spool");
    assert!(taken.len() > 40 && full.disk_bytes >= 1 << 20 && full.disk_bytes < (1 << 20) + 200_000, "{full:?}");
    assert!(!health.takes_pings());
    let why = format!("the spool: /spool holds {} bytes, at most 1048576 may", full.disk_bytes);
    assert!(health.trouble().ends_with(&why), "{}", health.trouble());

    world.bus.set(Mode::Up);
    world.drained().await;
    world.bus.set(Mode::Refusing);
    let (more, _) = world.until_status("b", 200, &body).await;
    assert!(world.spool().await.disk_bytes < 300_000, "what was drained is given back: {:?}", world.spool().await);
    world.bus.set(Mode::Up);
    world.drained().await;
    taken.push(more);
    let found = seen(&world.bus);
    assert_eq!(taken.iter().filter(|id| !found.contains(*id)).count(), 0, "all that was taken is there");
    assert!(!found.contains(&refused), "what was refused is not");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reserve_of_the_disk_is_kept() {
    let reserved = SpoolOptions { disk_reserve_bytes: 1_000_000, ..options() };
    let world = World::with(&Double::new(Mode::Refusing), FaultFiles::default(), reserved).await;
    world.post_all(&ids("room", 3)).await;
    world.files.set_free_bytes(900_000);
    world.until_status("a", 507, b"small").await;
    let trouble = world.health().await.trouble();
    assert!(trouble.contains("bytes are free on the disk of /spool, 1000000 are kept in reserve"), "{trouble}");
    world.files.set_free_bytes(1 << 30);
    world.until_status("b", 200, b"small").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_all_the_same_gives_507_and_loses_nothing() {
    let world = World::new(Mode::Refusing).await;
    world.post_all(&ids("before", 5)).await;
    world.files.set_free_bytes(50);
    assert_eq!(world.post("none", b"small".to_vec()).await, (507, FULL.to_owned()));
    world.files.set_free_bytes(1 << 30);
    world.until_status("after", 200, b"small").await;
    world.bus.set(Mode::Up);
    world.drained().await;
    let found = seen(&world.bus);
    assert!(ids("before", 5).iter().all(|id| found.contains(id)) && !found.contains("none"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_is_never_200() {
    let world = World::new(Mode::Refusing).await;
    world.post_all(&ids("before", 5)).await;
    world.files.fail_syncs(1);
    for id in ["first", "second"] {
        let refused = world.post(id, b"small".to_vec()).await;
        assert_eq!(refused, (500, "the ping could not be made durable: send it again later".to_owned()), "{id}");
    }
    let health = world.health().await;
    assert!(!health.takes_pings());
    let why = "the spool: the log stopped: cannot sync /spool/00000000.log: input/output error; repair the disk and start again";
    assert!(health.trouble().ends_with(why), "{}", health.trouble());
    world.bus.set(Mode::Up);
    world.bus_is_up().await;
    world.post_all(&ids("after", 5)).await;
    let health = world.health().await;
    assert!(health.takes_pings() && health.trouble().starts_with("the spool: "), "the bus alone will do, and the rest is said");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_fills_a_bounded_queue() {
    let world = Arc::new(World::new(Mode::Refusing).await);
    world.post_all(&ids("before", 1)).await;
    world.files.hold_syncs(true);
    let body = vec![b'x'; 1 << 20];
    let posts: Vec<_> = ids("large", 70)
        .into_iter()
        .map(|id| {
            let (world, body) = (Arc::clone(&world), body.clone());
            tokio::spawn(async move { world.post(&id, body).await.0 })
        })
        .collect();
    while posts.iter().filter(|post| post.is_finished()).count() < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let trouble = world.health().await.trouble();
    assert!(trouble.ends_with("the spool: the queue of 33554432 bytes is full"), "{trouble}");
    world.files.hold_syncs(false);
    let mut statuses = vec![];
    for post in posts {
        statuses.push(post.await.expect("no panic"));
    }
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert_eq!(count(200) + count(507), 70, "{statuses:?}");
    assert!(count(200) > 20 && count(507) >= 20, "{statuses:?}");
}

/// Posts from several clients while the bus is away, cuts the power in the middle, and brings what the disk holds to the bus.
/// Returns how many of the pings that were acknowledged before the cut are not there.
async fn lost_by(cut: PowerCut, lies: bool) -> usize {
    let bus = Double::new(Mode::Refusing);
    let small = SpoolOptions { max_bytes: 2 << 20, ..options() };
    let world = Arc::new(World::with(&bus, FaultFiles::default(), small.clone()).await);
    if lies {
        world.files.lie_about_syncs();
    }
    let acknowledged: Arc<Mutex<Vec<String>>> = Arc::default();
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (world, acknowledged) = (Arc::clone(&world), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                for id in ids(&format!("c{client}"), 30) {
                    let (status, _) = world.post(&id, vec![b'x'; 3_000]).await;
                    assert_eq!(status, 200);
                    acknowledged.lock().expect("a lock").push(id);
                }
            })
        })
        .collect();
    while acknowledged.lock().expect("a lock").len() < 60 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let known = acknowledged.lock().expect("a lock").clone();
    let found = world.files.power_cut(cut);
    for client in clients {
        client.await.expect("no panic");
    }
    world.intake.stop();
    bus.set(Mode::Up);
    let after = World::with(&bus, found, small).await;
    after.drained().await;
    let there = seen(&bus);
    known.iter().filter(|id| !there.contains(*id)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let seeds = if std::env::var_os("TIDEMILL_TEST_LONG").is_some() { 50 } else { 4 };
    let cuts = [PowerCut::LosesUnsynced, PowerCut::KeepsUnsynced].into_iter().chain((0..seeds).map(PowerCut::Tears));
    for cut in cuts {
        assert_eq!(lost_by(cut, false).await, 0, "{cut:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_fsync_a_power_cut_loses_pings() {
    assert!(lost_by(PowerCut::LosesUnsynced, true).await > 0, "the test above would not notice a missing fsync");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_bus_and_the_position_publishes_again_with_the_same_uuids() {
    let world = World::new(Mode::Refusing).await;
    let pings = ids("ping", 10);
    world.post_all(&pings).await;
    // The bus takes them, and the spool cannot write that it did.
    world.files.hold_syncs(true);
    world.bus.set(Mode::Up);
    while world.bus.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let published = world.bus.seen().len();
    let after = World::with(&world.bus, world.files.power_cut(PowerCut::LosesUnsynced), options()).await;
    after.drained().await;
    let seen = world.bus.seen();
    let distinct: BTreeSet<_> = seen.iter().cloned().collect();
    assert_eq!((seen.len(), distinct.len()), (10 + published, 10), "those are there twice, with one Uuid and in one partition");
    assert_eq!(distinct.into_iter().map(|one| one.id).collect::<BTreeSet<_>>(), pings.into_iter().collect());
    world.files.hold_syncs(false);
}
