//! tidemill-json.
