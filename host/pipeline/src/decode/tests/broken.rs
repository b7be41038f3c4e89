//! What is wrong with a message is in its error record, and so is the message.

use super::support::*;
use crate::decode::Decoder;
use tidemill_message::MessageWriter;

const PAGE: &str = "/submit/web/page/1/Some-ID";

fn decoder() -> Decoder {
    Decoder::new(&settings(own_registry())).expect("a decoder")
}

/// The type, text and detail of the error that a body makes.
fn error_of(decoder: &mut Decoder, uri: &str, body: &[u8]) -> (String, String, String) {
    let out = decode_one(decoder, raw(uri, body));
    assert_eq!(out.topic, "errors");
    assert_eq!(out.message().field("content").and_then(|field| field.bytes()), Some(body), "the body is kept");
    assert_no_address(std::slice::from_ref(&out));
    let field = |name| out.field(name).unwrap_or_default();
    (field("DecodeErrorType"), field("DecodeError"), field("DecodeErrorDetail"))
}

#[track_caller]
fn check(decoder: &mut Decoder, body: &[u8], kind: &str, text: &str, detail: &str) {
    let found = error_of(decoder, PAGE, body);
    assert_eq!((found.0.as_str(), found.1.as_str(), found.2.as_str()), (kind, text, detail));
}

#[test]
fn an_error_record_has_what_the_contract_lists() {
    let out = decode_one(&mut decoder(), raw(PAGE, br#"{"a": "x"}"#));
    let message = out.message();
    assert_eq!((message.uuid(), message.timestamp()), (b"0123456789abcdef", TIMESTAMP));
    assert_eq!((message.type_(), message.logger(), message.hostname()), (Some(&b"error"[..]), Some(&b"web"[..]), Some(&b"edge-1"[..])));
    let names = [
        "uri",
        "args",
        "protocol",
        "Content-Length",
        "Date",
        "DNT",
        "Host",
        "User-Agent",
        "X-PingSender-Version",
        "content",
        "documentId",
        "docType",
        "docVersion",
        "submissionDate",
        "geoCountry",
        "geoCity",
        "DecodeErrorType",
        "DecodeError",
        "DecodeErrorDetail",
        "source",
        "docTypeKnown",
    ];
    assert_eq!(out.names(), names);
    assert_eq!(out.field("DecodeErrorType").as_deref(), Some("schema"));
    let text = "namespace: web schema: page version: 1 error: SchemaURI: #/properties/a Keyword: type DocumentURI: #/a";
    assert_eq!(out.field("DecodeError").as_deref(), Some(text));
    assert_eq!(out.field("source").as_deref(), Some("raw/3/100"));
    assert_eq!((out.field("documentId").as_deref(), &out.key[..]), (Some("Some-ID"), &b"some-id"[..]));
    assert_eq!(out.header("tm-src"), "decode/0/inc/3/100/0");
}

#[test]
fn bodies_that_are_no_document() {
    let decoder = &mut decoder();
    check(decoder, b"", "json", "invalid submission: the body is empty", "");
    check(decoder, b"\x1f\x8b", "gunzip", "invalid submission: the compressed data is broken or cut off", "");
    let whole = gzip(br#"{"a": 1}"#);
    check(decoder, &whole[..whole.len() - 3], "gunzip", "invalid submission: the compressed data is broken or cut off", "");
    check(decoder, &[&whole[..], b"x"].concat(), "gunzip", "invalid submission: bytes follow the end of the compressed data", "");
    let mut large = br#"{"a": 1, "b": ""#.to_vec();
    large.resize((8 << 20) - 1, b' ');
    large.extend_from_slice(b"\"}");
    assert_eq!(large.len(), (8 << 20) + 1);
    check(decoder, &gzip(&large), "too_large", "the document is over 8388608 bytes", "");
    large.truncate((8 << 20) - 2);
    large.extend_from_slice(b"\"}");
    assert_eq!(decode_one(decoder, raw(PAGE, &gzip(&large))).topic, "validated", "8 MiB are not over 8 MiB");
}

#[test]
fn documents_that_are_not_json() {
    let decoder = &mut decoder();
    check(decoder, b"{", "json", "invalid submission: not JSON: token at byte 1", "token");
    check(decoder, b"{\"a\": 1} x", "json", "invalid submission: not JSON: trailing at byte 9", "trailing");
    check(decoder, b"{\"a\": 1e999}", "json", "invalid submission: not JSON: number at byte 6", "number");
    check(decoder, b"{\"a\": \"\\ud800\"}", "json", "invalid submission: not JSON: escape at byte 7", "escape");
    let deep = [&b"{\"a\": "[..], &[b'['; 100_000], &[b']'; 100_000], b"}"].concat();
    let found = error_of(decoder, PAGE, &gzip(&deep));
    assert_eq!((found.0.as_str(), found.2.as_str()), ("json", "depth"), "{}", found.1);
    // Also where there is no schema, and where the document states its own version.
    let nowhere = error_of(decoder, "/submit/web/nothing/1/id", b"{");
    assert_eq!(nowhere.0, "json");
    let telemetry = error_of(decoder, "/submit/telemetry/id/thing/Firefox/61/nightly/1", &deep);
    assert_eq!((telemetry.0.as_str(), telemetry.2.as_str()), ("json", "depth"));
}

#[test]
fn every_kind_of_broken_utf8() {
    let decoder = &mut decoder();
    let broken: [&[u8]; 16] = [
        b"\x80",
        b"\xbf",
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xc3",
        b"\xc3\x28",
        b"\xe0\x80\x80",
        b"\xe2\x82",
        b"\xe2\x28\xa1",
        b"\xed\xa0\x80",
        b"\xf0\x80\x80\x80",
        b"\xf0\x9f\x98",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xfe",
        b"\xff",
    ];
    for bytes in broken {
        let in_value = [&b"{\"a\": 1, \"b\": \""[..], bytes, b"\"}"].concat();
        let in_key = [&b"{\"a\": 1, \""[..], bytes, b"\": 2}"].concat();
        for document in [&in_value, &in_key, &gzip(&in_value)] {
            let found = error_of(decoder, PAGE, document);
            assert_eq!((found.0.as_str(), found.2.as_str()), ("json", "utf8"), "{bytes:x?}: {}", found.1);
        }
        let outside = error_of(decoder, PAGE, &[&b"{\"a\": 1}"[..], bytes].concat());
        assert_eq!(outside.0, "json", "{bytes:x?}: {}", outside.1);
    }
    assert_eq!(decode_one(decoder, raw(PAGE, "{\"a\": 1, \"b\": \"\u{10ffff}\u{e000}é\"}".as_bytes())).topic, "validated");
}

#[test]
fn paths_that_say_nothing() {
    let decoder = &mut decoder();
    let found = error_of(decoder, "/submit/web/page/one/id", b"{}");
    assert_eq!(found, ("uri".into(), "invalid uri".into(), "VERSION is not a number".into()));
    let out = decode_one(decoder, raw("/submit", b"{}"));
    assert_eq!((out.message().logger(), &out.key[..]), (Some(&b"moz_ingest"[..]), &b"0123456789abcdef"[..]), "keyed by the Uuid");
    assert_eq!(out.field("submissionDate").as_deref(), Some("20180328"));
    let mut bare = Vec::new();
    MessageWriter::new(&mut bare, b"0123456789abcdef", TIMESTAMP).field_string("Remote_Addr", PEER_ADDRESS.as_bytes());
    let out = decode_one(decoder, bare);
    assert_eq!((out.field("DecodeErrorType").as_deref(), out.field("DecodeError").as_deref()), (Some("uri"), Some("missing uri")));
    assert_no_address(&[out]);
}

#[test]
fn bytes_that_are_no_message() {
    let decoder = &mut decoder();
    let out = decode_one(decoder, b"not a message".to_vec());
    assert_eq!(out.topic, "errors");
    assert_eq!(out.field("DecodeErrorType").as_deref(), Some("internal"));
    let text = out.field("DecodeError").unwrap_or_default();
    assert!(text.starts_with("the record is not a Heka message: "), "{text}");
    assert_eq!(out.message().field("content").and_then(|field| field.bytes()), Some(&b"not a message"[..]));
    assert_eq!((out.message().timestamp(), out.message().logger()), (TIMESTAMP / 1_000_000 * 1_000_000, Some(&b"moz_ingest"[..])));
    assert_eq!(&out.key[..], out.message().uuid(), "keyed by a Uuid made from its source");
    let again = decode_one(decoder, b"not a message".to_vec());
    assert_eq!(again, out, "equal for equal sources");
    let empty = decode_one(decoder, Vec::new());
    assert_eq!(empty.field("DecodeErrorType").as_deref(), Some("internal"));
}

#[test]
fn schemas_that_are_not_there() {
    let found = error_of(&mut decoder(), "/submit/web/page/2/id", br#"{"a": 1}"#);
    assert_eq!(found, ("schema_not_found".into(), "namespace: web schema: page version: 2 error: schema not found".into(), String::new()));
}

#[test]
fn duplicates_of_keys_obey_the_last() {
    let decoder = &mut decoder();
    assert_eq!(decode_one(decoder, raw(PAGE, br#"{"a": "x", "a": 1}"#)).topic, "validated");
    assert_eq!(error_of(decoder, PAGE, br#"{"a": 1, "a": "x"}"#).0, "schema");
}

#[test]
fn records_keep_the_order_of_their_sources_and_none_is_too_large() {
    let mut settings = settings(own_registry());
    settings.limits.record_bytes_max = 300 << 10;
    let mut decoder = Decoder::new(&settings).expect("a decoder");
    let large = format!(r#"{{"a": 1, "b": "{}"}}"#, "x".repeat(400 << 10));
    let out = decode_one(&mut decoder, raw(PAGE, &gzip(large.as_bytes())));
    assert_eq!((out.topic.as_str(), out.field("DecodeErrorType").as_deref()), ("errors", Some("too_large")));
    let sent = decode_one(&mut decoder, raw(PAGE, large.as_bytes()));
    assert_eq!(sent.field("content"), None, "no room for it");
    let detail = "the raw message has no room beside its error; it is at `source`";
    assert_eq!((sent.field("DecodeErrorDetail").as_deref(), sent.field("source").as_deref()), (Some(detail), Some("raw/3/100")));
}
