//! The slow path: the whole record of a raw message by plain code over the usual crates, none of it the stage's.
//!
//! prost reads and writes messages, flate2 opens bodies, `serde_json` parses them, jsonschema judges them by the schema's file, `maxminddb`
//! finds places, jiff reads dates. The rules are those of the documents of the project, restated as far as the corpora need them;
//! what a corpus does not have (other paths, replayed messages, other documents) is an error here, never a guess.

mod document;
mod message;
mod telemetry;

use super::stage::PARTITIONS;
use crate::{corpus::Corpus, paths};
use anyhow::{Context, bail, ensure};
use maxminddb::Reader;
use message::{boolean, json_bytes};
use prost::Message as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{io::Read as _, net::IpAddr, path::PathBuf};
use tidemill_message::proto::{Field, Message};
use xxhash_rust::xxh64::xxh64;

pub use message::{string, text};

/// Headers of a request that a validated message keeps, in this order.
const KEPT: [&str; 4] = ["Host", "DNT", "Date", "X-PingSender-Version"];
/// The field of an address: no record has it. No corpus has another one.
const ADDRESS: &str = "remote_addr";
/// What a message says whose Severity is left out.
const SEVERITY_DEFAULT: i32 = 7;
const UNKNOWN: &str = "??";

/// A record as it should be.
pub struct Record {
    pub topic: &'static str,
    pub partition: u32,
    pub timestamp_ms: i64,
    pub key: Vec<u8>,
    pub headers: Vec<(&'static str, Vec<u8>)>,
    pub message: Message,
    /// `DecodeErrorType`; `None` of a valid one.
    pub error_type: Option<&'static str>,
    /// The texts of the error are the stage's own words, which nobody else has: they are empty here.
    pub lacks_texts: bool,
}

/// Makes records.
pub struct SlowPath {
    validator: jsonschema::Validator,
    /// Namespace, document type and version, and what `tm-schema` says of it.
    schema: (String, String, u32),
    schema_header: String,
    schemas: PathBuf,
    city: Option<Reader<Vec<u8>>>,
}

/// What a telemetry path says: `/submit/telemetry/ID/DOCTYPE/APP/VERSION/CHANNEL/BUILD`.
pub struct Path<'u> {
    id: &'u str,
    doc_type: &'u str,
    app_name: &'u str,
    app_version: &'u str,
    channel: &'u str,
    build_id: &'u str,
}

/// A raw message, and what is known of it before its body is opened.
struct Request<'r> {
    raw: &'r Message,
    offset: usize,
    /// `None` where the path is none.
    path: Option<Path<'r>>,
    /// `geoCountry` and what follows it.
    place: Vec<Field>,
}

/// Why a message ends in `errors`: `DecodeErrorType`, and `DecodeError` with `DecodeErrorDetail` where others than the stage know them.
struct Refused {
    kind: &'static str,
    texts: Option<(String, String)>,
}

impl SlowPath {
    /// # Errors
    /// The schema's file or the GeoIP database cannot be read.
    pub fn new(corpus: &Corpus) -> anyhow::Result<Self> {
        let name = corpus.schema.name();
        let schema = (name.namespace.to_string(), name.doctype.to_string(), name.version);
        let (namespace, doc_type, version) = &schema;
        let file = corpus.schemas.join(format!("{namespace}/{doc_type}/{doc_type}.{version}.schema.json"));
        let source = std::fs::read(&file).with_context(|| file.display().to_string())?;
        let hash: String = Sha256::digest(&source).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let city = paths::shared("data/geoip/GeoIP2-City-Test.mmdb");
        Ok(Self {
            validator: validator(&source)?,
            schema_header: format!("{namespace}/{doc_type}/{version}#{hash}"),
            schema,
            schemas: corpus.schemas.clone(),
            city: city.map(Reader::open_readfile).transpose().context("the GeoIP database")?,
        })
    }

    /// The record of the raw message at this offset.
    ///
    /// # Errors
    /// The message is none of a corpus.
    pub fn record(&self, raw: &[u8], offset: usize) -> anyhow::Result<Record> {
        let raw = &Message::decode(raw).context("the raw message")?;
        let path = Path::parse(text(raw, "uri").context("it has no uri")?)?;
        let request = Request { raw, offset, path, place: self.place(raw)? };
        let Some(path) = &request.path else {
            let detail = "telemetry needs ID/DOCTYPE/APP/VERSION/CHANNEL/BUILD";
            return self.error(&request, Refused::saying("uri", "invalid uri", detail));
        };
        match self.open(raw)? {
            Ok((document, tree)) => self.validated(&request, path, &document, &tree),
            Err(refused) => self.error(&request, refused),
        }
    }

    /// The document and its tree, or what is wrong with it.
    fn open(&self, raw: &Message) -> anyhow::Result<Result<(String, Value), Refused>> {
        let content = message::find(raw, "content").and_then(|field| field.value_bytes.first()).context("it has no content")?;
        let (mut document, mut gunzip) = (Vec::new(), flate2::bufread::GzDecoder::new(&content[..]));
        let is_whole = gunzip.read_to_end(&mut document).is_ok();
        ensure!(!is_whole || gunzip.into_inner().is_empty(), "bytes follow its body");
        if !is_whole {
            return Ok(Err(Refused::saying("gunzip", "invalid submission: the compressed data is broken or cut off", "")));
        }
        let Ok(tree) = serde_json::from_slice::<Value>(&document) else { return Ok(Err(Refused { kind: "json", texts: None })) };
        ensure!(tree["version"] == self.schema.2, "its version is {}", tree["version"]);
        if let Err(error) = self.validator.validate(&tree) {
            return Ok(Err(self.refused(&error)));
        }
        Ok(Ok((String::from_utf8(document).context("its document")?, tree)))
    }

    /// What jsonschema says, in the words of the project.
    fn refused(&self, error: &jsonschema::ValidationError<'_>) -> Refused {
        let (namespace, doc_type, version) = &self.schema;
        let schema_path = format!("#{}", error.schema_path().as_str());
        let (schema_ref, _) = schema_path.rsplit_once('/').unwrap_or((&schema_path, ""));
        let (keyword, instance_ref) = (error.kind().keyword(), format!("#{}", error.instance_path().as_str()));
        let place = format!("SchemaURI: {schema_ref} Keyword: {keyword} DocumentURI: {instance_ref}");
        let text = format!("namespace: {namespace} schema: {doc_type} version: {version} error: {place}");
        let detail = json!({"instanceRef": instance_ref, "keyword": keyword, "schemaRef": schema_ref, "text": error.to_string()});
        Refused::saying("schema", &text, &detail.to_string())
    }

    /// `geoCountry` and what follows it.
    fn place(&self, raw: &Message) -> anyhow::Result<Vec<Field>> {
        let address: IpAddr = text(raw, ADDRESS).context("it has no address")?.parse().context(ADDRESS)?;
        let found = self.city.as_ref().map(|city| city.lookup(address)?.decode::<Value>()).transpose().context("GeoIP")?;
        let entry = found.flatten().unwrap_or_default();
        let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str);
        let mut place = vec![
            string("geoCountry", text("/country/iso_code").unwrap_or(UNKNOWN)),
            string("geoCity", text("/city/names/en").unwrap_or(UNKNOWN)),
        ];
        for (name, pointer) in [("geoSubdivision1", "/subdivisions/0/iso_code"), ("geoSubdivision2", "/subdivisions/1/iso_code")] {
            place.extend(text(pointer).map(|code| string(name, code)));
        }
        Ok(place)
    }

    fn validated(&self, request: &Request<'_>, path: &Path<'_>, document: &str, tree: &Value) -> anyhow::Result<Record> {
        let Request { raw, offset, place, .. } = request;
        let cut = document::cut(document, &telemetry::sections(path.doc_type))?;
        let mut fields = request.known()?;
        fields.extend(KEPT.iter().filter_map(|name| message::find(raw, name).cloned()));
        fields.extend(telemetry::fields(path, tree, &place[0].value_string[0])?);
        fields.extend(cut.moved.iter().map(|(name, section)| json_bytes(name, section)));
        fields.push(json_bytes("submission", cut.rest.as_bytes()));
        let mut headers = headers(*offset);
        headers.push(("tm-schema", self.schema_header.clone().into_bytes()));
        headers.extend(document::index(&cut.rest)?.map(|index| ("tm-idx", index)));
        let front = Message { severity: None, payload: None, pid: None, ..request.front("validated") };
        Ok(Record::new("validated", request.key(), headers, Message { fields, ..front }))
    }

    fn error(&self, request: &Request<'_>, refused: Refused) -> anyhow::Result<Record> {
        let Request { raw, offset, path, .. } = request;
        let lacks_texts = refused.texts.is_none();
        let (text, detail) = refused.texts.unwrap_or_default();
        let mut fields: Vec<_> = raw.fields.iter().filter(|field| field.name != ADDRESS).cloned().collect();
        fields.extend(request.known()?);
        fields.extend([string("DecodeErrorType", refused.kind), string("DecodeError", &text)]);
        fields.extend((lacks_texts || !detail.is_empty()).then(|| string("DecodeErrorDetail", &detail)));
        fields.push(string("source", &format!("raw/0/{offset}")));
        fields.extend(path.as_ref().map(|path| boolean("docTypeKnown", self.knows(path.doc_type))));
        let severity = raw.severity.filter(|severity| *severity != SEVERITY_DEFAULT);
        let message = Message { severity, fields, ..request.front("error") };
        let record = Record::new("errors", request.key(), headers(*offset), message);
        Ok(Record { error_type: Some(refused.kind), lacks_texts, ..record })
    }

    /// Whether a document type has a folder among the schemas.
    fn knows(&self, doc_type: &str) -> bool {
        self.schemas.join("telemetry").join(doc_type).is_dir()
    }
}

impl Request<'_> {
    /// The document's id, else the message's.
    fn key(&self) -> Vec<u8> {
        self.path.as_ref().map_or(self.raw.uuid.clone(), |path| path.id.to_lowercase().into_bytes())
    }

    /// The message under another Type, without fields; its Logger is the namespace, where there is one.
    fn front(&self, type_: &str) -> Message {
        let logger = self.path.as_ref().map(|_| "telemetry".to_owned()).or(self.raw.logger.clone());
        Message { r#type: Some(type_.to_owned()), logger, fields: Vec::new(), ..self.raw.clone() }
    }

    /// What path, time and address say.
    fn known(&self) -> anyhow::Result<Vec<Field>> {
        let date = jiff::Timestamp::from_nanosecond(self.raw.timestamp.into()).context("its time")?.strftime("%Y%m%d").to_string();
        let mut says = Vec::new();
        if let Some(Path { id, doc_type, app_name, app_version, channel, build_id }) = &self.path {
            says.extend([("documentId", id), ("docType", doc_type), ("appName", app_name), ("appVersion", app_version)]);
            says.extend([("appUpdateChannel", channel), ("appBuildId", build_id)]);
        }
        let mut fields: Vec<_> = says.into_iter().map(|(name, value)| string(name, value)).collect();
        fields.push(string("submissionDate", &date));
        fields.extend_from_slice(&self.place);
        Ok(fields)
    }
}

impl Record {
    fn new(topic: &'static str, key: Vec<u8>, headers: Vec<(&'static str, Vec<u8>)>, message: Message) -> Self {
        let partition = (xxh64(&key, 0) % u64::from(PARTITIONS)) as u32;
        let timestamp_ms = message.timestamp.div_euclid(1_000_000);
        Self { topic, partition, timestamp_ms, key, headers, message, error_type: None, lacks_texts: false }
    }
}

impl Refused {
    fn saying(kind: &'static str, text: &str, detail: &str) -> Self {
        Self { kind, texts: Some((text.to_owned(), detail.to_owned())) }
    }
}

impl<'u> Path<'u> {
    /// `None` where it is too short.
    fn parse(uri: &'u str) -> anyhow::Result<Option<Self>> {
        match uri.split('/').collect::<Vec<_>>()[..] {
            ["", "submit", "telemetry", id, doc_type, app_name, app_version, channel, build_id] => {
                Ok(Some(Self { id, doc_type, app_name, app_version, channel, build_id }))
            }
            ["", "submit", "telemetry"] => Ok(None),
            _ => bail!("{uri} is no path of the corpora"),
        }
    }
}

/// The headers that every record has: of decoder `decode` in generation 0, from partition 0 of the incarnation `bench`, in epoch 1.
fn headers(offset: usize) -> Vec<(&'static str, Vec<u8>)> {
    let source = format!("decode/0/bench/0/{offset}/0");
    [("tm-v", "1"), ("tm-src", &source), ("tm-epoch", "1")].map(|(name, value)| (name, value.as_bytes().to_vec())).into()
}

/// Every schema is read as draft 4, whatever it says; formats are not asserted.
fn validator(source: &[u8]) -> anyhow::Result<jsonschema::Validator> {
    let mut schema: Value = serde_json::from_slice(source).context("the schema")?;
    schema.as_object_mut().context("the schema is no object")?.remove("$schema");
    let options = jsonschema::options().with_draft(jsonschema::Draft::Draft4).should_validate_formats(false);
    options.build(&schema).map_err(|error| anyhow::anyhow!("the schema: {error}"))
}
