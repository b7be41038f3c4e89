//! One request to `/submit`.

use crate::{
    Intake, Limits, document_id,
    message::{KEPT_HEADERS, Request as Ping},
    path,
    room::{Room, Share},
};
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, body::Incoming, header};
use std::{net::IpAddr, sync::Arc};
use tidemill_bus::{BusError, Clock};
use tokio::time::timeout;

/// Turns requests into records of `raw`.
pub struct Edge {
    intake: Arc<Intake>,
    clock: Arc<dyn Clock>,
    hostname: String,
    limits: Limits,
    room: Room,
}

/// An answer that is not 200, with the sentence for its body.
struct Refusal(StatusCode, String);

impl Edge {
    /// An edge that brings pings to this intake.
    pub fn new(intake: Arc<Intake>, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        let hostname =
            std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "localhost".into(), |name| name.trim().to_owned());
        Self { intake, clock, hostname, limits, room: Room::new(limits.held_bytes_max) }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Answers a request whose path begins with `/submit`.
    pub async fn submit(&self, request: Request<Incoming>, peer: IpAddr) -> Response<Body> {
        let (status, text) = match self.accept(request, peer).await {
            Ok(()) => (StatusCode::OK, "OK".to_owned()),
            Err(Refusal(status, text)) => (status, text),
        };
        metrics::counter!("tidemill_edge_requests_total", "status" => status.as_str().to_owned()).increment(1);
        answer(status, text)
    }

    async fn accept(&self, request: Request<Incoming>, peer: IpAddr) -> Result<(), Refusal> {
        let (head, body) = request.into_parts();
        let path = path::parse(head.uri.path()).ok_or_else(not_found)?;
        self.check_head(&head.method, &head.uri, &head.headers)?;
        let mut share = self.room.share();
        let body = self.read_body(body, &mut share).await?;
        metrics::counter!("tidemill_edge_bytes_total").increment(body.len() as u64);
        let ping = Ping {
            uuid: uuid::Uuid::new_v4().into_bytes(),
            now_ns: self.clock.now_ns(),
            hostname: &self.hostname,
            peer,
            path: &path,
            query: head.uri.query(),
            version: head.version,
            headers: &head.headers,
            body: &body,
        };
        let key = document_id(&path);
        let taken = self.intake.take(key.as_bytes(), |records| ping.write(key.as_bytes(), records)).await;
        taken.map_err(|error| publish_failed(&error))
    }

    /// The checks that need no body, in the order of the original server.
    fn check_head(&self, method: &Method, uri: &hyper::Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        if method != Method::POST && method != Method::PUT {
            return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not taken here: POST or PUT a ping")));
        }
        let Some(length) = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok()) else {
            return Err(Refusal(StatusCode::LENGTH_REQUIRED, "a ping needs a Content-Length".into()));
        };
        let uri_bytes = uri.path_and_query().map_or(0, |found| found.as_str().len());
        if uri_bytes > self.limits.uri_bytes_max {
            let text = format!("path and query are {uri_bytes} bytes, at most {} are taken", self.limits.uri_bytes_max);
            return Err(Refusal(StatusCode::URI_TOO_LONG, text));
        }
        if length > self.limits.body_bytes_max {
            let text = format!("the body is {length} bytes, at most {} are taken", self.limits.body_bytes_max);
            return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        let long = KEPT_HEADERS.iter().find(|name| headers.get(**name).is_some_and(|value| value.len() > self.limits.header_bytes_max));
        match long {
            None => Ok(()),
            Some(name) => {
                let text = format!("the header {name} is over {} bytes", self.limits.header_bytes_max);
                Err(Refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text))
            }
        }
    }

    async fn read_body(&self, body: Incoming, share: &mut Share<'_>) -> Result<Bytes, Refusal> {
        match timeout(self.limits.body_timeout, collect(body, share)).await {
            Ok(body) => body,
            Err(_) => Err(Refusal(StatusCode::REQUEST_TIMEOUT, "the body did not come in time".into())),
        }
    }
}

/// The whole body, which is counted while it comes.
async fn collect(mut body: Incoming, share: &mut Share<'_>) -> Result<Bytes, Refusal> {
    let mut pieces: Vec<Bytes> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal(StatusCode::BAD_REQUEST, format!("the body broke off: {error}")))?;
        let Ok(piece) = frame.into_data() else { continue };
        if !share.grow(piece.len() as u64) {
            return Err(Refusal(StatusCode::INSUFFICIENT_STORAGE, "too much is under way: send it again later".into()));
        }
        pieces.push(piece);
    }
    Ok(if pieces.len() == 1 { pieces.swap_remove(0) } else { pieces.concat().into() })
}

fn not_found() -> Refusal {
    let text = "pings go to /submit/telemetry/ID/DOCTYPE/APP/VERSION/CHANNEL/BUILD or /submit/NAMESPACE/DOCTYPE/VERSION/ID";
    Refusal(StatusCode::NOT_FOUND, text.into())
}

fn publish_failed(error: &BusError) -> Refusal {
    tracing::warn!(%error, "a ping was not taken");
    match error {
        BusError::Full(_) => Refusal(StatusCode::INSUFFICIENT_STORAGE, "there is no room now: send it again later".into()),
        _ => Refusal(StatusCode::INTERNAL_SERVER_ERROR, "the ping could not be made durable: send it again later".into()),
    }
}

/// A plain text answer.
pub fn answer(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    response
}
