//! The dialect, by table: every backend, the checker without padding, and serde_json where it has
//! the same opinion.

mod common;

use common::find_by_all;
use tidemill_json::{Captures, Refusal, check};

/// What is said of `document`: `Ok` or where and why not.
fn verdict(document: &[u8]) -> Result<(), (usize, &'static str)> {
    let found = find_by_all(&Captures::none(), document).verdict;
    assert_eq!(check(document), found, "check and run on {}", String::from_utf8_lossy(document));
    found.map_err(|refusal| match refusal {
        Refusal::Json { offset, detail } => (offset, detail),
        Refusal::Schema => panic!("there is no schema"),
    })
}

fn check_all(expected: Result<(), (usize, &'static str)>, documents: &[&[u8]]) {
    for document in documents {
        assert_eq!(verdict(document), expected, "{}", String::from_utf8_lossy(document));
        let theirs = serde_json::from_slice::<serde_json::Value>(document).is_ok();
        assert_eq!(theirs, expected.is_ok(), "serde_json on {}", String::from_utf8_lossy(document));
    }
}

#[test]
fn what_is_json() {
    check_all(
        Ok(()),
        &[
            b"null",
            b" true\n",
            b"\t\r\n false",
            b"0",
            b"-0",
            b"-0.0",
            b"1e5",
            b"1E+5",
            b"1.25e-7",
            b"\"\"",
            b"[]",
            b"{}",
            b"[ ]",
            b"{ }",
            b"9007199254740993",
            b"18446744073709551616",
            b"-9223372036854775809",
            b"1e-999",
            b"0e999",
            b"1.7976931348623157e308",
            br#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\u0000""#,
            "\"\u{7f}é😀\u{10ffff}\"".as_bytes(),
            br#"{"a":1,"a":2}"#,
            b"[1,[2,{\"\":[]}]]",
        ],
    );
}

#[test]
fn what_is_not() {
    check_all(Err((0, "token")), &[b"", b"nul", b"tru", b"True", b"NaN", b"+1", b".5", b"'a'", b"\xef\xbb\xbf1", b"]", b","]);
    check_all(Err((1, "token")), &[b"[,1]", b"{1:2}", b"{,}", b"[", b"{", b"[}"]);
    check_all(Err((3, "token")), &[b"[1,]", b"[1 2]", b"[1,", b"[1 }", b"[1 \0"]);
    check_all(Err((4, "token")), &[b"{\"a\"}", b"{\"a\"1}", b"{\"a\""]);
    check_all(Err((0, "number")), &[b"01", b"-01", b"00", b"1e999", b"-1e999", b"1e309"]);
    check_all(Err((1, "number")), &[b"-", b"-a", b"-.5", b"--1"]);
    check_all(Err((2, "number")), &[b"1.", b"1e", b"1.e5", b"1ex"]);
    check_all(Err((1, "trailing")), &[b"1x", b"1\0", b"1,", b"1]"]);
    check_all(Err((2, "trailing")), &[b"1 2", b"{}}", b"[]]", b"\"\"\"", b"{}\0"]);
}

#[test]
fn what_strings_may_hold() {
    check_all(Err((1, "string")), &[b"\"\0\"", b"\"\n\"", b"\"\x1f\"", b"\"", b"\"\t"]);
    check_all(
        Err((1, "escape")),
        &[
            br#""\x""#,
            br#""\u12g4""#,
            br#""\u123"#,
            br#""\ud800""#,
            br#""\udc00""#,
            br#""\ud800\u0041""#,
            br#""\ud800\ud800""#,
            br#""\ud800x""#,
            b"\"\\",
            b"\"\\u",
        ],
    );
    let long = |inside: &str| format!("\"{}{inside}\"", "a".repeat(70)).into_bytes();
    assert_eq!(verdict(&long("")), Ok(()));
    assert_eq!(verdict(&long("\u{1}")), Err((71, "string")));
    assert_eq!(verdict(&long("\\q")), Err((71, "escape")));
}

#[test]
fn what_is_not_utf8() {
    let broken: [&[u8]; 12] = [
        b"\x80",
        b"\xc3",
        b"\xc3(",
        b"\xe2\x82",
        b"\xe2(\xa1",
        b"\xf0\x9f\x98",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xf0\x80\x80\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xff",
    ];
    for bytes in broken {
        for filler in [0, 1, 15, 31, 32, 63, 64, 200] {
            let document = [b"\"", "a".repeat(filler).as_bytes(), bytes, b"\""].concat();
            assert_eq!(verdict(&document), Err((1 + filler, "utf8")), "{bytes:?} after {filler}");
        }
    }
}

#[test]
fn how_deep_it_may_be() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        let levels = if open.len() == 6 { 2 } else { 1 };
        let nested = |depth: usize| format!("{}1{}", open.repeat(depth / levels), close.repeat(depth / levels));
        assert_eq!(verdict(nested(128).as_bytes()), Ok(()), "{open}");
        let (at, detail) = verdict(nested(128 + levels).as_bytes()).expect_err("too deep");
        assert_eq!((at, detail), (open.len() * (128 / levels), "depth"), "{open}");
        assert!(verdict(open.repeat(100_000).as_bytes()).is_err(), "a document that never ends");
    }
}

#[test]
fn every_truncation_is_refused() {
    let document = br#" {"a\u00e9": [1, -2.5e3, {"b": "x\ud83d\ude00y"}], "c": {"d": null, "e": true}, "f": 12345678901234567890} "#;
    assert_eq!(verdict(document), Ok(()));
    for len in 0..document.len() - 1 {
        assert!(verdict(&document[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn every_truncation_of_a_recorded_ping_is_refused() {
    for path in common::recorded_pings("every_truncation_of_a_recorded_ping_is_refused") {
        let document = std::fs::read(&path).expect("a readable ping");
        let document = document.trim_ascii_end();
        let step = 1 + document.len() / 500;
        for len in (0..document.len()).step_by(step) {
            assert!(verdict(&document[..len]).is_err(), "{} at {len}", path.display());
        }
    }
}
