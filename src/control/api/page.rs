//! The live page: three files inside the binary. A strict content policy: nothing from elsewhere, nothing inline; the one
//! freedom is to open a WebSocket, which is what its console is for.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};

use super::Api;

const HTML: &str = include_str!("../page/page.html");
const CSS: &str = include_str!("../page/page.css");
const JS: &str = include_str!("../page/page.js");

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
                      connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /`
pub async fn html(State(api): State<Arc<Api>>) -> Response {
    let facts = &api.state.page;
    let html = HTML
        .replace("{{websocket}}", &escape(facts.websocket.as_deref().unwrap_or_default()))
        .replace("{{token}}", &escape(facts.token.as_deref().unwrap_or_default()));
    file("text/html; charset=utf-8", html)
}

/// `GET /page.css`
pub async fn css() -> Response {
    file("text/css; charset=utf-8", CSS)
}

/// `GET /page.js`
pub async fn js() -> Response {
    file("text/javascript; charset=utf-8", JS)
}

fn file(content_type: &'static str, text: impl IntoResponse) -> Response {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // A new version is another page under the same name.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

/// For an attribute in double quotes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}
