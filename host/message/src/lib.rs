//! tidemill-message.
