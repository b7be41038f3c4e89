//! tidemill-lake.
