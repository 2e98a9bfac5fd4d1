use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is none of the public internet's: private, local, shared, reserved, or a
/// disguise of one of these (IANA's special-purpose address registries).
pub fn is_forbidden(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_forbidden_v4(ip),
        IpAddr::V6(ip) => is_forbidden_v6(ip),
    }
}

/// Address, prefix length.
type Range4 = ([u8; 4], u32);

const FORBIDDEN_V4: &[Range4] = &[
    ([0, 0, 0, 0], 8),       // this network, unspecified
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // shared by carrier-grade NAT
    ([127, 0, 0, 0], 8),     // loopback
    ([169, 254, 0, 0], 16),  // link-local, metadata services
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 88, 99, 0], 24),  // 6to4 relays
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarking
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 4),     // multicast
    ([240, 0, 0, 0], 4),     // reserved, broadcast
];

fn is_forbidden_v4(ip: Ipv4Addr) -> bool {
    let bits = ip.to_bits();
    FORBIDDEN_V4
        .iter()
        .any(|(range, length)| (bits ^ u32::from_be_bytes(*range)).leading_zeros() >= *length)
}

/// First segments, prefix length.
type Range6 = ([u16; 4], u32);

const FORBIDDEN_V6: &[Range6] = &[
    ([0, 0, 0, 0], 64),          // unspecified, loopback, IPv4-mapped and -compatible
    ([0x64, 0xff9b, 1, 0], 48),  // NAT64 of local use
    ([0x100, 0, 0, 0], 64),      // discard
    ([0x2001, 0, 0, 0], 23),     // protocol assignments: Teredo, benchmarking, ORCHID
    ([0x2001, 0xdb8, 0, 0], 32), // documentation
    ([0x2002, 0, 0, 0], 16),     // 6to4: any IPv4 address within
    ([0x3fff, 0, 0, 0], 20),     // documentation
    ([0x5f00, 0, 0, 0], 16),     // segment routing
    ([0xfc00, 0, 0, 0], 7),      // unique local, fd00:ec2::254 among them
    ([0xfe80, 0, 0, 0], 10),     // link-local
    ([0xfec0, 0, 0, 0], 10),     // site-local, deprecated
    ([0xff00, 0, 0, 0], 8),      // multicast
];

const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

fn is_forbidden_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    if segments[..6] == NAT64 {
        // On networks without IPv4 every public IPv4 host looks like this.
        let [.., a, b, c, d] = ip.octets();
        return is_forbidden_v4(Ipv4Addr::new(a, b, c, d));
    }
    let bits = u64::try_from(ip.to_bits() >> 64).expect("64 bits are left");
    FORBIDDEN_V6.iter().any(|([a, b, c, d], length)| {
        let range = [*a, *b, *c, *d]
            .into_iter()
            .fold(0, |bits, it| (bits << 16) | u64::from(it));
        (bits ^ range).leading_zeros() >= *length
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(forbidden: bool, addresses: &[&str]) {
        for address in addresses {
            assert_eq!(
                is_forbidden(address.parse().unwrap()),
                forbidden,
                "{address}"
            );
        }
    }

    #[test]
    fn special_ipv4_ranges_are_forbidden_to_their_last_address() {
        check(
            true,
            &["0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255"],
        );
        check(true, &["100.64.0.0", "100.100.100.200", "100.127.255.255"]);
        check(
            true,
            &[
                "127.0.0.1",
                "127.255.255.255",
                "169.254.0.0",
                "169.254.169.254",
            ],
        );
        check(
            true,
            &["172.16.0.0", "172.31.255.255", "192.0.0.8", "192.0.2.1"],
        );
        check(true, &["192.88.99.1", "192.168.0.0", "192.168.255.255"]);
        check(
            true,
            &[
                "198.18.0.0",
                "198.19.255.255",
                "198.51.100.7",
                "203.0.113.9",
            ],
        );
        check(
            true,
            &[
                "224.0.0.1",
                "239.255.255.255",
                "240.0.0.1",
                "255.255.255.255",
            ],
        );
    }

    #[test]
    fn public_ipv4_addresses_beside_them_are_not() {
        check(
            false,
            &[
                "1.0.0.0",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
            ],
        );
        check(
            false,
            &[
                "126.255.255.255",
                "128.0.0.0",
                "169.253.255.255",
                "169.255.0.0",
            ],
        );
        check(
            false,
            &[
                "172.15.255.255",
                "172.32.0.0",
                "192.0.1.0",
                "192.167.255.255",
            ],
        );
        check(
            false,
            &[
                "192.169.0.0",
                "198.17.255.255",
                "198.20.0.0",
                "223.255.255.255",
            ],
        );
        check(
            false,
            &["8.8.8.8", "93.184.216.34", "203.0.112.255", "203.0.114.0"],
        );
    }

    #[test]
    fn special_ipv6_ranges_and_disguised_ipv4_addresses_are_forbidden() {
        check(
            true,
            &[
                "::",
                "::1",
                "::8.8.8.8",
                "::ffff:127.0.0.1",
                "::ffff:8.8.8.8",
            ],
        );
        check(
            true,
            &[
                "64:ff9b::127.0.0.1",
                "64:ff9b::169.254.169.254",
                "64:ff9b::10.1.2.3",
            ],
        );
        check(
            true,
            &[
                "64:ff9b:1::1",
                "100::1",
                "2001::1",
                "2001:1ff:ffff::",
                "2001:db8::1",
            ],
        );
        check(
            true,
            &[
                "2002::1",
                "2002:7f00:1::",
                "3fff::1",
                "3fff:fff::",
                "5f00::1",
            ],
        );
        check(
            true,
            &[
                "fc00::1",
                "fd00:ec2::254",
                "fdff::",
                "fe80::1",
                "febf::1",
                "fec0::1",
            ],
        );
        check(
            true,
            &["ff02::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        );
    }

    #[test]
    fn public_ipv6_addresses_are_not() {
        check(
            false,
            &[
                "2606:4700:4700::1111",
                "2001:4860:4860::8888",
                "2a00:1450::1",
            ],
        );
        check(
            false,
            &["2001:200::1", "2003::1", "3ffe::1", "64:ff9b::8.8.8.8"],
        );
    }
}
