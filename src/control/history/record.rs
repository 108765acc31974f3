//! A happening as bytes, as the recorder keeps it: some 25 to 35 of them. Numbers are varints (LEB128, seven bits a byte,
//! the lowest first), moments are relative to a base that the recorder chooses, and of a connection's id the epoch is left
//! out, which is this process's own. Pure; used by `recorder` alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::links::{ConnectionId, Happening, Kicker, What};
use crate::metrics::{AuthResult, CloseReason};

/// What says who holds no address, or how long one is.
const NO_ADDRESS: u8 = 0;
const IPV4: u8 = 4;
const IPV6: u8 = 6;

/// Appends `happening` to `out`. `previous` is how far back the same user's one before it begins; 0: there is none.
pub fn write(out: &mut Vec<u8>, happening: &Happening, base_ms: u64, previous: u64) {
    let Happening {
        connection,
        user,
        device,
        remote,
        at_unix_ms,
        what,
    } = happening;
    text(out, user);
    number(out, previous);
    // The clock may have been put back: the sign goes to the lowest bit.
    let since_base = at_unix_ms.wrapping_sub(base_ms) as i64;
    number(out, ((since_base << 1) ^ (since_base >> 63)) as u64);
    number(out, connection.reactor.into());
    number(out, connection.index.into());
    number(out, connection.generation.into());
    text(out, device.as_deref().unwrap_or_default());
    match remote {
        None => out.push(NO_ADDRESS),
        Some(IpAddr::V4(ip)) => {
            out.push(IPV4);
            out.extend(ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            out.push(IPV6);
            out.extend(ip.octets());
        }
    }
    match *what {
        What::Connected { expires_at } => {
            out.push(0);
            number(out, optional(expires_at));
        }
        What::Renewed { expires_at } => {
            out.push(1);
            number(out, optional(expires_at));
        }
        What::Refused { why } => out.extend([2, why as u8]),
        What::Closed {
            reason,
            code,
            lived_ms,
            queued_bytes,
            by,
        } => {
            out.extend([3, reason as u8, by.map_or(0, |by| by as u8 + 1)]);
            number(out, code.into());
            number(out, lived_ms);
            number(out, queued_bytes.into());
        }
    }
}

/// 0 stands for nothing.
fn optional(value: Option<u64>) -> u64 {
    value.map_or(0, |value| value.saturating_add(1))
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Names have at most 128 bytes.
fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len() as u64);
    out.extend(text.as_bytes());
}

/// Reads back what `write` wrote. Every part is `None` where the bytes are none of its.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// From the beginning of a record; more may lie behind it.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn optional(&mut self) -> Option<Option<u64>> {
        Some(self.number()?.checked_sub(1))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    /// The user, which comes first.
    pub fn user(&mut self) -> Option<&'a str> {
        self.text()
    }

    /// Then how far back the user's one before it begins; 0: there is none.
    pub fn previous(&mut self) -> Option<u64> {
        self.number()
    }

    /// Then when it happened, Unix milliseconds.
    pub fn at_unix_ms(&mut self, base_ms: u64) -> Option<u64> {
        let folded = self.number()?;
        let since_base = (folded >> 1) as i64 ^ -((folded & 1) as i64);
        Some(base_ms.wrapping_add(since_base as u64))
    }

    /// Then all the rest, which with what was read before is the whole.
    pub fn happening(&mut self, user: &str, at_unix_ms: u64, epoch: u64) -> Option<Happening> {
        let connection = ConnectionId {
            epoch,
            reactor: u16::try_from(self.number()?).ok()?,
            index: u32::try_from(self.number()?).ok()?,
            generation: u32::try_from(self.number()?).ok()?,
        };
        let device = self.text()?;
        let remote = match self.byte()? {
            IPV4 => Some(IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(self.bytes(4)?).ok()?))),
            IPV6 => Some(IpAddr::from(Ipv6Addr::from(
                <[u8; 16]>::try_from(self.bytes(16)?).ok()?,
            ))),
            _ => None,
        };
        let what = match self.byte()? {
            0 => What::Connected {
                expires_at: self.optional()?,
            },
            1 => What::Renewed {
                expires_at: self.optional()?,
            },
            2 => What::Refused {
                why: *AuthResult::ALL.get(usize::from(self.byte()?))?,
            },
            _ => What::Closed {
                reason: *CloseReason::ALL.get(usize::from(self.byte()?))?,
                by: match self.byte()? {
                    0 => None,
                    by => Some(*Kicker::ALL.get(usize::from(by) - 1)?),
                },
                code: u16::try_from(self.number()?).ok()?,
                lived_ms: self.number()?,
                queued_bytes: u32::try_from(self.number()?).ok()?,
            },
        };
        Some(Happening {
            connection,
            user: user.into(),
            device: (!device.is_empty()).then(|| device.into()),
            remote,
            at_unix_ms,
            what,
        })
    }
}
