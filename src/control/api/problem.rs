//! Errors of the HTTP API: RFC 9457 `application/problem+json`, with one member of our own, `code`, which programs can
//! tell apart. Made by every handler.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::control::router::Unanswered;

/// A refused request.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    index: Option<usize>,
    header: Option<(&'static str, &'static str)>,
}

impl Problem {
    /// `code` is one word for programs, `detail` says to a person what is wrong and what to do.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            index: None,
            header: None,
        }
    }

    /// 400: the request is not what the call wants.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// 413.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    /// 503, with a second's pause before the next try.
    pub fn overloaded(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).with_header("retry-after", "1")
    }

    /// Adds a header to the answer.
    pub fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// The problem of one push makes its whole batch a bad request, whatever it was by itself.
    pub fn of_batch(self, index: usize) -> Self {
        let detail = format!("pushes[{index}]: {}", self.detail);
        Self {
            index: Some(index),
            detail,
            status: StatusCode::BAD_REQUEST,
            ..self
        }
    }
}

impl From<Unanswered> for Problem {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::TooLarge => {
                Self::too_large("the push is over what the NATS server takes (its max_payload): it went to nobody")
            }
            Unanswered::NoBus => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "bus_unavailable",
                "NATS is out of reach, and what was asked for is not on this node",
            )
            .with_header("retry-after", "1"),
            Unanswered::Overloaded => {
                Self::overloaded("the node has more to do than it can; some of it may have been done")
            }
            Unanswered::Late => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_report",
                "it was handed over, but what became of it was not reported in time",
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        if let Some(index) = self.index {
            body["index"] = index.into();
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(
            self.header
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
        );
        response
    }
}
