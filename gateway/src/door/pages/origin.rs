//! Whether one of our own pages sent a request, as far as the browser says.
//!
//! Our pages send no referrer, so a browser writes `Origin: null` on their forms too (Fetch standard,
//! "append a request `Origin` header"). `Sec-Fetch-Site` then decides; no script can set it. Every browser
//! sends it over TLS and on loopback, which is where the pages are served.

use http::request::Parts;
use http::{HeaderMap, header};

use super::session::is_secure;
use crate::config::Server;

/// False when the browser says that another site sent the request. A client that says nothing is no
/// browser, and no other site can make it send anything.
pub(super) fn is_own(parts: &Parts, server: &Server) -> bool {
    let Ok(site) = only(&parts.headers, "sec-fetch-site") else { return false };
    let Ok(origin) = only(&parts.headers, header::ORIGIN.as_str()) else { return false };
    match (site, origin) {
        (None, None) => true,
        (Some(site), None | Some("null")) => site == "same-origin",
        (site, Some(origin)) => {
            site.is_none_or(|site| site == "same-origin") && names_us(parts, server, origin)
        }
    }
}

fn names_us(parts: &Parts, server: &Server, origin: &str) -> bool {
    if server.public_url.as_deref().is_some_and(|ours| ours.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = parts.uri.authority().map(http::uri::Authority::as_str).or(host);
    let scheme = if is_secure(server) { "https" } else { "http" };
    host.is_some_and(|host| origin.eq_ignore_ascii_case(&format!("{scheme}://{host}")))
}

/// The value of a header that may come once; an error when it comes twice or is no text.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| value.to_str().map_err(|_| ())).transpose()?;
    if values.next().is_some() { Err(()) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn own(headers: &[(&str, &str)]) -> bool {
        let server = Settings::demo(std::path::Path::new("/nowhere")).server;
        let mut request = http::Request::builder().uri("/signin").header("host", "gate:80");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        is_own(&request.body(()).unwrap().into_parts().0, &server)
    }

    #[test]
    fn only_our_own_pages_and_clients_without_a_browser_pass() {
        assert!(own(&[]));
        assert!(own(&[("sec-fetch-site", "same-origin")]));
        assert!(own(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(own(&[("sec-fetch-site", "same-origin"), ("origin", "http://gate:80")]));
        assert!(own(&[("origin", "http://gate:80")]));
        for site in ["cross-site", "same-site", "none", "", "same-origin, same-origin"] {
            assert!(!own(&[("sec-fetch-site", site)]), "{site}");
            assert!(!own(&[("sec-fetch-site", site), ("origin", "http://gate:80")]), "{site}");
        }
        for origin in ["null", "http://gate", "https://gate:80", "http://evil.example", ""] {
            assert!(!own(&[("origin", origin)]), "{origin}");
        }
        assert!(!own(&[("sec-fetch-site", "same-origin"), ("origin", "http://evil.example")]));
        assert!(!own(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")]));
    }
}
