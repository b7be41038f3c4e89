//! librdkafka's errors as errors of the bus.

use super::options::BATCH_BYTES_MAX;
use crate::BusError;
use rdkafka::{
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode as Code},
};

/// An error of the cluster that may be gone at the next call.
pub(super) fn unavailable(what: &str, error: impl std::fmt::Display) -> BusError {
    BusError::Unavailable(format!("{what}: {error}"))
}

/// An error with its meaning where its code has one.
pub(super) fn meaning(what: &str, error: &KafkaError) -> BusError {
    match error.rdkafka_error_code() {
        Some(code) => of_code(what, code, error),
        None => unavailable(what, error),
    }
}

/// The code's meaning; `detail` is what is said about it.
pub(super) fn of_code(what: &str, code: Code, detail: impl std::fmt::Display) -> BusError {
    match code {
        code if is_fence(code) => BusError::Fenced(format!("{what}: {detail}")),
        Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition => BusError::NotFound(what.to_owned()),
        Code::MessageSizeTooLarge => BusError::Unusable(format!(
            "{what} refuses records that Tidemill accepts: set max.message.bytes={BATCH_BYTES_MAX} (broker: {detail})"
        )),
        Code::QueueFull => BusError::Full(format!("{what}: {detail}")),
        Code::MessageTimedOut | Code::PurgeQueue | Code::PurgeInflight => {
            BusError::Unavailable(format!("{what}: no broker acknowledged it in time"))
        }
        _ => unavailable(what, detail),
    }
}

/// Whether another member or producer has taken over.
pub(super) fn is_fence(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::FencedInstanceId
            | Code::RebalanceInProgress
    )
}

/// A line of librdkafka's log.
pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => tracing::error!(facility, "kafka: {message}"),
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::warn!(facility, "kafka: {message}"),
        _ => tracing::debug!(facility, "kafka: {message}"),
    }
}

/// An error that librdkafka tells beside the results of calls: it deals with it itself.
pub(super) fn log_error(error: &KafkaError, reason: &str) {
    tracing::debug!(%error, "kafka: {reason}");
}

/// The context of a client with nothing of its own: its log goes where ours goes.
#[derive(Debug)]
pub(super) struct Plain;

/// Sends the log of a client with this context where ours goes.
macro_rules! logs {
    ($context:ty) => {
        impl rdkafka::ClientContext for $context {
            fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
                $crate::kafka::errors::log_line(level, facility, message);
            }

            fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
                $crate::kafka::errors::log_error(&error, reason);
            }
        }
    };
}
pub(super) use logs;

logs!(Plain);
impl rdkafka::consumer::ConsumerContext for Plain {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_meaning() {
        let check = |code: Code, expected: &str| assert_eq!(of_code("topic raw", code, "why").to_string(), expected);
        check(Code::IllegalGeneration, "the member starts over: topic raw: why");
        check(Code::UnknownTopic, "there is no topic raw");
        check(Code::QueueFull, "the bus has no room: topic raw: why");
        check(Code::MessageTimedOut, "the bus is not available: topic raw: no broker acknowledged it in time");
        check(Code::NotEnoughReplicas, "the bus is not available: topic raw: why");
    }
}
