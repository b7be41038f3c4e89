//! tidemill-control.
