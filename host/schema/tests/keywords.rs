//! Every keyword on values of every kind: the pass and `jsonschema` agree, in draft 4 and as declared.

use std::fmt::Write as _;

use tidemill_json::{Backend, Captures, Padded, Pass};
use tidemill_schema::{DraftRule, InvalidKind, Schema, SchemaName};

fn schema(text: &str, rule: DraftRule) -> Result<Schema, String> {
    Schema::new(SchemaName { namespace: "test".into(), doctype: "table".into(), version: 1 }, text.as_bytes(), rule)
}

const VALUES: [&str; 74] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "2",
    "3",
    "-1",
    "1.0",
    "1.5",
    "-1.5",
    "2.0",
    "1e2",
    "100",
    "4",
    "6",
    "9",
    "7.5",
    "9007199254740992",
    "9007199254740993",
    "9007199254740993.0",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "-9223372036854775809",
    "123456789012345",
    "1234567890123456789",
    "1e300",
    "1e-300",
    r#""""#,
    r#""a""#,
    r#""ab""#,
    r#""abc""#,
    r#""é""#,
    r#""éé""#,
    r#""\u00e9""#,
    r#""\u0061b""#,
    r#""😀""#,
    r#""😀😀😀""#,
    r#""12""#,
    r#""1a2""#,
    r#""2017-01-02""#,
    r#""a b""#,
    r#""a\nb""#,
    "[]",
    "[1]",
    "[1,2]",
    r#"[1,"a"]"#,
    r#"["a",1,null]"#,
    "[1,1]",
    "[1,2,3]",
    "[[1],[1]]",
    "[1.0,1]",
    "{}",
    r#"{"a":1}"#,
    r#"{"a":"x"}"#,
    r#"{"b":1}"#,
    r#"{"a":1,"b":2}"#,
    r#"{"a":1,"b":2,"c":3}"#,
    r#"{"12":1}"#,
    r#"{"12":1,"345":2}"#,
    r#"{"12":-1}"#,
    r#"{"12":1.5,"3":01}"#,
    r#"{"a12":1}"#,
    r#"{"\u0061":1}"#,
    r#"{"\u0061":"x","b":1}"#,
    r#"{"a":{"a":{"a":1}}}"#,
    r#"{"a":{"a":{"a":"x"}}}"#,
    r#"{"a":[{"b":1}]}"#,
    r#"{"12":1,"3":2, "4" : 5,"66666666666666666666":7,"7":10000000000000000000}"#,
    r#"{"a":null,"b":null}"#,
];

/// Schemas of draft 4, all compiled.
const COMPILED: [&str; 68] = [
    "{}",
    r#"{"type":"null"}"#,
    r#"{"type":"boolean"}"#,
    r#"{"type":"integer"}"#,
    r#"{"type":"number"}"#,
    r#"{"type":"string"}"#,
    r#"{"type":"array"}"#,
    r#"{"type":"object"}"#,
    r#"{"type":["integer","string","null"]}"#,
    r#"{"minimum":1}"#,
    r#"{"minimum":1,"exclusiveMinimum":true}"#,
    r#"{"maximum":1.5}"#,
    r#"{"maximum":2,"exclusiveMaximum":true}"#,
    r#"{"minimum":9007199254740993}"#,
    r#"{"maximum":9007199254740992}"#,
    r#"{"minimum":-1.5,"maximum":1e2}"#,
    r#"{"maximum":18446744073709551615}"#,
    r#"{"minimum":18446744073709551616}"#,
    r#"{"multipleOf":2}"#,
    r#"{"multipleOf":3,"maximum":6}"#,
    r#"{"minLength":2}"#,
    r#"{"maxLength":1}"#,
    r#"{"minLength":1,"maxLength":2}"#,
    r#"{"pattern":"^[a-z]+$"}"#,
    r#"{"pattern":"[0-9]"}"#,
    r#"{"pattern":"^\\S+$"}"#,
    r#"{"pattern":"^\\d{4}-\\d{2}"}"#,
    r#"{"pattern":"^(a|é)"}"#,
    r#"{"pattern":"^[0-9]+$"}"#,
    r#"{"enum":[1,"a",null]}"#,
    r#"{"enum":[1.0,true]}"#,
    r#"{"enum":["é","ab"],"type":"string"}"#,
    r#"{"enum":[9007199254740993,2]}"#,
    r#"{"enum":[1,2,3],"minimum":2}"#,
    r#"{"enum":[false]}"#,
    r#"{"properties":{"a":{"type":"integer"}}}"#,
    r#"{"properties":{"a":{"type":"integer"}},"additionalProperties":false}"#,
    r#"{"additionalProperties":{"type":"integer"}}"#,
    r#"{"additionalProperties":false}"#,
    r#"{"required":["a"]}"#,
    r#"{"required":["a","b"],"properties":{"c":{}}}"#,
    r#"{"required":["a"],"additionalProperties":{"type":"string"}}"#,
    r#"{"required":["a12"],"patternProperties":{"^a":{"type":"string"}},"additionalProperties":false}"#,
    r#"{"minProperties":1}"#,
    r#"{"minProperties":2}"#,
    r#"{"maxProperties":1}"#,
    r#"{"patternProperties":{"^[0-9]+$":{"type":"integer","minimum":0}},"additionalProperties":false}"#,
    r#"{"patternProperties":{"^[0-9]+$":{"type":"integer","minimum":1}}}"#,
    r#"{"patternProperties":{"^[0-9]+$":{"type":"number"}},"additionalProperties":{"type":"string"}}"#,
    r#"{"patternProperties":{"a":{"type":"integer"},"2":{"maximum":1}},"properties":{"a":{"minimum":1}}}"#,
    r#"{"dependencies":{"a":["b"]}}"#,
    r#"{"dependencies":{"a":{"required":["b"],"maxProperties":2}}}"#,
    r#"{"items":{"type":"integer"}}"#,
    r#"{"items":[{"type":"integer"},{"type":"string"}]}"#,
    r#"{"items":[{"type":"integer"}],"additionalItems":false}"#,
    r#"{"items":[{}],"additionalItems":{"type":"integer"}}"#,
    r#"{"minItems":1,"maxItems":2}"#,
    r#"{"allOf":[{"minimum":1},{"maximum":2}]}"#,
    r#"{"anyOf":[{"type":"string"},{"minimum":2}]}"#,
    r#"{"oneOf":[{"required":["a"]},{"required":["b"]}]}"#,
    r#"{"oneOf":[{"type":"integer"},{"minimum":2}]}"#,
    r#"{"not":{"type":"integer"}}"#,
    r#"{"not":{"required":["a"]},"type":"object"}"#,
    r##"{"definitions":{"n":{"type":"integer"}},"properties":{"a":{"$ref":"#/definitions/n"}}}"##,
    r##"{"definitions":{"a/b%":{"type":"integer"}},"additionalProperties":{"$ref":"#/definitions/a~1b%25","type":"null"}}"##,
    r#"{"format":"date-time"}"#,
    r#"{"items":{"anyOf":[{"enum":["a"]},{"type":["null","integer"]}]}}"#,
    r#"{"properties":{"a":{"properties":{"a":{"properties":{"a":{"type":"integer"}}}}}}}"#,
];

/// Schemas of draft 4 of which something is left to `jsonschema`, and why.
const DEFERRED: [(&str, &str); 11] = [
    (r#"{"uniqueItems":true}"#, "uniqueItems"),
    (r#"{"multipleOf":0.5}"#, "multipleOf"),
    (r#"{"enum":[[1],{"a":1},"a"]}"#, "enum of arrays or objects"),
    (r##"{"properties":{"a":{"$ref":"#"}},"type":["object","integer"]}"##, "recursive $ref"),
    (
        r##"{"definitions":{"l":{"items":{"$ref":"#/definitions/l"},"type":["array","integer"]}},"$ref":"#/definitions/l"}"##,
        "recursive $ref",
    ),
    (
        r#"{"id":"http://x.test/root","properties":{"a":{"$ref":"http://x.test/root"}},"type":["object","integer"]}"#,
        "$ref to another document or an identifier",
    ),
    (r#"{"not":{"uniqueItems":true}}"#, "not with something deferred"),
    (r#"{"anyOf":[{"uniqueItems":true,"type":"array"},{"type":"object"}]}"#, "anyOf with something deferred"),
    (r#"{"properties":{"a/b~":{"multipleOf":0.1},"a":{"multipleOf":1.5}}}"#, "multipleOf"),
    (r#"{"patternProperties":{"^(?=a)":{"type":"integer"}},"additionalProperties":false}"#, "pattern `^(?=a)`"),
    (r#"{"pattern":"^(?!a)"}"#, "pattern `^(?!a)`"),
];

/// Schemas of draft 6, by declaration.
const DRAFT6: [&str; 19] = [
    r#"{"exclusiveMinimum":1}"#,
    r#"{"exclusiveMaximum":2,"maximum":5}"#,
    r#"{"exclusiveMinimum":1.5,"minimum":1}"#,
    r#"{"const":1}"#,
    r#"{"const":"ab"}"#,
    r#"{"const":null}"#,
    r#"{"contains":{"type":"string"}}"#,
    r#"{"contains":{"minimum":2},"items":{"type":"integer"}}"#,
    r#"{"propertyNames":{"maxLength":1}}"#,
    r#"{"propertyNames":{"pattern":"^[0-9]+$"}}"#,
    r#"{"propertyNames":false}"#,
    r#"{"propertyNames":{"anyOf":[{"const":"a"},{"minLength":2}]}}"#,
    r#"{"type":"integer"}"#,
    r#"{"items":false}"#,
    r#"{"properties":{"a":false,"b":true}}"#,
    r#"{"items":[true,false]}"#,
    r#"{"minLength":2.0}"#,
    r#"{"dependencies":{"a":false}}"#,
    r#"{"type":"integer","maximum":1}"#,
];

const DRAFT7: [&str; 2] = [
    r#"{"if":{"type":"integer"},"then":{"minimum":2},"else":{"type":"string"}}"#,
    r#"{"if":{"required":["a"]},"then":{"required":["b"]}}"#,
];

/// The disagreements between the pass, on any backend, and `jsonschema`.
fn disagreements(schema: &Schema) -> String {
    let mut report = String::new();
    let mut document = Padded::new();
    for backend in [Backend::Safe, Backend::Sse2, Backend::Avx2] {
        let mut pass = Pass::with_backend(backend);
        for value in VALUES {
            // As a document, and where captures and members make the pass take other ways.
            for padding in ["", " "] {
                document.set(format!("{padding}{value}{padding}").as_bytes());
                for captures in [Captures::none(), Captures::new(&["/a", "/*/a"]).expect("pointers")] {
                    let expected = serde_json::from_str(value).ok().map(|tree| schema.is_valid_tree(&tree));
                    let actual = match schema.validate(&mut pass, &captures, &document) {
                        Ok(()) => Some(true),
                        Err(invalid) if invalid.kind == InvalidKind::Schema => Some(false),
                        Err(_) => None,
                    };
                    if actual != expected && report.len() < 2000 {
                        writeln!(report, "{backend:?} {} on {value}: {actual:?}, not {expected:?}", schema.source).expect("memory");
                    }
                }
            }
        }
    }
    report
}

#[test]
fn compiled_keywords_agree_with_jsonschema() {
    for text in COMPILED {
        let schema = schema(text, DraftRule::AlwaysDraft4).expect(text);
        assert_eq!(schema.uncompiled(), [], "{text}");
        assert_eq!(disagreements(&schema), "");
    }
}

#[test]
fn deferred_keywords_agree_with_jsonschema() {
    for (text, reason) in DEFERRED {
        let schema = schema(text, DraftRule::AlwaysDraft4).expect(text);
        assert!(schema.uncompiled().iter().any(|part| part.reason.contains(reason)), "{text}: {:?}", schema.uncompiled());
        assert_eq!(disagreements(&schema), "");
    }
}

#[test]
fn later_drafts_agree_with_jsonschema_where_declared() {
    let declared = |text: &str, draft: &str| format!(r#"{{"$schema":"http://json-schema.org/draft-{draft}/schema#",{}"#, &text[1..]);
    let all = DRAFT6.map(|text| declared(text, "06")).into_iter().chain(DRAFT7.map(|text| declared(text, "07")));
    for text in all {
        let schema = schema(&text, DraftRule::Declared).expect(&text);
        assert_eq!(schema.uncompiled(), [], "{text}");
        assert_eq!(disagreements(&schema), "");
    }
    let later =
        schema(r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","prefixItems":[{"type":"integer"}]}"#, DraftRule::Declared)
            .expect("a schema");
    assert_eq!(later.uncompiled()[0].reason, "the draft is later than 7");
    assert_eq!(disagreements(&later), "");
}

#[test]
fn the_default_rule_ignores_what_draft_4_does_not_know() {
    let text = r#"{"$schema":"http://json-schema.org/draft-06/schema#","propertyNames":{"maxLength":1},"const":1}"#;
    let lenient = schema(text, DraftRule::AlwaysDraft4).expect("a schema");
    let strict = schema(text, DraftRule::Declared).expect("a schema");
    let mut document = Padded::new();
    document.set(br#"{"long":1}"#);
    assert_eq!(lenient.validate(&mut Pass::new(), &Captures::none(), &document), Ok(()));
    assert!(strict.validate(&mut Pass::new(), &Captures::none(), &document).is_err());
    assert_eq!(disagreements(&lenient), "");
}

#[test]
fn more_than_64_required_keys_are_all_required() {
    let keys: Vec<String> = (0..200).map(|n| format!("key{n}")).collect();
    let text =
        serde_json::json!({"required": keys, "dependencies": {"x": ["y"]}, "properties": {"key150": {"type": "integer"}}}).to_string();
    let schema = schema(&text, DraftRule::AlwaysDraft4).expect("a schema");
    assert!(schema.is_compiled());
    let (mut pass, mut document) = (Pass::new(), Padded::new());
    for missing in [None, Some(0), Some(63), Some(64), Some(65), Some(127), Some(128), Some(199)] {
        let present = keys.iter().enumerate().filter(|(n, _)| Some(*n) != missing);
        let object: serde_json::Map<_, _> = present.map(|(_, key)| (key.clone(), serde_json::json!(1))).collect();
        let nested = serde_json::Value::Object(object);
        document.set(nested.to_string().as_bytes());
        let verdict = schema.validate(&mut pass, &Captures::none(), &document);
        assert_eq!(verdict.is_ok(), missing.is_none(), "without {missing:?}");
        assert_eq!(verdict.is_ok(), schema.is_valid_tree(&nested));
    }
}

#[test]
fn broken_schemas_are_refused_with_a_reason() {
    let check = |text: &str, expected: &str| {
        let reason = schema(text, DraftRule::AlwaysDraft4).expect_err(text);
        assert!(reason.contains(expected), "{text}: {reason}");
    };
    check("{", "not JSON: token at byte 1");
    check(r#"{"type":"nothing"}"#, "at #/type");
    check(r#"{"minLength":-1}"#, "at #/minLength");
    check(r#"{"pattern":"("}"#, "(");
    check(r##"{"$ref":"#/definitions/none"}"##, "/definitions/none");
    check(r#"{"$ref":"http://elsewhere.test/schema"}"#, "elsewhere.test");
}

#[test]
fn schemas_that_refer_in_circles_do_not_hang() {
    let check = |text: &str| {
        if let Ok(schema) = schema(text, DraftRule::AlwaysDraft4) {
            assert_eq!(disagreements(&schema), "");
        }
    };
    check(r##"{"$ref":"#"}"##);
    check(r##"{"allOf":[{"$ref":"#"}]}"##);
    // Valid exactly when it is not: any verdict will do, as long as there is one.
    schema(r##"{"anyOf":[{"type":"null"},{"not":{"$ref":"#"}}]}"##, DraftRule::AlwaysDraft4).map(|schema| disagreements(&schema)).ok();
    check(r##"{"definitions":{"a":{"$ref":"#/definitions/b"},"b":{"$ref":"#/definitions/a"}},"$ref":"#/definitions/a"}"##);
    let all: Vec<String> = (0..24)
        .map(|n| {
            format!(
                "\"d{n}\":{{\"properties\":{{{}}}}}",
                (0..24).map(|m| format!("\"p{m}\":{{\"$ref\":\"#/definitions/d{m}\"}}")).collect::<Vec<_>>().join(",")
            )
        })
        .collect();
    check(&format!("{{\"definitions\":{{{}}},\"$ref\":\"#/definitions/d0\"}}", all.join(",")));
}
