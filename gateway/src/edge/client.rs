//! Whose request it is when it comes through proxies of the operator's.
//!
//! Only `X-Forwarded-For` is read, which load balancers append the peer's address to. The `Forwarded` of RFC 7239 is not:
//! a proxy that writes the one passes the other on as the client wrote it, so whoever believes both believes the client.
//!
//! INVARIANT: nobody but a trusted proxy says where a request comes from, and of what a proxy says only what trusted
//! proxies have added counts (`forwarded::nothing_that_a_stranger_says`, `forwarded::what_a_trusted_proxy_adds_and_nothing_left_of_it`).

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

const HEADER: &str = "x-forwarded-for";

/// Entries that are looked at, from the right; no sane chain of one's own proxies is longer.
const MAX_HOPS: usize = 16;

/// The longest entry: an IPv6 address in brackets with a port has 47 characters.
const MAX_ENTRY: usize = 64;

/// Networks whose machines are believed when they say for whom they ask; none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts these.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// The address of the client: the peer, or, when that is a trusted proxy, the rightmost address that is none. What
    /// cannot be read ends the search at the proxy that passed it on.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        // Several lines are one list, in their order (RFC 9110 section 5.3).
        let lines = headers.get_all(HEADER).iter().rev();
        let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for entry in entries.take(MAX_HOPS) {
            if !self.trusts(client) {
                break;
            }
            let Some(address) = read(entry) else { break };
            client = address;
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address, with or without brackets and a port, as proxies write them.
fn read(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    if text.len() > MAX_ENTRY {
        return None;
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok();
    let address = address.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn trusted() -> TrustedProxies {
        let networks = ["10.0.0.0/8", "2001:db8:1::/48"];
        TrustedProxies::new(networks.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn client(trusted: &TrustedProxies, peer: &str, lines: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(HEADER, HeaderValue::from_bytes(line).unwrap());
        }
        trusted.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_rightmost_address_that_is_no_trusted_proxy_is_the_client() {
        let of = |peer: &str, lines: &[&[u8]]| client(&trusted(), peer, lines);
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &[b"203.0.113.5"]), "203.0.113.5");
        assert_eq!(of("10.0.0.1", &[b"198.51.100.9, 203.0.113.5"]), "203.0.113.5");
        assert_eq!(of("10.0.0.1", &[b"198.51.100.9, 203.0.113.5,10.7.7.7"]), "203.0.113.5");
        // What the client wrote in a line of its own stands before what the proxy added.
        assert_eq!(of("10.0.0.1", &[b"198.51.100.9", b"203.0.113.5"]), "203.0.113.5");
        assert_eq!(of("::ffff:10.0.0.1", &[b"::ffff:203.0.113.5"]), "203.0.113.5");
        assert_eq!(of("2001:db8:1::7", &[b"[2001:db8:2::1]:443"]), "2001:db8:2::1");
        assert_eq!(of("10.0.0.1", &[b"[2001:db8:2::1]"]), "2001:db8:2::1");
        assert_eq!(of("10.0.0.1", &[b"203.0.113.5:61234"]), "203.0.113.5");
        // Everybody on the way is one's own: then the first of them asks.
        assert_eq!(of("10.0.0.1", &[b"10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn what_cannot_be_read_ends_the_search_at_who_passed_it_on() {
        let of = |lines: &[&[u8]]| client(&trusted(), "10.0.0.1", lines);
        let long = [b'1'; 5_000];
        let garbage: [&[u8]; 9] = [
            b"unknown",
            b"",
            b",",
            b"203.0.113.5,",
            b"\"203.0.113.5\"",
            b"203.0.113.256",
            b"for=203.0.113.5",
            b"\xff\xfe",
            &long,
        ];
        for garbage in garbage {
            assert_eq!(of(&[b"203.0.113.5", garbage]), "10.0.0.1", "{garbage:?}");
            assert_eq!(of(&[b"203.0.113.5", garbage, b"10.0.0.9"]), "10.0.0.9", "{garbage:?}");
        }
        let mut many: Vec<&[u8]> = vec![b"10.0.0.2"; 5_000];
        many[0] = b"203.0.113.5";
        assert_eq!(of(&many), "10.0.0.2");
    }

    proptest! {
        #[test]
        fn a_peer_that_is_no_trusted_proxy_is_the_client_whatever_it_says(
            peer in any::<[u8; 4]>(), lines in prop::collection::vec("[0-9a-f.:, \\[\\]]{0,60}", 0..5),
        ) {
            let peer = IpAddr::from(peer);
            prop_assume!(!trusted().trusts(peer));
            let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            prop_assert_eq!(client(&trusted(), &peer.to_string(), &lines), peer.to_string());
        }

        #[test]
        fn nothing_left_of_what_the_proxy_added_changes_anything(said in "[ -~]{0,200}") {
            let added = format!("{said}, 203.0.113.5");
            prop_assert_eq!(client(&trusted(), "10.0.0.1", &[added.as_bytes()]), "203.0.113.5");
            let lines: [&[u8]; 2] = [said.as_bytes(), b"203.0.113.5"];
            prop_assert_eq!(client(&trusted(), "10.0.0.1", &lines), "203.0.113.5");
        }
    }
}
