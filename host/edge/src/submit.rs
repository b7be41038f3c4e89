//! One request to `/submit`.

use crate::{
    Limits, SubmitPath, document_id,
    message::{KEPT_HEADERS, Request as Ping},
    path,
};
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, body::Incoming, header};
use std::{net::IpAddr, sync::Arc};
use tidemill_bus::{Bus, BusError, Clock, RecordBuf, partition_of};
use tokio::{sync::oneshot, time::timeout};

/// Turns requests into records of `raw`.
pub struct Edge {
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    partitions: u32,
    hostname: String,
    limits: Limits,
}

/// An answer that is not 200, with the sentence for its body.
struct Refusal(StatusCode, String);

impl Edge {
    /// An edge on a bus whose `raw` topic exists.
    ///
    /// # Errors
    /// When the bus does not know the topic.
    pub fn new(bus: Arc<dyn Bus>, clock: Arc<dyn Clock>, limits: Limits) -> Result<Self, BusError> {
        let partitions = bus.partitions("raw")?;
        let hostname =
            std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "localhost".into(), |name| name.trim().to_owned());
        Ok(Self { bus, clock, partitions, hostname, limits })
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
        let body = self.read_body(body).await?;
        metrics::counter!("tidemill_edge_bytes_total").increment(body.len() as u64);
        let ping = Ping {
            now_ns: self.clock.now_ns(),
            hostname: &self.hostname,
            peer,
            path: &path,
            query: head.uri.query(),
            version: head.version,
            headers: &head.headers,
            body: &body,
        };
        self.publish(&path, &ping).await
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

    async fn read_body(&self, body: Incoming) -> Result<Bytes, Refusal> {
        match timeout(self.limits.body_timeout, body.collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(Refusal(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))),
            Err(_) => Err(Refusal(StatusCode::REQUEST_TIMEOUT, "the body did not come in time".into())),
        }
    }

    async fn publish(&self, path: &SubmitPath, ping: &Ping<'_>) -> Result<(), Refusal> {
        let key = document_id(path);
        let mut records = RecordBuf::default();
        ping.write(key.as_bytes(), &mut records);
        let (sender, receiver) = oneshot::channel();
        let ack = Box::new(move |result| {
            let _ = sender.send(result);
        });
        self.bus.publish("raw", partition_of(key.as_bytes(), self.partitions), records, ack);
        match timeout(self.limits.publish_timeout, receiver).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(publish_failed(&error)),
            Ok(Err(_)) => Err(publish_failed(&BusError::Unavailable("it went away".into()))),
            Err(_) => Err(publish_failed(&BusError::Unavailable("it did not confirm in time".into()))),
        }
    }
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
