//! Of the step, on the embedded log.

use crate::*;
use std::sync::Arc;
use tidemill_bus::{
    Checkpoint, FetchedBatch,
    faults::{ManualClock, PowerCut, at_crash_point},
};
use tidemill_pipeline::analysis::{Driver, Refused, StepOptions, Work};

const SEGMENT: u64 = 128 << 20;

pub fn a_step_is_there_or_not() -> Verdict {
    let files = FaultFiles::default();
    let bus = open(&files, SEGMENT);
    topics(&bus, &["in", "out"]);
    publish(&bus, "in", records(["a", "b"]));
    let mut member = joined(&bus, "work", "in");
    let (cuts, disk) = (Arc::new(Mutex::new(vec![])), files.clone());
    let taken = Arc::clone(&cuts);
    let cut = move || taken.lock().expect("not poisoned").push(disk.power_cut(PowerCut::LosesUnsynced));
    let _hook = at_crash_point("step-before-commit", cut);
    for next in 1..=2 {
        member.commit(step_to("out", &["made"], &[("in", next)])).expect("committed");
    }
    for cut in cuts.lock().expect("not poisoned").iter().chain([&files.power_cut(PowerCut::LosesUnsynced)]) {
        let bus = open(cut, SEGMENT);
        let (made, read) = (end(&bus, "out"), position(&bus, "work", "in"));
        if made != read {
            return Err(format!("{made} records were published and {read} were read"));
        }
    }
    Ok(())
}

pub fn a_zombie_commits_nothing() -> Verdict {
    let clock = Arc::new(ManualClock::at(Duration::from_secs(1_000)));
    let options = EmbeddedOptions { reserve_bytes: 0, session_timeout: Duration::from_secs(10), ..EmbeddedOptions::new("/data/log") };
    let bus = EmbeddedBus::open_with(options, Arc::new(FaultFiles::default()), Arc::<ManualClock>::clone(&clock)).expect("opened");
    topics(&bus, &["in", "out"]);
    publish(&bus, "in", records(["a"]));
    let mut zombie = joined(&bus, "work", "in");
    let mut heir = bus.join("work", &["in"]).expect("joined");
    clock.advance(Duration::from_secs(11));
    let took_over = becomes(PATIENCE, || matches!(heir.poll(Duration::ZERO), Ok(Event::Assigned(owned)) if !owned.is_empty()));
    if !took_over {
        return Err("the silent member was not put out".to_owned());
    }
    let late = zombie.commit(step_to("out", &["by the zombie"], &[("in", 1)]));
    match late {
        Err(BusError::Fenced(_)) if values(&bus, "out").is_empty() => Ok(()),
        late => Err(format!("the zombie's commit: {late:?}, published {:?}", values(&bus, "out"))),
    }
}

/// Numbers what comes; the number is its state.
struct Numbering {
    next: u64,
    place: Option<TopicPartition>,
}

impl Work for Numbering {
    fn assign(&mut self, member: &mut dyn Member, partition: &TopicPartition, position: i64) -> Result<i64, BusError> {
        let saved = member.checkpoint("number")?;
        self.next = saved.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok()).unwrap_or(0);
        self.place = Some(partition.clone());
        Ok(position)
    }

    fn release(&mut self, _: &TopicPartition) {}

    fn batch(&mut self, batch: &FetchedBatch, step: &mut Step) -> Result<(), Refused> {
        for (_, record) in batch.iter() {
            let value = format!("{} {}", String::from_utf8_lossy(record.value), self.next);
            step.records(&place("out")).push(0, b"", &[], value.as_bytes());
            self.next += 1;
        }
        Ok(())
    }

    fn tick(&mut self, _: &mut Step) -> bool {
        false
    }

    fn finish(&mut self, step: &mut Step) {
        step.checkpoints.push(Checkpoint { key: "number".into(), bytes: Some(self.next.to_string().into()) });
    }

    fn committed(&mut self) {}

    fn lost(&mut self, _: &TopicPartition, _: i64, _: &mut Step) {}
}

pub fn a_failed_step_leaves_nothing_behind() -> Verdict {
    let files = FaultFiles::default();
    let bus = open(&files, SEGMENT);
    topics(&bus, &["in", "out"]);
    publish(&bus, "in", records(["a", "b"]));
    let member = bus.join("work", &["in"]).expect("joined");
    let options = StepOptions { step_ms: 1, ..StepOptions::default() };
    let mut driver = Driver::new("copy", member, Numbering { next: 0, place: None }, options, Arc::new(SystemClock::default()));
    files.set_free_bytes(10);
    if !becomes(PATIENCE, || !driver.turn()) {
        return Err("no step failed on a full disk".to_owned());
    }
    files.set_free_bytes(u64::MAX);
    publish(&bus, "in", records(["c"]));
    becomes(Duration::from_secs(2), || !driver.turn() || position(&bus, "work", "in") == 3);
    let made = values(&bus, "out");
    if made == ["a 0", "b 1", "c 2"] { Ok(()) } else { Err(format!("{made:?} were published")) }
}
