//! The request that a proxied call would send, as a person is shown it: method, target, the headers that the service
//! gets, and the body, of which as much is read as there is to read.
//!
//! The hash of the call covers what the rules decided over, which is method, path and query. The hash of the request
//! covers all that is sent.
//!
//! INVARIANT: two requests of which the service gets anything else have two hashes
//! (`every_part_of_a_request_is_in_its_hash`).

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Lines, spelled};

/// What the hash begins with, so that it is no hash of anything else.
const DOMAIN: &[u8] = b"portcullis-proxied-request-v1\0";

/// A request as its asker is shown it, and as `portcullis confirm` reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownRequest {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The caller's headers that the service gets; the gateway adds its own, and the app's credential.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Length of the body.
    pub body_bytes: usize,
    /// SHA-256 (hex) of the body.
    pub body_sha256: String,
    /// The body, where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_text: Option<String>,
}

/// What there is to see of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum ShownBody {
    /// There is none.
    Nothing,
    /// Its values, or its text.
    Values(Lines),
    /// Nothing that a person could read, and why.
    Unreadable(&'static str),
}

impl ShownRequest {
    /// A request with this body.
    #[must_use]
    pub fn new(
        (method, target): (String, String),
        headers: Vec<(String, String)>,
        body: &[u8],
    ) -> Self {
        let body_text = std::str::from_utf8(body).ok().filter(|text| !text.is_empty());
        let body_text = body_text.map(str::to_owned);
        let body_sha256 = hex::encode(Sha256::digest(body));
        Self { method, target, headers, body_bytes: body.len(), body_sha256, body_text }
    }

    /// SHA-256 (hex) over all that is sent; each part after its length, so that no two requests are one text.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut sha = Sha256::new_with_prefix(DOMAIN);
        let mut part = |part: &str| {
            sha.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            sha.update(part);
        };
        part(&self.method);
        part(&self.target);
        part(&self.headers.len().to_string());
        for (name, value) in &self.headers {
            part(name);
            part(value);
        }
        part(&self.body_bytes.to_string());
        part(&self.body_sha256);
        hex::encode(sha.finalize())
    }

    /// Whether the body that is shown is the one that the hash covers; for who does not trust who shows it.
    #[must_use]
    pub fn shows_its_own_body(&self) -> bool {
        self.body_text.as_ref().is_none_or(|text| {
            text.len() == self.body_bytes
                && hex::encode(Sha256::digest(text.as_bytes())) == self.body_sha256
        })
    }

    /// Path and query for a screen, without the secrets that the query names; its values are shown one by one anyway.
    #[must_use]
    pub fn shown_target(&self) -> String {
        let Some((path, query)) = self.target.split_once('?') else { return spelled(&self.target) };
        let shown = query.split('&').map(|part| match part.split_once('=') {
            Some((name, _)) if is_hidden(part) => format!("{}=…", spelled(name)),
            _ => spelled(part),
        });
        format!("{}?{}", spelled(path), shown.collect::<Vec<_>>().join("&"))
    }

    /// The headers, one line each.
    #[must_use]
    pub fn header_lines(&self) -> Lines {
        Lines::of_pairs(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// What the body says it is.
    #[must_use]
    pub fn content_type(&self) -> &str {
        self.header(CONTENT_TYPE.as_str()).next().unwrap_or("nothing")
    }

    /// The body, as the service will read it: by the type that is sent with it.
    #[must_use]
    pub fn body(&self) -> ShownBody {
        if self.body_bytes == 0 {
            return ShownBody::Nothing;
        }
        let Some(text) = &self.body_text else { return ShownBody::Unreadable("it is no text") };
        if self
            .header(CONTENT_ENCODING.as_str())
            .any(|coding| !coding.eq_ignore_ascii_case("identity"))
        {
            return ShownBody::Unreadable("it is compressed, or coded in another way");
        }
        let kinds: Vec<String> =
            self.header(CONTENT_TYPE.as_str()).map(str::to_ascii_lowercase).collect();
        let [kind] = kinds.as_slice() else { return ShownBody::Values(Lines::of_text(text)) };
        let mut parts = kind.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let charset = parts.find_map(|part| part.strip_prefix("charset="));
        let charset = charset.map(|charset| charset.trim_matches('"'));
        if charset.is_some_and(|charset| !["utf-8", "utf8", "us-ascii"].contains(&charset)) {
            return ShownBody::Unreadable("the service will read it in another character set");
        }
        let lines = match essence {
            "application/x-www-form-urlencoded" => Lines::of_form(text),
            json if json == "application/json" || json.ends_with("+json") => {
                Lines::of(text.as_bytes()).ok()
            }
            _ => None,
        };
        ShownBody::Values(lines.unwrap_or_else(|| Lines::of_text(text)))
    }

    fn header<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a str> {
        let all = self.headers.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted));
        all.map(|(_, value)| value.as_str())
    }
}

/// Whether a field of a query has the name of a secret; what can't be read is none to be shown.
fn is_hidden(field: &str) -> bool {
    Lines::of_form(field).is_none_or(|all| all.lines.iter().any(|line| line.hidden.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: &str, body: &[u8]) -> ShownRequest {
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        ShownRequest::new(("POST".to_owned(), "/invoices?a=1".to_owned()), headers, body)
    }

    fn shown(kind: &str, body: &[u8]) -> Vec<String> {
        match request(kind, body).body() {
            ShownBody::Values(lines) => lines
                .lines
                .into_iter()
                .map(|line| format!("{}={}", line.name, line.shown))
                .collect(),
            other => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn every_part_of_a_request_is_in_its_hash() {
        let one = request("text/plain", b"ten coins");
        let with = |change: &dyn Fn(&mut ShownRequest)| {
            let mut other = one.clone();
            change(&mut other);
            other.hash()
        };
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let hashes = [
            one.hash(),
            with(&|r| r.method = "PUT".to_owned()),
            with(&|r| r.target = "/invoices?a=2".to_owned()),
            with(&|r| r.headers.clear()),
            with(&|r| r.headers = vec![header("content-type", "text/html")]),
            with(&|r| r.headers = vec![header("content-typet", "ext/plain")]),
            with(&|r| r.headers.push(header("x", "y"))),
            with(&|r| r.headers.insert(0, header("x", "y"))),
            request("text/plain", b"ten coinS").hash(),
            request("text/plain", b"").hash(),
        ];
        let different: std::collections::BTreeSet<&String> = hashes.iter().collect();
        assert_eq!(different.len(), hashes.len(), "{hashes:?}");
        assert_eq!(request("text/plain", b"ten coins").hash(), one.hash());
    }

    #[test]
    fn a_body_is_read_as_what_it_says_it_is() {
        let form = "application/x-www-form-urlencoded";
        assert_eq!(
            shown("application/json; charset=UTF-8", br#"{"to":"eve","to":1e2,"otp":"1"}"#)[..2],
            ["to=\"eve\"", "to=1e2"]
        );
        assert_eq!(shown("application/merge-patch+json", b"[1]"), ["[0]=1"]);
        assert_eq!(
            shown(form, b"to=eve&to=m%61l&a+b=%22"),
            ["to=\"eve\"", "to=\"mal\"", "\"a b\"=\"\\\"\""]
        );
        assert!(shown(form, b"password=hunter2")[0].starts_with("password=hidden"));
        assert_eq!(shown(form, b"to=%ff"), ["=\"to=%ff\""], "what is no text is not guessed at");
        assert_eq!(shown("text/xml", b"<to>eve</to>"), ["=\"<to>eve</to>\""]);
        assert_eq!(shown("application/json", b"{broken"), ["=\"{broken\""]);
        for (kind, body) in
            [("text/plain; charset=\"utf-16\"", &b"a"[..]), ("image/png", b"\x89PNG\xff")]
        {
            assert!(shown(kind, body)[0].starts_with("Unreadable"), "{kind}");
        }
        let mut packed = request("text/plain", b"text");
        packed.headers.push(("content-encoding".to_owned(), "gzip".to_owned()));
        assert!(matches!(packed.body(), ShownBody::Unreadable(_)));
    }

    #[test]
    fn no_secret_of_the_query_is_on_the_screen() {
        let target = |target: &str| {
            ShownRequest::new(("GET".to_owned(), target.to_owned()), vec![], b"").shown_target()
        };
        assert_eq!(target("/a"), "/a");
        assert_eq!(target("/a?to=eve&x"), "/a?to=eve&x");
        assert_eq!(
            target("/a?access_token=hunter2&p%61ssword=h&b=1"),
            "/a?access_token=…&p%61ssword=…&b=1"
        );
    }

    #[test]
    fn a_body_that_is_not_the_hashed_one_is_seen() {
        let mut one = request("text/plain", b"ten coins");
        assert!(one.shows_its_own_body());
        one.body_text = Some("one coins".to_owned());
        assert!(!one.shows_its_own_body());
    }
}
