//! A WebSocket client over `tungstenite`: code that is not ours, speaking to the gateway.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Response;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::{Gateway, PATIENCE, token, wait_until};

/// A TCP or a Unix stream.
trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// A stream whose reads go on after an interruption: a stopped and continued process gets one on every socket that has
/// a time-out, and tungstenite takes it for an error.
struct Uninterrupted<T>(T);

impl<T: Read> Read for Uninterrupted<T> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.0.read(into) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl<T: Write> Write for Uninterrupted<T> {
    fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
        loop {
            match self.0.write(from) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

pub struct Client {
    socket: WebSocket<Box<dyn Duplex>>,
}

/// A TCP stream on which no read or write waits for ever.
pub fn stream_to(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

impl Client {
    /// Upgraded, nothing sent.
    pub fn open(gateway: &Gateway) -> Self {
        Self::open_with(gateway, &[])
    }

    /// Upgraded with extra request headers.
    #[track_caller]
    pub fn open_with(gateway: &Gateway, headers: &[(&'static str, &str)]) -> Self {
        Self::try_open(gateway, headers).unwrap_or_else(|refused| panic!("refused: {refused:?}"))
    }

    /// Upgraded, or the plain HTTP answer that refused it.
    pub fn try_open(gateway: &Gateway, headers: &[(&'static str, &str)]) -> Result<Self, Box<Response>> {
        Self::over(Box::new(Uninterrupted(stream_to(gateway.ws()))), headers)
    }

    /// Upgraded over a Unix socket.
    pub fn open_unix(path: &Path, headers: &[(&'static str, &str)]) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self::over(Box::new(Uninterrupted(stream)), headers).unwrap()
    }

    fn over(stream: Box<dyn Duplex>, headers: &[(&'static str, &str)]) -> Result<Self, Box<Response>> {
        let mut request = "ws://localhost/ws".into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(HandshakeError::Failure(Error::Http(response))) => Err(Box::new(response.map(|_| None))),
            Err(e) => panic!("the handshake failed: {e}"),
        }
    }

    /// Logged in with a token that is good for an hour.
    #[track_caller]
    pub fn login(gateway: &Gateway, user: &str) -> Self {
        Self::login_with(gateway, &token(user), Value::Null)
    }

    /// Logged in with this token and body of `connect`.
    #[track_caller]
    pub fn login_with(gateway: &Gateway, token: &str, body: Value) -> Self {
        let mut client = Self::open(gateway);
        client.connect(token, body);
        client
    }

    /// Sends `connect`, checks that it went well, gives its body.
    #[track_caller]
    pub fn connect(&mut self, token: &str, body: Value) -> Value {
        let mut message = json!({"path": "connect", "id": "login", "token": token});
        if !body.is_null() {
            message["body"] = body;
        }
        let mut reply = self.call(message);
        assert_eq!(reply["status"], 200, "{reply}");
        assert_eq!(
            (&reply["id"], &reply["path"]),
            (&json!("login"), &json!("connect")),
            "{reply}"
        );
        reply["body"].take()
    }

    /// Logged in as this user, and the name of the connection.
    #[track_caller]
    pub fn login_named(gateway: &Gateway, user: &str) -> (Self, String) {
        let mut client = Self::open(gateway);
        let body = client.connect(&token(user), Value::Null);
        (client, body["connection"].as_str().unwrap().to_owned())
    }

    #[track_caller]
    pub fn send_text(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).unwrap();
    }

    #[track_caller]
    pub fn send(&mut self, message: Value) {
        self.send_text(message.to_string());
    }

    /// The next message of any kind, pings and pongs included.
    #[track_caller]
    pub fn message(&mut self) -> Message {
        self.socket.read().unwrap_or_else(|e| panic!("no message: {e}"))
    }

    /// The next text message; pings are answered and passed over.
    #[track_caller]
    pub fn text(&mut self) -> String {
        loop {
            match self.message() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("a text message was due, not {other:?}"),
            }
        }
    }

    /// The next text message, parsed.
    #[track_caller]
    pub fn json(&mut self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("not JSON ({e}): {text}"))
    }

    /// Sends a message and gives the next one that comes back.
    #[track_caller]
    pub fn call(&mut self, message: Value) -> Value {
        self.send(message);
        self.json()
    }

    /// Sends a message, checks that the next one is its refusal: this id, this status, this code, and a text.
    #[track_caller]
    pub fn refused(&mut self, message: Value, status: u16, code: &str) {
        let id = message.get("id").cloned().unwrap_or(Value::Null);
        let reply = self.call(message);
        assert_refusal(&reply, &id, status, code);
    }

    /// Checks that nothing else is on its way: the reply to a `ping` sent now is the next message.
    #[track_caller]
    pub fn fence(&mut self) {
        let reply = self.call(json!({"path": "ping", "id": "fence"}));
        assert_eq!(reply, json!({"id": "fence", "path": "ping", "status": 200, "body": {}}));
    }

    /// The close frame that must come next: code and reason. The client's answer to it is sent.
    #[track_caller]
    pub fn closed(&mut self) -> (u16, String) {
        let (messages, close) = self.until_closed();
        assert!(messages.is_empty(), "only a close was due, not {messages:?}");
        close
    }

    /// Everything up to the close frame, and the close frame.
    #[track_caller]
    pub fn until_closed(&mut self) -> (Vec<String>, (u16, String)) {
        let mut messages = Vec::new();
        loop {
            match self.message() {
                Message::Text(text) => messages.push(text.to_string()),
                Message::Close(Some(frame)) => {
                    let _ = self.socket.flush();
                    return (messages, (frame.code.into(), frame.reason.to_string()));
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("a text or a close with a code was due, not {other:?}"),
            }
        }
    }

    /// Closes with 1000 and waits until the gateway has closed too.
    #[track_caller]
    pub fn close(mut self) {
        self.socket
            .close(Some(tungstenite::protocol::CloseFrame {
                code: 1000.into(),
                reason: "".into(),
            }))
            .unwrap();
        loop {
            match self.socket.read() {
                Ok(_) => {}
                Err(Error::ConnectionClosed) => return,
                Err(e) => panic!("not a clean close: {e}"),
            }
        }
    }

    /// Whether the gateway has ended this connection's stream by now; reads until it has.
    pub fn wait_ended(mut self) {
        while self.socket.read().is_ok() {}
    }
}

/// Checks the shape of an error reply.
#[track_caller]
pub fn assert_refusal(reply: &Value, id: &Value, status: u16, code: &str) {
    assert_eq!(reply["status"], status, "{reply}");
    assert_eq!(reply["error"]["code"], code, "{reply}");
    assert!(
        reply["error"]["message"].as_str().is_some_and(|m| !m.is_empty()),
        "{reply}"
    );
    assert_eq!(&reply["id"], id, "{reply}");
    assert!(reply.get("body").is_none(), "{reply}");
}

impl Gateway {
    /// Waits until the user has that many connections by the API.
    pub fn wait_connections(&self, user: &str, connections: usize) {
        wait_until(&format!("{user} to have {connections} connections"), || {
            self.connections_of(user) == connections
        });
    }
}

/// Keeps a client's socket read, so that it answers pings, for as long as `condition` is not met.
pub fn pump_until(client: &mut Client, what: &str, stream: &TcpStream, mut condition: impl FnMut() -> bool) {
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    wait_until(what, || {
        match client.socket.read() {
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            Ok(other) => panic!("only pings were due, not {other:?}"),
            Err(Error::Io(e)) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(e) => panic!("{e}"),
        }
        condition()
    });
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
}

/// A client and a second handle on its stream.
pub fn open_with_stream(gateway: &Gateway) -> (Client, TcpStream) {
    let stream = stream_to(gateway.ws());
    let handle = stream.try_clone().unwrap();
    (Client::over(Box::new(Uninterrupted(stream)), &[]).unwrap(), handle)
}
