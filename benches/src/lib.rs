//! tidemill-benches.
