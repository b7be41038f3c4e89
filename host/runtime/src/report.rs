//! What a call did beside its answer: fuel, time, memory, log lines and metrics.

use std::time::Duration;

/// The account of the last call on an instance. Log lines and metrics survive a trap.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CallReport {
    /// Fuel used, also of a call that failed. Comparable within one wasmtime version and configuration only.
    pub fuel: u64,
    /// Time on the wall clock.
    pub elapsed: Duration,
    /// Bytes of all linear memories after the call.
    pub memory_bytes: u64,
    /// The log lines of this call, at most `log_lines_max` of at most `log_line_bytes_max`.
    pub log: Vec<LogLine>,
    /// Log lines beyond the limit.
    pub log_dropped: u64,
    /// Counters of the instance with what this call added; 0 where it added nothing. The order is that of first use.
    pub metrics: Vec<Metric>,
    /// Additions that were dropped: beyond the limit of names, name too long, or not a finite number.
    pub metrics_dropped: u64,
}

impl CallReport {
    /// Empties the account without giving memory back.
    pub(crate) fn begin(&mut self) {
        let Self { fuel, elapsed, memory_bytes: _, log, log_dropped, metrics, metrics_dropped } = self;
        (*fuel, *elapsed, *log_dropped, *metrics_dropped) = (0, Duration::ZERO, 0, 0);
        log.clear();
        metrics.iter_mut().for_each(|metric| metric.delta = 0.0);
    }
}

/// A line of the plugin's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// The text, cut at a character.
    pub text: String,
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the author.
    Debug,
    /// For whoever asks.
    Info,
    /// Something to look at.
    Warn,
    /// Something is broken; a panic hook writes here.
    Error,
}

/// What a call added to a counter of the plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The counter's name.
    pub name: String,
    /// What this call added.
    pub delta: f64,
}

/// The longest prefix of `text` of at most `bytes_max` bytes that ends at a character.
pub(crate) fn cut(text: &str, bytes_max: u64) -> &str {
    let end = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    &text[..text.floor_char_boundary(end)]
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn text_is_cut_at_a_character() {
        for (bytes, want) in [(0, ""), (1, "a"), (2, "a"), (3, "aé"), (9, "aéz")] {
            assert_eq!(cut("aéz", bytes), want);
        }
    }
}
