//! A little gateway: clients log in (any token will do), pushes come over `POST /v1/push`, `ping` is answered. Wrong, for
//! every seventh message, in the way that is asked for.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;
use serde_json::Value;

use super::websocket::{frame, read_frame, upgrade};

/// What is wrong with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    Nothing,
    /// What is for one client goes to another.
    ToAnother,
    /// The message's path is not the one that was pushed.
    OtherPath,
    /// Calls are refused.
    RefusesCalls,
    /// Every push is taken and none delivered.
    DeliversNothing,
    /// Every push is refused.
    RefusesPushes,
    /// Nobody is let in.
    RefusesLogins,
}

/// Where it listens.
pub struct Gateway {
    pub clients: SocketAddr,
    pub api: SocketAddr,
    room: Arc<Mutex<Room>>,
}

impl Gateway {
    /// Calls that were answered and pushes that were taken.
    pub fn count(&self) -> u64 {
        self.room.lock().unwrap().count
    }
}

#[derive(Default)]
struct Room {
    members: BTreeMap<String, TcpStream>,
    count: u64,
}

impl Room {
    /// Whether this message is one of those that go wrong.
    fn odd(&mut self) -> bool {
        self.count += 1;
        self.count % 7 == 3
    }

    /// Another than this one.
    fn other(&self, user: &str) -> String {
        self.members.keys().find(|other| *other != user).unwrap().clone()
    }

    fn send(&mut self, user: &str, message: &str) {
        if let Some(stream) = self.members.get_mut(user) {
            let _ = stream.write_all(&frame(0x81, message.as_bytes()));
        }
    }
}

/// Starts it; it lasts as long as the test program.
pub fn start(wrong: Wrong) -> Gateway {
    let room = Arc::new(Mutex::new(Room::default()));
    let listen = |serve: fn(TcpStream, &Mutex<Room>, Wrong)| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let room = Arc::clone(&room);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let room = Arc::clone(&room);
                std::thread::spawn(move || serve(stream, &room, wrong));
            }
        });
        address
    };
    Gateway {
        clients: listen(client),
        api: listen(api),
        room,
    }
}

fn client(mut stream: TcpStream, room: &Mutex<Room>, wrong: Wrong) {
    if upgrade(&mut stream).is_none() {
        return;
    }
    let mut user = String::new();
    while let Some((opcode, payload)) = read_frame(&mut stream) {
        let mut room = room.lock().unwrap();
        if opcode == 8 {
            room.members.remove(&user);
            let _ = stream.write_all(&frame(0x88, &payload));
            return;
        }
        let message: Value = serde_json::from_slice(&payload).unwrap();
        if message["path"] == "connect" {
            let status = if wrong == Wrong::RefusesLogins { 401 } else { 200 };
            user = user_of(message["token"].as_str().unwrap());
            room.members.insert(user.clone(), stream.try_clone().unwrap());
            room.send(
                &user,
                &format!(r#"{{"id":1,"path":"connect","status":{status},"body":{{}}}}"#),
            );
            continue;
        }
        let odd = room.odd();
        let to = if odd && wrong == Wrong::ToAnother {
            room.other(&user)
        } else {
            user.clone()
        };
        let status = if odd && wrong == Wrong::RefusesCalls { 503 } else { 200 };
        let (id, path) = (&message["id"], &message["path"]);
        room.send(
            &to,
            &format!(r#"{{"id":{id},"path":{path},"status":{status},"body":{{}}}}"#),
        );
    }
    room.lock().unwrap().members.remove(&user);
}

fn api(stream: TcpStream, room: &Mutex<Room>, wrong: Wrong) {
    let mut out = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            if let Some(count) = line.strip_prefix("Content-Length: ") {
                length = count.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body).unwrap();
        let (status, answer) = match serde_json::from_slice::<Value>(&body) {
            Ok(push) if wrong != Wrong::RefusesPushes => (200, deliver(&push, room, wrong)),
            _ => (503, "{}".to_owned()),
        };
        let answer = format!(
            "HTTP/1.1 {status} So\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        );
        if out.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn deliver(push: &Value, room: &Mutex<Room>, wrong: Wrong) -> String {
    let mut room = room.lock().unwrap();
    let odd = room.odd();
    let path = if odd && wrong == Wrong::OtherPath {
        "lord"
    } else {
        "load"
    };
    let topic = push["to"]
        .get("topic")
        .map_or_else(String::new, |topic| format!(r#""topic":{topic},"#));
    let message = format!(r#"{{"path":"{path}",{topic}"body":{}}}"#, push["body"]);
    let to: Vec<String> = match push["to"]["user"].as_str() {
        Some(user) if odd && wrong == Wrong::ToAnother => vec![room.other(user)],
        Some(user) => room
            .members
            .contains_key(user)
            .then(|| user.to_owned())
            .into_iter()
            .collect(),
        None => room.members.keys().cloned().collect(),
    };
    for user in to.iter().filter(|_| wrong != Wrong::DeliversNothing) {
        room.send(user, &message);
    }
    format!(r#"{{"matched":{0},"queued":{0},"dropped":0}}"#, to.len())
}

/// The user that a token names.
fn user_of(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["sub"].as_str().unwrap().to_owned()
}
