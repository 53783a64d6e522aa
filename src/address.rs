//! Client addresses, by which limits and turns are counted.

use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address, or an IPv6 /64 network, since one subscriber has a whole one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Address(IpAddr);

impl Address {
    /// The address of the peer of a connection.
    pub(crate) fn of(peer: IpAddr) -> Self {
        Self(match peer.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        })
    }

    /// The client's address behind `peer`. A private peer is taken for a proxy, and so is every
    /// private hop in `forwarded_for`, the value of `X-Forwarded-For` read from its end: each proxy
    /// appends its peer. A client can forge whatever precedes the last public address.
    pub(crate) fn behind(peer: Option<IpAddr>, forwarded_for: &str) -> Option<Self> {
        let peer = peer.map(|peer| peer.to_canonical());
        if peer.is_some_and(|peer| !is_private(peer)) {
            return peer.map(Self::of);
        }
        let hops = forwarded_for.rsplit(',').map(|hop| hop.trim().parse().ok());
        let mut farthest = peer;
        for hop in hops {
            let Some(hop): Option<IpAddr> = hop else { break };
            farthest = Some(hop);
            if !is_private(hop.to_canonical()) {
                break;
            }
        }
        farthest.map(Self::of)
    }
}

/// Whether a peer is taken for a proxy, whose `X-Forwarded-For` names the client.
pub(crate) fn is_proxy(peer: IpAddr) -> bool {
    is_private(peer.to_canonical())
}

/// Loopback, private (RFC 1918, RFC 4193), shared (RFC 6598) and link-local addresses.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || is_shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_a_mapped_ipv4_address_is_itself() {
        let of = |text: &str| Address::of(ip(text));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[test]
    fn the_address_behind_proxies_is_the_last_that_a_client_cannot_forge() {
        for (peer, forwarded_for, expected) in [
            ("192.0.2.1", "", "192.0.2.1"),
            ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
            ("::ffff:10.0.0.1", "203.0.113.9,198.51.100.7 , 172.16.0.3", "198.51.100.7"),
            ("127.0.0.1", "nonsense", "127.0.0.1"),
            ("127.0.0.1", "198.51.100.7, nonsense", "127.0.0.1"),
            ("127.0.0.1", "192.168.0.9", "192.168.0.9"),
        ] {
            let found = Address::behind(Some(ip(peer)), forwarded_for);
            assert_eq!(found, Some(Address::of(ip(expected))), "{peer} {forwarded_for:?}");
        }
        assert_eq!(Address::behind(None, ""), None);
        assert_eq!(Address::behind(None, "192.0.2.1"), Some(Address::of(ip("192.0.2.1"))));
    }
}
