//! The message a request becomes, in the fields and the order of the original edge server.

use crate::SubmitPath;
use hyper::{HeaderMap, Version};
use std::net::IpAddr;
use tidemill_bus::RecordBuf;
use tidemill_message::MessageWriter;

/// The request headers that the message keeps, in its order, spelled as its fields are.
pub const KEPT_HEADERS: [&str; 7] = ["Content-Length", "Date", "DNT", "Host", "User-Agent", "X-Forwarded-For", "X-PingSender-Version"];

/// A request, as far as the message needs it.
pub struct Request<'a> {
    /// The message's own id: two records with the same one are the same ping.
    pub uuid: [u8; 16],
    pub now_ns: i64,
    pub hostname: &'a str,
    pub peer: IpAddr,
    pub path: &'a SubmitPath,
    pub query: Option<&'a str>,
    pub version: Version,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

impl Request<'_> {
    /// Appends the record of this request, each time the same.
    pub fn write(&self, key: &[u8], out: &mut RecordBuf) {
        out.push_with(self.now_ns / 1_000_000, key, &[("tm-v", b"1")], |value| self.write_message(value));
    }

    fn write_message(&self, value: &mut Vec<u8>) {
        value.reserve(self.body.len() + 1_024);
        let mut message = MessageWriter::new(value, &self.uuid, self.now_ns);
        message.type_(b"raw");
        message.logger(b"moz_ingest");
        message.hostname(self.hostname.as_bytes());
        message.field_string("remote_addr", self.peer.to_string().as_bytes());
        message.field_string("uri", self.path.path.as_bytes());
        if let Some(query) = self.query.filter(|query| !query.is_empty()) {
            message.field_string("args", query.as_bytes());
        }
        message.field_string("protocol", if self.version == Version::HTTP_10 { b"HTTP/1.0" } else { b"HTTP/1.1" });
        for name in KEPT_HEADERS {
            if let Some(header) = self.headers.get(name) {
                message.field_string(name, header.as_bytes());
            }
        }
        message.field_bytes("content", "", self.body);
    }
}
