//! `GET /v1/users/{user}/history`: what the flight recorders of all nodes remember of a user.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde::Serialize;

use super::problem::Problem;
use super::users::checked;
use super::{Api, Nodes, json};
use crate::control::history::{EVENTS_MAX, Event, Question};
use crate::links::ConnectionId;

/// Events in an answer whose question names no limit.
const EVENTS_DEFAULT: usize = 100;

#[derive(Serialize)]
struct History {
    user: String,
    since_ms: Option<u64>,
    more: bool,
    events: Vec<Event>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Nodes>,
}

/// `GET /v1/users/{user}/history`, with `?connection=` and `?limit=`
pub async fn recall(
    State(api): State<Arc<Api>>,
    user: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let question = question(checked(user)?, query.as_deref().unwrap_or_default())?;
    let (mut answer, nodes) = api.state.bus.history(&question).await?;
    answer.cut_to(question.limit);
    Ok(json(&History {
        user: question.user,
        since_ms: answer.since_ms,
        more: answer.more,
        events: answer.events,
        nodes: Nodes::if_some_are_missing(nodes),
    }))
}

/// Neither a connection nor a number has a character that would be percent-encoded.
fn question(user: String, query: &str) -> Result<Question, Problem> {
    let mut question = Question {
        user,
        connection: None,
        limit: EVENTS_DEFAULT,
    };
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("connection", id)) if id.parse::<ConnectionId>().is_ok() => question.connection = Some(id.into()),
            Some(("connection", _)) => {
                let what =
                    "connection: give the id that the client was told at its login, as in 8e7be4e6760e5a45-1-0-1";
                return Err(Problem::bad_request(what));
            }
            Some(("limit", limit)) => match limit.parse() {
                Ok(limit @ 1..=EVENTS_MAX) => question.limit = limit,
                _ => return Err(Problem::bad_request(format!("limit: a number from 1 to {EVENTS_MAX}"))),
            },
            _ => {}
        }
    }
    Ok(question)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_query_is_read_and_what_is_wrong_is_said() {
        let asked = |query| question("u".into(), query).ok();
        assert_eq!(asked("").unwrap().limit, EVENTS_DEFAULT);
        let both = asked("limit=7&connection=8e7be4e6760e5a45-1-0-1&x=y").unwrap();
        assert_eq!(
            (both.limit, both.connection.as_deref()),
            (7, Some("8e7be4e6760e5a45-1-0-1"))
        );
        for wrong in [
            "limit=0",
            "limit=1001",
            "limit=x",
            "limit=",
            "connection=",
            "connection=7",
        ] {
            assert!(asked(wrong).is_none(), "{wrong}");
        }
    }
}
