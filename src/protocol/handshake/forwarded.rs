//! Whose connection it is when a proxy made it. Called by the gateway when the peer is a trusted proxy.

use std::net::{IpAddr, SocketAddr};

/// The client that `values`, those of every `X-Forwarded-For` header in order, name: the rightmost entry that is no
/// trusted proxy itself, since what stands left of it was written by the client.
///
/// None if there is no such entry, or if one that had to be looked at is no address: then it is the peer.
pub fn forwarded_client(values: &[&str], trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    for entry in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        let address = address(entry.trim())?;
        if !trusted(address) {
            return Some(address);
        }
    }
    None
}

/// An entry's address: `1.2.3.4`, `1.2.3.4:567`, `::1`, `[::1]` or `[::1]:567`. IPv6 spellings of IPv4 become IPv4.
fn address(entry: &str) -> Option<IpAddr> {
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address = entry
        .parse()
        .ok()
        .or_else(|| entry.parse().ok().map(|address: SocketAddr| address.ip()));
    address.or_else(bracketed).map(|address| address.to_canonical())
}
