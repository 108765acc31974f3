//! What is asked of the node itself: `/v1/cluster`, `/v1/slow`, `/v1/drain`, `/metrics`, `/healthz`, `/readyz`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::problem::Problem;
use super::{Api, json};
use crate::metrics::render::{Exposition, render};

/// `GET /v1/cluster`
pub async fn cluster(State(api): State<Arc<Api>>) -> Response {
    let nodes = api.state.bus.members().into_iter().map(|member| {
        json!({
            "name": member.name,
            "version": member.version,
            "since_ms": member.since_ms,
            "connections": member.connections,
            "logins_per_s": member.logins_per_s,
            "logins_max_per_s": member.logins_max_per_s,
            "state": if member.draining { "draining" } else { "up" },
        })
    });
    json(&json!({ "nodes": nodes.collect::<Vec<_>>() }))
}

/// How many connections `GET /v1/slow` shows unless told.
const SLOW_DEFAULT: usize = 10;
/// And at most: it is for a look, and each reactor sorts as many.
const SLOW_MAX: usize = 100;

/// `GET /v1/slow`
pub async fn slow(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let limit = slow_limit(uri.query().unwrap_or_default())
        .ok_or_else(|| Problem::bad_request(format!("limit is a number from 1 to {SLOW_MAX}: /v1/slow?limit=20")))?;
    let slowest = api.state.router.slowest(limit).await?;
    let connections = slowest.into_iter().map(|slow| {
        json!({
            "connection": slow.connection.to_string(),
            "user": slow.user,
            "device": slow.device,
            "remote": slow.remote,
            "queued_bytes": slow.queued_bytes,
        })
    });
    let node = &api.state.settings().server.node;
    Ok(json(
        &json!({ "node": node, "connections": connections.collect::<Vec<_>>() }),
    ))
}

/// `limit` in a query; other parameters are passed over.
fn slow_limit(query: &str) -> Option<usize> {
    let Some(limit) = query.split('&').find_map(|pair| pair.strip_prefix("limit=")) else {
        return Some(SLOW_DEFAULT);
    };
    limit.parse().ok().filter(|limit| (1..=SLOW_MAX).contains(limit))
}

/// `POST /v1/drain`
pub async fn drain(State(api): State<Arc<Api>>) -> Response {
    api.state.drain_wanted.notify_one();
    let body = json!({ "draining": true, "window_ms": api.state.settings().timeouts.drain_ms });
    (StatusCode::ACCEPTED, json(&body)).into_response()
}

/// `GET /metrics`
pub async fn metrics(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Problem> {
    let accepts = |value: &axum::http::HeaderValue| {
        value
            .to_str()
            .is_ok_and(|accept| accept.contains("application/openmetrics-text"))
    };
    let exposition = if headers.get_all(ACCEPT).iter().any(accepts) {
        Exposition::OpenMetrics
    } else {
        Exposition::Text
    };
    let state = Arc::clone(&api.state);
    // Counting descriptors reads a directory of as many entries: not on the thread that everything else runs on.
    let table_per_reactor = state.settings().server.descriptor_table_per_reactor;
    let render = move || render(&state.counters, &state.shared, table_per_reactor, exposition);
    let rendered = tokio::task::spawn_blocking(render).await;
    let internal = |error: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error);
    let text = rendered
        .map_err(|error| internal(error.to_string()))?
        .map_err(|error| internal(error.to_string()))?;
    Ok(([(CONTENT_TYPE, exposition.content_type())], text).into_response())
}

/// `GET /healthz`
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`
pub async fn readyz(State(api): State<Arc<Api>>) -> Result<&'static str, Problem> {
    match api.state.ready() {
        Ok(()) => Ok("ready\n"),
        Err(reason) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", reason)),
    }
}
