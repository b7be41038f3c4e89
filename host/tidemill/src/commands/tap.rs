//! `tidemill tap`: a topic, followed through a running host.

use crate::{
    cli,
    exit::{DONE, Failure, Outcome, surroundings, wrong_use},
};
use serde_json::Value;
use std::{
    io::Write,
    time::{Duration, Instant},
};

pub fn run(command: &cli::Tap) -> Outcome {
    if command.idle.is_some_and(|idle| !(0.0..1e9).contains(&idle)) {
        return Err(wrong_use("--idle must be a number of seconds"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(surroundings)?;
    runtime.block_on(follow(command))
}

async fn follow(command: &cli::Tap) -> Outcome {
    let mut response = open(command).await?;
    let mut lines = Lines::new(command);
    while !lines.over() {
        // The host sends an empty line twice a second, so a wait this long means that it is gone.
        match tokio::time::timeout(Duration::from_secs(30), response.chunk()).await {
            Ok(Ok(Some(chunk))) => lines.take(&chunk)?,
            Ok(Ok(None)) => break,
            Ok(Err(error)) => return Err(surroundings(format!("the host went away: {error}"))),
            Err(_) => return Err(surroundings("the host says nothing any more")),
        }
    }
    Ok(DONE)
}

async fn open(command: &cli::Tap) -> Result<reqwest::Response, Failure> {
    let mut url = command.host.url.clone();
    url.set_path(&format!("/api/v1/tap/{}", command.topic));
    url.query_pairs_mut().append_pair("from", &command.from);
    if let Some(matcher) = &command.matcher {
        url.query_pairs_mut().append_pair("matcher", matcher);
    }
    if let Some(limit) = command.limit {
        url.query_pairs_mut().append_pair("limit", &limit.to_string());
    }
    let client = reqwest::Client::builder().no_proxy().build().map_err(surroundings)?;
    let response = client
        .get(url)
        .send()
        .await
        .map_err(|error| surroundings(format!("{} does not answer: is a host running there? ({error})", command.host.url)))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let problem: Value = serde_json::from_slice(&response.bytes().await.unwrap_or_default()).unwrap_or_default();
    Err(wrong_use(problem["detail"].as_str().unwrap_or("the host refused").to_owned()))
}

/// Lines as they come, printed.
struct Lines<'a> {
    command: &'a cli::Tap,
    rest: Vec<u8>,
    seen: u64,
    last: Instant,
}

impl<'a> Lines<'a> {
    fn new(command: &'a cli::Tap) -> Self {
        Self { command, rest: vec![], seen: 0, last: Instant::now() }
    }

    fn over(&self) -> bool {
        self.command.limit.is_some_and(|limit| self.seen >= limit)
            || self.command.idle.is_some_and(|idle| self.last.elapsed().as_secs_f64() > idle)
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        self.rest.extend_from_slice(chunk);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.print(line.trim_ascii())?;
        }
        Ok(())
    }

    fn print(&mut self, line: &[u8]) -> Result<(), Failure> {
        if line.is_empty() || self.over() {
            return Ok(());
        }
        self.last = Instant::now();
        self.seen += 1;
        let mut out = std::io::stdout().lock();
        let written = if self.command.json {
            out.write_all(line).and_then(|()| out.write_all(b"\n"))
        } else {
            let message: Value = serde_json::from_slice(line).unwrap_or_default();
            writeln!(out, "{}", describe(&message))
        };
        written.and_then(|()| out.flush()).map_err(surroundings)
    }
}

/// A message in a line for people.
fn describe(message: &Value) -> String {
    let time =
        message["timestamp"].as_i64().and_then(|ns| jiff::Timestamp::from_nanosecond(i128::from(ns)).ok()).map(|time| format!("{time:.3}"));
    let mut line = format!(
        "{} {}/{}@{}",
        time.unwrap_or_default(),
        message["topic"].as_str().unwrap_or_default(),
        message["partition"],
        message["offset"]
    );
    for name in ["type", "logger", "payload"] {
        if let Some(text) = message[name].as_str() {
            line.push_str(&format!(" {name}={}", shorten(text)));
        }
    }
    for (name, value) in message["fields"].as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        line.push_str(&format!(" {name}={}", shorten(&text)));
    }
    line
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}... ({} bytes)", &text[..end], text.len()),
        None if text.contains(char::is_whitespace) => format!("{text:?}"),
        None => text.to_owned(),
    }
}
