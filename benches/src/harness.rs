//! Measuring: runs in turn on one core, best of some rounds.

use anyhow::Context;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// Where this variable is set, a [`Watch`] counts the processor's time of its thread: for comparisons on a machine that others
/// use too. Rows made so are no results.
const CPU_TIME_VARIABLE: &str = "TIDEMILL_BENCH_CPU_TIME";

/// Each run is made so often; the best counts, because what disturbs a run only ever makes it longer.
pub const ROUNDS: usize = 5;
/// Says another number, also of short runs.
const ROUNDS_VARIABLE: &str = "TIDEMILL_BENCH_ROUNDS";
/// Short runs are made more often, for so long: on a machine whose speed changes from second to second five of 20 ms say little.
const MEASURED_MIN: Duration = Duration::from_secs(3);
/// ... but not more often.
const ROUNDS_MAX: usize = 200;

/// A bench that cannot run here: why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Skipped(String);

/// Ends a bench that cannot run here.
///
/// # Errors
/// Always: why.
pub fn skip<T>(why: impl Into<String>) -> anyhow::Result<T> {
    Err(Skipped(why.into()).into())
}

/// Measures a part of one thread's run.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    began: Instant,
    cpu: Option<Duration>,
}

impl Watch {
    /// Begins now.
    pub fn start() -> Self {
        static WANTS_CPU_TIME: OnceLock<bool> = OnceLock::new();
        let wants_cpu_time = *WANTS_CPU_TIME.get_or_init(|| std::env::var_os(CPU_TIME_VARIABLE).is_some());
        Self { cpu: wants_cpu_time.then(cpu_time).flatten(), began: Instant::now() }
    }

    /// The time since it began.
    pub fn elapsed(&self) -> Duration {
        let wall = self.began.elapsed();
        self.cpu.and_then(|began| Some(cpu_time()?.saturating_sub(began))).unwrap_or(wall)
    }
}

/// The processor's time of this thread, where the system says it.
fn cpu_time() -> Option<Duration> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    statistics.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// A run; it says itself how long the part took that is measured.
pub type Run<'r> = &'r mut dyn FnMut() -> anyhow::Result<Duration>;

/// Makes all runs in turn, some rounds, on one core, and answers the best of each in seconds.
///
/// # Errors
/// The first error of a run.
pub fn interleave<const N: usize>(mut runs: [Run<'_>; N]) -> anyhow::Result<[f64; N]> {
    let _pinned = Pinned::new()?;
    let mut best = [f64::INFINITY; N];
    let (mut measured, wanted) = (Duration::ZERO, rounds()?);
    let is_enough = |round, measured| match wanted {
        Some(wanted) => round >= wanted,
        None => round >= ROUNDS && (measured >= MEASURED_MIN || round >= ROUNDS_MAX),
    };
    for round in 0.. {
        if is_enough(round, measured) {
            break;
        }
        for (run, best) in runs.iter_mut().zip(&mut best) {
            let time = run()?;
            measured += time;
            *best = best.min(time.as_secs_f64());
        }
    }
    Ok(best)
}

/// What the variable says, where it is set.
fn rounds() -> anyhow::Result<Option<usize>> {
    let Some(text) = std::env::var_os(ROUNDS_VARIABLE) else { return Ok(None) };
    let rounds = text.to_str().and_then(|text| text.parse().ok()).filter(|rounds| *rounds > 0);
    rounds.map(Some).with_context(|| format!("{ROUNDS_VARIABLE} is {text:?}: say how many rounds to make, 1 or more, or unset it"))
}

/// The best of one run, in seconds, on one core.
///
/// # Errors
/// The run's.
pub fn best(run: Run<'_>) -> anyhow::Result<f64> {
    interleave([run]).map(|[best]| best)
}

/// Keeps this thread, and those that it starts, on one core for as long as it lives.
pub struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// Pins to the last core that is allowed: interrupts are rather on the first.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new() -> anyhow::Result<Self> {
        Self::to(allowed_cores()?.last().copied().unwrap_or(0))
    }

    /// Pins to this core.
    ///
    /// # Errors
    /// The system refuses.
    pub fn to(core: usize) -> anyhow::Result<Self> {
        let before = sched_getaffinity(None).context("the allowed cores")?;
        let mut only = CpuSet::new();
        only.set(core);
        sched_setaffinity(None, &only).context("pinning to a core")?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // What was allowed before is allowed again.
        let _ = sched_setaffinity(None, &self.before);
    }
}

fn allowed_cores() -> anyhow::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None).context("the allowed cores")?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect())
}

/// Two cores that are not threads of one.
///
/// # Errors
/// There are no two, or the system does not say what they are: the bench is skipped.
pub fn two_cores() -> anyhow::Result<[usize; 2]> {
    let allowed = allowed_cores()?;
    let Some((&last, others)) = allowed.split_last() else { return skip("no core is allowed") };
    let path = format!("/sys/devices/system/cpu/cpu{last}/topology/thread_siblings_list");
    let Ok(list) = std::fs::read_to_string(&path) else { return skip(format!("{path} cannot be read")) };
    let siblings = cores_of(&list);
    match others.iter().rfind(|core| !siblings.contains(core)) {
        Some(&other) => Ok([other, last]),
        None => skip(format!("of {} allowed cores no two are cores of their own", allowed.len())),
    }
}

/// The cores of a list such as `0,2-3`.
fn cores_of(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_take_turns_and_the_best_counts() {
        let order = std::cell::RefCell::new(String::new());
        let run = |name: char, first_ms: u64| {
            let (order, mut next_ms) = (&order, first_ms);
            move || {
                order.borrow_mut().push(name);
                next_ms -= 1;
                Ok(Duration::from_millis(next_ms))
            }
        };
        let best = interleave([&mut run('a', 1_005), &mut run('b', 505)]).unwrap();
        assert_eq!((order.into_inner().as_str(), best), ("ababababab", [1.0, 0.5]));
    }

    #[test]
    fn short_runs_are_made_for_three_seconds_or_two_hundred_times() {
        let rounds = |time_ms| {
            let mut rounds = 0;
            let mut run = || {
                rounds += 1;
                Ok(Duration::from_millis(time_ms))
            };
            best(&mut run).unwrap();
            rounds
        };
        assert_eq!([5_000, 600, 100, 1].map(rounds), [5, 5, 30, 200]);
    }

    #[test]
    fn a_failed_run_ends_it() {
        let mut failing = || anyhow::bail!("no");
        assert_eq!(best(&mut failing).unwrap_err().to_string(), "no");
    }

    #[test]
    fn lists_of_cores_are_read() {
        assert_eq!((cores_of("0,2-4\n"), cores_of("7"), cores_of("")), (vec![0, 2, 3, 4], vec![7], vec![]));
    }

    #[test]
    fn pinning_ends_with_its_guard() {
        let cores = || (0..CpuSet::MAX_CPU).filter(|&core| sched_getaffinity(None).unwrap().is_set(core)).count();
        let before = cores();
        let pinned = Pinned::new().unwrap();
        assert_eq!(cores(), 1);
        drop(pinned);
        assert_eq!(cores(), before);
    }
}
