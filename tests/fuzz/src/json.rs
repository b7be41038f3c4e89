//! The pass without and with a schema, and the walkers.

use std::path::Path;
use std::sync::LazyLock;

use tidemill_json::index::{self, MemberIndex};
use tidemill_json::{Backend, Captures, Padded, Pass, Program, Refusal, check, get, value};
use tidemill_schema::Registry;

/// The schemas of the project.
pub(crate) static SCHEMAS: LazyLock<std::sync::Arc<Registry>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let (registry, _) = Registry::load(&[folder]).unwrap_or_else(|error| panic!("{error}"));
    registry.into()
});

static CAPTURES: LazyLock<Captures> =
    LazyLock::new(|| Captures::new(&["", "/a", "/*/a", "/a/*", "/0", "/*/*/*"]).unwrap_or_else(|error| panic!("{error}")));

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
    if verdict.is_ok() {
        assert_index_finds_members(&document);
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
