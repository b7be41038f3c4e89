//! The output stage: messages -> deliveries saved in an outbox.
