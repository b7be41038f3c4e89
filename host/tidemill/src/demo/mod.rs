//! `make demo`: the whole platform on the embedded defaults with a live sample stream, and what happens in the terminal.

mod setup;
mod sink;
mod traffic;
mod view;

use crate::{
    cli,
    exit::{DONE, NO, Outcome, surroundings},
    serve::{Platform, init_logging, wait_for_signal},
};
use sink::Sink;
use std::time::{Duration, Instant};
use traffic::Traffic;
use view::View;

/// When the anomaly begins, unless the demo is over too soon for that.
const ANOMALY_AFTER: Duration = Duration::from_secs(30);

/// Runs until Ctrl-C, or for the given seconds.
///
/// # Errors
/// What is missing, and what to do.
pub fn run(command: &cli::Demo) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(surroundings)?;
    let sink = Sink::start(runtime.handle())?;
    let setup = setup::prepare(&command.project, sink.address)?;
    init_logging(&setup.config.log)?;
    println!("starting the platform on {} ...", setup.data_dir.display());
    let platform = Platform::start(&setup.config)?;
    view::where_to_look(&platform, &setup);
    let anomaly_after = match command.seconds {
        0 => ANOMALY_AFTER,
        seconds => ANOMALY_AFTER.min(Duration::from_secs_f64(seconds as f64 * 0.4)),
    };
    let traffic = Traffic::start(runtime.handle(), platform.address, setup.fixtures, anomaly_after)?;
    let mut view = View::new(&platform, &traffic, &sink, anomaly_after);
    let started = Instant::now();
    wait_for_signal(|| {
        view.show();
        let is_over = command.seconds > 0 && started.elapsed() >= Duration::from_secs(command.seconds);
        is_over || platform.fallen().is_some()
    })?;
    let missing = view.missing();
    traffic.stop();
    let fallen = platform.fallen();
    println!("stopping ...");
    platform.stop();
    runtime.shutdown_timeout(Duration::from_secs(1));
    match fallen {
        Some(stage) => Err(surroundings(format!("the {stage} stage ended unexpectedly"))),
        None if command.seconds > 0 && !missing.is_empty() => {
            eprintln!("not seen: {}", missing.join(", "));
            Ok(NO)
        }
        None => Ok(DONE),
    }
}
