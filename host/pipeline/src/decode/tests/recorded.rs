//! All recorded pings, and what a validated message looks like.

use super::support::*;
use std::{collections::BTreeMap, path::Path};
use tidemill_bus::partition_of;
use tidemill_json::index::MemberIndex;

/// A recorded ping by its file's name: `NAMESPACE/DOCTYPE.VERSION.NAME.(pass|fail).json`.
struct Ping {
    name: String,
    namespace: String,
    doctype: String,
    version: String,
    passes: bool,
    body: Vec<u8>,
}

fn recorded(data: &Path) -> Vec<Ping> {
    let mut pings = Vec::new();
    for folder in std::fs::read_dir(data.join("pipeline-schemas/validation")).expect("readable").flatten() {
        let namespace = folder.file_name().to_string_lossy().into_owned();
        for file in std::fs::read_dir(folder.path()).expect("readable").flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let [doctype, version, _, verdict, "json"] = name.split('.').collect::<Vec<_>>()[..] else { panic!("{name}") };
            pings.push(Ping {
                namespace: namespace.clone(),
                doctype: doctype.to_owned(),
                version: version.to_owned(),
                passes: verdict == "pass",
                body: std::fs::read(file.path()).expect("readable"),
                name: format!("{namespace}/{name}"),
            });
        }
    }
    pings.sort_by(|a, b| a.name.cmp(&b.name));
    pings
}

fn uri_of(ping: &Ping, number: usize) -> String {
    let Ping { namespace, doctype, version, .. } = ping;
    let id = format!("CE39b608-f595-4c69-b6a6-{number:012}");
    match namespace.as_str() {
        "telemetry" => format!("/submit/telemetry/{id}/{doctype}/Firefox/61.0/nightly/20180328030202"),
        _ => format!("/submit/{namespace}/{doctype}/{version}/{id}"),
    }
}

#[test]
fn each_recorded_ping_is_where_it_belongs() {
    let Some(data) = shared_data("each_recorded_ping_is_where_it_belongs") else { return };
    let pings = recorded(&data);
    assert_eq!(pings.len(), 121);
    let mut settings = settings(load(&data.join("pipeline-schemas/schemas")));
    settings.city = Some(city(&data));
    let mut decoder = super::super::Decoder::new(&settings).expect("a decoder");
    let raw: Vec<_> = pings.iter().enumerate().map(|(at, ping)| raw(&uri_of(ping, at), &gzip(&ping.body))).collect();
    let outs = decode(&mut decoder, &raw);
    let mut reasons = BTreeMap::new();
    for (ping, out) in pings.iter().zip(&outs) {
        if out.topic == "validated" {
            assert!(ping.passes, "{} is valid", ping.name);
            assert_eq!(out.message().field("submission").and_then(|field| field.bytes()), Some(&ping.body[..]), "{}", ping.name);
            continue;
        }
        *reasons.entry(out.field("DecodeErrorType").expect("a type")).or_insert(0) += 1;
        let error = out.field("DecodeError").expect("an error");
        match ping.name.as_str() {
            "telemetry/frecency-update.4.sample.pass.json" | "telemetry/main.4.empty.fail.json" => {
                assert_eq!(error, format!("namespace: telemetry schema: {} error: the document states no version", ping.doctype));
                assert_eq!(out.field("DecodeErrorDetail").as_deref(), Some("looked at /version, /v"));
            }
            name => {
                assert!(!ping.passes, "{name}: {error}");
                assert!(error.starts_with(&format!("namespace: {} schema: {} version: ", ping.namespace, ping.doctype)), "{name}: {error}");
                assert!(error.contains(" error: SchemaURI: ") && error.contains(" Keyword: "), "{name}: {error}");
            }
        }
    }
    assert_eq!(outs.iter().filter(|out| out.topic == "validated").count(), 87);
    assert_eq!(reasons, BTreeMap::from([("schema".to_owned(), 32), ("schema_not_found".to_owned(), 2)]));
    let autoplay = pings.iter().zip(&outs).filter(|(ping, _)| ping.doctype == "block-autoplay");
    let headers: Vec<_> = autoplay.map(|(_, out)| out.header("tm-schema")).collect();
    assert_eq!(headers.len(), 3);
    assert!(headers.iter().all(|header| header.starts_with("telemetry/block-autoplay/4#")), "{headers:?}");
    assert_no_address(&outs);
    let again = decode(&mut super::super::Decoder::new(&settings).expect("a decoder"), &raw);
    assert!(outs == again, "decoding again makes the same records");
}

#[test]
fn a_validated_message_has_what_the_contract_lists() {
    let Some(data) = shared_data("a_validated_message_has_what_the_contract_lists") else { return };
    let mut settings = settings(own_registry());
    settings.city = Some(city(&data));
    let mut decoder = super::super::Decoder::new(&settings).expect("a decoder");
    let document = br#"{"version": 4, "only4": "x", "inner": {"k": [1]}}"#;
    let out = decode_one(&mut decoder, raw("/submit/telemetry/An-ID/thing/Firefox/61.0/nightly/20180328030202", &gzip(document)));
    let message = out.message();
    assert_eq!((message.uuid(), message.timestamp()), (b"0123456789abcdef", TIMESTAMP));
    assert_eq!(
        (message.type_(), message.logger(), message.hostname()),
        (Some(&b"validated"[..]), Some(&b"telemetry"[..]), Some(&b"edge-1"[..]))
    );
    let expected = [
        ("documentId", "An-ID"),
        ("docType", "thing"),
        ("appName", "Firefox"),
        ("appVersion", "61.0"),
        ("appUpdateChannel", "nightly"),
        ("appBuildId", "20180328030202"),
        ("submissionDate", "20180328"),
        ("geoCountry", "US"),
        ("geoCity", "Milton"),
        ("geoSubdivision1", "WA"),
        ("Host", "incoming.example"),
        ("DNT", "1"),
        ("Date", "Wed, 28 Mar 2018 11:59:58 GMT"),
        ("X-PingSender-Version", "1.0"),
        ("submission", std::str::from_utf8(document).expect("text")),
    ];
    assert_eq!(out.names(), expected.map(|(name, _)| name));
    for (name, value) in expected {
        assert_eq!(out.field(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(message.field("submission").map(|field| field.representation), Some(&b"json"[..]));
    assert_eq!(out.key, b"an-id");
    assert_eq!((out.partition, out.timestamp_ms), (partition_of(b"an-id", 4), 1_522_238_400_123));
    assert_eq!((out.header("tm-v"), out.header("tm-src"), out.header("tm-epoch")), ("1".into(), "decode/0/inc/3/100/0".into(), "7".into()));
    assert!(out.header("tm-schema").starts_with("telemetry/thing/4#"));
    let index = MemberIndex::parse(&out.headers["tm-idx"]).expect("an index");
    assert_eq!(index.find(document, "/inner/k").map(|span| span.of(document)), Some(&b"[1]"[..]));
}

#[test]
fn a_generic_message_has_its_version_and_unknown_places() {
    let mut decoder = super::super::Decoder::new(&settings(own_registry())).expect("a decoder");
    let out = decode_one(&mut decoder, raw("/submit/web/page/1/id", br#"{"a": 1}"#));
    assert_eq!(out.topic, "validated");
    let found = ["docVersion", "geoCountry", "geoCity", "geoSubdivision1"].map(|name| out.field(name));
    assert_eq!(found, [Some("1".into()), Some("??".into()), Some("??".into()), None]);
    assert_no_address(&[out]);
}

#[test]
fn a_message_that_is_replayed_keeps_its_place() {
    let mut decoder = super::super::Decoder::new(&settings(own_registry())).expect("a decoder");
    let mut sent = Vec::new();
    tidemill_message::MessageWriter::new(&mut sent, b"0123456789abcdef", 0).field_string("geoCountry", b"GB");
    // A message behind another adds its fields and replaces its headers.
    sent.extend(raw("/submit/web/page/1/id", br#"{"a": "x"}"#));
    let error = decode_one(&mut decoder, sent);
    assert_eq!(error.topic, "errors");
    let again = decode_one(&mut decoder, error.value.clone());
    assert_eq!((again.field("geoCountry"), again.field("geoCity")), (Some("GB".into()), Some("??".into())));
    assert_eq!(again.names().iter().filter(|name| *name == "DecodeErrorType").count(), 1, "{:?}", again.names());
    assert_eq!(again.names().iter().filter(|name| *name == "documentId").count(), 1);
    assert_eq!(again.field("content").as_deref(), Some(r#"{"a": "x"}"#));
}

#[test]
fn the_documents_own_version_decides() {
    let mut decoder = super::super::Decoder::new(&settings(own_registry())).expect("a decoder");
    let mut check = |document: &str, expected: &str| {
        let out = decode_one(&mut decoder, raw("/submit/telemetry/id/thing/Firefox/61.0/nightly/1", document.as_bytes()));
        let verdict = match out.topic.as_str() {
            "validated" => out.header("tm-schema").split('#').next().unwrap_or_default().to_owned(),
            _ => format!("{}: {}", out.field("DecodeError").unwrap_or_default(), out.field("DecodeErrorDetail").unwrap_or_default()),
        };
        assert_eq!(verdict, expected, "{document}");
    };
    let thing = "namespace: telemetry schema: thing";
    check(r#"{"version": 4, "only4": "x"}"#, "telemetry/thing/4");
    check(r#"{"version": 5, "only4": 1}"#, "telemetry/thing/5");
    check(r#"{"v": 5, "only4": 1}"#, "telemetry/thing/5");
    check(r#"{"v": 4}"#, "telemetry/thing/4");
    check(r#"{"version": null, "v": 5}"#, "telemetry/thing/5");
    check(r#"{"version": 4, "v": 5, "only4": "x"}"#, "telemetry/thing/4");
    check(r#"{"version": 5, "only4": "x", "version": 4}"#, "telemetry/thing/4");
    check(r#"{"version": 6}"#, &format!("{thing} version: 6 error: schema not found: "));
    check(r#"{"version": "4"}"#, &format!("{thing} error: the document's version is not a whole number: /version is \"4\""));
    check(r#"{"version": -1}"#, &format!("{thing} error: the document's version is not a whole number: /version is -1"));
    check("{}", &format!("{thing} error: the document states no version: looked at /version, /v"));
    check("[4]", &format!("{thing} error: the document states no version: looked at /version, /v"));
}
