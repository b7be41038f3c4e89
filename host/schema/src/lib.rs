//! tidemill-schema.
