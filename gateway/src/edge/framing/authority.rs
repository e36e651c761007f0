//! What a host may look like, in the `Host` field, in an absolute target and in `:authority`.

use crate::edge::malformed::Reason;

/// Longest authority in bytes: a DNS name of 253, and a port.
const MAX_AUTHORITY_BYTES: usize = 260;

/// Checks `host[:port]`: a name of letters, digits, `-`, `.` and `_`, an IPv4 address, or an IPv6
/// address in brackets. Stricter than RFC 3986 `reg-name`, which also allows what no host has.
///
/// # Errors
/// [`Reason::Userinfo`] or [`Reason::BadHost`].
pub(in crate::edge) fn check_authority(authority: &[u8]) -> Result<(), Reason> {
    if authority.contains(&b'@') {
        return Err(Reason::Userinfo);
    }
    if authority.len() > MAX_AUTHORITY_BYTES {
        return Err(Reason::BadHost);
    }
    let (is_host, port) = match authority.strip_prefix(b"[") {
        Some(rest) => {
            let close = rest.iter().position(|byte| *byte == b']').ok_or(Reason::BadHost)?;
            let (address, after) = rest.split_at_checked(close).ok_or(Reason::BadHost)?;
            (is_ipv6(address), after.strip_prefix(b"]").unwrap_or_default())
        }
        None => {
            let end = authority.iter().position(|b| *b == b':').unwrap_or(authority.len());
            let (name, after) = authority.split_at_checked(end).ok_or(Reason::BadHost)?;
            (is_name(name), after)
        }
    };
    if is_host && is_port(port) { Ok(()) } else { Err(Reason::BadHost) }
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

fn is_ipv6(address: &[u8]) -> bool {
    std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Nothing, or `:` and a port from 1 to 65535.
fn is_port(after: &[u8]) -> bool {
    let Some((b':', digits)) = after.split_first() else { return after.is_empty() };
    digits.iter().all(u8::is_ascii_digit)
        && std::str::from_utf8(digits).is_ok_and(|text| text.parse::<u16>().is_ok_and(|p| p > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_names_addresses_and_ports() {
        for good in ["a", "a.example:80", "127.0.0.1:8080", "[::1]", "[::1]:443", "a_b-c"] {
            assert_eq!(check_authority(good.as_bytes()), Ok(()), "{good}");
        }
    }

    #[test]
    fn refuses_what_is_no_host() {
        for bad in [
            "", ":80", "a:", "a:0", "a:65536", "a:8x", "a:+8", "a b", "a/b", "a,b", "a\\b", "a%2e",
            "[::1", "::1", "[::1]x", "[]", "[g::]", "a?b", "a#b", "é", "a:80:80",
        ] {
            assert_eq!(check_authority(bad.as_bytes()), Err(Reason::BadHost), "{bad}");
        }
        assert_eq!(check_authority(b"u:p@a"), Err(Reason::Userinfo));
        assert_eq!(check_authority(&[b'a'; 261]), Err(Reason::BadHost));
    }
}
