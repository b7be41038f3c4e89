//! tidemill-pipeline.
