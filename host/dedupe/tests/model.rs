//! The memory of a partition against an exact model, through growth, expiry, failed steps, gaps in time and hand-overs.

use std::collections::{BTreeMap, HashMap};
use tidemill_dedupe::{INTERVALS, Mark, Options, Origin, Restored, Seen, Verdict, hash_of};

const INTERVAL_NS: i64 = 360_000_000_000;
/// 2018-11-01 UTC.
const START_NS: i64 = 1_541_030_400_000_000_000;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % below
    }
}

fn hash(id: u64) -> u64 {
    hash_of("telemetry", "main", format!("{id:032x}").as_bytes(), &mut Vec::new())
}

fn uuid(number: u64) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&number.to_le_bytes());
    uuid
}

/// What should be known.
#[derive(Clone, Default)]
struct Model {
    ids: HashMap<u64, (i64, u64)>,
    counts: BTreeMap<i64, u64>,
    greatest_ns: i64,
    floor: i64,
    ids_max: u64,
}

impl Model {
    fn now(&self) -> i64 {
        self.greatest_ns.div_euclid(INTERVAL_NS)
    }

    fn start(&self) -> i64 {
        (self.now() - INTERVALS).max(self.floor)
    }

    fn live(&self) -> u64 {
        self.counts.range(self.start()..).map(|(_, count)| count).sum()
    }

    fn check(&mut self, id: u64, uuid: u64) -> Verdict {
        let (now, start) = (self.now(), self.start());
        if let Some((interval, first)) = self.ids.get(&id).filter(|(interval, _)| *interval >= start) {
            let intervals = (now - interval) as u32;
            return if *first == uuid { Verdict::Redelivered } else { Verdict::Duplicate { intervals } };
        }
        if self.live() >= self.ids_max
            && let Some((oldest, _)) = self.counts.range(start..now).next()
        {
            self.floor = oldest + 1;
        }
        if self.live() < self.ids_max {
            self.ids.insert(id, (now, uuid));
            *self.counts.entry(now).or_default() += 1;
        }
        Verdict::New
    }
}

/// Checkpoints as a bus keeps them.
#[derive(Default)]
struct Store(HashMap<String, Vec<u8>>);

impl Store {
    fn commit(&mut self, seen: &mut Seen, position: i64) {
        for saved in seen.save(position) {
            match saved.bytes {
                Some(bytes) => drop(self.0.insert(saved.key, bytes)),
                None => drop(self.0.remove(&saved.key)),
            }
        }
        seen.confirm();
    }

    fn restore(&self, options: &Options, position: i64) -> (Seen, Restored) {
        let origin = Origin { incarnation: "inc", partition: 3, position };
        let read = |key: &str| Ok::<_, std::convert::Infallible>(self.0.get(key));
        let Ok(restored) = Seen::restore(options, &origin, read);
        restored
    }
}

struct Run {
    options: Options,
    seen: Seen,
    model: Model,
    base: Model,
    store: Store,
    position: i64,
    dice: Dice,
    verdicts: [u64; 3],
}

impl Run {
    fn new(ids_max: u64, seed: u64) -> Self {
        let options = Options { window_h: 24, ids_max };
        let (seen, restored) = Store::default().restore(&options, 0);
        assert_eq!(restored, Restored::Nothing);
        let model = Model { ids_max, greatest_ns: START_NS, ..Model::default() };
        let mut run =
            Self { options, seen, base: model.clone(), model, store: Store::default(), position: 0, dice: Dice(seed), verdicts: [0; 3] };
        run.seen.observe(START_NS);
        run.end_step(true);
        run
    }

    fn check(&mut self, id: u64, uuid_number: u64) {
        let known = self.seen.check(hash(id), &uuid(uuid_number));
        let expected = self.model.check(id, uuid_number);
        assert_eq!(known, expected, "id {id} at {} after {} messages", self.model.now(), self.position);
        self.verdicts[match known {
            Verdict::New => 0,
            Verdict::Redelivered => 1,
            Verdict::Duplicate { .. } => 2,
        }] += 1;
    }

    fn observe(&mut self, ahead_ns: i64) {
        let timestamp = self.model.greatest_ns + ahead_ns;
        self.seen.observe(timestamp);
        self.model.greatest_ns = self.model.greatest_ns.max(timestamp);
    }

    /// A step of some messages; then it is durable, or fails.
    fn step(&mut self, messages: u64, ids: u64, ahead_ns: u64) {
        for _ in 0..messages {
            let (ahead, id, uuid) = (self.dice.roll(ahead_ns), self.dice.roll(ids), self.dice.roll(3));
            self.observe(ahead as i64 - ahead_ns as i64 / 4);
            self.check(id, uuid);
        }
        self.position += messages as i64;
    }

    fn end_step(&mut self, is_durable: bool) {
        if is_durable {
            self.store.commit(&mut self.seen, self.position);
            self.base = self.model.clone();
            let live = self.model.start();
            self.base.ids.retain(|_, (interval, _)| *interval >= live);
            self.model = self.base.clone();
        } else {
            self.model = self.base.clone();
            if !self.seen.undo() {
                self.hand_over();
            }
        }
        assert_eq!(self.seen.ids(), self.model.live());
    }

    fn hand_over(&mut self) {
        let (seen, restored) = self.store.restore(&self.options, self.position);
        assert_eq!(restored, Restored::Ids { ids: self.model.live(), missing: 0 });
        self.seen = seen;
    }
}

#[test]
fn days_of_messages_with_failures_and_hand_overs() {
    for seed in 0..8 {
        let mut run = Run::new(1_000_000, seed);
        for number in 0..3_000 {
            let (messages, fails) = (1 + run.dice.roll(60), run.dice.roll(10) == 0);
            run.step(messages, 40_000, INTERVAL_NS as u64 / 40);
            run.end_step(!fails);
            if number % 500 == 250 {
                run.hand_over();
            }
        }
        let [new, redelivered, duplicates] = run.verdicts;
        assert!(new > 10_000 && redelivered > 1_000 && duplicates > 1_000, "{:?}", run.verdicts);
        assert!(run.model.now() - START_NS / INTERVAL_NS > 2 * INTERVALS, "{} intervals", run.model.now() - START_NS / INTERVAL_NS);
    }
}

#[test]
fn gaps_in_time_of_any_length() {
    for seed in 0..20 {
        let mut run = Run::new(100_000, 100 + seed);
        for _ in 0..300 {
            let (messages, fails) = (1 + run.dice.roll(50), run.dice.roll(4) == 0);
            if run.dice.roll(3) == 0 {
                let gap = run.dice.roll(2 * 255) as i64;
                run.observe(gap * INTERVAL_NS);
            }
            run.step(messages, 500, INTERVAL_NS as u64 * 3);
            run.end_step(!fails);
        }
    }
}

#[test]
fn too_many_ids_shorten_the_window_and_nothing_else() {
    let mut run = Run::new(20_000, 7);
    let mut early = 0;
    for _ in 0..4_000 {
        let fails = run.dice.roll(10) == 0;
        run.step(20, 1_000_000, INTERVAL_NS as u64 / 50);
        let forgotten = run.seen.step_forgotten();
        assert_eq!(forgotten.at_once, 0);
        early += forgotten.early;
        run.end_step(!fails);
    }
    assert!(early > 10_000, "{early}");
    run.hand_over();
    run.step(20, 1_000_000, 1);
    // All of one interval: those that have no room are let through and not remembered.
    run.observe(300 * INTERVAL_NS);
    run.step(30_000, u64::MAX, 1);
    assert_eq!(run.seen.step_forgotten().at_once, 10_000);
    run.end_step(true);
    assert_eq!(run.seen.ids(), 20_000);
}

#[test]
fn a_place_within_a_step_can_be_gone_back_to() {
    let mut run = Run::new(1_000, 1);
    run.check(1, 1);
    let mark: Mark = run.seen.mark();
    run.seen.observe(START_NS + 5 * INTERVAL_NS);
    assert_eq!(run.seen.check(hash(2), &uuid(2)), Verdict::New);
    assert_eq!(run.seen.check(hash(1), &uuid(2)), Verdict::Duplicate { intervals: 5 });
    run.seen.roll_back(mark);
    run.check(1, 2);
    run.check(2, 3);
    assert_eq!((run.seen.step_ids(), run.seen.time_ns()), (2, START_NS));
}

#[test]
fn a_position_that_was_set_back_forgets_everything_and_a_new_topic_nothing() {
    let mut run = Run::new(1_000, 1);
    run.check(1, 1);
    run.position = 50;
    run.end_step(true);
    let (mut seen, restored) = run.store.restore(&run.options, 49);
    assert_eq!(restored, Restored::SetBack { position: 50 });
    assert_eq!(seen.check(hash(1), &uuid(1)), Verdict::New);
    let origin = Origin { incarnation: "another", partition: 3, position: 0 };
    let read = |key: &str| Ok::<_, std::convert::Infallible>(run.store.0.get(key));
    let Ok((mut seen, restored)) = Seen::restore(&run.options, &origin, read);
    assert_eq!(restored, Restored::Ids { ids: 1, missing: 0 });
    assert_eq!(seen.check(hash(1), &uuid(1)), Verdict::Redelivered);
    run.store.0.insert("dedupe/raw/3".to_owned(), vec![9]);
    let (_, restored) = run.store.restore(&run.options, 50);
    assert_eq!(restored, Restored::Newer { found: 9, newest: 1 });
}

#[test]
fn what_is_missing_is_counted_and_the_rest_is_known() {
    let mut run = Run::new(1_000, 1);
    for id in 0..3 {
        run.check(id, 1);
        run.end_step(true);
    }
    run.store.0.remove("dedupe/raw/3/0/1");
    let (mut seen, restored) = run.store.restore(&run.options, run.position);
    assert_eq!(restored, Restored::Ids { ids: 2, missing: 1 });
    let verdicts: Vec<_> = (0..3).map(|id| seen.check(hash(id), &uuid(1))).collect();
    assert_eq!(verdicts, [Verdict::Redelivered, Verdict::New, Verdict::Redelivered]);
}

#[test]
fn keys_are_bounded_and_forgotten() {
    let mut run = Run::new(1_000_000, 5);
    let mut most = 0;
    // Two days of small steps.
    for _ in 0..40_000 {
        run.step(3, 10_000_000, INTERVAL_NS as u64 / 100);
        run.store.commit(&mut run.seen, run.position);
        most = most.max(run.store.0.len());
    }
    assert!(most < 64 + 64 + 20, "{most} keys");
    let bytes: usize = run.store.0.values().map(Vec::len).sum();
    assert!(bytes < 2 * 120_000 * 10, "{bytes} bytes");
    run.observe(300 * INTERVAL_NS);
    (0..3).for_each(|_| run.store.commit(&mut run.seen, run.position));
    assert!(run.store.0.keys().all(|key| !key.starts_with("dedupe/raw/3/2/")), "{:?}", run.store.0.keys());
}

#[test]
fn parts_of_the_key_are_told_apart_and_case_does_not_count() {
    let hash = |namespace, doc_type, id: &str| hash_of(namespace, doc_type, id.as_bytes(), &mut Vec::new());
    assert_eq!(hash("a", "b", "0F"), hash("a", "b", "0f"));
    let others = [hash("a", "b", "c"), hash("A", "b", "c"), hash("a", "B", "c"), hash("ab", "", "c"), hash("a", "bc", "")];
    assert!((1..others.len()).all(|at| !others[..at].contains(&others[at])));
}

/// The full figures: `TIDEMILL_TEST_LONG=1`.
#[test]
fn thirty_two_million_ids_in_300_mb_without_a_false_positive() {
    if std::env::var_os("TIDEMILL_TEST_LONG").is_none() {
        return eprintln!("SKIPPED thirty_two_million_ids_in_300_mb_without_a_false_positive: TIDEMILL_TEST_LONG is not set");
    }
    let options = Options { window_h: 24, ids_max: 8_000_000 };
    let mut seens: Vec<_> = (0..4).map(|partition| Seen::new(&options, &Origin { incarnation: "inc", partition, position: 0 })).collect();
    // Consecutive numbers through a mixer that is a bijection: no two ids share a hash by chance.
    let mixed = |number: u64| Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).roll(u64::MAX);
    for number in 0..32_000_000_u64 {
        let seen = &mut seens[(number % 4) as usize];
        if number % 1_000 == 0 {
            seen.observe(START_NS + number as i64 / 1_000 * 2_600_000_000);
        }
        assert_eq!(seen.check(mixed(number), &uuid(number)), Verdict::New, "{number}");
        if number % 100_000 < 4 {
            drop(seen.save(0));
            seen.confirm();
        }
    }
    let bytes: usize = seens.iter().map(Seen::memory_bytes).sum();
    assert_eq!(seens.iter().map(Seen::ids).sum::<u64>(), 32_000_000);
    eprintln!("32,000,000 ids in {:.1} MB, {:.2} bytes each", bytes as f64 / 1e6, bytes as f64 / 32e6);
    assert!(bytes <= 300_000_000, "{bytes}");
    let mut false_positives = 0_u64;
    for number in 32_000_000..332_000_000_u64 {
        let seen = &mut seens[(number % 4) as usize];
        false_positives += u64::from(seen.knows(mixed(number)));
    }
    eprintln!("{false_positives} false positives in 300,000,000 look-ups");
    assert_eq!(false_positives, 0);
    for number in 0..32_000_000_u64 {
        assert!(seens[(number % 4) as usize].knows(mixed(number)), "{number}");
    }
}
