//! The paths pings are posted to.

/// A path of one of the two accepted forms, percent-decoded and normalised as the stream knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmitPath {
    /// For example `/submit/telemetry/ID/main/Firefox/61.0/nightly/20180328030202`.
    pub path: String,
    /// The document id as sent.
    pub document_id: String,
}

/// Reads `/submit/telemetry/ID/DOCTYPE/APP/VERSION/CHANNEL/BUILD` or `/submit/NAMESPACE/DOCTYPE/VERSION/ID`; `None` for any other path.
///
/// Percent escapes are decoded, repeated slashes collapse. Whether namespace, type and version mean anything is for decoding to judge.
pub fn parse(raw: &str) -> Option<SubmitPath> {
    let decoded = decode(raw)?;
    let elements: Vec<&str> = decoded.split('/').filter(|element| !element.is_empty()).collect();
    let id = match elements.as_slice() {
        ["submit", "telemetry", id, _, _, _, _, _] => *id,
        ["submit", namespace, _, _, id] if *namespace != "telemetry" => *id,
        _ => return None,
    };
    Some(SubmitPath { document_id: id.to_owned(), path: format!("/{}", elements.join("/")) })
}

/// The key of a ping: its document id in lower case.
pub fn document_id(path: &SubmitPath) -> String {
    path.document_id.to_ascii_lowercase()
}

/// Percent-decodes; `None` where an escape is broken or the result is not UTF-8.
fn decode(raw: &str) -> Option<String> {
    if !raw.contains('%') {
        return Some(raw.to_owned());
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'%' { hex(bytes.next()?)? * 16 + hex(bytes.next()?)? } else { byte });
    }
    String::from_utf8(out).ok()
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_forms_are_taken_and_nothing_else() {
        let taken = [
            ("/submit/telemetry/Ab-1/main/Firefox/61.0/nightly/2018", "/submit/telemetry/Ab-1/main/Firefox/61.0/nightly/2018", "Ab-1"),
            ("/submit/eng-workflow/hgpush/1/x%20y", "/submit/eng-workflow/hgpush/1/x y", "x y"),
            ("//submit/a//b/c/d", "/submit/a/b/c/d", "d"),
        ];
        for (raw, path, id) in taken {
            assert_eq!(parse(raw), Some(SubmitPath { path: path.into(), document_id: id.into() }), "{raw}");
        }
        for raw in [
            "/",
            "/submit",
            "/submit/telemetry/x/main",
            "/submit/telemetry/x/main/a/b/c/d/e",
            "/submit/a/b/1",
            "/submit/a/b/1/c/d",
            "/submit/a/b/1/%zz",
            "/submit/a/b/1/%ff",
            "/other/a/b/1/c",
        ] {
            assert_eq!(parse(raw), None, "{raw}");
        }
    }
}
