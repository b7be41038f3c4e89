//! Runs a fuzz target on mutations of a small corpus.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::{Random, bytes, shrink};

/// How long a target is run.
#[derive(Clone, Copy, Debug)]
pub enum Budget {
    /// For so long.
    Time(Duration),
    /// On so many inputs.
    Inputs(u64),
}

impl Budget {
    /// `TIDEMILL_FUZZ_SECONDS`, else 5 s.
    pub fn of_environment() -> Self {
        let seconds = std::env::var("TIDEMILL_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
        Self::Time(Duration::from_secs(seconds.unwrap_or(5)))
    }
}

/// No target may take longer for one input: a hang is a failure. Far above what any takes on a busy machine.
const INPUT_SECONDS_MAX: u64 = 30;

/// The most changes of one input.
const CHANGES_MAX: usize = 6;

/// A fuzz target and what it is run on.
pub struct Fuzz<'f> {
    /// Names the target in what is printed.
    pub name: &'f str,
    /// Inputs to begin with.
    pub corpus: Vec<Vec<u8>>,
    /// The first of the seeds; input N is made by seed + N, whatever came before.
    pub seed: u64,
}

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// How many inputs were given to the target.
    pub inputs: u64,
}

impl<'f> Fuzz<'f> {
    /// A target on the files of a folder.
    ///
    /// # Panics
    /// Where the folder cannot be read or is empty.
    pub fn on_folder(name: &'f str, folder: &Path) -> Self {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        paths.sort();
        let corpus: Vec<_> = paths.iter().filter_map(|path| std::fs::read(path).ok()).collect();
        assert!(!corpus.is_empty(), "{} is empty", folder.display());
        Self { name, corpus, seed: 1 }
    }

    /// Runs `target` on the corpus as it is, then on mutations of it. An input that makes it panic is printed, made smaller.
    ///
    /// # Panics
    /// When the target does.
    pub fn run(&self, budget: Budget, target: impl Fn(&[u8])) -> Ran {
        let (began, watch) = (Instant::now(), Watch::begin(self.name));
        let mut inputs = 0;
        loop {
            let is_over = match budget {
                Budget::Time(time) => began.elapsed() >= time && inputs >= self.corpus.len() as u64,
                Budget::Inputs(count) => inputs >= count,
            };
            if is_over {
                return Ran { inputs };
            }
            watch.input(inputs);
            self.check(inputs, &target);
            inputs += 1;
        }
    }

    fn check(&self, number: u64, target: &impl Fn(&[u8])) {
        let input = self.input(number);
        let fails = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| target(input))).is_err();
        if fails(&input) {
            let smallest = shrink(&input, fails);
            panic!("{}: input {number} of seed {} fails; the least of it: \"{}\"", self.name, self.seed, smallest.escape_ascii());
        }
    }

    /// The input of that number: first the corpus, then mutations.
    pub fn input(&self, number: u64) -> Vec<u8> {
        if let Some(input) = usize::try_from(number).ok().and_then(|number| self.corpus.get(number)) {
            return input.clone();
        }
        let mut random = Random::new(self.seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(number));
        let empty = Vec::new();
        let mut input = random.pick(&self.corpus).unwrap_or(&empty).clone();
        let other = random.pick(&self.corpus).unwrap_or(&empty);
        for _ in 0..=random.below(CHANGES_MAX) {
            bytes::mutate(&mut input, other, &mut random);
        }
        input
    }
}

/// Ends the process when one input takes too long; a hang could not be told otherwise.
struct Watch {
    state: Arc<State>,
}

struct State {
    /// The number of the input that is worked on.
    input: AtomicU64,
    is_over: AtomicU64,
}

impl Watch {
    fn begin(name: &str) -> Self {
        let state = Arc::new(State { input: AtomicU64::new(0), is_over: AtomicU64::new(0) });
        let (name, shared) = (name.to_owned(), Arc::clone(&state));
        std::thread::spawn(move || watch(&name, &shared));
        Self { state }
    }

    fn input(&self, number: u64) {
        self.state.input.store(number, Ordering::Relaxed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.state.is_over.store(1, Ordering::Relaxed);
    }
}

fn watch(name: &str, state: &State) {
    let (mut last, mut seconds) = (0, 0);
    while state.is_over.load(Ordering::Relaxed) == 0 {
        std::thread::sleep(Duration::from_secs(1));
        let input = state.input.load(Ordering::Relaxed);
        seconds = if input == last { seconds + 1 } else { 0 };
        last = input;
        if seconds >= INPUT_SECONDS_MAX {
            eprintln!("{name}: input {input} has taken {INPUT_SECONDS_MAX} s: it hangs");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_input_is_found_and_made_smaller() {
        let fuzz = Fuzz { name: "target", corpus: vec![b"some words".to_vec()], seed: 3 };
        let target = |input: &[u8]| assert!(!input.contains(&0x1f), "the separator");
        let ran = std::panic::catch_unwind(|| fuzz.run(Budget::Inputs(100_000), target));
        let panic = ran.expect_err("it fails");
        let text = panic.downcast_ref::<String>().expect("a text");
        assert!(text.starts_with("target: input ") && text.ends_with(r#" of seed 3 fails; the least of it: "\x1f""#), "{text}");
    }

    #[test]
    fn inputs_are_the_same_by_number_alone() {
        let fuzz = Fuzz { name: "target", corpus: vec![b"a".to_vec(), b"bcd".to_vec()], seed: 1 };
        assert_eq!((fuzz.input(0), fuzz.input(1)), (b"a".to_vec(), b"bcd".to_vec()));
        assert_eq!(fuzz.input(77), fuzz.input(77));
        assert_eq!(fuzz.run(Budget::Inputs(50), |_| {}), Ran { inputs: 50 });
    }
}
