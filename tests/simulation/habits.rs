//! What clients do of their own accord.

use std::net::{IpAddr, Ipv4Addr};

use longwire::metrics::CloseReason;

use crate::frames::{self, close_payload, frame};
use crate::messages::{self, Body, Head, Message, Sent};
use crate::settings;
use crate::tokens::{Claims, Token};
use crate::wire::End;
use crate::world::World;

pub const TOPICS: [&str; 5] = ["news", "room.1", "room.2", "room.3", "secret"];
const PATHS: [&str; 4] = ["order/create", "order/pay", "chat/send", "admin/kick"];

impl World {
    /// Everybody reads a little, and some say something.
    pub fn clients_act(&mut self) {
        for r in 0..self.reactors.len() {
            for c in self.reactors[r].open.clone() {
                self.client_acts(c);
            }
            if self.chance(4) {
                self.storm(r);
            }
        }
    }

    /// Everybody logs in at once, with more tokens than one turn has time for.
    fn storm(&mut self, r: usize) {
        let talking: Vec<usize> = self.reactors[r]
            .open
            .iter()
            .copied()
            .filter(|&c| self.clients[c].talks())
            .collect();
        for (place, c) in talking.into_iter().enumerate().take(16) {
            if place < 5 {
                self.say_message(c, "connect", Token::Costly, Body::Absent);
            }
            if self.chance(70) {
                self.say_connect(c);
            }
            self.clients[c].arrive(usize::MAX);
        }
    }

    /// New clients come to a reactor.
    pub fn clients_come(&mut self, r: usize) {
        let (wanted, at_once) = if self.is_crowd() { (700, 60) } else { (20, 3) };
        for _ in 0..at_once {
            if self.reactors[r].open.len() < wanted && self.chance(40) {
                self.client_comes(r);
            }
        }
    }

    fn client_comes(&mut self, r: usize) {
        let direct = IpAddr::V4(Ipv4Addr::new(10, 0, 0, self.random.u8(..3)));
        let proxy = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (peer, forwarded, client) = match self.random.u8(..4) {
            0 => (None, None, None),
            1 => (None, Some(direct), Some(direct)),
            2 => (Some(proxy), Some(direct), Some(direct)),
            // Whoever is no proxy may claim what it likes.
            _ => (Some(direct), Some(proxy), Some(direct)),
        };
        let c = self.open_client(r, peer);
        let patient = self.is_crowd() || !self.chance(15);
        if !patient {
            // It never gets to a valid request.
            self.clients[c].be_done();
            let (text, head, from) = messages::wrong_head(&mut self.random);
            match self.random.u8(..4) {
                0 => self.clients[c].wire.send(b"GET /ws HT"),
                1 => {}
                _ => self.clients[c].say_from(Sent::Head(head), text.as_bytes(), from),
            }
            return;
        }
        let origins = [None, Some(settings::ORIGIN), Some("https://bad.example")];
        let origin = if self.is_crowd() {
            None
        } else {
            origins[usize::from(self.random.u8(..6)).saturating_sub(3)]
        };
        let protocol = self.random.bool();
        let text = messages::good_head(origin, forwarded, protocol);
        self.clients[c].say(
            Sent::Head(Head::Good {
                origin,
                client,
                protocol,
            }),
            text.as_bytes(),
        );
        if self.is_crowd() || self.chance(70) {
            self.say_connect(c);
        }
    }

    fn client_acts(&mut self, c: usize) {
        let manner = self.clients[c].manner;
        let winding_down = self.closing_down;
        if self.chance(manner.arrives) || winding_down {
            let most = if winding_down { usize::MAX } else { manner.piece };
            let bytes = self.random.usize(1..=most);
            self.clients[c].arrive(bytes);
        }
        if self.chance(manner.reads) {
            let bytes = self.random.usize(1..=manner.piece);
            let random = &mut self.random;
            self.clients[c].listen(random, bytes);
        }
        // A refused or failed client goes when it is told that there is nothing more.
        if self.clients[c].wire.server_ended && self.chance(30) {
            self.clients[c].wire.end(End::Fin);
        }
        let busy = if self.is_crowd() { 1 } else { 20 };
        if self.clients[c].talks() && self.chance(busy) {
            if !self.clients[c].model.is_open() && self.chance(40) {
                self.say_connect(c);
            } else {
                self.client_says(c);
            }
        }
    }

    fn client_says(&mut self, c: usize) {
        match self.random.u8(..100) {
            0..20 => self.say_connect(c),
            20..28 => self.say_token(c),
            28..45 => self.say_subscribe(c),
            45..70 => self.say_call(c),
            70..76 => self.say_message(c, "ping", Token::Absent, Body::Absent),
            76..78 => self.say_message(c, "resume", Token::Absent, Body::Absent),
            78..83 => {
                let payload = vec![self.random.u8(..); self.random.usize(..=125)];
                let (client, random) = (&mut self.clients[c], &mut self.random);
                client.say_frame(random, Sent::Ping(payload.clone()), frames::PING, &payload);
            }
            83..88 => {
                let many = if self.chance(10) { 12 } else { 1 };
                for _ in 0..many {
                    let text = messages::bad_text(&mut self.random);
                    self.clients[c].say_text(&mut self.random, Sent::Bad, &text);
                }
            }
            88..90 => {
                let id = self.id();
                let text = messages::bad_path_text(&mut self.random, id.as_deref());
                self.clients[c].say_text(&mut self.random, Sent::BadPath { id }, &text);
            }
            90..92 => {
                for _ in 0..self.random.u8(2..40) {
                    self.say_message(c, "ping", Token::Absent, Body::Absent);
                }
            }
            92..94 => self.say_close(c),
            94..96 => self.clients[c]
                .wire
                .end(if self.random.bool() { End::Fin } else { End::Reset }),
            _ => self.say_violation(c),
        }
    }

    fn id(&mut self) -> Option<String> {
        self.next_id += 1;
        match self.random.u8(..4) {
            0 => None,
            1 => Some(format!("\"m\\u002d{}\"", self.next_id)),
            _ => Some(self.next_id.to_string()),
        }
    }

    fn say_message(&mut self, c: usize, path: &str, token: Token, body: Body) {
        let mut message = Message {
            path: path.to_owned(),
            id: self.id(),
            token,
            body,
        };
        if message.id.is_none() && message.is_call() {
            // Without an id it is known by its body.
            message.body = Body::Any(self.next_id.to_string());
        }
        let text = message.json(&mut self.random);
        self.clients[c].say_text(&mut self.random, Sent::Message(message), &text);
    }

    pub fn user(&mut self) -> String {
        let users = if self.is_crowd() { 100 } else { 6 };
        format!("u{}", self.random.u8(..users))
    }

    fn some_topics(&mut self) -> Vec<String> {
        let count = self.random.usize(..4);
        (0..count)
            .map(|_| TOPICS[self.random.usize(..TOPICS.len())].to_owned())
            .collect()
    }

    fn token(&mut self, user: String) -> Token {
        let now_s = self.now.unix_ms / 1_000;
        let expires_at = match self.random.u8(..10) {
            0 => None,
            1 => Some(now_s.saturating_sub(self.random.u64(..20))),
            2..5 => Some(now_s + self.random.u64(1..60)),
            _ => Some(now_s + self.random.u64(600..100_000)),
        };
        let not_before = if self.chance(5) {
            now_s + self.random.u64(..20)
        } else {
            now_s - 100
        };
        let device = self.chance(30).then(|| format!("d{}", self.random.u8(..3)));
        let paths = self.chance(20).then(|| vec!["order/*".to_owned()]);
        let topics = self.chance(30).then(|| {
            let lists = [&["*"][..], &["room.1", "news"], &[]];
            lists[self.random.usize(..3)]
                .iter()
                .map(|&topic| topic.to_owned())
                .collect()
        });
        let claims = Claims {
            user,
            expires_at,
            not_before,
            device,
            paths,
            topics,
        };
        if self.is_crowd() {
            return Token::Signed(Claims {
                expires_at: Some(now_s + 1_000_000),
                not_before: 0,
                ..claims
            });
        }
        match self.random.u8(..20) {
            0 => Token::NotAString,
            1 => Token::Garbage,
            2 => Token::Forged(claims),
            3 => Token::Costly,
            _ => Token::Signed(claims),
        }
    }

    fn say_connect(&mut self, c: usize) {
        let token = if self.chance(5) && !self.is_crowd() {
            Token::Absent
        } else {
            let known = self.clients[c].model.user.clone();
            let user = if known.is_empty() || self.chance(10) {
                self.user()
            } else {
                known
            };
            self.token(user)
        };
        let body = match self.random.u8(..10) {
            0 if !self.is_crowd() => Body::Wrong,
            0..4 => Body::Absent,
            _ => {
                let device = self.chance(50).then(|| format!("d{}", self.random.u8(..3)));
                let topics = if self.chance(50) {
                    self.some_topics()
                } else {
                    Vec::new()
                };
                Body::Connect { device, topics }
            }
        };
        self.say_message(c, "connect", token, body);
    }

    /// A token on something else than `connect`.
    fn say_token(&mut self, c: usize) {
        let known = self.clients[c].model.user.clone();
        let user = if known.is_empty() || self.chance(10) {
            self.user()
        } else {
            known
        };
        let token = self.token(user);
        let (path, body) = match self.random.u8(..3) {
            0 => ("ping", Body::Absent),
            1 => ("subscribe", Body::Topics(self.some_topics())),
            _ => (PATHS[self.random.usize(..4)], Body::Any("{\"a\":1}".to_owned())),
        };
        self.say_message(c, path, token, body);
    }

    fn say_subscribe(&mut self, c: usize) {
        let body = if self.chance(10) {
            Body::Wrong
        } else {
            Body::Topics(self.some_topics())
        };
        let path = if self.chance(60) { "subscribe" } else { "unsubscribe" };
        self.say_message(c, path, Token::Absent, body);
    }

    fn say_call(&mut self, c: usize) {
        let path = PATHS[self.random.usize(..PATHS.len())];
        let body = match self.random.u8(..3) {
            0 => Body::Absent,
            1 => Body::Any("{ \"deep\": [1, {\"id\": 7}] }".to_owned()),
            _ => Body::Any(format!("\"{}\"", "x".repeat(self.random.usize(..1_000)))),
        };
        self.say_message(c, path, Token::Absent, body);
    }

    fn say_close(&mut self, c: usize) {
        let code = [None, Some(1000), Some(1001), Some(3999)][self.random.usize(..4)];
        let payload = close_payload(code, if code.is_some() { "bye" } else { "" });
        let (client, random) = (&mut self.clients[c], &mut self.random);
        client.say_frame(random, Sent::Close(code), frames::CLOSE, &payload);
        if self.random.bool() {
            self.clients[c].wire.end(End::Fin);
        }
    }

    fn say_violation(&mut self, c: usize) {
        use CloseReason::{BadUtf8, MessageTooBig, ProtocolError, UnsupportedData};
        let mask = [1, 2, 3, 4];
        let (reason, bytes) = match self.random.u8(..13) {
            0 => (ProtocolError, frames::server_text("not masked")),
            1 => (ProtocolError, vec![0xC1, 0x80, 0, 0, 0, 0]),
            2 => (ProtocolError, vec![0x83, 0x80, 0, 0, 0, 0]),
            3 => (ProtocolError, frame(frames::PING, false, mask, b"")),
            4 => (ProtocolError, frame(frames::PING, true, mask, &[0; 126])),
            5 => (ProtocolError, vec![0x81, 0xFE, 0, 1, 0, 0, 0, 0, b'x']),
            6 => (ProtocolError, frame(frames::CONTINUE, true, mask, b"")),
            7 => {
                let begun = frame(frames::TEXT, false, mask, b"{");
                (ProtocolError, [begun, frame(frames::TEXT, true, mask, b"}")].concat())
            }
            8 => (ProtocolError, frame(frames::CLOSE, true, mask, b"x")),
            9 => (ProtocolError, frame(frames::CLOSE, true, mask, &1005_u16.to_be_bytes())),
            10 => (UnsupportedData, frame(frames::BINARY, true, mask, b"12345")),
            11 => (BadUtf8, frame(frames::TEXT, true, mask, b"{\"path\":\"\xC3\x28\"}")),
            _ => (
                MessageTooBig,
                frame(frames::TEXT, true, mask, &[b' '; 70_000])[..200].to_vec(),
            ),
        };
        self.clients[c].say_from(Sent::Violation(reason), &bytes, 1);
        if self.random.bool() {
            let junk = [self.random.u8(..); 20];
            self.clients[c].wire.send(&junk);
        }
    }
}
