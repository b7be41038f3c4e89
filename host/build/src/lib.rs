//! tidemill-build.
