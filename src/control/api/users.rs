//! `GET` and `DELETE /v1/users/{user}`, `DELETE /v1/connections/{connection}`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::problem::Problem;
use super::{Api, Nodes, json};
use crate::control::bus::Found;
use crate::links::ConnectionId;
use crate::protocol::subject::{USER_BYTES_MAX, valid_user};

/// The close code of a kick.
const KICKED: u16 = 4403;
/// The close frame's reason.
const KICKED_TEXT: &str = "kicked";

#[derive(Serialize)]
struct Connection {
    connection: String,
    node: String,
    device: Option<String>,
    since_ms: u64,
    expires_at: Option<u64>,
    topics: Vec<String>,
    remote: Option<std::net::IpAddr>,
}

impl From<Found> for Connection {
    fn from(Found { node, info }: Found) -> Self {
        Self {
            connection: info.connection.to_string(),
            node,
            device: info.device,
            since_ms: info.since_ms,
            expires_at: info.expires_at,
            topics: info.topics,
            remote: info.remote,
        }
    }
}

#[derive(Serialize)]
struct User {
    user: String,
    online: bool,
    connections: Vec<Connection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Nodes>,
}

#[derive(Serialize)]
struct Closed {
    closed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Nodes>,
}

/// `GET /v1/users/{user}`
pub async fn find(State(api): State<Arc<Api>>, user: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let user = checked(user)?;
    let (found, nodes) = api.state.bus.find_user(&user).await?;
    let mut connections: Vec<Connection> = found.into_iter().map(Connection::from).collect();
    // Reactors answer in no particular order; a reader expects one.
    connections.sort_by(|a, b| (a.since_ms, &a.connection).cmp(&(b.since_ms, &b.connection)));
    Ok(json(&User {
        user,
        online: !connections.is_empty(),
        connections,
        nodes: Nodes::if_some_are_missing(nodes),
    }))
}

/// `DELETE /v1/users/{user}`
pub async fn kick(State(api): State<Arc<Api>>, user: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let user = checked(user)?;
    let (closed, nodes) = api.state.bus.kick_user(&user, KICKED, KICKED_TEXT).await?;
    tracing::info!(user, closed, "kicked a user");
    let nodes = Nodes::if_some_are_missing(nodes);
    Ok(json(&Closed { closed, nodes }))
}

/// `DELETE /v1/connections/{connection}`
pub async fn kick_connection(
    State(api): State<Arc<Api>>,
    connection: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such connection");
    let Path(text) = connection.map_err(|_| unknown())?;
    let connection: ConnectionId = text.parse().map_err(|()| unknown())?;
    let closed = api.state.bus.kick_connection(connection, KICKED, KICKED_TEXT).await?;
    if closed == 0 {
        return Err(unknown());
    }
    tracing::info!(%connection, "kicked a connection");
    Ok(json(&Closed { closed, nodes: None }))
}

pub(super) fn checked(user: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    match user {
        Ok(Path(user)) if valid_user(&user) => Ok(user),
        Ok(_) => Err(Problem::bad_request(format!("a user has 1 to {USER_BYTES_MAX} bytes"))),
        Err(rejection) => Err(Problem::bad_request(rejection.body_text())),
    }
}
