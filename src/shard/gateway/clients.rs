//! Where a client really is: its socket's peer, or whom a trusted proxy names. Called by the gateway for each upgrade
//! request.

use std::net::IpAddr;

use super::Gateway;
use crate::config::settings::TrustedProxy;
use crate::protocol::handshake::{Request, forwarded_client};

impl Gateway {
    fn is_trusted(&self, peer: Option<IpAddr>) -> bool {
        self.settings
            .server
            .trusted_proxies
            .iter()
            .any(|proxy| match (proxy, peer) {
                (TrustedProxy::Unix, None) => true,
                (TrustedProxy::Range { base, prefix_bits }, Some(ip)) => in_range(*base, *prefix_bits, ip),
                _ => false,
            })
    }

    /// Where the client really is: the peer, or whom a trusted proxy names.
    pub(super) fn client_of(&self, peer: Option<IpAddr>, request: &Request<'_>) -> Option<IpAddr> {
        if request.forwarded_for.is_empty() || !self.is_trusted(peer) {
            return peer;
        }
        forwarded_client(&request.forwarded_for, |ip| self.is_trusted(Some(ip))).or(peer)
    }
}

fn in_range(base: IpAddr, prefix_bits: u8, ip: IpAddr) -> bool {
    match (base, ip.to_canonical()) {
        (IpAddr::V4(base), IpAddr::V4(ip)) => {
            let shift = 32 - u32::from(prefix_bits.min(32));
            (u64::from(u32::from(base)) >> shift) == (u64::from(u32::from(ip)) >> shift)
        }
        (IpAddr::V6(base), IpAddr::V6(ip)) => {
            let shift = 128 - u32::from(prefix_bits.min(128));
            u128::from(base).checked_shr(shift) == u128::from(ip).checked_shr(shift)
        }
        _ => false,
    }
}
