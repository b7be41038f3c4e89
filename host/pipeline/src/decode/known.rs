//! What is known of a message before its document is opened.

use super::uri::{Form, Uri, UriError};
use crate::geo::{self, CityDatabase, Place};
use tidemill_message::{FieldRef, MessageRef, MessageWriter};

/// The fields that hold an address; no record behind the decode stage has one of them.
const ADDRESS_FIELDS: [&str; 4] = ["remote_addr", "X-Forwarded-For", "X-Real-IP", "Forwarded"];
/// The request headers that a validated message keeps.
const KEPT_FIELDS: [&str; 4] = ["Host", "DNT", "Date", "X-PingSender-Version"];
/// The fields that the host writes; a raw message that has them already (it is replayed) gets new ones.
pub const HOST_FIELDS: [&str; 23] = [
    "documentId",
    "docType",
    "docVersion",
    "appName",
    "appVersion",
    "appUpdateChannel",
    "appBuildId",
    "submissionDate",
    "geoCountry",
    "geoCity",
    "geoSubdivision1",
    "geoSubdivision2",
    "submission",
    "DecodeErrorType",
    "DecodeError",
    "DecodeErrorDetail",
    "docTypeKnown",
    "source",
    "plugin",
    "plugin_version",
    "fuel",
    "backtrace",
    "duplicateDelta",
];
/// The Logger of a message whose namespace nobody knows.
const LOGGER_UNKNOWN: &[u8] = b"moz_ingest";

/// The fields of a raw message that the stage reads, found in one walk.
#[derive(Clone, Copy)]
struct RawFields<'a> {
    uri: Option<&'a [u8]>,
    x_forwarded_for: Option<&'a [u8]>,
    remote_addr: Option<&'a [u8]>,
    content: Option<&'a [u8]>,
    place: Option<Place<'a>>,
    kept: [Option<FieldRef<'a>>; KEPT_FIELDS.len()],
}

impl<'a> RawFields<'a> {
    fn read(message: &MessageRef<'a>) -> Self {
        let mut found =
            Self { uri: None, x_forwarded_for: None, remote_addr: None, content: None, place: None, kept: [None; KEPT_FIELDS.len()] };
        for field in message.fields() {
            match field.name {
                b"uri" => keep_first(&mut found.uri, field.bytes()),
                b"X-Forwarded-For" => keep_first(&mut found.x_forwarded_for, field.bytes()),
                b"remote_addr" => keep_first(&mut found.remote_addr, field.bytes()),
                b"content" => keep_first(&mut found.content, field.bytes()),
                b"geoCountry" | b"geoCity" | b"geoSubdivision1" | b"geoSubdivision2" => found.set_place(&field),
                name => {
                    if let Some(at) = KEPT_FIELDS.iter().position(|kept| kept.as_bytes() == name) {
                        keep_first(&mut found.kept[at], Some(field));
                    }
                }
            }
        }
        found
    }

    fn set_place(&mut self, field: &FieldRef<'a>) {
        let Some(text) = field.bytes().and_then(|text| std::str::from_utf8(text).ok()) else { return };
        let place = self.place.get_or_insert(Place::UNKNOWN);
        match field.name {
            b"geoCountry" => place.country = text,
            b"geoCity" => place.city = text,
            b"geoSubdivision1" => place.subdivision1 = Some(text),
            _ => place.subdivision2 = Some(text),
        }
    }
}

fn keep_first<T>(place: &mut Option<T>, found: Option<T>) {
    if place.is_none() {
        *place = found;
    }
}

/// What is known of a message before its document is opened, borrowed from the message and the GeoIP database.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The raw message.
    pub message: MessageRef<'a>,
    /// What its path says.
    pub uri: Result<Uri<'a>, UriError>,
    fields: RawFields<'a>,
    place: Place<'a>,
    submission_date: [u8; 8],
}

impl<'a> Known<'a> {
    /// Looks at a raw message. The place is the one the message has already (it is replayed), else that of its address.
    pub fn new(message: MessageRef<'a>, city: Option<&'a CityDatabase>) -> Self {
        let fields = RawFields::read(&message);
        let uri = fields.uri.ok_or(UriError::Missing).and_then(Uri::parse);
        let place = fields.place.unwrap_or_else(|| find_place(&fields, city));
        Self { message, uri, fields, place, submission_date: date_of(message.timestamp()) }
    }

    /// The body as it was sent; empty where there is none.
    pub fn body(&self) -> &'a [u8] {
        self.fields.content.unwrap_or_default()
    }

    /// Appends the record's key: the lower-case document id, else the Uuid.
    pub fn write_key(&self, key: &mut Vec<u8>) {
        match &self.uri {
            Ok(uri) => key.extend(uri.document_id.bytes().map(|byte| byte.to_ascii_lowercase())),
            Err(_) => key.extend_from_slice(self.message.uuid()),
        }
    }

    /// Begins the validated message: what the host alone says of it, without the document.
    pub fn begin_validated<'v>(&self, uri: &Uri<'_>, out: &'v mut Vec<u8>) -> MessageWriter<'v> {
        self.begin_valid(b"validated", uri, out)
    }

    /// The same under another Type.
    pub fn begin_valid<'v>(&self, type_: &[u8], uri: &Uri<'_>, out: &'v mut Vec<u8>) -> MessageWriter<'v> {
        let mut writer = MessageWriter::new(out, self.message.uuid(), self.message.timestamp());
        writer.type_(type_).logger(uri.namespace.as_bytes());
        if let Some(env_version) = self.message.env_version() {
            writer.env_version(env_version);
        }
        if let Some(hostname) = self.message.hostname() {
            writer.hostname(hostname);
        }
        self.write_fields(&mut writer);
        self.fields.kept.iter().flatten().for_each(|field| {
            writer.field_raw(field.raw());
        });
        writer
    }

    /// Appends the request's other fields, which decoder plugins see beside those of the validated message; neither addresses
    /// nor the body are among them.
    pub fn write_request_fields(&self, writer: &mut MessageWriter<'_>) {
        for field in self.own_fields() {
            if field.name != b"content" && !is_one_of(field.name, &KEPT_FIELDS) {
                writer.field_raw(field.raw());
            }
        }
    }

    /// Begins an error message: the raw message's own headers and fields without any address, and what is known; the body may be
    /// left out where it has no room.
    pub fn begin_error<'v>(&self, with_content: bool, out: &'v mut Vec<u8>) -> MessageWriter<'v> {
        let message = &self.message;
        let mut writer = MessageWriter::new(out, message.uuid(), message.timestamp());
        writer.type_(b"error").logger(self.error_logger());
        if message.severity() != tidemill_message::SEVERITY_DEFAULT {
            writer.severity(message.severity());
        }
        if let Some(payload) = message.payload() {
            writer.payload(payload);
        }
        if let Some(env_version) = message.env_version() {
            writer.env_version(env_version);
        }
        if let Some(pid) = message.pid() {
            writer.pid(pid);
        }
        if let Some(hostname) = message.hostname() {
            writer.hostname(hostname);
        }
        self.own_fields().filter(|field| with_content || field.name != b"content").for_each(|field| {
            writer.field_raw(field.raw());
        });
        self.write_fields(&mut writer);
        writer
    }

    fn error_logger(&self) -> &'a [u8] {
        match &self.uri {
            Ok(uri) => uri.namespace.as_bytes(),
            Err(_) => self.message.logger().unwrap_or(LOGGER_UNKNOWN),
        }
    }

    /// The raw message's fields but for addresses and those the host writes itself.
    fn own_fields(&self) -> impl Iterator<Item = FieldRef<'a>> {
        self.message.fields().filter(|field| !is_one_of(field.name, &ADDRESS_FIELDS) && !is_one_of(field.name, &HOST_FIELDS))
    }

    fn write_fields(&self, writer: &mut MessageWriter<'_>) {
        if let Ok(uri) = &self.uri {
            write_uri(uri, writer);
        }
        write_date_and_place(&self.submission_date, &self.place, writer);
    }
}

/// Begins the error message of bytes that are no message; they become its `content`.
pub fn write_error_head_of_bytes<'v>(uuid: &[u8; 16], timestamp: i64, bytes: &[u8], out: &'v mut Vec<u8>) -> MessageWriter<'v> {
    let mut writer = MessageWriter::new(out, uuid, timestamp);
    writer.type_(b"error").logger(LOGGER_UNKNOWN);
    writer.field_bytes("content", "", bytes);
    write_date_and_place(&date_of(timestamp), &Place::UNKNOWN, &mut writer);
    writer
}

fn write_date_and_place(submission_date: &[u8; 8], place: &Place<'_>, writer: &mut MessageWriter<'_>) {
    let Place { country, city, subdivision1, subdivision2 } = place;
    writer.field_string("submissionDate", submission_date);
    writer.field_string("geoCountry", country.as_bytes());
    writer.field_string("geoCity", city.as_bytes());
    for (name, code) in [("geoSubdivision1", subdivision1), ("geoSubdivision2", subdivision2)] {
        if let Some(code) = code {
            writer.field_string(name, code.as_bytes());
        }
    }
}

/// Names of addresses are compared without case, so that an edge that spells a header otherwise leaks nothing.
fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}

fn write_uri(uri: &Uri<'_>, writer: &mut MessageWriter<'_>) {
    writer.field_string("documentId", uri.document_id.as_bytes());
    writer.field_string("docType", uri.doc_type.as_bytes());
    match uri.form {
        Form::Generic { doc_version } => {
            writer.field_integer("docVersion", "", i64::from(doc_version));
        }
        Form::Telemetry { app_name, app_version, app_update_channel, app_build_id } => {
            writer.field_string("appName", app_name.as_bytes());
            writer.field_string("appVersion", app_version.as_bytes());
            writer.field_string("appUpdateChannel", app_update_channel.as_bytes());
            writer.field_string("appBuildId", app_build_id.as_bytes());
        }
    }
}

fn find_place<'a>(fields: &RawFields<'_>, city: Option<&'a CityDatabase>) -> Place<'a> {
    let address = city.and_then(|_| geo::client_address(fields.x_forwarded_for, fields.remote_addr));
    match (city, address) {
        (Some(city), Some(address)) => city.find(address),
        _ => Place::UNKNOWN,
    }
}

/// YYYYMMDD of a time in nanoseconds since 1970 UTC.
fn date_of(timestamp_ns: i64) -> [u8; 8] {
    // Every i64 of nanoseconds is within the years that jiff knows.
    let time = jiff::Timestamp::from_second(timestamp_ns.div_euclid(1_000_000_000)).unwrap_or_default();
    let date = jiff::tz::Offset::UTC.to_datetime(time).date();
    let mut number = i32::from(date.year()) * 10_000 + i32::from(date.month()) * 100 + i32::from(date.day());
    let mut text = [b'0'; 8];
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_utc_days() {
        let check = |timestamp, date: &str| assert_eq!(std::str::from_utf8(&date_of(timestamp)), Ok(date), "{timestamp}");
        check(0, "19700101");
        check(-1, "19691231");
        check(1_541_030_399_999_999_999, "20181031");
        check(1_541_030_400_000_000_000, "20181101");
        check(i64::MAX, "22620411");
        check(i64::MIN, "16770921");
    }
}
