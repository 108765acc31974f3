//! The decoder of one client's frames. Works on the reactor's scratch buffer: what is there whole is unmasked in place
//! and lent out, only an incomplete tail is kept. Never reserves what a header announces, never answers, knows no close
//! handshake. Called by the engine with every read.

use std::borrow::Cow;
use std::mem;

use super::header::{self, Header, MAX_HEADER_BYTES};
use super::mask::unmask;
use super::utf8::TextBuffer;
use super::{Opcode, Violation};

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The longest message, all its fragments together.
    pub max_message_bytes: usize,
    /// Whether binary messages are allowed; if not, they are refused as soon as their header is seen.
    pub binary: bool,
}

/// One thing that a client said. Borrowed where its bytes came in one frame and one read, else owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message.
    Text(Cow<'a, str>),
    /// A binary message.
    Binary(Cow<'a, [u8]>),
    /// A ping, to be answered by a pong with this payload (at most 125 bytes).
    Ping(Cow<'a, [u8]>),
    /// A pong. What it carries does not matter.
    Pong,
    /// A close frame, with its code if it has one. Nothing that follows it counts (RFC 6455 section 5.5.1).
    Close(Option<u16>),
}

/// Turns a client's bytes into events. Eight bytes while no message is half there.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

/// What is kept between two reads.
#[derive(Debug, Default)]
struct Partial {
    /// The beginning of a header.
    header: [u8; MAX_HEADER_BYTES],
    header_bytes: u8,
    /// The frame whose payload is under way; `payload_bytes` and `mask` are those of what is still to come.
    frame: Option<Header>,
    /// The message whose frames are under way.
    message: Option<Message>,
    /// The payload so far of a control frame under way (they may come between the frames of a message).
    control: Vec<u8>,
}

#[derive(Debug)]
enum Message {
    Text(TextBuffer),
    Binary(Vec<u8>),
}

impl Message {
    fn new(opcode: Opcode) -> Self {
        if opcode == Opcode::Binary {
            Self::Binary(Vec::new())
        } else {
            Self::Text(TextBuffer::default())
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), Violation> {
        match self {
            Self::Text(text) => text.push(piece)?,
            Self::Binary(bytes) => bytes.extend_from_slice(piece),
        }
        Ok(())
    }

    fn finish<'a>(self) -> Result<Event<'a>, Violation> {
        Ok(match self {
            Self::Text(text) => Event::Text(Cow::Owned(text.finish()?)),
            Self::Binary(bytes) => Event::Binary(Cow::Owned(bytes)),
        })
    }
}

impl Decoder {
    /// Takes the next event off the front of `input`, which it advances and unmasks in place.
    ///
    /// `Ok(None)`: all of `input` is consumed, and what it had of an incomplete event is kept. After a text or binary
    /// message nothing is kept: what follows it is still in `input`. After a violation or a close frame the decoder must
    /// not be used any more.
    pub fn next<'a>(&mut self, input: &mut &'a mut [u8], rules: Rules) -> Result<Option<Event<'a>>, Violation> {
        // Once round for each fragment that completes no message.
        loop {
            let under_way = self.partial.as_deref_mut().and_then(|partial| partial.frame.take());
            let fresh = under_way.is_none();
            let header = match under_way {
                Some(header) => header,
                None => match self.next_header(input, rules)? {
                    Some(header) => header,
                    None => return Ok(None),
                },
            };
            if fresh && header.payload_bytes <= input.len() {
                let control = header.opcode.is_control();
                if control || (header.fin && header.opcode != Opcode::Continuation) {
                    let payload = take(input, header.payload_bytes);
                    unmask(payload, header.mask);
                    return whole_frame(header.opcode, payload).map(Some);
                }
            }
            match self.next_piece(header, input)? {
                Progress::Event(event) => return Ok(Some(event)),
                Progress::Fragment => {}
                Progress::Starved => return Ok(None),
            }
        }
    }

    /// Bytes of heap it holds: nothing between messages.
    pub fn buffered_bytes(&self) -> usize {
        let Some(partial) = &self.partial else { return 0 };
        let message = match &partial.message {
            Some(Message::Text(text)) => text.capacity(),
            Some(Message::Binary(bytes)) => bytes.capacity(),
            None => 0,
        };
        size_of::<Partial>() + message + partial.control.capacity()
    }

    /// Takes a header off `input`, or keeps all of `input` as the beginning of one.
    fn next_header(&mut self, input: &mut &mut [u8], rules: Rules) -> Result<Option<Header>, Violation> {
        let message_bytes = self
            .partial
            .as_ref()
            .and_then(|partial| partial.message.as_ref())
            .map(Message::len);
        let kept_bytes = self
            .partial
            .as_ref()
            .map_or(0, |partial| usize::from(partial.header_bytes));
        if kept_bytes == 0 {
            if let Some((header, header_bytes)) = header::parse(input, message_bytes, rules)? {
                take(input, header_bytes);
                return Ok(Some(header));
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
        let partial = self.partial.get_or_insert_default();
        let added_bytes = input.len().min(MAX_HEADER_BYTES - kept_bytes);
        let known = &mut partial.header[..kept_bytes + added_bytes];
        known[kept_bytes..].copy_from_slice(&input[..added_bytes]);
        match header::parse(known, message_bytes, rules)? {
            Some((header, header_bytes)) => {
                take(input, header_bytes - kept_bytes);
                partial.header_bytes = 0;
                self.release_if_idle();
                Ok(Some(header))
            }
            None => {
                partial.header_bytes = (kept_bytes + added_bytes) as u8;
                take(input, added_bytes);
                Ok(None)
            }
        }
    }

    /// Adds what `input` has of a frame that is not lent out: a fragment, or a frame that no single read brings whole.
    fn next_piece<'a>(&mut self, mut header: Header, input: &mut &'a mut [u8]) -> Result<Progress<'a>, Violation> {
        let partial = self.partial.get_or_insert_default();
        let piece = take(input, header.payload_bytes.min(input.len()));
        unmask(piece, header.mask);
        if header.opcode.is_control() {
            partial.control.extend_from_slice(piece);
        } else {
            partial
                .message
                .get_or_insert_with(|| Message::new(header.opcode))
                .push(piece)?;
        }
        header.payload_bytes -= piece.len();
        if header.payload_bytes > 0 {
            header.mask.rotate_left(piece.len() % 4);
            partial.frame = Some(header);
            return Ok(Progress::Starved);
        }
        let event = if header.opcode.is_control() {
            let payload = mem::take(&mut partial.control);
            control_event(header.opcode, Cow::Owned(payload))?
        } else if header.fin {
            match partial.message.take() {
                Some(message) => message.finish()?,
                None => return Ok(Progress::Fragment),
            }
        } else {
            return Ok(Progress::Fragment);
        };
        self.release_if_idle();
        Ok(Progress::Event(event))
    }

    /// Gives the box back unless a message is under way. Called between two frames only, when nothing else is in it.
    fn release_if_idle(&mut self) {
        self.partial.take_if(|partial| partial.message.is_none());
    }
}

enum Progress<'a> {
    Event(Event<'a>),
    Fragment,
    Starved,
}

/// Cuts `count` bytes, at most all, off the front of `input`.
fn take<'a>(input: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    input.split_off_mut(..count).unwrap_or_default()
}

/// The event of a frame that is there whole and is no part of a fragmented message.
fn whole_frame(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, Violation> {
    match opcode {
        Opcode::Text => match simdutf8::basic::from_utf8(payload) {
            Ok(text) => Ok(Event::Text(Cow::Borrowed(text))),
            Err(_) => Err(Violation::BadUtf8),
        },
        Opcode::Binary => Ok(Event::Binary(Cow::Borrowed(payload))),
        _ => control_event(opcode, Cow::Borrowed(payload)),
    }
}

fn control_event(opcode: Opcode, payload: Cow<'_, [u8]>) -> Result<Event<'_>, Violation> {
    match opcode {
        Opcode::Ping => Ok(Event::Ping(payload)),
        Opcode::Pong => Ok(Event::Pong),
        _ => close_code(&payload).map(Event::Close),
    }
}

/// The code of a close frame's payload (RFC 6455 section 5.5.1), checked against those that may be sent (section 7.4
/// and the registry it founds, which has added 1012 to 1014).
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let code = match payload {
        [] => return Ok(None),
        [_] => return Err(Violation::Protocol("close frame with half a code")),
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
    };
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::Protocol("close code that may not be sent"));
    }
    match simdutf8::basic::from_utf8(&payload[2..]) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(Violation::BadUtf8),
    }
}
