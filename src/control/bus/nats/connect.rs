//! The connection to NATS: its options, and what is known of its state. Reconnecting is async-nats's own doing; here is
//! how fast it tries, and what it says meanwhile. Made by `join`; `heart` watches it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, ServerError};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::config::settings::Nats as Settings;
use crate::metrics::Seldom;

/// A server that says nothing is asked this often whether it is there; after two questions without an answer the
/// connection is given up: a paused server is noticed after three times this, before the other nodes are taken for dead.
const PING_EVERY: Duration = Duration::from_secs(1);
/// How long a connect may take, with TLS and login.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// The longest pause before the next try. A restarted server is found within this, and a hundred nodes that look for it
/// ask it two hundred times a second at most.
const RETRY_MS_MAX: u64 = 1_000;
/// Messages of one subscription that may wait for `ingest`. It takes them as fast as they are read, so this is only what
/// one turn of async-nats's own task can bring.
const SUBSCRIPTION_MESSAGES: usize = 524_288;
/// Messages that async-nats may hold beside its write buffer; `publisher` bounds their bytes.
const COMMANDS: usize = 256;
/// How long a look at a server's port may take.
const PORT_WITHIN: Duration = Duration::from_secs(1);
/// How often a complaint of the server, or of async-nats, is logged.
const COMPLAINT_EVERY_MS: u64 = 1_000;
/// What async-nats reads at once. It reads up to 128 times (tokio's budget) before anybody else gets a turn, so this
/// bounds that turn to 2 MiB of messages, some 10 ms.
const READ_BYTES: u16 = 16 * 1024;

/// What is known of the connection.
pub struct Link {
    servers: String,
    /// `<prefix>.`
    prefix: String,
    trouble: Mutex<Trouble>,
    complaints: Mutex<Complaints>,
    began: Instant,
    /// Rung when something changed.
    pub changed: Notify,
}

/// What keeps the log short.
struct Complaints {
    of_client: Seldom,
    /// The last of async-nats's that was logged since it was connected.
    client_said: Option<String>,
    of_server: Seldom,
}

#[derive(Default)]
struct Trouble {
    /// Why it is not there, as async-nats last said.
    connecting: Option<String>,
    /// A permission that the server refuses, and without which the node is deaf or mute.
    refused: Option<String>,
    /// What a look at the servers' ports has shown.
    ports: Option<String>,
}

impl Link {
    fn heard(&self, event: &Event) {
        {
            let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
            let now_ms = self.began.elapsed().as_millis() as u64;
            match event {
                Event::Connected => {
                    *trouble = Trouble::default();
                    complaints.client_said = None;
                }
                Event::ClientError(error) => {
                    let text = error.to_string();
                    // What was not logged, because it came too soon after another, is when it comes again.
                    if complaints.client_said.as_deref() != Some(&text)
                        && let Some(not_logged) = complaints.of_client.says(now_ms)
                    {
                        tracing::warn!(not_logged, "{}: {text}; going on trying", self.servers);
                        complaints.client_said = Some(text.clone());
                    }
                    trouble.connecting = Some(text);
                }
                Event::ServerError(error) => {
                    if let Some(not_logged) = complaints.of_server.says(now_ms) {
                        tracing::error!(not_logged, "NATS says: {error}");
                    }
                    if let ServerError::Other(text) = error
                        && self.is_needed(text)
                    {
                        trouble.refused = Some(text.clone());
                    }
                }
                Event::LameDuckMode => tracing::info!("this NATS server is about to stop"),
                // `ingest` counts what is lost, `heart` tells of the rest.
                _ => {}
            }
        }
        self.changed.notify_one();
    }

    /// Whether the node cannot do its work without what this complaint refuses: everything but single paths and events.
    fn is_needed(&self, complaint: &str) -> bool {
        let refused = complaint.to_ascii_lowercase().contains("permissions violation");
        let subject = complaint.split('"').nth(1).unwrap_or_default();
        let own = subject.strip_prefix(&self.prefix).unwrap_or_default();
        refused && !own.starts_with("call.") && !own.starts_with("event.")
    }

    /// Why NATS is out of reach, as far as is known.
    pub fn trouble(&self) -> String {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let said = trouble.connecting.as_deref().unwrap_or("no answer");
        match &trouble.ports {
            Some(ports) => format!("{said} ({ports})"),
            None => said.into(),
        }
    }

    /// Looks whether anybody listens at these URLs: what async-nats says is a single word.
    pub async fn look_at_ports(&self, urls: &[String]) {
        let looks = urls.iter().map(|url| {
            let address = address(url);
            tokio::spawn(async move { (timeout(PORT_WITHIN, TcpStream::connect(&address)).await, address) })
        });
        let mut seen = Vec::new();
        for look in looks.collect::<Vec<_>>() {
            // A look that did not end has nothing to say.
            let Ok((look, address)) = look.await else { continue };
            let what = match look {
                Ok(Ok(_)) => "somebody listens there: NATS may hang, or want other credentials, or TLS with a \
                              certificate that nats.tls_ca_file or the system knows"
                    .into(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".into(),
            };
            seen.push(format!("{address}: {what}"));
        }
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).ports = Some(seen.join("; "));
    }

    /// What the server refuses this node, if that makes it deaf.
    pub fn refused(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .refused
            .clone()
    }
}

/// Host and port of a server's URL.
fn address(url: &str) -> String {
    let host = url
        .split_once("://")
        .map_or(url, |(_, host)| host)
        .trim_end_matches('/');
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(before, _)| !before.contains(':') || before.ends_with(']'));
    match has_port {
        true => host.into(),
        false => format!("{host}:4222"),
    }
}

/// Whether NATS is in reach.
pub fn is_connected(client: &Client) -> bool {
    client.connection_state() == State::Connected
}

/// Begins to connect, and goes on for ever. `node` is how the server's own monitoring names this connection.
///
/// # Errors
/// The settings cannot be used, as a sentence.
pub async fn connect(settings: &Settings, node: &str) -> Result<(Client, Arc<Link>), String> {
    // TLS takes the process's crypto library, which nobody may have chosen yet; a second choice is no error.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let link = Arc::new(Link {
        servers: settings.url.join(", "),
        prefix: format!("{}.", settings.prefix),
        trouble: Mutex::default(),
        complaints: Mutex::new(Complaints {
            of_client: Seldom::new(COMPLAINT_EVERY_MS),
            client_said: None,
            of_server: Seldom::new(COMPLAINT_EVERY_MS),
        }),
        began: Instant::now(),
        changed: Notify::new(),
    });
    let told = Arc::clone(&link);
    let mut options = ConnectOptions::new()
        .name(format!("longwire {node}"))
        .no_echo()
        .retry_on_initial_connect()
        .max_reconnects(None)
        .client_capacity(COMMANDS)
        .ping_interval(PING_EVERY)
        .connection_timeout(CONNECT_WITHIN)
        .reconnect_delay_callback(retry_pause)
        .subscription_capacity(SUBSCRIPTION_MESSAGES)
        .read_buffer_capacity(READ_BYTES)
        // Subjects are made here, of parts that are checked.
        .skip_subject_validation(true)
        .event_callback(move |event| {
            told.heard(&event);
            async {}
        });
    if let Some(path) = &settings.credentials_file {
        options = options
            .credentials_file(path)
            .await
            .map_err(|error| format!("nats.credentials_file: {error}"))?;
    }
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        options = options.user_and_password(user.clone(), password.clone());
    }
    if let Some(token) = &settings.token {
        options = options.token(token.clone());
    }
    if let Some(path) = &settings.tls_ca_file {
        options = options.add_root_certificates(path.clone());
    }
    let client = options
        .connect(settings.url.as_slice())
        .await
        .map_err(|error| format!("nats.url: {error}"))?;
    Ok((client, link))
}

/// At once, then twice as long each time, half of it by chance so that the nodes of a cluster do not come together.
fn retry_pause(attempts: usize) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    let longest_ms = (10 << attempts.min(10)).min(RETRY_MS_MAX);
    Duration::from_millis(fastrand::u64(longest_ms / 2..=longest_ms))
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn a_url_s_port_is_its_own_or_4222() {
        for (url, expected) in [
            ("nats://a:5", "a:5"),
            ("tls://a.example/", "a.example:4222"),
            ("a", "a:4222"),
            ("nats://[::1]:7", "[::1]:7"),
            ("nats://[::1]", "[::1]:4222"),
        ] {
            assert_eq!(address(url), expected);
        }
    }
}
