//! Request bodies: read whole, within a limit, a time, and a sum over all requests. Used by the handlers that take
//! JSON. The content type is not looked at: what is not JSON is refused as such.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::problem::Problem;

/// All bodies that are held at once, together.
const BUFFERED_BYTES_MAX: usize = 64 << 20;
/// How long a body may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);
/// How long a request waits for others' bodies to be done with.
const BUFFERS_WITHIN: Duration = Duration::from_secs(1);
/// What is read past the limit and thrown away, so that a client that is still sending gets to read its 413.
const DISCARDED_BYTES_MAX: usize = 16 << 20;

/// The memory for bodies.
pub struct Buffers(Arc<Semaphore>);

/// A body that was read; its share of the memory is given back when it is dropped.
pub struct Whole {
    bytes: Vec<u8>,
    _share: OwnedSemaphorePermit,
}

impl Buffers {
    /// All of it free.
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(BUFFERED_BYTES_MAX)))
    }

    /// Reads a body of at most `max_bytes`.
    pub async fn read(&self, body: Body, max_bytes: usize) -> Result<Whole, Problem> {
        let expected = body
            .size_hint()
            .upper()
            .map_or(max_bytes, |upper| upper.min(max_bytes as u64) as usize);
        let share = expected.min(BUFFERED_BYTES_MAX) as u32;
        let share = match timeout(BUFFERS_WITHIN, Arc::clone(&self.0).acquire_many_owned(share)).await {
            Ok(Ok(share)) => share,
            Ok(Err(_)) | Err(_) => return Err(Problem::overloaded("too many large requests at once")),
        };
        let bytes = timeout(ARRIVES_WITHIN, read(body, max_bytes)).await.map_err(|_| {
            Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "the request's body did not arrive in time",
            )
        })??;
        Ok(Whole { bytes, _share: share })
    }
}

async fn read(body: Body, max_bytes: usize) -> Result<Vec<u8>, Problem> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    let mut discarded = 0;
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|error| Problem::bad_request(format!("the request's body broke off: {error}")))?;
        let Ok::<Bytes, _>(data) = frame.into_data() else {
            continue;
        };
        if discarded > 0 || bytes.len() + data.len() > max_bytes {
            discarded += data.len();
            bytes = Vec::new();
            if discarded > DISCARDED_BYTES_MAX {
                break;
            }
        } else {
            bytes.extend_from_slice(&data);
        }
    }
    if discarded > 0 {
        return Err(Problem::too_large(format!(
            "the request's body is over {max_bytes} bytes"
        )));
    }
    Ok(bytes)
}

impl Whole {
    /// The body as what the call wants; the problem says where it is not.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        object(&self.bytes)?;
        serde_json::from_slice(&self.bytes).map_err(|error| bad_json(&error))
    }
}

/// serde would take an array for a struct too, its fields in their order.
pub fn object(json: &[u8]) -> Result<(), Problem> {
    match json.trim_ascii_start().first() {
        Some(b'[') => Err(Problem::bad_request(
            "an array stands where an object is wanted".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// serde_json's message ends in the line and column.
pub fn bad_json(error: &serde_json::Error) -> Problem {
    use serde_json::error::Category;
    match error.classify() {
        Category::Data => Problem::bad_request(error.to_string()),
        Category::Io | Category::Syntax | Category::Eof => {
            Problem::new(StatusCode::BAD_REQUEST, "bad_json", format!("not JSON: {error}"))
        }
    }
}
