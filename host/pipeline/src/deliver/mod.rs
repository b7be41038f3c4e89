//! Performs the deliveries of an outbox.
