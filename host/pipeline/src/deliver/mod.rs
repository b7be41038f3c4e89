//! Deliveries: what output plugins asked for is performed by the host, from the plugin's outbox, with an allow-list, retry with
//! back-off, and an idempotency key.

mod allow;
mod back_off;
mod file;
mod http;
mod reject;
#[cfg(test)]
mod tests;
mod worker;

pub use allow::{Allowed, Refused, check};
pub use http::IDEMPOTENCY_KEY;
pub use reject::DELIVERY_REJECTED;
pub use worker::{DeliverError, DeliverOptions, DeliverWorker, start_deliveries};
