//! What a plugin may call: the log and its own counters. Everything else is in what a call returns.
//!
//! A call costs about 0.1 us, so neither belongs in the path of every row. In native tests both are recorded for
//! [`crate::testing::log_lines`] and [`crate::testing::metrics`].

pub use crate::bindings::imports::tidemill::plugin::host::Level;

/// Writes a line to the plugin's log, kept even when the call traps afterwards. The host keeps 4 KiB of a line and 100 lines
/// of a call, and counts the rest.
pub fn log(level: Level, text: &str) {
    imp::log(level, text);
}

/// Adds to a counter of the plugin, shown as `tidemill_plugin_metric`. At most 64 names of 64 bytes.
pub fn metric_add(name: &str, delta: f64) {
    imp::metric_add(name, delta);
}

/// Makes a panic's text and place reach the log: a trap by itself carries no text.
pub(crate) fn log_panics() {
    imp::log_panics();
}

#[cfg(target_arch = "wasm32")]
mod imp {
    use crate::bindings::imports::tidemill::plugin::host;

    pub(super) fn log(level: host::Level, text: &str) {
        host::log(level, text);
    }

    pub(super) fn metric_add(name: &str, delta: f64) {
        host::metric_add(name, delta);
    }

    pub(super) fn log_panics() {
        std::panic::set_hook(Box::new(|info| host::log(host::Level::Error, &info.to_string())));
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod imp {
    use super::Level;
    use crate::testing::recorder;

    pub(super) fn log(level: Level, text: &str) {
        recorder::log(level, text);
    }

    pub(super) fn metric_add(name: &str, delta: f64) {
        recorder::metric_add(name, delta);
    }

    /// The test runner shows a panic by itself.
    pub(super) fn log_panics() {}
}
