//! The HTTP API: the calls of `docs/http-api.md`, each in the file named after what it is about. Turns requests into
//! calls of the bus and answers into JSON; decides nothing about connections. `control::run` starts it.

mod access;
mod body;
mod history;
mod node;
mod page;
mod problem;
mod push;
mod server;
mod users;

use std::sync::Arc;

use axum::Router as Routes;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use super::bus;
use super::state::State;
use problem::Problem;

pub use server::start;

/// Every call, behind the check of keys.
fn routes(state: &Arc<State>) -> Routes {
    let api = Arc::new(Api {
        state: Arc::clone(state),
        buffers: body::Buffers::new(),
    });
    Routes::new()
        .route("/v1/push", post(push::one))
        .route("/v1/push/batch", post(push::batch))
        .route("/v1/users/{user}", get(users::find).delete(users::kick))
        .route("/v1/users/{user}/history", get(history::recall))
        .route("/v1/connections/{connection}", delete(users::kick_connection))
        .route("/v1/cluster", get(node::cluster))
        .route("/v1/slow", get(node::slow))
        .route("/v1/drain", post(node::drain))
        .route("/metrics", get(node::metrics))
        .route("/healthz", get(node::healthz))
        .route("/readyz", get(node::readyz))
        .merge(page::routes())
        .fallback(no_such_call)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::clone(&api), access::check))
        .with_state(api)
}

/// What the handlers work with.
struct Api {
    state: Arc<State>,
    buffers: body::Buffers,
}

/// Who was asked, and who has answered.
#[derive(serde::Serialize)]
struct Nodes {
    asked: u64,
    answered: u64,
}

impl From<bus::Nodes> for Nodes {
    fn from(nodes: bus::Nodes) -> Self {
        Self {
            asked: nodes.asked,
            answered: nodes.answered,
        }
    }
}

impl Nodes {
    /// What an answer says of the nodes whose shape has no place for it: nothing, unless some did not answer.
    fn if_some_are_missing(nodes: bus::Nodes) -> Option<Self> {
        (nodes.answered < nodes.asked).then(|| nodes.into())
    }
}

/// A JSON answer.
fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => ([("content-type", "application/json")], text).into_response(),
        Err(error) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()).into_response(),
    }
}

async fn no_such_call(uri: Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("there is no {}", uri.path()),
    )
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    // axum adds the `Allow` header, which says what would be.
    let detail = format!("{method} is not for {}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}
