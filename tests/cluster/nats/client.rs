//! A small blocking NATS client over a plain socket, by the protocol's own text: code that is not ours on the other end
//! of every subject. It has no reconnect; when its server dies, so does it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::support::client::stream_to;

/// A name in a subject: every byte outside `[A-Za-z0-9_-]` as `%XX`.
pub fn encode(name: &str) -> String {
    let byte = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => char::from(b).to_string(),
        _ => format!("%{b:02X}"),
    };
    name.bytes().map(byte).collect()
}

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Message {
    pub subject: String,
    pub reply: Option<String>,
    pub headers: Vec<(String, String)>,
    pub payload: Vec<u8>,
}

impl Message {
    /// The value of the one header of that name.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} twice: {self:?}");
        value
    }

    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or_else(|e| panic!("not JSON ({e}): {self:?}"))
    }
}

pub struct Nats {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    arrived: VecDeque<Message>,
    last_sid: u32,
    /// The first part of every inbox of this client.
    inbox: String,
    last_inbox: u32,
}

impl Nats {
    #[track_caller]
    pub fn connect(port: u16) -> Self {
        Self::connect_with(port, json!({})).unwrap_or_else(|e| panic!("{e}"))
    }

    /// With more options (`user`, `pass`, …).
    ///
    /// # Errors
    /// What the server or the socket said.
    pub fn connect_with(port: u16, more: Value) -> Result<Self, String> {
        static CLIENTS: AtomicU32 = AtomicU32::new(0);
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
        drop(stream);
        let stream = stream_to(([127, 0, 0, 1], port).into());
        let number = CLIENTS.fetch_add(1, Ordering::Relaxed);
        let mut client = Self {
            writer: stream.try_clone().unwrap(),
            reader: BufReader::new(stream),
            arrived: VecDeque::new(),
            last_sid: 0,
            inbox: format!("_INBOX.test.{}.{number}", std::process::id()),
            last_inbox: 0,
        };
        let mut options = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true, "protocol": 1,
            "lang": "test", "version": "1", "name": "test",
        });
        for (key, value) in more.as_object().unwrap() {
            options[key] = value.clone();
        }
        client.try_write(format!("CONNECT {options}\r\n").as_bytes())?;
        client.try_flush()?;
        Ok(client)
    }

    fn try_write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.writer.write_all(bytes).map_err(|e| e.to_string())
    }

    /// Subscribes; what arrives comes out of `next` with that of all other subscriptions.
    #[track_caller]
    pub fn subscribe(&mut self, subject: &str) {
        self.subscribe_in(subject, "");
    }

    /// Subscribes as one of a queue group.
    #[track_caller]
    pub fn subscribe_in(&mut self, subject: &str, group: &str) {
        self.last_sid += 1;
        let line = format!("SUB {subject} {group} {}\r\n", self.last_sid);
        self.try_write(line.as_bytes()).unwrap();
    }

    #[track_caller]
    pub fn publish(&mut self, subject: &str, payload: impl AsRef<[u8]>) {
        self.try_publish(subject, None, &[], payload.as_ref()).unwrap();
    }

    /// Publishes, with a subject for the answer and headers.
    ///
    /// # Errors
    /// What the socket said.
    pub fn try_publish(
        &mut self,
        subject: &str,
        reply: Option<&str>,
        headers: &[(&str, &str)],
        payload: &[u8],
    ) -> Result<(), String> {
        let reply = reply.unwrap_or("");
        let mut bytes = if headers.is_empty() {
            format!("PUB {subject} {reply} {}\r\n", payload.len()).into_bytes()
        } else {
            let mut head = String::from("NATS/1.0\r\n");
            for (name, value) in headers {
                head += &format!("{name}: {value}\r\n");
            }
            head += "\r\n";
            let whole = head.len() + payload.len();
            format!("HPUB {subject} {reply} {} {whole}\r\n{head}", head.len()).into_bytes()
        };
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(b"\r\n");
        self.try_write(&bytes)
    }

    /// Answers a message.
    #[track_caller]
    pub fn answer(&mut self, message: &Message, headers: &[(&str, &str)], payload: impl AsRef<[u8]>) {
        let reply = message
            .reply
            .as_deref()
            .unwrap_or_else(|| panic!("nowhere to answer: {message:?}"));
        self.try_publish(reply, None, headers, payload.as_ref()).unwrap();
    }

    /// Waits until the server has taken all that was sent; what it had for this client is in `arrived` then.
    #[track_caller]
    pub fn flush(&mut self) {
        self.try_flush().unwrap();
    }

    /// The same.
    ///
    /// # Errors
    /// What the server or the socket said.
    pub fn try_flush(&mut self) -> Result<(), String> {
        self.try_write(b"PING\r\n")?;
        while self.operation()? != Operation::Pong {}
        Ok(())
    }

    /// The next message of any subscription.
    #[track_caller]
    pub fn next(&mut self) -> Message {
        self.try_next().unwrap_or_else(|e| panic!("no message: {e}"))
    }

    /// The same.
    ///
    /// # Errors
    /// What the server or the socket said.
    pub fn try_next(&mut self) -> Result<Message, String> {
        loop {
            if let Some(message) = self.arrived.pop_front() {
                return Ok(message);
            }
            self.operation()?;
        }
    }

    /// Takes what has arrived and was not asked for yet.
    pub fn arrived(&mut self) -> Vec<Message> {
        self.arrived.drain(..).collect()
    }

    /// Publishes and collects exactly that many JSON answers. A message published by the same client with another inbox
    /// afterwards shows whether there were more: see `arrived`.
    #[track_caller]
    pub fn request_many(&mut self, subject: &str, payload: impl AsRef<[u8]>, answers: usize) -> Vec<Value> {
        self.last_inbox += 1;
        let inbox = format!("{}.{}", self.inbox, self.last_inbox);
        // The subscription stays: an answer too many must be seen.
        self.subscribe(&inbox);
        self.try_publish(subject, Some(&inbox), &[], payload.as_ref()).unwrap();
        let mut others = Vec::new();
        let mut found = Vec::new();
        while found.len() < answers {
            let message = self.next();
            if message.subject == inbox {
                found.push(message.json());
            } else {
                others.push(message);
            }
        }
        self.arrived.extend(others);
        found
    }

    /// A handle that ends this client from another thread.
    pub fn ender(&self) -> Ender {
        Ender(self.writer.try_clone().unwrap())
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        loop {
            match self.reader.read_until(b'\n', &mut line) {
                Ok(_) if line.ends_with(b"\r\n") => {
                    line.truncate(line.len() - 2);
                    return String::from_utf8(line).map_err(|e| e.to_string());
                }
                Ok(_) => return Err("the server has closed the connection".into()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.to_string()),
            }
        }
    }

    /// Reads one operation; a message goes to `arrived`, a PING is answered.
    fn operation(&mut self) -> Result<Operation, String> {
        let line = self.line()?;
        let (name, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        match name {
            "PONG" => return Ok(Operation::Pong),
            "PING" => self.try_write(b"PONG\r\n")?,
            "INFO" | "+OK" => {}
            "MSG" => {
                let length = words
                    .last()
                    .and_then(|n| n.parse().ok())
                    .ok_or("a MSG without length")?;
                let payload = self.bytes(length)?;
                self.arrived.push_back(Message {
                    subject: words[0].into(),
                    reply: (words.len() == 4).then(|| words[2].to_owned()),
                    headers: Vec::new(),
                    payload,
                });
            }
            "HMSG" => {
                let length = |back: usize| words[words.len() - back].parse::<usize>().map_err(|e| e.to_string());
                let (head, whole) = (length(2)?, length(1)?);
                let mut bytes = self.bytes(whole)?;
                let payload = bytes.split_off(head);
                let head = String::from_utf8(bytes).map_err(|e| e.to_string())?;
                let split = |line: &str| line.split_once(':').map(|(n, v)| (n.to_owned(), v.trim().to_owned()));
                self.arrived.push_back(Message {
                    subject: words[0].into(),
                    reply: (words.len() == 5).then(|| words[2].to_owned()),
                    headers: head.split("\r\n").skip(1).filter_map(split).collect(),
                    payload,
                });
            }
            _ => return Err(line),
        }
        Ok(Operation::Other)
    }

    /// A payload and its line end.
    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

#[derive(PartialEq, Eq)]
enum Operation {
    Pong,
    Other,
}

/// Ends a client when it is dropped.
pub struct Ender(TcpStream);

impl Drop for Ender {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
