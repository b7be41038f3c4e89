//! What a test switched on: a crash point to die at, hooks on crash points, safeguards that are away.

use crate::{CRASH_POINTS, SAFEGUARDS};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// `NAME[:NTH]`: where the process dies.
pub const CRASH_AT_VARIABLE: &str = "TIDEMILL_CRASH_AT";
/// `NAME,...`: safeguards that are away.
pub const SAFEGUARD_OFF_VARIABLE: &str = "TIDEMILL_SAFEGUARD_OFF";

/// What the environment asks for.
struct Asked {
    crash_at: Option<(String, u64)>,
    seen: AtomicU64,
    away: BTreeSet<String>,
}

type Act = Arc<dyn Fn() + Send + Sync>;

/// What tests of this process ask for. Looked at only where one of them did.
static HOOKS: Mutex<BTreeMap<&'static str, (u64, Act)>> = Mutex::new(BTreeMap::new());
static AWAY: RwLock<BTreeSet<&'static str>> = RwLock::new(BTreeSet::new());
static IS_HOOKED: AtomicBool = AtomicBool::new(false);
static NUMBER: AtomicU64 = AtomicU64::new(0);

fn asked() -> &'static Asked {
    static ASKED: OnceLock<Asked> = OnceLock::new();
    ASKED.get_or_init(|| {
        let text = |name: &str| std::env::var(name).unwrap_or_default();
        let crash_at = text(CRASH_AT_VARIABLE);
        let (name, nth) = crash_at.split_once(':').unwrap_or((&crash_at, "1"));
        let nth: u64 = nth.parse().unwrap_or(0);
        refuse_unless(name.is_empty() || (nth > 0 && is_point(name)), CRASH_AT_VARIABLE, &crash_at);
        let away: BTreeSet<String> = text(SAFEGUARD_OFF_VARIABLE).split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        away.iter().for_each(|name| refuse_unless(SAFEGUARDS.contains(&name.as_str()), SAFEGUARD_OFF_VARIABLE, name));
        Asked { crash_at: (!name.is_empty()).then(|| (name.to_owned(), nth)), seen: AtomicU64::new(0), away }
    })
}

/// A test that asks for what is not there must not pass.
fn refuse_unless(is_known: bool, variable: &str, text: &str) {
    if !is_known {
        eprintln!("{variable}={text}: there is no such name");
        std::process::exit(2);
    }
}

fn is_point(name: &str) -> bool {
    CRASH_POINTS.iter().any(|point| point.name == name)
}

/// The process has come to a crash point.
pub(crate) fn reach(name: &'static str) {
    debug_assert!(is_point(name), "{name} is not listed");
    if IS_HOOKED.load(Ordering::Relaxed) {
        let act = HOOKS.lock().get(name).map(|(_, act)| Arc::clone(act));
        act.into_iter().for_each(|act| act());
    }
    let asked = asked();
    if let Some((at, nth)) = &asked.crash_at
        && at == name
        && asked.seen.fetch_add(1, Ordering::Relaxed) + 1 == *nth
    {
        die(name);
    }
}

/// As `kill -9`: nothing is flushed, nothing is dropped.
fn die(name: &str) -> ! {
    eprintln!("crash point {name}: the process ends");
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}

pub(crate) fn is_in_force(name: &'static str) -> bool {
    debug_assert!(SAFEGUARDS.contains(&name), "{name} is not listed");
    !AWAY.read().contains(name) && !asked().away.contains(name)
}

/// Does something at a crash point, on the thread that comes there, until the value is dropped: as a rule it takes a
/// [`power_cut`](super::FaultFiles::power_cut). One for each point at a time; all threads of the process come to it.
#[derive(Debug)]
pub struct Hook {
    name: &'static str,
    number: u64,
}

/// See [`Hook`].
pub fn at_crash_point(name: &'static str, act: impl Fn() + Send + Sync + 'static) -> Hook {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    HOOKS.lock().insert(name, (number, Arc::new(act)));
    IS_HOOKED.store(true, Ordering::Relaxed);
    Hook { name, number }
}

impl Drop for Hook {
    fn drop(&mut self) {
        let mut hooks = HOOKS.lock();
        if hooks.get(self.name).is_some_and(|(number, _)| *number == self.number) {
            hooks.remove(self.name);
        }
        IS_HOOKED.store(!hooks.is_empty(), Ordering::Relaxed);
    }
}

/// A safeguard is away, for the whole process, until this is dropped.
#[derive(Debug)]
pub struct Without(&'static str);

/// See [`Without`].
pub fn without(name: &'static str) -> Without {
    AWAY.write().insert(name);
    Without(name)
}

impl Drop for Without {
    fn drop(&mut self) {
        AWAY.write().remove(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn hooks_and_switches_last_as_long_as_their_values() {
        let count = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&count);
        crate::crash_point("lake-compacted");
        let hook = at_crash_point("lake-compacted", move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        crate::crash_point("lake-compacted");
        crate::crash_point("lake-compaction");
        drop(hook);
        crate::crash_point("lake-compacted");
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert!(crate::safeguard("delivery-key"));
        let away = without("delivery-key");
        assert!(!crate::safeguard("delivery-key"));
        drop(away);
        assert!(crate::safeguard("delivery-key"));
    }
}
