//! tidemill-guest.
