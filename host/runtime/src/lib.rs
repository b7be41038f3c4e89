//! tidemill-runtime.
