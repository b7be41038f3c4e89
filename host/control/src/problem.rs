//! Errors as RFC 9457 problem details.

use axum::{
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use std::fmt::Display;

/// An error answer.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    /// There is no such thing.
    pub fn missing(detail: impl Display) -> Self {
        Self { status: StatusCode::NOT_FOUND, detail: detail.to_string() }
    }

    /// The request is wrong.
    pub fn bad(detail: impl Display) -> Self {
        Self { status: StatusCode::BAD_REQUEST, detail: detail.to_string() }
    }

    /// The surroundings fail.
    pub fn unavailable(detail: impl Display) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, detail: detail.to_string() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
    }
}

/// The answer to any other path.
pub async fn not_found(uri: Uri) -> Problem {
    Problem::missing(format!("there is nothing at {}", uri.path()))
}
