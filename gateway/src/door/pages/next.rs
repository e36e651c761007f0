//! Where a person wanted to go before signing in: a path of this gateway and nothing else.

use secrecy::ExposeSecret as _;

use super::form::Form;
use crate::edge::CanonicalPath;
use crate::refusal::Refusal;

/// Longest path that is kept, in bytes.
const MAX_BYTES: usize = 3_072;

/// A path of this gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Next(String);

impl Next {
    /// Reads a path. One that a browser could take for another host's, or that has two spellings, is
    /// refused: an address of ours must not lead elsewhere.
    ///
    /// # Errors
    /// [`Refusal::MalformedRequest`].
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let refused = || Refusal::MalformedRequest("`next` must be a path of this gateway".into());
        let is_plain = text.starts_with('/')
            && text.len() <= MAX_BYTES
            && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        let path = CanonicalPath::parse(text).ok().filter(|_| is_plain).ok_or_else(refused)?;
        if path.as_path_and_query() != text {
            return Err(refused());
        }
        Ok(Self(text.to_owned()))
    }

    /// The `next` of a query; none when there is none.
    ///
    /// # Errors
    /// As [`Self::parse`]; a second one is refused, too.
    pub(super) fn of_query(query: &str) -> Result<Option<Self>, Refusal> {
        let pairs = form_urlencoded::parse(query.as_bytes());
        let mut given = pairs.filter(|(name, _)| name == "next").map(|(_, value)| value);
        let next = given.next().map(|text| Self::parse(&text)).transpose()?;
        match given.next() {
            None => Ok(next),
            Some(_) => Err(Refusal::MalformedRequest("`next` is given twice".into())),
        }
    }

    /// The `next` of a form; none when it is empty or not there.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(super) fn of_form(form: &mut Form) -> Result<Option<Self>, Refusal> {
        let text = form.take("next")?;
        let text = text.filter(|text| !text.expose_secret().is_empty());
        text.map(|text| Self::parse(text.expose_secret())).transpose()
    }

    /// The path.
    #[must_use]
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The address of the sign-in that leads there.
    #[must_use]
    pub(super) fn sign_in(path: &str) -> String {
        let next: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
        format!("/signin?next={next}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_is_a_path_of_ours_or_refused() {
        for good in ["/ext/notes/secrets", "/ext/notes/secrets?stored=token", "/"] {
            assert_eq!(Next::parse(good).unwrap().as_str(), good);
        }
        for evil in [
            "",
            "evil",
            "//evil.example",
            "///evil",
            "/\\evil",
            "\\\\evil",
            "https://evil.example",
            "javascript:alert(1)",
            "/%2f/evil",
            "/%5cevil",
            "/..//evil",
            "/a/../b",
            "/\tevil",
            "/ evil",
            "/a\r\nset-cookie: x=y",
            "/é",
            "/a#b",
        ] {
            assert!(Next::parse(evil).is_err(), "{evil:?}");
        }
        assert!(Next::of_query("next=%2Fa&next=%2Fb").is_err());
        assert!(Next::of_query("next=%2F%2Fevil").is_err());
        assert_eq!(Next::of_query("x=y").unwrap(), None);
    }
}
