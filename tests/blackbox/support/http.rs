//! A small HTTP client over `ureq` for the gateway's API.

use std::sync::LazyLock;

use serde_json::Value;

use super::{Gateway, PATIENCE};

static AGENT: LazyLock<ureq::Agent> = LazyLock::new(|| {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(PATIENCE))
        .max_idle_connections(0)
        .build()
        .new_agent()
});

/// An answer of the API, whatever its status.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub content_type: String,
    pub www_authenticate: Option<String>,
    pub allow: Option<String>,
    pub body: String,
}

impl Reply {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {self:?}"))
    }

    /// The body of a 200.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// Checks that this is an RFC 9457 problem of that status, and gives its text.
    #[track_caller]
    pub fn problem(self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.content_type, "application/problem+json", "{self:?}");
        let json = self.json();
        assert!(json.is_object(), "{self:?}");
        if let Some(inside) = json.get("status") {
            assert_eq!(inside, &Value::from(status), "{self:?}");
        }
        self.body
    }
}

/// One request. `Err` only where the connection failed.
pub fn try_request(method: &str, url: &str, key: Option<&str>, body: Option<&str>) -> Result<Reply, ureq::Error> {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if let Some(key) = key {
        request = request.header("Authorization", format!("Bearer {key}"));
    }
    let response = match body {
        Some(body) => AGENT.run(
            request
                .header("Content-Type", "application/json")
                .body(body.to_owned())?,
        ),
        None => AGENT.run(request.body(())?),
    };
    let mut response = response?;
    let header = |name: &str| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
    let (content_type, www_authenticate, allow) = (header("content-type"), header("www-authenticate"), header("allow"));
    Ok(Reply {
        status: response.status().as_u16(),
        content_type: content_type.unwrap_or_default(),
        www_authenticate,
        allow,
        body: response.body_mut().read_to_string()?,
    })
}

impl Gateway {
    /// One request to the gateway's API, with the key that the gateway was started with, if any.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, body: Option<&str>) -> Reply {
        try_request(method, &self.url(path), self.key.as_deref(), body)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.request("GET", path, None)
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Reply {
        self.request("POST", path, Some(&body.to_string()))
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Reply {
        self.request("DELETE", path, None)
    }

    /// Pushes and gives the counts.
    #[track_caller]
    pub fn push(&self, to: Value, path: &str, body: Value) -> Value {
        self.post("/v1/push", serde_json::json!({"to": to, "path": path, "body": body}))
            .ok()
    }

    /// `GET /v1/users/{user}`.
    #[track_caller]
    pub fn user(&self, user: &str) -> Value {
        self.get(&format!("/v1/users/{user}")).ok()
    }

    /// How many connections the user has by the API.
    #[track_caller]
    pub fn connections_of(&self, user: &str) -> usize {
        self.user(user)["connections"].as_array().unwrap().len()
    }

    /// The value of the one sample with that name and labels (`name{label="value"}`), as it stands in `/metrics`.
    #[track_caller]
    pub fn metric(&self, sample: &str) -> Option<f64> {
        let text = self.get("/metrics").body;
        text.lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.trim().parse().ok())
    }

    /// How many connections ended for that reason.
    #[track_caller]
    pub fn closed_for(&self, reason: &str) -> f64 {
        self.metric(&format!("longwire_closed_total{{reason=\"{reason}\"}}"))
            .unwrap_or(0.0)
    }

    /// How many connections were refused for that reason.
    #[track_caller]
    pub fn refused_for(&self, reason: &str) -> f64 {
        self.metric(&format!("longwire_refused_total{{reason=\"{reason}\"}}"))
            .unwrap_or(0.0)
    }
}
