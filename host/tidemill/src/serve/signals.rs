//! SIGTERM and SIGINT.

use crate::exit::{Failure, surroundings};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Waits for a signal to stop, calling `look` now and then; `look` may end the waiting too.
///
/// # Errors
/// When signals cannot be had.
pub fn wait(mut look: impl FnMut() -> bool) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(surroundings)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(surroundings)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(surroundings)?;
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                () = tokio::time::sleep(Duration::from_millis(200)) => {
                    if look() {
                        return Ok(());
                    }
                }
            }
        }
    })
}
