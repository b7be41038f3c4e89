//! The HTTP endpoint that the demo's output plugin sends to: it counts lines.

use crate::exit::{Failure, surroundings};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A running endpoint.
pub struct Sink {
    pub address: SocketAddr,
    lines: Arc<AtomicU64>,
}

impl Sink {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(runtime: &tokio::runtime::Handle) -> Result<Self, Failure> {
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).map_err(surroundings)?;
        let address = listener.local_addr().map_err(surroundings)?;
        let lines = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&lines);
        let take = move |body: axum::body::Bytes| {
            let found = body.iter().filter(|byte| **byte == b'\n').count();
            count.fetch_add(found as u64, Ordering::Relaxed);
            std::future::ready("")
        };
        let router = axum::Router::new().route("/", axum::routing::post(take));
        runtime.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the demo's endpoint ended");
            }
        });
        Ok(Self { address, lines })
    }

    /// Lines that came.
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }
}
