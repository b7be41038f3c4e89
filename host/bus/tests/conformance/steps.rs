//! The step: all or nothing.

use super::*;
use bytes::Bytes;
use tidemill_bus::{Bus, BusError, Checkpoint, GroupPosition, RECORD_BYTES_MAX, Step};

fn save(key: &str, bytes: &'static [u8]) -> Checkpoint {
    Checkpoint { key: key.to_owned(), bytes: Some(Bytes::from_static(bytes)) }
}

/// A member of `work` that has read `a, b, c` from the only partition of `in`.
fn worker(bus: &dyn Bus) -> Consumer {
    in_and_out(bus, 1);
    publish_values(bus, "in", 0, &["a", "b", "c"]);
    let mut member = Consumer::joined(bus, "work", &["in"]);
    member.until_seen(3);
    member
}

fn position(found: &[GroupPosition], group: &str) -> Option<i64> {
    found.iter().find(|found| &*found.group == group && found.partition == at("in", 0)).map(|found| found.position)
}

#[track_caller]
fn expect_position(bus: &dyn Bus, group: &str, expected: i64) {
    let found = group_positions(bus, |found| position(found, group) == Some(expected));
    assert_eq!(position(&found, group), Some(expected));
}

pub fn a_step_is_seen_whole(factory: &impl Factory) {
    let bus = factory.open();
    let mut member = worker(&*bus);
    let mut step = step_to("out", 0, &["A", "B", "C"]);
    *step.records(&at("in", 0)) = records(&["again"]);
    step.checkpoints.push(save("state", b"three"));
    let next = member.next(&at("in", 0));
    step.positions.push((at("in", 0), next));
    member.member.commit(step).expect("committed");
    assert_eq!(values(&read_all(&*bus, "out", 0, 3)), ["A", "B", "C"]);
    assert_eq!(values(&read_all(&*bus, "in", 0, 4)), ["a", "b", "c", "again"]);
    assert_eq!(member.checkpoint("state").as_deref(), Some(&b"three"[..]));
    expect_position(&*bus, "work", next);
    member.member.commit(Step::default()).expect("an empty step is none");
}

pub fn a_refused_step_leaves_nothing(factory: &impl Factory) {
    let bus = factory.open();
    let mut member = worker(&*bus);
    let next = member.next(&at("in", 0));
    let large = vec![b'x'; RECORD_BYTES_MAX + 1];
    let cases = [("nothing", 0, records(&["lost"])), ("out", 1, records(&["lost"])), ("out", 0, records(&[large]))];
    for (topic, partition, bad) in cases {
        let mut step = step_to("in", 0, &["never"]);
        step.checkpoints.push(save("state", b"never"));
        step.positions.push((at("in", 0), next));
        *step.records(&at(topic, partition)) = bad;
        let refused = member.member.commit(step);
        assert!(matches!(refused, Err(BusError::NotFound(_) | BusError::TooLarge { .. })), "{refused:?}");
    }
    assert_eq!(values(&read_all(&*bus, "in", 0, 3)), ["a", "b", "c"]);
    assert!(read_all(&*bus, "out", 0, 0).is_empty());
    assert_eq!(member.checkpoint("state"), None);
    assert!(position(&bus.group_positions().expect("listed"), "work").is_none_or(|found| found < next));
    let mut step = step_to("out", 0, &["later"]);
    step.positions.push((at("in", 0), next));
    member.member.commit(step).expect("the next step goes through");
    assert_eq!(values(&read_all(&*bus, "out", 0, 1)), ["later"]);
}

pub fn a_dropped_step_leaves_nothing(factory: &impl Factory) {
    let bus = factory.open();
    let member = worker(&*bus);
    let mut step = step_to("out", 0, &["never"]);
    step.checkpoints.push(save("state", b"never"));
    drop((step, member));
    drop(bus);
    let bus = factory.open();
    let mut again = Consumer::joined(&*bus, "work", &["in"]);
    again.until_seen(3);
    assert_eq!(again.values_of(&at("in", 0)), ["a", "b", "c"]);
    assert_eq!(again.checkpoint("state"), None);
    assert!(read_all(&*bus, "out", 0, 0).is_empty());
}

pub fn positions_and_checkpoints_survive_reopening(factory: &impl Factory) {
    let bus = factory.open();
    let mut member = worker(&*bus);
    let second = member.seen[1].offset;
    let mut step = step_to("out", 0, &["A"]);
    step.checkpoints.extend([save("one", b"1"), save("two", b"22")]);
    step.positions.push((at("in", 0), second));
    member.member.commit(step).expect("committed");
    drop(member);
    drop(bus);

    let bus = factory.open();
    expect_position(&*bus, "work", second);
    let mut again = Consumer::joined(&*bus, "work", &["in"]);
    assert_eq!(again.owned, [(at("in", 0), second)], "the assignment says where it goes on");
    again.until_seen(2);
    again.during(SILENCE);
    assert_eq!(again.values_of(&at("in", 0)), ["b", "c"]);
    assert_eq!(again.checkpoint("one").as_deref(), Some(&b"1"[..]));
    assert_eq!(again.checkpoint("two").as_deref(), Some(&b"22"[..]));
    assert_eq!(again.checkpoint("three"), None);
}

pub fn a_checkpoint_is_replaced_and_forgotten(factory: &impl Factory) {
    let bus = factory.open();
    let mut member = worker(&*bus);
    for (bytes, expected) in [(Some("old"), Some("old")), (Some("new"), Some("new")), (None, None), (Some(""), Some(""))] {
        let bytes = bytes.map(|text| Bytes::from_static(text.as_bytes()));
        let step = Step { checkpoints: vec![Checkpoint { key: "state".into(), bytes }], ..Step::default() };
        member.member.commit(step).expect("committed");
        assert_eq!(member.checkpoint("state").as_deref(), expected.map(str::as_bytes));
    }
}

pub fn a_large_checkpoint_grows_shrinks_and_goes(factory: &impl Factory) {
    let bus = factory.open();
    let mut member = worker(&*bus);
    let mut bus = Some(bus);
    let state = |bytes: usize| Bytes::from((0..bytes as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>());
    for size in [Some(5 << 20), Some(21 << 20), Some(9 << 20), Some(3), Some(8 << 20), None] {
        let bytes = size.map(state);
        let step =
            Step { checkpoints: vec![Checkpoint { key: "state".into(), bytes: bytes.clone() }, save("other", b"o")], ..Step::default() };
        member.member.commit(step).expect("committed");
        assert!(member.checkpoint("state") == bytes, "{size:?}: another state came back");
        drop(member);
        drop(bus.take());
        let reopened = factory.open();
        member = Consumer::joined(&*reopened, "work", &["in"]);
        bus = Some(reopened);
        assert!(member.checkpoint("state") == bytes, "{size:?}: another state came back to the next member");
        assert_eq!(member.checkpoint("other").as_deref(), Some(&b"o"[..]));
    }
}

pub fn steps_of_several_members_do_not_mix(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 1);
    publish_values(&*bus, "in", 0, &["a"]);
    let mut members: Vec<_> = (0..3).map(|n| Consumer::joined(&*bus, &format!("group-{n}"), &["in"])).collect();
    std::thread::scope(|scope| {
        for (n, member) in members.iter_mut().enumerate() {
            scope.spawn(move || {
                for round in 0..10 {
                    let mut step = step_to("out", 0, &[&format!("{n}/{round}/0"), &format!("{n}/{round}/1")]);
                    step.checkpoints.push(Checkpoint { key: "n".into(), bytes: Some(Bytes::from(format!("{n}/{round}"))) });
                    member.member.commit(step).expect("committed");
                }
            });
        }
    });
    let seen = values(&read_all(&*bus, "out", 0, 60));
    assert_eq!(seen.len(), 60);
    for pair in seen.chunks(2) {
        assert_eq!(pair[0].rsplit_once('/').map(|(step, _)| step), pair[1].rsplit_once('/').map(|(step, _)| step), "{seen:?}");
    }
    for (n, member) in members.iter_mut().enumerate() {
        let mine: Vec<_> = seen.iter().filter(|value| value.starts_with(&format!("{n}/"))).cloned().collect();
        let expected: Vec<_> = (0..20).map(|i| format!("{n}/{}/{}", i / 2, i % 2)).collect();
        assert_eq!(mine, expected);
        assert_eq!(member.checkpoint("n"), Some(Bytes::from(format!("{n}/9"))), "keys belong to the group");
    }
}
