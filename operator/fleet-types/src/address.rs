//! Which network addresses belong to a machine itself or to the cloud that it stands in, and not to a network that an
//! upstream could be reached by. Whoever may choose where we connect (the author of a manifest, an upstream that
//! redirects) must not reach by us what only we can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where clouds answer a machine with its own credentials, beside link-local addresses.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// Whether an address is of this machine or its cloud: loopback, link-local, metadata, or no address of one machine at
/// all. An IPv6 address that stands for an IPv4 one is judged by that.
pub fn is_off_limits(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_off_limits_v4(v4),
        IpAddr::V6(v6) => is_off_limits_v6(v6) || embedded_v4(v6).any(is_off_limits_v4),
    }
}

/// Of the addresses that a name leads to those that are not off limits; none where nothing is left.
pub fn allowed(found: impl Iterator<Item = SocketAddr>) -> Option<Vec<SocketAddr>> {
    let allowed: Vec<SocketAddr> = found
        .filter(|address| !is_off_limits(address.ip()))
        .collect();
    Some(allowed).filter(|allowed| !allowed.is_empty())
}

/// Whether an address is of this machine alone, in any spelling.
pub fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
        }
    }
}

fn is_off_limits_v4(address: Ipv4Addr) -> bool {
    address.is_loopback()
        || address.is_link_local()
        || address.octets()[0] == 0
        || address.is_broadcast()
        || address.is_multicast()
        || METADATA_V4.contains(&address)
}

fn is_off_limits_v6(address: Ipv6Addr) -> bool {
    address.is_loopback()
        || address.is_unicast_link_local()
        || address.is_unspecified()
        || address.is_multicast()
        || METADATA_V6.contains(&address)
}

/// The IPv4 addresses that an IPv6 address may stand for: mapped and compatible (RFC 4291), translated (RFC 2765; by the
/// well-known prefix or the local ones RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380), ISATAP (RFC 5214).
fn embedded_v4(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let octets = address.octets();
    let at = |places: [usize; 4]| {
        let [a, b, c, d] = places.map(|place| octets.get(place).copied().unwrap_or_default());
        Ipv4Addr::new(a, b, c, d)
    };
    let last = at([12, 13, 14, 15]);
    let found: [Option<Ipv4Addr>; 2] = match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] => [Some(last), None],
        [0, 0, 0, 0, 0xffff, 0, _, _] => [Some(last), None],
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => [Some(last), None],
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => [Some(last), None],
        // Behind /48 the IPv4 address goes around an octet that is zero; behind /96 it comes last. Which of them a network
        // uses cannot be seen, but for the first one's being all zeros.
        [0x64, 0xff9b, 1, ..] => [
            Some(last),
            Some(at([6, 7, 9, 10])).filter(|v4| !v4.is_unspecified()),
        ],
        [0x2002, ..] => [Some(at([2, 3, 4, 5])), None],
        [0x2001, 0, ..] => [Some(Ipv4Addr::from_bits(!last.to_bits())), None],
        _ => [None, None],
    };
    found.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(address: &str) -> bool {
        is_off_limits(address.parse().unwrap())
    }

    #[test]
    fn what_only_the_machine_itself_reaches_is_off_limits_in_every_spelling() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::169.254.169.254",
            "::ffff:0:127.0.0.1",
            "2001:db8::200:5efe:127.0.0.1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001:0:53aa:64c::80ff:fffe",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::7f00:1",
            "64:ff9b:1:7f00:0:100::",
        ] {
            assert!(judged(address), "{address} is allowed");
        }
    }

    #[test]
    fn what_upstreams_have_is_allowed() {
        for address in [
            "10.0.0.1",
            "192.0.2.7",
            "100.64.0.1",
            "168.63.129.17",
            "2001:db8::1",
            "fd00:ec2::1",
            "::ffff:192.0.2.7",
            "2002:c000:207::1",
            "64:ff9b::c000:207",
            "64:ff9b:1::c000:207",
            "2001:0:53aa:64c::3fff:fdf8",
        ] {
            assert!(!judged(address), "{address} is off limits");
        }
    }

    #[test]
    fn loopback_is_known_in_its_spellings() {
        for (address, expected) in [
            ("127.0.0.2", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("169.254.169.254", false),
            ("192.0.2.7", false),
        ] {
            assert_eq!(is_loopback(address.parse().unwrap()), expected, "{address}");
        }
    }
}
