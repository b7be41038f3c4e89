//! Faults on demand, for tests alone (cargo feature `faults`): files that lose what was not synced and fail when told, a clock
//! that is turned by hand, places to die at, safeguards to take away.

mod clock;
mod data;
mod files;
mod switches;
#[cfg(test)]
mod tests;

pub use clock::ManualClock;
pub use files::{FaultFiles, Operation, PowerCut};
pub use switches::{CRASH_AT_VARIABLE, Hook, SAFEGUARD_OFF_VARIABLE, Without, at_crash_point, without};
pub(crate) use switches::{is_in_force, reach};
