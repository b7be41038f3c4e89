//! The two forms of a submission's path.

/// The longest path that is looked at, in bytes; the edge refuses longer ones.
const PATH_BYTES_MAX: usize = 10_240;

/// What a path says, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// `telemetry` or another name.
    pub namespace: &'a str,
    /// The document id as it was sent.
    pub document_id: &'a str,
    /// The document type.
    pub doc_type: &'a str,
    /// What only one of the forms says.
    pub form: Form<'a>,
}

/// What only one of the forms says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form<'a> {
    /// `/submit/telemetry/ID/DOCTYPE/APP/VERSION/CHANNEL/BUILD`
    Telemetry {
        /// The application's name.
        app_name: &'a str,
        /// The application's version.
        app_version: &'a str,
        /// The update channel.
        app_update_channel: &'a str,
        /// The build's id.
        app_build_id: &'a str,
    },
    /// `/submit/NAMESPACE/DOCTYPE/VERSION/ID`
    Generic {
        /// The version of the document's schema.
        doc_version: u32,
    },
}

/// Why a path says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// The message has no field `uri`.
    #[error("missing uri")]
    Missing,
    /// The path is over its limit.
    #[error("path too long: {0} > {PATH_BYTES_MAX}")]
    TooLong(usize),
    /// The path has neither form.
    #[error("invalid uri")]
    Invalid(&'static str),
}

impl UriError {
    /// What is wrong in particular.
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Self::Invalid(detail) => Some(detail),
            Self::Missing | Self::TooLong(_) => None,
        }
    }
}

impl<'a> Uri<'a> {
    /// Reads a path. Elements are not empty and there is none too many; a `telemetry` path of four elements whose third is a
    /// number is of the generic form.
    ///
    /// # Errors
    /// Where the path has neither form.
    pub fn parse(path: &'a [u8]) -> Result<Self, UriError> {
        if path.len() > PATH_BYTES_MAX {
            return Err(UriError::TooLong(path.len()));
        }
        let path = std::str::from_utf8(path).map_err(|_| UriError::Invalid("the path is not UTF-8"))?;
        let rest = path.strip_prefix("/submit/").ok_or(UriError::Invalid("the path does not begin with /submit/"))?;
        let mut parts = [""; 7];
        let count = split(rest, &mut parts)?;
        match (count, parts[0]) {
            (7, "telemetry") => Ok(Self::telemetry(&parts)),
            (4, _) => Self::generic(&parts),
            (_, "telemetry") => Err(UriError::Invalid("telemetry needs ID/DOCTYPE/APP/VERSION/CHANNEL/BUILD")),
            _ => Err(UriError::Invalid("the path needs NAMESPACE/DOCTYPE/VERSION/ID")),
        }
    }

    fn telemetry(parts: &[&'a str; 7]) -> Self {
        let [namespace, document_id, doc_type, app_name, app_version, app_update_channel, app_build_id] = *parts;
        Self { namespace, document_id, doc_type, form: Form::Telemetry { app_name, app_version, app_update_channel, app_build_id } }
    }

    fn generic(parts: &[&'a str; 7]) -> Result<Self, UriError> {
        let [namespace, doc_type, version, document_id, ..] = *parts;
        if !version.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(UriError::Invalid("VERSION is not a number"));
        }
        let doc_version = version.parse().map_err(|_| UriError::Invalid("VERSION is beyond 32 bits"))?;
        Ok(Self { namespace, document_id, doc_type, form: Form::Generic { doc_version } })
    }

    /// The schema's version, where the path states it.
    pub fn doc_version(&self) -> Option<u32> {
        match self.form {
            Form::Generic { doc_version } => Some(doc_version),
            Form::Telemetry { .. } => None,
        }
    }
}

/// Splits at slashes into `parts`; says how many there are.
fn split<'a>(rest: &'a str, parts: &mut [&'a str; 7]) -> Result<usize, UriError> {
    let mut count = 0;
    for part in rest.split('/') {
        if part.is_empty() {
            return Err(UriError::Invalid("the path has an empty element"));
        }
        *parts.get_mut(count).ok_or(UriError::Invalid("the path has too many elements"))? = part;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let uri = Uri::parse(b"/submit/telemetry/ce39B608/main/Firefox/61.0a1/nightly/20180328030202");
        let form =
            Form::Telemetry { app_name: "Firefox", app_version: "61.0a1", app_update_channel: "nightly", app_build_id: "20180328030202" };
        assert_eq!(uri, Ok(Uri { namespace: "telemetry", document_id: "ce39B608", doc_type: "main", form }));
        let generic = |namespace| Uri { namespace, document_id: "an id", doc_type: "hgpush", form: Form::Generic { doc_version: 1 } };
        assert_eq!(Uri::parse(b"/submit/eng-workflow/hgpush/1/an id"), Ok(generic("eng-workflow")));
        assert_eq!(Uri::parse(b"/submit/telemetry/hgpush/1/an id"), Ok(generic("telemetry")));
    }

    #[test]
    fn other_paths_are_refused_with_a_reason() {
        let check = |path: &[u8], detail: &str| {
            let error = Uri::parse(path).expect_err("refused");
            assert_eq!((error.to_string().as_str(), error.detail()), ("invalid uri", Some(detail)));
        };
        check(b"", "the path does not begin with /submit/");
        check(b"/submit/", "the path has an empty element");
        check(b"/submit/telemetry", "telemetry needs ID/DOCTYPE/APP/VERSION/CHANNEL/BUILD");
        check(b"/submit/telemetry/id/main/Firefox/61/nightly", "telemetry needs ID/DOCTYPE/APP/VERSION/CHANNEL/BUILD");
        check(b"/submit/telemetry/id/main/Firefox/61/nightly/1/2", "the path has too many elements");
        check(b"/submit/a/b/1/id/", "the path has an empty element");
        check(b"/submit/a/b/1", "the path needs NAMESPACE/DOCTYPE/VERSION/ID");
        check(b"/submit/a/b/1/id/x", "the path needs NAMESPACE/DOCTYPE/VERSION/ID");
        check(b"/submit/a/b/+1/id", "VERSION is not a number");
        check(b"/submit/a/b/4294967296/id", "VERSION is beyond 32 bits");
        check(b"/submit/a/b/1/\xff", "the path is not UTF-8");
        assert_eq!(Uri::parse(&[b'/'; 10_241]).map_err(|error| error.to_string()), Err("path too long: 10241 > 10240".to_owned()));
    }
}
