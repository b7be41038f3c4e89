//! The paths of submissions, at the edge and in the decode stage.

use tidemill_edge::parse_path;
use tidemill_pipeline::decode::{Form, Uri};

/// A path: what is read of it, put together again, is the path.
pub fn uri(bytes: &[u8]) {
    if let Ok(uri) = Uri::parse(bytes) {
        assert_eq!(written(&uri).as_bytes(), without_leading_zeros(bytes), "the parts make the path");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(path) = parse_path(text) else { return };
    assert!(path.path.starts_with("/submit/") && path.path.len() <= text.len() + 1, "{}", path.path);
    // What the edge takes says its id again behind it, unless a percent escape has brought in what the other form is made of.
    if let Ok(uri) = Uri::parse(path.path.as_bytes()) {
        assert!(!uri.document_id.is_empty() && !uri.document_id.contains('/'));
        assert_eq!(uri.document_id, path.document_id, "the edge and the decode stage read one id");
    }
}

fn written(uri: &Uri<'_>) -> String {
    let Uri { namespace, document_id, doc_type, form } = uri;
    match form {
        Form::Telemetry { app_name, app_version, app_update_channel, app_build_id } => {
            format!("/submit/{namespace}/{document_id}/{doc_type}/{app_name}/{app_version}/{app_update_channel}/{app_build_id}")
        }
        Form::Generic { doc_version } => format!("/submit/{namespace}/{doc_type}/{doc_version}/{document_id}"),
    }
}

/// A version may be written with zeros in front.
fn without_leading_zeros(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let parts = parts.iter().enumerate().map(|(at, part)| {
        let zeros = part.iter().take_while(|byte| **byte == b'0').count().min(part.len().saturating_sub(1));
        let is_version = at == 4 && parts.len() == 6 && part.iter().all(u8::is_ascii_digit);
        if is_version { &part[zeros..] } else { part }
    });
    parts.collect::<Vec<_>>().join(&b'/')
}
