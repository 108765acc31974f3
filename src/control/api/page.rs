//! The live page: its files, inside the binary. A strict content policy: nothing from elsewhere, nothing inline; the one
//! freedom is to open a WebSocket, which is what its console is for. `api` serves them, and `access` lets everybody have
//! them: what they show, they ask for with a key.

use std::sync::Arc;

use axum::Router as Routes;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Api;

const HTML: &str = include_str!("../page/page.html");

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Where each of its other files is served, what it is, and its text.
const FILES: [(&str, &str, &str); 11] = [
    ("/page.css", CSS, include_str!("../page/page.css")),
    ("/page.js", JS, include_str!("../page/page.js")),
    ("/page/api.js", JS, include_str!("../page/api.js")),
    ("/page/console.js", JS, include_str!("../page/console.js")),
    ("/page/dom.js", JS, include_str!("../page/dom.js")),
    ("/page/format.js", JS, include_str!("../page/format.js")),
    ("/page/metrics.js", JS, include_str!("../page/metrics.js")),
    ("/page/overview.js", JS, include_str!("../page/overview.js")),
    ("/page/plot.js", JS, include_str!("../page/plot.js")),
    ("/page/push.js", JS, include_str!("../page/push.js")),
    ("/page/users.js", JS, include_str!("../page/users.js")),
];

/// A WebSocket may go to any host: the console's address is for whoever uses it to type, and the one worth trying is often
/// that of the proxy before the nodes, which this node does not know. Nor does it know the name under which a browser
/// elsewhere reaches it. No script but the page's own runs, so nobody else can make use of it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
                      connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page and its files.
pub fn routes() -> Routes<Arc<Api>> {
    FILES.into_iter().fold(
        Routes::new().route("/", get(html)),
        |routes, (path, content_type, text)| routes.route(path, get(async move || file(content_type, text))),
    )
}

/// Whether this is the path of the page or of one of its files.
pub fn has(path: &str) -> bool {
    path == "/" || FILES.iter().any(|(file, ..)| *file == path)
}

async fn html(State(api): State<Arc<Api>>) -> Response {
    let facts = &api.state.page;
    let html = HTML
        .replace("{{websocket}}", &escape(facts.websocket.as_deref().unwrap_or_default()))
        .replace("{{token}}", &escape(facts.token.as_deref().unwrap_or_default()));
    file("text/html; charset=utf-8", html)
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
