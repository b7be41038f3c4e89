//! A ping as a client sends it.

use tidemill_testkit::Fixture;

/// A request to the edge.
#[derive(Clone, Debug)]
pub struct Ping {
    /// Its document id.
    pub id: String,
    /// Path and query.
    pub path: String,
    /// Headers besides the length.
    pub headers: Vec<(String, String)>,
    /// The body as sent.
    pub body: Vec<u8>,
}

/// A new document id.
pub fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

impl Ping {
    /// A document under a new id; `path` gets the id.
    pub fn new(path: impl Fn(&str) -> String, body: &[u8]) -> Self {
        let id = new_id();
        Self { path: path(&id), id, headers: vec![], body: body.to_vec() }
    }

    /// A recorded ping under a new id.
    pub fn recorded(fixture: &Fixture) -> Self {
        Self::new(|id| tidemill_testkit::path_of(fixture, id), &fixture.body)
    }

    /// With a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With its body as gzip.
    #[must_use]
    pub fn gzip(mut self) -> Self {
        self.body = tidemill_testkit::compress(&self.body);
        self.with("Content-Encoding", "gzip")
    }
}
