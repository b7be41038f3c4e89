//! The platform from outside: the real binary, real clients, real sinks and foreign readers of the lake.
//!
//! [`Platform`] is a running `tidemill serve`; [`Connection`] and [`Load`] are its clients, [`HttpSink`] is where it delivers to,
//! [`tap`] reads its topics and [`Lake`] its tables. [`group`] has hosts under load and the checks that all of them must pass.

mod crash;
pub mod group;
mod http;
mod lake;
mod load;
mod ping;
mod platform;
mod setup;
mod sink;
mod topics;

pub use crash::{CRASH_RUN_RATE, CrashRun, Cut, Dice, cuts};
pub use http::{Answer, Connection, get_json, raw_exchange};
pub use lake::{Lake, Table};
pub use load::{Acknowledged, Load, post_all};
pub use ping::{Ping, new_id};
pub use platform::{Ended, Platform};
pub use setup::{BusSetup, Setup, component, kafka, plugin, root, run, run_with, shared_data, tidemill};
pub use sink::{HttpSink, Received};
pub use topics::{field, tap};
