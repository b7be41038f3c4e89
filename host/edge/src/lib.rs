//! tidemill-edge.
