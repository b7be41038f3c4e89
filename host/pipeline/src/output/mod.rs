//! The output stage: group `output`, from `validated`, `errors`, `derived` and `alerts` to the outboxes of the output plugins.

mod outbox;

pub use outbox::{DELIVERY_TYPE, OutboxEntry, OutboxError, idempotency_key, outbox_topic};
