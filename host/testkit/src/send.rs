//! Posting pings as a real client does: gzip, a new document id each, and the producers' rules for retries: 2xx and 4xx are
//! final, everything else is sent again, with the same document id.

use crate::Fixture;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use url::Url;

/// How to post.
#[derive(Clone, Debug)]
pub struct SendOptions {
    /// The edge, for example `http://127.0.0.1:8000`.
    pub to: Url,
    /// Pings a second; `None`: as fast as answers come.
    pub rate: Option<f64>,
    /// How often a ping without a final answer is sent in all.
    pub attempts: u32,
    /// The first pause before sending again; it doubles.
    pub back_off: Duration,
}

/// What the edge answered.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Pings by final status; 0: no final answer after all attempts.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests that were sent again.
    pub retries: u64,
    /// Bytes of bodies as sent.
    pub bytes: u64,
}

impl Answers {
    /// How many pings were taken.
    pub fn accepted(&self) -> u64 {
        self.by_status.get(&200).copied().unwrap_or(0)
    }

    /// How many pings there were.
    pub fn total(&self) -> u64 {
        self.by_status.values().sum()
    }
}

/// Posts pings one after another.
#[derive(Debug)]
pub struct Sender {
    options: SendOptions,
    client: reqwest::Client,
    started: Option<Instant>,
    sent: u64,
    /// What came back so far.
    pub answers: Answers,
}

impl Sender {
    /// A sender that keeps its connections.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(options: SendOptions) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build()?;
        Ok(Self { options, client, started: None, sent: 0, answers: Answers::default() })
    }

    /// Posts a recorded ping under a new document id, which it returns.
    pub async fn send(&mut self, fixture: &Fixture) -> String {
        let id = uuid::Uuid::new_v4().to_string();
        let path = path_of(fixture, &id);
        let body = compress(&fixture.body);
        self.post(&path, body).await;
        id
    }

    /// Posts a body to a path until the answer is final; the final status, 0 for none.
    pub async fn post(&mut self, path: &str, body: Vec<u8>) -> u16 {
        self.keep_pace().await;
        self.answers.bytes += body.len() as u64;
        let mut pause = self.options.back_off;
        let mut status = 0;
        for attempt in 1..=self.options.attempts.max(1) {
            status = self.attempt(path, body.clone()).await;
            if (200..500).contains(&status) {
                break;
            }
            if attempt < self.options.attempts {
                self.answers.retries += 1;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(30));
            }
        }
        *self.answers.by_status.entry(status).or_default() += 1;
        status
    }

    async fn attempt(&self, path: &str, body: Vec<u8>) -> u16 {
        let mut url = self.options.to.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(path);
        url.set_query(query);
        let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let request = self
            .client
            .post(url)
            .header("Content-Type", "application/json; charset=UTF-8")
            .header("Content-Encoding", "gzip")
            .header("Date", date)
            .body(body);
        match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                // Read to the end, so that the connection is used again.
                let _ = response.bytes().await;
                status
            }
            Err(_) => 0,
        }
    }

    async fn keep_pace(&mut self) {
        let started = *self.started.get_or_insert_with(Instant::now);
        if let Some(rate) = self.options.rate {
            let due = Duration::from_secs_f64(self.sent as f64 / rate.max(1e-6));
            tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
        }
        self.sent += 1;
    }
}

/// The path a recorded ping is posted to. A telemetry path takes its dimensions from the document's `application`.
pub fn path_of(fixture: &Fixture, id: &str) -> String {
    let Fixture { namespace, doctype, version, body, .. } = fixture;
    if namespace != "telemetry" {
        return format!("/submit/{namespace}/{doctype}/{version}/{id}");
    }
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let application = &document["application"];
    let dimension = |name: &str, default: &str| match application[name].as_str() {
        Some(text) if !text.is_empty() && !text.contains('/') => text.to_owned(),
        _ => default.to_owned(),
    };
    let name = dimension("name", "Firefox");
    let app_version = dimension("version", "61.0");
    let channel = dimension("channel", "nightly");
    let build = dimension("buildId", "20180328030202");
    format!("/submit/telemetry/{id}/{doctype}/{name}/{app_version}/{channel}/{build}?v=4")
}

/// Gzips a body.
pub fn compress(body: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut out = vec![0; compressor.gzip_compress_bound(body.len())];
    let length = compressor.gzip_compress(body, &mut out).unwrap_or(0);
    out.truncate(length);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;

    fn fixture(namespace: &str, body: &str) -> Fixture {
        Fixture {
            path: "x".into(),
            namespace: namespace.into(),
            doctype: "main".into(),
            version: 4,
            name: "n".into(),
            verdict: Verdict::Pass,
            body: body.into(),
        }
    }

    #[test]
    fn paths_are_those_of_a_real_client() {
        let application = r#"{"application":{"name":"Fennec","version":"57.0","channel":"beta","buildId":"2017"}}"#;
        assert_eq!(path_of(&fixture("telemetry", application), "ID"), "/submit/telemetry/ID/main/Fennec/57.0/beta/2017?v=4");
        assert_eq!(path_of(&fixture("telemetry", "not json"), "ID"), "/submit/telemetry/ID/main/Firefox/61.0/nightly/20180328030202?v=4");
        assert_eq!(path_of(&fixture("mobile", "{}"), "ID"), "/submit/mobile/main/4/ID");
    }

    #[test]
    fn bodies_are_gzip() {
        let body = b"{\"a\": 1}".repeat(50);
        let packed = compress(&body);
        let mut out = vec![0; body.len()];
        assert_eq!(libdeflater::Decompressor::new().gzip_decompress(&packed, &mut out), Ok(body.len()));
        assert_eq!(out, body);
    }
}
