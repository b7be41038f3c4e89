//! One attempt at an HTTP delivery.

use reqwest::{
    Client, Method, StatusCode, Url,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect,
};
use std::time::Duration;

/// The header that carries the idempotency key.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Bytes of an answer that are kept for the reason.
const ANSWER_BYTES_MAX: usize = 512;

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target confirmed it.
    Done,
    /// It may work later.
    Retry {
        /// Why it did not.
        reason: String,
        /// How long the target asks to wait.
        after: Option<Duration>,
    },
    /// It will never work.
    Rejected(String),
}

/// A client for deliveries. Redirects are not followed: they would lead around the allow-list; so would a proxy.
///
/// # Errors
/// When TLS cannot be set up.
pub fn client(timeout: Duration) -> reqwest::Result<Client> {
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(timeout)
        .connect_timeout(timeout.min(Duration::from_secs(10)))
        .build()
}

/// A request that is the same at every attempt.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: bytes::Bytes,
}

impl Request {
    /// Makes a request.
    ///
    /// # Errors
    /// Names the method or header that HTTP does not know.
    pub fn new(method: &str, url: Url, headers: &[(String, String)], key: &str, body: Vec<u8>) -> Result<Self, String> {
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("{method:?} is no HTTP method"))?;
        let mut map = HeaderMap::new();
        let key = (IDEMPOTENCY_KEY.to_owned(), key.to_owned());
        for (name, value) in headers.iter().chain([&key]) {
            let wrong = || format!("header {name:?} is not valid");
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            map.append(name, HeaderValue::from_str(value).map_err(|_| wrong())?);
        }
        Ok(Self { method, url, headers: map, body: body.into() })
    }

    /// Sends it once.
    pub async fn attempt(&self, client: &Client) -> Outcome {
        let Self { method, url, headers, body } = self.clone();
        let answer = client.request(method, url).headers(headers).body(body).send().await;
        match answer {
            // The error's own text has the URL with what may be a secret in its query.
            Err(error) => Outcome::Retry { reason: sentence(&error.without_url()), after: None },
            Ok(answer) if answer.status().is_success() => Outcome::Done,
            Ok(answer) => refused(answer).await,
        }
    }
}

fn sentence(error: &reqwest::Error) -> String {
    let kind = if error.is_timeout() { "timed out: " } else { "" };
    let mut text = format!("{kind}{error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

async fn refused(mut answer: reqwest::Response) -> Outcome {
    let status = answer.status();
    let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            _ => break,
        }
    }
    body.truncate(ANSWER_BYTES_MAX);
    let reason = format!("HTTP {status}: {}", String::from_utf8_lossy(&body).trim());
    if is_final(status) { Outcome::Rejected(reason) } else { Outcome::Retry { reason, after } }
}

/// Whether trying again cannot help: the request itself is refused, or it leads elsewhere.
fn is_final(status: StatusCode) -> bool {
    let may_pass = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS, StatusCode::TOO_EARLY].contains(&status);
    (status.is_client_error() && !may_pass) || status.is_redirection()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_answers_are_final() {
        let check = |status: u16, expected| assert_eq!(is_final(StatusCode::from_u16(status).unwrap()), expected, "{status}");
        [400, 401, 403, 404, 409, 410, 413, 422, 301, 307].into_iter().for_each(|status| check(status, true));
        [408, 425, 429, 500, 502, 503, 504].into_iter().for_each(|status| check(status, false));
    }

    #[test]
    fn broken_requests_are_refused_with_a_reason() {
        let url = || Url::parse("http://127.0.0.1:1/").unwrap();
        let check = |method: &str, name: &str, value: &str, expected: &str| {
            let headers = [(name.to_owned(), value.to_owned())];
            assert_eq!(Request::new(method, url(), &headers, "k", Vec::new()).unwrap_err(), expected);
        };
        check("GE T", "a", "b", "\"GE T\" is no HTTP method");
        check("POST", "a b", "c", "header \"a b\" is not valid");
        check("POST", "a", "b\nc", "header \"a\" is not valid");
    }
}
