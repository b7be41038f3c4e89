//! Captures, members and the index against serde_json, on recorded pings and by hand.

mod common;

use common::{Random, find, find_by_all, recorded_pings};
use serde_json::Value;
use tidemill_json::index::{self, MemberIndex};
use tidemill_json::{Backend, Captures, Padded, Pass, Program, Span, get};

fn texts<'d>(document: &'d [u8], spans: &[Span]) -> Vec<&'d str> {
    spans.iter().map(|span| std::str::from_utf8(span.of(document)).expect("UTF-8")).collect()
}

fn check(document: &str, pointer: &str, expected: &[&str]) {
    let captures = Captures::new(&[pointer]).expect("a pointer");
    let found = find_by_all(&captures, document.as_bytes());
    assert_eq!(texts(document.as_bytes(), &found.captured[0]), expected, "{pointer} in {document}");
    if !pointer.contains('*') {
        let got = get(document.as_bytes(), pointer).map(|bytes| std::str::from_utf8(bytes).expect("UTF-8"));
        assert_eq!(got, expected.first().copied(), "get {pointer} in {document}");
    }
}

#[test]
fn pointers_find_values() {
    check(" [1] ", "", &["[1]"]);
    check(r#"{"a":{"b":[1, 2 ]}}"#, "/a/b/1", &["2"]);
    check(r#"{"a":{"b":[1,2]}}"#, "/a/b/01", &[]);
    check(r#"{"a":{"b":[1,2]}}"#, "/a/b", &["[1,2]"]);
    check(r#"{"a":[{"b":1},{"c":2},{"b":3}]}"#, "/a/*/b", &["1", "3"]);
    check(r#"{"a":{"x":{"b":1},"y":7,"z":{"b":3}}}"#, "/a/*/b", &["1", "3"]);
    check(r#"{"a/b":{"~":1}}"#, "/a~1b/~0", &["1"]);
    check(r#"{"a\u0062\n":1}"#, "/ab\n", &["1"]);
    check(r#"{"*":1}"#, "/*", &["1"]);
    check(r#"{"":{"":5}}"#, "//", &["5"]);
    check(r#""text""#, "/a", &[]);
}

#[test]
fn the_last_of_duplicate_keys_counts() {
    check(r#"{"a":1,"b":2,"a":3}"#, "/a", &["3"]);
    check(r#"{"a":1,"\u0061":3}"#, "/a", &["3"]);
    check(r#"{"\u0061":1,"a":3,"a":4}"#, "/a", &["4"]);
    check(r#"{"a":{"b":1},"a":{"c":2}}"#, "/a/b", &[]);
    check(r#"{"a":{"b":1},"a":7}"#, "/a/b", &[]);
    check(r#"{"a":{"b":[{"x":1}]},"a":{"b":[{"x":2},{"x":3}]}}"#, "/a/b/*/x", &["2", "3"]);
    check(r#"{"k":{"b":1},"l":{"b":2},"k":{"b":3}}"#, "/*/b", &["2", "3"]);
    check(r#"{"a":{"b":1,"b":2},"a":{"b":3,"b":4}}"#, "/a/b", &["4"]);
}

#[test]
fn many_duplicates_take_no_quadratic_time() {
    let document = format!("{{\"x\":{{{}\"a\":7}}}}", "\"a\":1,\"\\u0061\":2,".repeat(100_000));
    let start = std::time::Instant::now();
    check(&document, "/x/a", &["7"]);
    check(&document, "/*/*", &["7"]);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn members_are_listed_with_their_parents() {
    let document = br#"{"a": 1, "b": {"c": [2], "d": {"e": 3}}, "b": {}, "f": [{"g": 4}]}"#;
    let found = find_by_all(&Captures::none(), document);
    let listed: Vec<_> = found
        .members
        .iter()
        .map(|member| (member.depth, texts(document, &[member.key])[0], texts(document, &[member.value()])[0], member.parent))
        .collect();
    let expected = [
        (1, "a", "1", 0),
        (1, "b", r#"{"c": [2], "d": {"e": 3}}"#, 1),
        (2, "c", "[2]", 1),
        (2, "d", r#"{"e": 3}"#, 1),
        (1, "b", "{}", 4),
        (1, "f", r#"[{"g": 4}]"#, 5),
    ];
    assert_eq!(listed, expected);
    assert_eq!(find_by_all(&Captures::none(), br#"[{"a":1}]"#).members, []);
}

/// Some pointers into `value`, a few of them with a star or to nothing.
fn pointers(value: &Value, random: &mut Random) -> Vec<String> {
    (0..24).map(|n| pointer(value, n % 3 == 0, random)).collect()
}

fn pointer(value: &Value, has_star: bool, random: &mut Random) -> String {
    let (mut pointer, mut value) = (String::new(), value);
    while random.below(6) > 0 {
        let step = match value {
            Value::Object(object) if !object.is_empty() => {
                object.iter().nth(random.below(object.len())).map(|(key, value)| (key.clone(), value))
            }
            Value::Array(array) if !array.is_empty() => {
                let position = random.below(array.len());
                Some((position.to_string(), &array[position]))
            }
            _ => None,
        };
        let Some((key, next)) = step else { break };
        let star = has_star && random.below(3) == 0;
        pointer += "/";
        pointer += &if star { "*".into() } else { key.replace('~', "~0").replace('/', "~1") };
        value = next;
    }
    pointer
}

/// What a pointer with stars means, by definition.
fn resolve<'v>(value: &'v Value, pointer: &str) -> Vec<&'v Value> {
    let Some(inside) = pointer.strip_prefix('/') else { return vec![value] };
    let (segment, rest) = inside.find('/').map_or((inside, ""), |at| inside.split_at(at));
    let children: Vec<&Value> = match value {
        Value::Object(object) if segment == "*" => object.values().collect(),
        Value::Array(array) if segment == "*" => array.iter().collect(),
        _ => value.pointer(&format!("/{segment}")).into_iter().collect(),
    };
    children.into_iter().flat_map(|child| resolve(child, rest)).collect()
}

/// The same values in one order: serde_json sorts members, the pass keeps the document's order.
fn sorted(values: impl Iterator<Item = Value>) -> Vec<String> {
    let mut texts: Vec<String> = values.map(|value| value.to_string()).collect();
    texts.sort();
    texts
}

#[test]
fn captures_of_recorded_pings_are_what_serde_json_finds() {
    for path in recorded_pings("captures_of_recorded_pings_are_what_serde_json_finds") {
        let document = std::fs::read(&path).expect("a readable ping");
        let Ok(tree) = serde_json::from_slice::<Value>(&document) else { continue };
        let pointers = pointers(&tree, &mut Random(document.len() as u64));
        let borrowed: Vec<&str> = pointers.iter().map(String::as_str).collect();
        let found = find_by_all(&Captures::new(&borrowed).expect("pointers"), &document);
        for (pointer, spans) in pointers.iter().zip(&found.captured) {
            let actual = spans.iter().map(|span| serde_json::from_slice(span.of(&document)).expect("a value"));
            let expected = resolve(&tree, pointer).into_iter().cloned();
            assert_eq!(sorted(actual), sorted(expected), "{pointer} in {}", path.display());
        }
    }
}

/// The index of `document` as a reader gets it.
fn index_of(document: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(index::encode(&find(Backend::best(), &Captures::none(), document).members, document, &mut bytes));
    bytes
}

#[test]
fn the_index_of_recorded_pings_finds_each_member() {
    for path in recorded_pings("the_index_of_recorded_pings_finds_each_member") {
        let document = std::fs::read(&path).expect("a readable ping");
        let Ok(Value::Object(tree)) = serde_json::from_slice::<Value>(&document) else { continue };
        let bytes = index_of(&document);
        let index = MemberIndex::parse(&bytes).expect("an index");
        let check = |pointer: String, expected: &Value| {
            let span = index.find(&document, &pointer).unwrap_or_else(|| panic!("{pointer} in {}", path.display()));
            assert_eq!(serde_json::from_slice::<Value>(span.of(&document)).expect("a value"), *expected, "{pointer}");
        };
        for (key, value) in &tree {
            let key = key.replace('~', "~0").replace('/', "~1");
            check(format!("/{key}"), value);
            for (inner, value) in value.as_object().into_iter().flatten() {
                check(format!("/{key}/{}", inner.replace('~', "~0").replace('/', "~1")), value);
            }
        }
        assert_eq!(index.find(&document, "/no such member"), None);
    }
}

#[test]
fn a_wrong_index_finds_nothing_or_a_member() {
    let document = br#"{"a": {"b": 1, "c": "x"}, "d": {"e": [1, 2]}, "a": {"b": 2}}"#;
    let bytes = index_of(document);
    let index = MemberIndex::parse(&bytes).expect("an index");
    assert_eq!(index.find(document, "/a/b").map(|span| span.of(document)), Some(&b"2"[..]));
    assert_eq!(index.find(document, "/a/c"), None, "the last `a` has no `c`");
    assert_eq!(index.find(&document[1..], "/a/b"), None, "another length");
    for at in 0..bytes.len() {
        for value in [0, 1, 2, 5, 0x7f, 0x80, 0xff] {
            let mut broken = bytes.clone();
            broken[at] = value;
            let index = MemberIndex::parse(&broken);
            let span = index.and_then(|index| index.find(document, "/d/e"));
            assert!(span.is_none_or(|span| !span.of(document).is_empty()), "byte {at} as {value}");
        }
        assert!(MemberIndex::parse(&bytes[..at]).and_then(|index| index.find(document, "/a")).is_none(), "{at} bytes");
    }
}

#[test]
fn a_document_with_too_many_members_has_no_index() {
    let members = |count: usize| format!("{{{}}}", (0..count).map(|n| format!("\"{n}\":{n}")).collect::<Vec<_>>().join(","));
    let (mut pass, mut document) = (Pass::new(), Padded::new());
    for (count, expected) in [(index::MEMBERS_MAX, true), (index::MEMBERS_MAX + 1, false)] {
        document.set(members(count).as_bytes());
        pass.run(&Program::any(), &Captures::none(), &document).expect("JSON");
        let mut out = b"before".to_vec();
        assert_eq!(index::encode(pass.members(), &document, &mut out), expected);
        assert_eq!(out.len() > 6, expected);
    }
}

#[test]
fn an_index_is_small() {
    let Some(path) = recorded_pings("an_index_is_small").into_iter().find(|path| path.ends_with("main.4.profile.pass.json")) else {
        return;
    };
    let document = std::fs::read(&path).expect("a readable ping");
    let members = find(Backend::best(), &Captures::none(), &document).members.len();
    assert!(index_of(&document).len() < members * 8, "{} bytes for {members} members", index_of(&document).len());
}
