//! What a verdict says, and what duplicate keys do to it.

use tidemill_json::{Captures, Padded, Pass};
use tidemill_schema::{DETAIL_BYTES_MAX, DraftRule, Invalid, InvalidKind, Schema, SchemaName};

fn schema(text: &str) -> Schema {
    let name = SchemaName { namespace: "ns".into(), doctype: "doc".into(), version: 3 };
    Schema::new(name, text.as_bytes(), DraftRule::AlwaysDraft4).expect("a schema")
}

fn validate(schema: &Schema, captures: &Captures, document: &str) -> (Pass, Result<(), Invalid>) {
    let (mut pass, mut padded) = (Pass::new(), Padded::new());
    padded.set(document.as_bytes());
    let verdict = schema.validate(&mut pass, captures, &padded);
    (pass, verdict)
}

#[test]
fn a_report_names_keyword_schema_and_place() {
    let schema = schema(r#"{"properties":{"a":{"required":["b"],"properties":{"b":{"type":"integer"}}}}}"#);
    let invalid = validate(&schema, &Captures::none(), r#"{"a":{"b":"x"}}"#).1.expect_err("no integer");
    assert_eq!(invalid.kind, InvalidKind::Schema);
    assert_eq!(
        invalid.message,
        "namespace: ns schema: doc version: 3 error: SchemaURI: #/properties/a/properties/b Keyword: type DocumentURI: #/a/b"
    );
    assert_eq!(
        invalid.detail,
        r##"{"instanceRef":"#/a/b","keyword":"type","schemaRef":"#/properties/a/properties/b","text":"\"x\" is not of type \"integer\""}"##
    );
    let invalid = validate(&schema, &Captures::none(), r#"{"a":{}}"#).1.expect_err("required");
    assert_eq!(invalid.message, "namespace: ns schema: doc version: 3 error: SchemaURI: #/properties/a Keyword: required DocumentURI: #/a");
}

#[test]
fn what_is_not_json_is_never_called_a_schema_error() {
    let schema = schema(r#"{"properties":{"a":{"type":"integer"}}}"#);
    let invalid = validate(&schema, &Captures::none(), r#"{"a":"x", }"#).1.expect_err("not JSON");
    assert_eq!((invalid.kind, invalid.message.as_str()), (InvalidKind::Json, "not JSON: token at byte 10"));
    assert_eq!(invalid.detail, r#"{"detail":"token","offset":10}"#);
}

#[test]
fn a_report_is_bounded_whatever_the_document_holds() {
    let schema = schema(r#"{"additionalProperties":{"type":"integer"}}"#);
    for filler in ["x", "\\\"", "é", "\\u0001", "😀"] {
        let long = filler.repeat(100_000);
        for document in [format!("{{\"{long}\":null}}"), format!("{{\"a\":\"{long}\"}}")] {
            let invalid = validate(&schema, &Captures::none(), &document).1.expect_err("no integer");
            assert!(
                invalid.detail.len() <= DETAIL_BYTES_MAX && invalid.message.len() <= DETAIL_BYTES_MAX,
                "{filler}: {}",
                invalid.detail.len()
            );
            assert!(serde_json::from_str::<serde_json::Value>(&invalid.detail).is_ok(), "{}", invalid.detail);
        }
    }
}

#[test]
fn the_last_of_duplicate_keys_decides() {
    let check = |text: &str, document: &str, expected: bool| {
        let schema = schema(text);
        assert_eq!(validate(&schema, &Captures::none(), document).1.is_ok(), expected, "{text} on {document}");
        let tree = serde_json::from_str(document).expect("JSON");
        assert_eq!(schema.is_valid_tree(&tree), expected, "{text} on {document} by jsonschema");
    };
    let integers = r#"{"additionalProperties":{"type":"integer"}}"#;
    check(integers, r#"{"a":"x","a":1}"#, true);
    check(integers, r#"{"a":1,"a":"x"}"#, false);
    check(r#"{"minProperties":2}"#, r#"{"a":1,"a":2}"#, false);
    check(r#"{"minProperties":2}"#, r#"{"a":1,"\u0061":2}"#, false);
    check(r#"{"maxProperties":1}"#, r#"{"a":1,"a":2}"#, true);
    check(r#"{"not":{"properties":{"a":{"type":"integer"}}}}"#, r#"{"a":"x","a":1}"#, false);
    check(r#"{"not":{"properties":{"a":{"type":"integer"}}}}"#, r#"{"a":1,"a":"x"}"#, true);
    let one = r#"{"oneOf":[{"properties":{"a":{"type":"integer"}}},{"properties":{"a":{"minimum":1}}}]}"#;
    check(one, r#"{"a":"x","a":1}"#, false);
    check(r#"{"properties":{"a":{"uniqueItems":true}}}"#, r#"{"a":[1,1],"a":[1]}"#, true);
    check(r#"{"properties":{"a":{"uniqueItems":true}}}"#, r#"{"a":[1],"a":[1,1]}"#, false);
}

#[test]
fn captures_are_there_however_the_verdict_was_reached() {
    let captures = Captures::new(&["/a", "/b"]).expect("pointers");
    let schema = schema(r#"{"properties":{"a":{"type":"integer"},"b":{"uniqueItems":true}}}"#);
    for document in [r#"{"b":[1],"a":1}"#, r#"{"b":[1],"a":"x","a":1}"#, r#"{"b":[1,1],"b":[1],"a":1}"#] {
        let (pass, verdict) = validate(&schema, &captures, document);
        assert_eq!(verdict, Ok(()), "{document}");
        let text = |pointer: usize| pass.captured(pointer)[0].of(document.as_bytes());
        assert_eq!((text(0), text(1)), (&b"1"[..], &b"[1]"[..]), "{document}");
        assert!(pass.members().len() >= 2);
    }
}

#[test]
fn a_deep_document_is_checked_by_deferred_parts_too() {
    let schema = schema(r##"{"definitions":{"n":{"items":{"$ref":"#/definitions/n"},"type":"array"}},"$ref":"#/definitions/n"}"##);
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(validate(&schema, &Captures::none(), &nested(128)).1, Ok(()));
    assert_eq!(validate(&schema, &Captures::none(), &nested(129)).1, Err(Invalid::json(128, "depth")));
}
