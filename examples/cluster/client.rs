//! A client of the cluster example: a thread with a WebSocket that tells what it sees, and that goes to the next node
//! when it loses its connection. Knows nothing of HTTP or NATS; `main` starts it.

use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

/// How often a silent client looks whether it has something to send.
const TURN: Duration = Duration::from_millis(10);
/// How long a client waits before it tries the next node. A real one waits a random time: docs/protocol.md says how.
const PAUSE: Duration = Duration::from_secs(1);

/// A node as the clients and the walk know it.
#[derive(Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: String,
    /// Where clients connect.
    pub websocket: String,
    /// Where its API is.
    pub api: String,
}

impl Node {
    /// From `NAME,PID,WEBSOCKET_URL,API_URL`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split(',').collect();
        let [name, pid, websocket, api] = fields.as_slice() else {
            return Err(format!("no node: {text}"));
        };
        let own = |text: &str| text.to_owned();
        Ok(Self {
            name: own(name),
            pid: own(pid),
            websocket: own(websocket),
            api: own(api),
        })
    }
}

/// What happened to a client.
pub enum Seen {
    /// It is logged in.
    LoggedIn,
    /// A push, as it came.
    Push(String),
    /// The reply to the ping that `fence` asked for.
    Fence,
    /// It has no connection any more.
    Lost(String),
}

/// What happened, to which client, on which node, when.
pub struct Saw {
    /// The client's number.
    pub client: usize,
    /// The node's number.
    pub node: usize,
    /// What it was.
    pub what: Seen,
    /// When it was read from the socket.
    pub at: Instant,
}

/// A running client.
pub struct Client {
    fences: Sender<()>,
}

impl Client {
    /// Starts a client on the node with its own number.
    pub fn start(number: usize, name: &'static str, token: &str, nodes: &[Node], report: Sender<Saw>) -> Self {
        let (fences, asked) = mpsc::channel();
        let login = json!({"path": "connect", "id": "login", "token": token, "body": {"device": name}});
        let nodes = nodes.to_vec();
        thread::spawn(move || {
            for node in (0..nodes.len()).cycle().skip(number) {
                let tell = |what| {
                    let at = Instant::now();
                    // Nobody listens any more: the program ends, and this thread with it.
                    let _ = report.send(Saw {
                        client: number,
                        node,
                        what,
                        at,
                    });
                };
                let Err(why) = session(&nodes[node], &login.to_string(), &asked, &tell);
                tell(Seen::Lost(why.to_string()));
                thread::sleep(PAUSE);
            }
        });
        Self { fences }
    }

    /// Sends a ping, whose reply is seen as `Seen::Fence`: everything that the node queued before has come before it.
    pub fn fence(&self) {
        let _ = self.fences.send(());
    }
}

/// Logs in and reads until the connection ends.
fn session(
    node: &Node,
    login: &str,
    fences: &Receiver<()>,
    tell: &impl Fn(Seen),
) -> Result<std::convert::Infallible, Box<dyn std::error::Error>> {
    let address = node.websocket.trim_start_matches("ws://").trim_end_matches("/ws");
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = tungstenite::client(node.websocket.as_str(), stream).map_err(|error| error.to_string())?;
    socket.get_ref().set_read_timeout(Some(TURN))?;
    socket.send(Message::text(login))?;
    loop {
        if fences.try_recv().is_ok() {
            socket.send(Message::text(r#"{"path":"ping","id":"fence"}"#))?;
        }
        let Some(text) = read(&mut socket)? else {
            continue;
        };
        let message: Value = serde_json::from_str(&text)?;
        match (message["id"].as_str(), message["status"].as_u64()) {
            (_, None) => tell(Seen::Push(text)),
            (Some("login"), Some(200)) => tell(Seen::LoggedIn),
            (Some("fence"), Some(200)) => tell(Seen::Fence),
            _ => return Err(text.into()),
        }
    }
}

/// The next text message, if one comes within a turn. tungstenite answers pings itself.
fn read(socket: &mut WebSocket<TcpStream>) -> Result<Option<String>, Box<dyn std::error::Error>> {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    match socket.read() {
        Ok(Message::Text(text)) => Ok(Some(text.to_string())),
        Ok(Message::Close(Some(frame))) => Err(format!("{} {}", frame.code, frame.reason).into()),
        Ok(_) => Ok(None),
        Err(Error::Io(error)) if matches!(error.kind(), WouldBlock | TimedOut | Interrupted) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
