//! `POST /v1/push` and `/v1/push/batch`: checks each push wholly before any is sent, and reports what became of them.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::problem::Problem;
use super::{Api, Nodes, body, json};
use crate::control::bus::{Push, Report};
use crate::control::router::Audience;
use crate::protocol::subject::USER_BYTES_MAX;
use crate::protocol::{message, subject};

/// Users that one push may name.
const USERS_MAX: usize = 10_000;
/// Pushes in a batch.
const BATCH_MAX: usize = 1_000;
/// What a request may have beside the body that is pushed: the users, escapes, spaces.
const REQUEST_SLACK_BYTES: usize = 2 << 20;
/// A batch's whole request.
const BATCH_BYTES: usize = 16 << 20;

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Request<'a> {
    to: To,
    path: String,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct To {
    user: Option<String>,
    users: Option<Vec<String>>,
    topic: Option<String>,
    all: Option<bool>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Batch<'a> {
    #[serde(borrow)]
    pushes: Vec<&'a RawValue>,
}

#[derive(Serialize)]
struct Answer {
    matched: u64,
    queued: u64,
    dropped: u64,
    nodes: Nodes,
}

impl From<Report> for Answer {
    fn from(report: Report) -> Self {
        let Report {
            matched,
            queued,
            dropped,
            nodes,
        } = report;
        Self {
            matched,
            queued,
            dropped,
            nodes: nodes.into(),
        }
    }
}

/// `POST /v1/push`
pub async fn one(State(api): State<Arc<Api>>, body: Body) -> Result<Response, Problem> {
    let push_bytes = api.state.settings().limits.push_bytes;
    let push = {
        let request = api.buffers.read(body, push_bytes + REQUEST_SLACK_BYTES).await?;
        check(request.json()?, push_bytes)?
    };
    let reports = send(&api, &[push]).await?;
    Ok(json(&reports.into_iter().next().map(Answer::from)))
}

/// `POST /v1/push/batch`
pub async fn batch(State(api): State<Arc<Api>>, body: Body) -> Result<Response, Problem> {
    let push_bytes = api.state.settings().limits.push_bytes;
    let pushes: Vec<Push> = {
        let request = api
            .buffers
            .read(body, BATCH_BYTES.max(push_bytes + REQUEST_SLACK_BYTES))
            .await?;
        let batch: Batch = request.json()?;
        if batch.pushes.len() > BATCH_MAX {
            let detail = format!("{} pushes, a batch has at most {BATCH_MAX}", batch.pushes.len());
            return Err(Problem::bad_request(detail));
        }
        let checked = batch.pushes.iter().enumerate().map(|(index, raw)| {
            let request = body::object(raw.get().as_bytes())
                .and_then(|()| serde_json::from_str(raw.get()).map_err(|error| body::bad_json(&error)));
            request
                .and_then(|request| check(request, push_bytes))
                .map_err(|problem| problem.of_batch(index))
        });
        checked.collect::<Result<_, _>>()?
    };
    let reports = send(&api, &pushes).await?;
    let results: Vec<Answer> = reports.into_iter().map(Answer::from).collect();
    Ok(json(&serde_json::json!({ "results": results })))
}

async fn send(api: &Api, pushes: &[Push]) -> Result<Vec<Report>, Problem> {
    let reports = api.state.bus.push(pushes).await?;
    api.state.counters.pushes_api.add(pushes.len() as u64);
    Ok(reports)
}

fn check(request: Request<'_>, push_bytes: usize) -> Result<Push, Problem> {
    let audience = audience(request.to)?;
    if !message::valid_path(&request.path) {
        return Err(Problem::bad_request(
            "path: 1 to 256 bytes, segments of A-Z a-z 0-9 _ - joined by /, as in \"order/paid\"",
        ));
    }
    let topic = match &audience {
        Audience::Topic(topic) => Some(topic.as_ref()),
        Audience::Users(_) | Audience::All => None,
    };
    let text = message::push(&request.path, topic, request.body.unwrap_or(RawValue::NULL));
    if text.len() > push_bytes {
        let detail = format!("the push is {} bytes, limits.push_bytes is {push_bytes}", text.len());
        return Err(Problem::too_large(detail));
    }
    Ok(Push {
        audience,
        text: text.into(),
    })
}

fn audience(to: To) -> Result<Audience, Problem> {
    match to {
        To {
            user: Some(user),
            users: None,
            topic: None,
            all: None,
        } => Ok(Audience::Users(vec![user_name(user, "to.user")?])),
        To {
            user: None,
            users: Some(users),
            topic: None,
            all: None,
        } => {
            if users.len() > USERS_MAX {
                let detail = format!("to.users: {} users, a push has at most {USERS_MAX}", users.len());
                return Err(Problem::bad_request(detail));
            }
            let mut seen = HashSet::new();
            let mut names = Vec::with_capacity(users.len());
            for (index, user) in users.into_iter().enumerate() {
                let name = user_name(user, &format!("to.users[{index}]"))?;
                if seen.insert(Arc::clone(&name)) {
                    names.push(name);
                }
            }
            Ok(Audience::Users(names))
        }
        To {
            user: None,
            users: None,
            topic: Some(topic),
            all: None,
        } => {
            if !subject::valid_topic(&topic) {
                return Err(Problem::bad_request(
                    "to.topic: segments of A-Z a-z 0-9 _ - joined by dots, at most 256 bytes, as in \"room.42\"",
                ));
            }
            Ok(Audience::Topic(topic.into()))
        }
        To {
            user: None,
            users: None,
            topic: None,
            all: Some(true),
        } => Ok(Audience::All),
        To { .. } => Err(Problem::bad_request(
            "to: exactly one of {\"user\": \"…\"}, {\"users\": [\"…\"]}, {\"topic\": \"…\"}, {\"all\": true}",
        )),
    }
}

fn user_name(user: String, place: &str) -> Result<Arc<str>, Problem> {
    if !subject::valid_user(&user) {
        return Err(Problem::bad_request(format!(
            "{place}: a user has 1 to {USER_BYTES_MAX} bytes"
        )));
    }
    Ok(user.into())
}
