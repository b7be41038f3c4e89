//! The spool, over HTTP, on files that fail on demand and a bus that comes and goes.

mod double;
mod faults;
mod kit;
mod outage;
