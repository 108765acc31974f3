//! The text inside every message of a run: which run, which stream, which number, when it was intended, and a checksum.
//! Written by the publisher and by workers, read by workers. A server that changes a byte is found out.
//!
//! `lw:RUN:STREAM:NUMBER:TIME:PADS:SUM:` and as many pads as said; hexadecimal, fixed widths. Without pads it is 60 bytes,
//! so it fits an `id` of the contract (64).

/// Bytes of the text without its pads.
pub const HEAD: usize = 61;

/// What precedes and follows the text in a push over the bus or to a raw server.
pub const OPENING: &str = r#"{"path":"load","body":""#;
/// As above.
pub const CLOSING: &str = r#""}"#;

/// The kinds of stream, by the upper bits of a stream's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Pushes to one user, by the client's number.
    User(u32),
    /// Calls (or echoes) of one client.
    Call(u32),
    /// Pushes to a topic, by its number.
    Topic(u32),
    /// Pushes to everybody.
    All,
}

impl Stream {
    /// As one number.
    pub fn number(self) -> u32 {
        match self {
            Self::User(client) => client & 0x3fff_ffff,
            Self::Call(client) => 0x4000_0000 | (client & 0x3fff_ffff),
            Self::Topic(topic) => 0x8000_0000 | (topic & 0x3fff_ffff),
            Self::All => 0xc000_0000,
        }
    }

    /// From that number.
    pub fn from_number(number: u32) -> Self {
        let rest = number & 0x3fff_ffff;
        match number >> 30 {
            0 => Self::User(rest),
            1 => Self::Call(rest),
            2 => Self::Topic(rest),
            _ => Self::All,
        }
    }
}

/// What one message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which run; others' messages are not ours.
    pub run: u32,
    /// Which stream.
    pub stream: Stream,
    /// Its number in the stream, from 0.
    pub number: u32,
    /// When it should have been sent, microseconds of `clock::now_us`.
    pub intended_us: u64,
}

/// Appends the text of a message with so many pads (at most 65,535).
pub fn write(mark: &Mark, pads: usize, out: &mut Vec<u8>) {
    let from = out.len();
    let pads = pads.min(0xffff);
    out.extend_from_slice(b"lw:");
    hex(u64::from(mark.run), 8, out);
    hex(u64::from(mark.stream.number()), 8, out);
    hex(u64::from(mark.number), 8, out);
    hex(mark.intended_us, 16, out);
    hex(pads as u64, 4, out);
    let mut sum = fnv(FNV, &out[from..]);
    for at in 0..pads {
        sum = fnv(sum, &[pad(mark.number, at)]);
    }
    hex(u64::from(sum), 8, out);
    out.extend((0..pads).map(|at| pad(mark.number, at)));
}

/// How many pads make a push (with `OPENING` and `CLOSING`) this long.
pub fn pads_for(frame_bytes: usize) -> usize {
    frame_bytes.saturating_sub(HEAD + OPENING.len() + CLOSING.len())
}

/// Where a text lies in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its first byte.
    pub from: usize,
    /// The byte behind its last one.
    pub to: usize,
}

/// What was found in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A text of a run, unharmed, at this place.
    Whole(Mark, Place),
    /// Something that began like one and is none: bytes were changed.
    Broken,
    /// Nothing of the kind.
    None,
}

/// Looks for the first text in a message.
pub fn find(message: &[u8]) -> Found {
    let Some(from) = message.windows(4).position(|four| four == b"\"lw:") else {
        return Found::None;
    };
    let from = from + 1;
    read(&message[from..]).map_or(Found::Broken, |(mark, bytes)| {
        let to = from + bytes;
        Found::Whole(mark, Place { from, to })
    })
}

/// Whether what surrounds the text is what was sent: nothing before it and nothing behind it was changed or added.
pub fn surrounded_as_sent(message: &[u8], stream: Stream, place: Place) -> bool {
    let opening = &message[..place.from];
    let opened = opening == OPENING.as_bytes()
        || matches!(stream, Stream::Topic(topic) if opening == topic_opening(topic).as_bytes());
    opened && &message[place.to..] == CLOSING.as_bytes()
}

/// What precedes the text in a push to a topic through the API: there the gateway writes the message, and names the topic.
pub fn topic_opening(topic: u32) -> String {
    OPENING.replacen(r#""body""#, &format!(r#""topic":"load.{topic}","body""#), 1)
}

/// A whole text at the beginning of these bytes, with a quote behind it: what it says and how long it is.
fn read(bytes: &[u8]) -> Option<(Mark, usize)> {
    let head = bytes.get(..HEAD)?;
    let field = |from: usize, width: usize| -> Option<u64> {
        let text = &head[from..from + width];
        (head[from + width] == b':').then_some(())?;
        text.iter()
            .try_fold(0u64, |value, byte| Some(value << 4 | nibble(*byte)?))
    };
    let mark = Mark {
        run: field(3, 8)? as u32,
        stream: Stream::from_number(field(12, 8)? as u32),
        number: field(21, 8)? as u32,
        intended_us: field(30, 16)?,
    };
    let pads = field(47, 4)? as usize;
    let sum = field(52, 8)? as u32;
    let padding = bytes.get(HEAD..HEAD + pads)?;
    let seen = fnv(fnv(FNV, &head[..52]), padding);
    (seen == sum && bytes.get(HEAD + pads) == Some(&b'"')).then_some((mark, HEAD + pads))
}

fn pad(number: u32, at: usize) -> u8 {
    b'a' + ((number as usize + at) % 26) as u8
}

const FNV: u32 = 0x811c_9dc5;

fn fnv(sum: u32, bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(sum, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn hex(value: u64, width: u32, out: &mut Vec<u8>) {
    for place in (0..width).rev() {
        out.push(b"0123456789abcdef"[(value >> (4 * place) & 15) as usize]);
    }
    out.push(b':');
}

fn nibble(byte: u8) -> Option<u64> {
    match byte {
        b'0'..=b'9' => Some(u64::from(byte - b'0')),
        b'a'..=b'f' => Some(u64::from(byte - b'a' + 10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(pads: usize) -> (Mark, Vec<u8>) {
        let mark = Mark {
            run: 7,
            stream: Stream::User(9_999),
            number: 41,
            intended_us: 123_456_789,
        };
        let mut text = OPENING.as_bytes().to_vec();
        write(&mark, pads, &mut text);
        text.extend_from_slice(CLOSING.as_bytes());
        (mark, text)
    }

    #[test]
    fn what_was_written_is_read() {
        for pads in [0, 1, 43, 60_000] {
            let (mark, text) = message(pads);
            let (from, to) = (OPENING.len(), text.len() - CLOSING.len());
            let place = Place { from, to };
            assert_eq!(find(&text), Found::Whole(mark, place), "{pads} pads");
            assert!(surrounded_as_sent(&text, mark.stream, place));
        }
        assert_eq!(message(pads_for(128)).1.len(), 128);
        assert_eq!(find(b"{\"path\":\"connect\"}"), Found::None);
    }

    #[test]
    fn a_changed_byte_anywhere_is_found_out() {
        let (mark, text) = message(20);
        let right = |text: &[u8]| matches!(find(text), Found::Whole(mark, place) if surrounded_as_sent(text, mark.stream, place));
        assert!(right(&text));
        for place in 0..text.len() {
            let mut wrong = text.clone();
            wrong[place] ^= 1;
            assert!(!right(&wrong), "byte {place}");
        }
        assert!(!right(&[&text[..], b" "].concat()) && !right(&[b" ", &text[..]].concat()));
        let cut = [&text[..text.len() - 5], CLOSING.as_bytes()].concat();
        assert_eq!(find(&cut), Found::Broken);
        assert!(matches!(find(&text), Found::Whole(found, _) if found == mark));
    }

    #[test]
    fn the_topic_is_part_of_a_push_to_it() {
        let (mark, text) = message(20);
        let text = [topic_opening(3).as_bytes(), &text[OPENING.len()..]].concat();
        let Found::Whole(_, place) = find(&text) else {
            unreachable!()
        };
        assert!(surrounded_as_sent(&text, Stream::Topic(3), place));
        assert!(!surrounded_as_sent(&text, Stream::Topic(4), place) && !surrounded_as_sent(&text, mark.stream, place));
    }

    #[test]
    fn streams_are_numbers_and_back() {
        for stream in [Stream::User(3), Stream::Call(4), Stream::Topic(5), Stream::All] {
            assert_eq!(Stream::from_number(stream.number()), stream);
        }
    }
}
