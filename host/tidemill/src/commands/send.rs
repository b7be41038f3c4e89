//! `tidemill send`: recorded pings to an edge.

use crate::{
    cli,
    exit::{DONE, NO, Outcome, surroundings, wrong_use},
};
use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};
use tidemill_testkit::{Answers, Fixture, FixtureError, SendOptions, Sender};

pub fn run(command: &cli::Send) -> Outcome {
    let fixtures = tidemill_testkit::load(&command.paths).map_err(|error| match error {
        FixtureError::Io { .. } => surroundings(error),
        FixtureError::Empty(_) | FixtureError::Name(_) => wrong_use(error),
    })?;
    if command.rate.is_some_and(|rate| rate.is_nan() || rate <= 0.0) {
        return Err(wrong_use("--rate must be above 0"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(surroundings)?;
    let options = SendOptions { to: command.to.clone(), rate: command.rate, attempts: 5, back_off: Duration::from_millis(200) };
    let mut sender = Sender::new(options).map_err(surroundings)?;
    let started = Instant::now();
    runtime.block_on(send_all(&mut sender, &fixtures, command));
    summary(&sender.answers, started.elapsed(), command)
}

async fn send_all(sender: &mut Sender, fixtures: &[Fixture], command: &cli::Send) {
    let total = (fixtures.len() as u64 * command.repeat).min(command.count.unwrap_or(u64::MAX));
    let terminal = std::io::stderr().is_terminal();
    let mut reported = Instant::now();
    for number in 0..total {
        sender.send(&fixtures[(number % fixtures.len() as u64) as usize]).await;
        if number == 0 && sender.answers.by_status.contains_key(&0) {
            break;
        }
        if terminal && reported.elapsed() > Duration::from_millis(500) {
            reported = Instant::now();
            eprint!("\r{} of {total} sent, {} taken ", number + 1, sender.answers.accepted());
        }
    }
    if terminal {
        eprint!("\r");
    }
}

fn summary(answers: &Answers, elapsed: Duration, command: &cli::Send) -> Outcome {
    let rate = answers.total() as f64 / elapsed.as_secs_f64().max(1e-9);
    if command.json {
        let summary = serde_json::json!({
            "sent": answers.total(), "by_status": answers.by_status, "retries": answers.retries, "bytes": answers.bytes,
            "seconds": elapsed.as_secs_f64(), "rate": rate,
        });
        println!("{summary}");
    } else {
        println!(
            "{} sent to {} in {:.1} s ({rate:.0}/s), {} bytes as gzip, {} sent again",
            answers.total(),
            command.to,
            elapsed.as_secs_f64(),
            answers.bytes,
            answers.retries
        );
        for (status, count) in &answers.by_status {
            let meaning = if *status == 0 { "no answer".to_owned() } else { status.to_string() };
            println!("{count:>9}  {meaning}");
        }
    }
    if answers.by_status.keys().all(|status| *status == 0) && answers.total() > 0 {
        return Err(surroundings(format!("{} does not answer: is a host running there?", command.to)));
    }
    Ok(if answers.accepted() == answers.total() { DONE } else { NO })
}
