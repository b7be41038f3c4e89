//! The pass without and with a schema, and the walkers.

use std::path::Path;
use std::sync::LazyLock;

use tidemill_json::index::{self, MemberIndex};
use tidemill_json::{Backend, Captures, EachMemory, EachPointer, Padded, Pass, Program, Refusal, check, get, value};
use tidemill_schema::Registry;

/// The schemas of the project.
pub(crate) static SCHEMAS: LazyLock<std::sync::Arc<Registry>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let (registry, _) = Registry::load(&[folder]).unwrap_or_else(|error| panic!("{error}"));
    registry.into()
});

const POINTERS: [&str; 7] = ["", "/a", "/*/a", "/a/*", "/0", "/*/*/*", "/*"];

static CAPTURES: LazyLock<Captures> = LazyLock::new(|| Captures::new(&POINTERS).unwrap_or_else(|error| panic!("{error}")));

static EACH: LazyLock<Vec<EachPointer>> =
    LazyLock::new(|| POINTERS.iter().map(|pointer| EachPointer::new(pointer).unwrap_or_else(|error| panic!("{error}"))).collect());

/// A document: every backend finds the same, and no walker panics on it, JSON or not.
pub fn json(bytes: &[u8]) {
    let mut document = Padded::new();
    document.set(bytes);
    let verdict = passes(&Program::any(), &document);
    assert_eq!(check(bytes), verdict, "the checker without padding");
    if let Some(schema) = SCHEMAS.find("telemetry", "usage", 4) {
        let by_schema = passes(schema.program(), &document);
        assert!(by_schema.is_err() || verdict.is_ok(), "a schema takes what is not JSON");
    }
    walk(bytes);
    let each: Vec<_> = EACH.iter().map(|pointer| each(pointer, bytes)).collect();
    if verdict.is_ok() {
        assert_index_finds_members(&document);
        assert_each_finds_captures(&document, &each);
    }
}

/// What all backends say of the document.
fn passes(program: &Program, document: &Padded) -> Result<(), Refusal> {
    let find = |backend| {
        let mut pass = Pass::with_backend(backend);
        let verdict = pass.run(program, &CAPTURES, document);
        let captured: Vec<_> = (0..CAPTURES.len()).map(|pointer| pass.captured(pointer).to_vec()).collect();
        (verdict, verdict.is_ok().then(|| (pass.members().to_vec(), pass.deferred().to_vec(), captured)))
    };
    let safe = find(Backend::Safe);
    for backend in [Backend::Sse2, Backend::Avx2] {
        assert_eq!(find(backend), safe, "{backend:?} and the safe backend");
    }
    safe.0
}

/// What the walk for all values of a pointer finds: the same as numbers, in bytes that are JSON or not.
fn each(pointer: &EachPointer, bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut memory, mut found, mut numbers) = (EachMemory::default(), Vec::new(), Vec::new());
    pointer.values(bytes, &mut memory, |value| found.push(value.to_vec()));
    pointer.int64s(bytes, &mut memory, &mut numbers);
    let expected: Vec<_> = found.iter().map(|value| value::as_i64(value).unwrap_or_default().to_le_bytes()).collect();
    assert_eq!(numbers, expected, "{pointer:?}");
    found
}

/// The walk finds what a pass captures.
fn assert_each_finds_captures(document: &Padded, each: &[Vec<Vec<u8>>]) {
    let mut pass = Pass::new();
    if pass.run(&Program::any(), &CAPTURES, document).is_err() {
        return;
    }
    for (number, found) in each.iter().enumerate() {
        let captured: Vec<_> = pass.captured(number).iter().map(|span| span.of(document)).collect();
        assert_eq!(*found, captured, "{}", POINTERS[number]);
    }
}

/// The walkers may be given anything.
fn walk(bytes: &[u8]) {
    for pointer in ["", "/a", "/a/b", "/0", "/~0~1", "/a/1/b"] {
        let _ = get(bytes, pointer);
    }
    let mut text = Vec::new();
    let _ = (value::as_i64(bytes), value::as_f64(bytes), value::as_bool(bytes), value::text_into(bytes, &mut text));
    assert!(value::elements(bytes).all(|element| element.len() <= bytes.len()));
    assert!(value::entries(bytes).all(|(key, value)| key.len() + value.len() <= bytes.len()));
    // As an index of some document, too.
    let index = MemberIndex::parse(bytes);
    let document = vec![b' '; 64];
    assert_eq!(index.and_then(|index| index.find(&document, "/a/b")), None, "a member of blanks");
}

fn assert_index_finds_members(document: &Padded) {
    let mut pass = Pass::new();
    if pass.run(&Program::any(), &Captures::none(), document).is_err() {
        return;
    }
    let mut bytes = Vec::new();
    if !index::encode(pass.members(), document, &mut bytes) {
        return;
    }
    let index = MemberIndex::parse(&bytes).unwrap_or_else(|| panic!("an index of our own"));
    for member in pass.members().iter().filter(|member| member.depth == 1) {
        let mut key = Vec::new();
        let is_text = tidemill_json::decode_into(member.key.of(document), &mut key);
        let key = String::from_utf8_lossy(&key).replace('~', "~0").replace('/', "~1");
        let found = index.find(document, &format!("/{key}")).map(|span| span.of(document));
        assert!(is_text && found.is_some() && found == get(document, &format!("/{key}")), "member {key:?}: {found:?}");
    }
}
