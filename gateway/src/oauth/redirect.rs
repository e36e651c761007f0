//! Where an answer may be sent: an address that the program registered, exactly (RFC 9700 section 2.1), with any port
//! on the loopback interface (RFC 8252 section 7.3).

use reqwest::Url;

use super::OAuthFault;

/// Longest address, in bytes.
const MAX_BYTES: usize = 512;

/// An address to which codes may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    url: Url,
}

impl RedirectUri {
    /// Reads an address: `https`, or `http` on this machine; no user, no fragment, and one spelling only, so that no
    /// two readers take it for two hosts.
    ///
    /// # Errors
    /// [`OAuthFault::InvalidRedirectUri`].
    pub fn parse(text: &str) -> Result<Self, OAuthFault> {
        let plain = |b: u8| b.is_ascii_graphic() && !br#"\"<>^`{|}'"#.contains(&b);
        let url =
            (text.len() <= MAX_BYTES && text.bytes().all(plain)).then(|| Url::parse(text).ok());
        let url = url.flatten().ok_or(OAuthFault::InvalidRedirectUri)?;
        // The parser writes the empty path as `/`.
        let one_spelling = url.as_str() == text || url.as_str() == format!("{text}/");
        let is_https = url.scheme() == "https" && url.host_str().is_some_and(is_plain_host);
        let allowed = is_https || is_loopback(&url);
        let bare =
            url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if one_spelling && allowed && bare {
            Ok(Self { text: text.to_owned(), url })
        } else {
            Err(OAuthFault::InvalidRedirectUri)
        }
    }

    /// Whether this one, as asked for, is the registered one.
    #[must_use]
    pub fn is(&self, registered: &str) -> bool {
        if self.text == registered {
            return true;
        }
        let Ok(registered) = Self::parse(registered) else { return false };
        if !is_loopback(&self.url) || !is_loopback(&registered.url) {
            return false;
        }
        let but_for_the_port = |uri: &Self| {
            let mut url = uri.url.clone();
            url.set_port(None).map(|()| url.as_str().to_owned()).ok()
        };
        but_for_the_port(self).is_some_and(|ours| Some(ours) == but_for_the_port(&registered))
    }

    /// The address as it was asked for.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host and port, as a person is shown where the answer goes.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Whether the answer stays on the person's own machine.
    #[must_use]
    pub fn is_on_this_machine(&self) -> bool {
        is_loopback(&self.url)
    }

    /// What a content security policy calls it. A policy has no word for an IPv6 address, so its whole scheme is named.
    #[must_use]
    pub fn policy_source(&self) -> String {
        match self.url.host_str() {
            Some(host) if !host.starts_with('[') => {
                format!("{}://{}", self.url.scheme(), self.host())
            }
            _ => format!("{}:", self.url.scheme()),
        }
    }

    /// The address with an answer: each pair as it is, encoded.
    #[must_use]
    pub fn with(&self, answer: &[(&str, &str)]) -> String {
        let pairs = form_urlencoded::Serializer::new(String::new()).extend_pairs(answer).finish();
        let joint = if self.url.query().is_some() { '&' } else { '?' };
        format!("{}{joint}{pairs}", self.text)
    }
}

/// A name of letters, digits, dots and hyphens, or this machine by IPv6. What else a parser lets into a host (`*`, `;`,
/// `,`) has a meaning in a content security policy, which names the host.
fn is_plain_host(host: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    host == "[::1]" || (!host.is_empty() && host.bytes().all(plain))
}

fn is_loopback(url: &Url) -> bool {
    url.scheme() == "http" && matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "https://client.example/cb";

    #[test]
    fn an_address_with_two_meanings_is_none() {
        for evil in [
            "",
            "/cb",
            "client.example/cb",
            "http://client.example/cb",
            "https://",
            "https://user@client.example/cb",
            "https://client.example@evil.example/cb",
            "https://client.example/cb#",
            "https://client.example/cb#x",
            "https://client.example\\@evil.example/cb",
            "https://CLIENT.example/cb",
            "https://client.example:443/cb",
            "https://client.example/a/../cb",
            "https://client.example/cb ",
            "https://client.example/\u{430}",
            "https:client.example/cb",
            "https:///client.example/cb",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "http://localhost.evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://127.1/cb",
            "http://2130706433/cb",
            "http://0.0.0.0/cb",
            "cursor://callback",
            "https://*/cb",
            "https://*.example/cb",
            "https://a;script-src=x.example/cb",
            "https://a,b.example/cb",
            "https://a_b.example/cb",
            "https://a$b.example/cb",
            "https://[2001:db8::1]/cb",
        ] {
            assert!(RedirectUri::parse(evil).is_err(), "{evil:?}");
        }
        assert!(RedirectUri::parse(&format!("{GOOD}?{}", "x".repeat(MAX_BYTES))).is_err());
        for good in [GOOD, "https://client.example:8443/cb?a=b", "https://client.example"] {
            assert!(RedirectUri::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn only_the_registered_one_is_it_and_any_port_of_the_loopback_interface() {
        let is = |asked: &str, registered: &str| RedirectUri::parse(asked).unwrap().is(registered);
        assert!(is(GOOD, GOOD));
        for other in [
            "https://client.example/cb/",
            "https://client.example/cb?x=y",
            "https://client.example/cbx",
            "https://client.example:8443/cb",
            "https://client.example.evil.example/cb",
            "https://evil.example/cb",
        ] {
            assert!(!is(other, GOOD), "{other}");
        }
        let registered = "http://127.0.0.1/cb";
        assert!(is("http://127.0.0.1:40000/cb", registered));
        assert!(is("http://127.0.0.1/cb", "http://127.0.0.1:40000/cb"));
        assert!(is("http://[::1]:40000/cb", "http://[::1]/cb"));
        for other in
            ["http://localhost:40000/cb", "http://[::1]:40000/cb", "http://127.0.0.1:1/other"]
        {
            assert!(!is(other, registered), "{other}");
        }
    }

    #[test]
    fn an_answer_is_added_to_what_is_there() {
        let with = |text: &str| RedirectUri::parse(text).unwrap().with(&[("state", "a b&c=d#e")]);
        assert_eq!(with(GOOD), format!("{GOOD}?state=a+b%26c%3Dd%23e"));
        assert_eq!(
            with("https://client.example/cb?x=y"),
            "https://client.example/cb?x=y&state=a+b%26c%3Dd%23e"
        );
        let source = |text: &str| RedirectUri::parse(text).unwrap().policy_source();
        assert_eq!(source("http://127.0.0.1:4/cb"), "http://127.0.0.1:4");
        assert_eq!(source("http://[::1]:4/cb"), "http:");
        assert_eq!(source("https://client.example/;x"), "https://client.example");
    }
}
