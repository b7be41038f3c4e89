//! The one listener: `/submit` goes to the edge, everything else to the router.

use crate::{Edge, submit::answer};
use axum::{Router, body::Body};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tower_service::Service as _;

/// Opens the listener. `tokio`'s own default backlog is 1,024; reuse of the address lets a restart bind at once.
///
/// # Errors
/// As the operating system says: the address is taken, or not ours.
pub async fn bind(address: &str) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// What answers requests.
#[derive(Clone)]
pub struct Server {
    /// Takes pings; absent where the process has not the role.
    pub edge: Option<Arc<Edge>>,
    /// Everything else.
    pub router: Router,
}

impl Server {
    /// Accepts connections until `stop` becomes true, then lets open requests end, for at most `grace`.
    pub async fn run(self, listener: TcpListener, mut stop: watch::Receiver<bool>, grace: Duration) {
        let graceful = GracefulShutdown::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.connection(stream, peer, &graceful),
                    // Out of file descriptors, most of all: a pause instead of a loop at full speed.
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                () = stopped(&mut stop) => break,
            }
        }
        drop(listener);
        if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
            tracing::warn!("some connections were cut off at the end of the grace period");
        }
    }

    fn connection(&self, stream: TcpStream, peer: SocketAddr, graceful: &GracefulShutdown) {
        let _ = stream.set_nodelay(true);
        let server = self.clone();
        let service = service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request, peer).await) }
        });
        let timeout = self.edge.as_ref().map_or(Duration::from_secs(30), |edge| edge.limits().head_timeout);
        let connection =
            http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(timeout).serve_connection(TokioIo::new(stream), service);
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!(%error, %peer, "a connection ended early");
            }
        });
    }

    async fn answer(mut self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let is_submit = request.uri().path().trim_start_matches('/').split('/').next() == Some("submit");
        match &self.edge {
            Some(edge) if is_submit => edge.submit(request, peer.ip()).await,
            None if is_submit => answer(StatusCode::NOT_FOUND, "this host does not take pings: it runs without the edge role".into()),
            _ => {
                let (head, body) = request.into_parts();
                let Ok(response) = self.router.call(Request::from_parts(head, Body::new(body))).await;
                response
            }
        }
    }
}

/// Ends when `stop` becomes true, or can no longer.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
