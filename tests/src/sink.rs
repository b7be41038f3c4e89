//! An HTTP endpoint that deliveries go to.

use crate::http::read_head;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

/// A request that was answered 200.
#[derive(Clone, Debug)]
pub struct Received {
    /// The header `Idempotency-Key`.
    pub key: String,
    /// The body.
    pub body: Vec<u8>,
}

#[derive(Debug, Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    failures_left: AtomicU32,
    failed: AtomicU32,
}

/// Records what is posted to it. Its threads end with the process.
#[derive(Debug)]
pub struct HttpSink {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl HttpSink {
    /// Listens on a free port; answers the first requests 500, so many of them.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn start(failures: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared { failures_left: failures.into(), ..Shared::default() });
        let state = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || state.serve(stream));
            }
        });
        Self { address, shared }
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Where to post.
    pub fn url(&self) -> String {
        format!("http://{}/in", self.address)
    }

    /// What was answered 200, in order, each idempotency key once, as a receiver does that keeps its side of the contract.
    pub fn received(&self) -> Vec<Received> {
        let mut seen = BTreeSet::new();
        let received = self.shared.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.iter().filter(|one| seen.insert(one.key.clone())).cloned().collect()
    }

    /// A key that came with two bodies, which no receiver could make sense of.
    pub fn conflict(&self) -> Option<String> {
        let mut bodies = BTreeMap::new();
        let received = self.shared.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.iter().find(|one| *bodies.entry(&one.key).or_insert(&one.body) != &one.body).map(|one| one.key.clone())
    }

    /// Requests that were answered 200, those with a known key too.
    pub fn requests(&self) -> usize {
        self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// From now on requests are answered 200.
    pub fn recover(&self) {
        self.shared.failures_left.store(0, Ordering::Relaxed);
    }

    /// Requests that were answered 500.
    pub fn failed(&self) -> u32 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// The JSON lines of all bodies.
    ///
    /// # Panics
    /// When a line is not JSON.
    pub fn lines(&self) -> Vec<serde_json::Value> {
        let mut lines = vec![];
        self.each_line(|line| lines.push(line));
        lines
    }

    /// The same one by one, where all of them together are too many.
    ///
    /// # Panics
    /// When a line is not JSON.
    pub fn each_line(&self, mut act: impl FnMut(serde_json::Value)) {
        let mut seen = BTreeSet::new();
        let received = self.shared.received.lock().unwrap_or_else(PoisonError::into_inner);
        for one in received.iter().filter(|one| seen.insert(&one.key)) {
            let lines = one.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines.for_each(|line| act(serde_json::from_slice(line).expect("a line of JSON")));
        }
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut writer = stream.try_clone()?;
        let mut reader = BufReader::new(stream);
        while let Some((_, headers)) = read_head(&mut reader)? {
            let header = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone()).unwrap_or_default();
            let mut body = vec![0; header("content-length").parse().map_err(io::Error::other)?];
            reader.read_exact(&mut body)?;
            writer.write_all(self.answer(Received { key: header("idempotency-key"), body }))?;
        }
        Ok(())
    }

    fn answer(&self, received: Received) -> &'static [u8] {
        let fails = self.failures_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if fails {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
        }
        self.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    }
}
