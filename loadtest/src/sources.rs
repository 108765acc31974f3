//! Source addresses as the command line says them: one address, or a range of them. Knows nothing of which are this
//! host's: the kernel says so when a client binds one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses of one range at most: more are a slip of the pen, and would be sent to every worker.
const MOST: u128 = 4_096;

/// One address or a range, `127.0.0.2-127.0.0.9`, the last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    first: IpAddr,
    count: u32,
}

impl Sources {
    /// All of them, in order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let Self { first, count } = *self;
        (0..count).map(move |at| match first {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() + at).into(),
            IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits() + u128::from(at)).into(),
        })
    }
}

impl FromStr for Sources {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |part: &str| {
            part.trim().parse::<IpAddr>().map_err(|_| {
                format!("\"{part}\" is no address: say one (127.0.0.2) or a range of them (127.0.0.2-127.0.0.9)")
            })
        };
        let Some((first, last)) = text.split_once('-') else {
            let first = address(text)?;
            return Ok(Self { first, count: 1 });
        };
        let (first, last) = (address(first)?, address(last)?);
        let beyond = match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => u128::from(last.to_bits()).checked_sub(first.to_bits().into()),
            (IpAddr::V6(first), IpAddr::V6(last)) => last.to_bits().checked_sub(first.to_bits()),
            _ => return Err("a range is of IPv4 or of IPv6, not from one to the other".to_owned()),
        };
        let beyond = beyond.ok_or_else(|| format!("the range ends before it begins: say {last}-{first}"))?;
        let count = u32::try_from(beyond).ok().and_then(|beyond| beyond.checked_add(1));
        match count.filter(|count| u128::from(*count) <= MOST) {
            Some(count) => Ok(Self { first, count }),
            None => Err(format!("a range has {MOST} addresses at most")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        let sources: Sources = text.parse().unwrap();
        sources.addresses().map(|address| address.to_string()).collect()
    }

    #[test]
    fn an_address_or_a_range_of_them() {
        assert_eq!(all("10.0.0.7"), ["10.0.0.7"]);
        assert_eq!(all("127.0.0.2-127.0.0.4"), ["127.0.0.2", "127.0.0.3", "127.0.0.4"]);
        assert_eq!(all("127.0.0.255 - 127.0.1.0"), ["127.0.0.255", "127.0.1.0"]);
        assert_eq!(all("::1-::1"), ["::1"]);
        assert_eq!(all("fd00::ffff-fd00::1:0"), ["fd00::ffff", "fd00::1:0"]);
        assert_eq!(all("255.255.255.254-255.255.255.255").len(), 2);
        assert_eq!(all("10.0.0.0-10.0.15.255").len(), 4_096);
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "no address"),
            ("localhost", "no address"),
            ("127.0.0.2:80", "no address"),
            ("127.0.0.2-", "no address"),
            ("127.0.0.2-9", "no address"),
            ("127.0.0.1-127.0.0.2-127.0.0.3", "no address"),
            ("127.0.0.0/8", "no address"),
            ("127.0.0.9-127.0.0.2", "say 127.0.0.2-127.0.0.9"),
            ("127.0.0.1-::1", "not from one to the other"),
            ("10.0.0.0-10.255.255.255", "4096 addresses at most"),
            ("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4096 addresses at most"),
        ] {
            let error = text.parse::<Sources>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
