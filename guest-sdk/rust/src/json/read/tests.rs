//! The reader's verdicts.

use super::*;

#[test]
fn reads_what_rfc_8259_allows() {
    let value = Value::parse(br#" {"a": [1, -0.5e3, true, null], "b": "x\u00e9\ud83d\ude00\n", "a": {}} "#).unwrap();
    assert_eq!(value.get("a"), Some(&Value::Object(vec![])), "the last duplicate counts");
    assert_eq!(value.get("b").and_then(Value::as_str), Some("xé😀\n"));
    let Value::Object(members) = &value else { panic!("{value:?}") };
    let elements = members[0].1.elements();
    assert_eq!(elements[0].as_i64(), Some(1));
    assert_eq!((elements[1].as_i64(), elements[1].as_f64()), (None, Some(-500.0)));
    assert_eq!((elements[2].as_bool(), &elements[3]), (Some(true), &Value::Null));
}

#[test]
fn members_and_elements_keep_their_text() {
    let object = br#" {"a": 1.50, "b": [ 1 , {}], "a": "x" } "#;
    let expected: [(&str, &[u8]); 2] = [("b", b"[ 1 , {}]"), ("a", b"\"x\"")];
    assert_eq!(members(object).unwrap(), expected.map(|(key, value)| (key.into(), value)));
    assert_eq!(elements(b"[ 1 , {}]").unwrap(), [&b"1"[..], b"{}"]);
    assert_eq!((members(b"{}"), elements(b"[ ]")), (Some(vec![]), Some(vec![])));
    assert_eq!((members(b"[]"), elements(b"{}"), elements(b"[1"), members(b"{\"a\" 1}")), (None, None, None, None));
}

#[test]
fn whole_numbers_are_exact_to_64_bits() {
    let check = |text: &str, expected| assert_eq!(Value::parse(text.as_bytes()).unwrap().as_i64(), expected, "{text}");
    check("9007199254740993", Some(9_007_199_254_740_993));
    check("-9223372036854775808", Some(i64::MIN));
    check("9223372036854775808", None);
    check("1.0", None);
    check("1e2", None);
}

#[test]
fn says_what_is_wrong_and_where() {
    let check = |text: &str, expected: &str| assert_eq!(Value::parse(text.as_bytes()).unwrap_err().to_string(), expected, "{text}");
    check("", "expected a value at byte 0");
    check("{\"a\" 1}", "expected `:` at byte 5");
    check("[1 2]", "expected `,` or `]` at byte 3");
    check("{\"a\":1,}", "expected a key at byte 7");
    check("01", "more text after the value at byte 1");
    check("-", "expected a digit at byte 1");
    check("1.", "expected a digit at byte 2");
    check("\"abc", "text without end at byte 4");
    check("\"\\", "text without end at byte 2");
    check("\"\\u12", "text without end at byte 3");
    check("\"\\ud800x\"", "lone surrogate at byte 7");
    check("\"\\ud800\\u0041\"", "lone surrogate at byte 13");
    check("\"\\x\"", "unknown escape at byte 2");
    check("\"\n\"", "control character in text at byte 1");
    check(&"[".repeat(100_000), "nested more than 128 deep at byte 129");
    assert_eq!(Value::parse(b"\"\xff\"").unwrap_err(), Error { offset: 1, what: "broken UTF-8" });
}
