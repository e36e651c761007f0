//! What a program asks of a person, read from a query (RFC 6749 section 4.1.1, RFC 7636, RFC 8707).
//!
//! It is read in two steps. Before client and address are known to belong together, an error is shown to the person
//! and sent nowhere: an address that nobody checked must not be led to.

use std::collections::BTreeMap;

use super::{Challenge, OAuthFault};

/// Parameters that count; all others are dropped.
const KNOWN: [&str; 8] = [
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "redirect_uri",
    "resource",
    "response_type",
    "scope",
    "state",
];
/// Longest request in its own spelling: it goes through the sign-in page as a part of an address.
const MAX_BYTES: usize = 2_600;
/// Longest `state`, in bytes.
const MAX_STATE: usize = 1_024;
/// Most scopes in one request.
const MAX_SCOPES: usize = 50;

/// A request as it came: each parameter once, nothing checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked(BTreeMap<&'static str, String>);

/// What is asked for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationRequest {
    /// The challenge of the program.
    pub challenge: Challenge,
    /// Scopes; none when the program leaves them to the gateway.
    pub scopes: Option<Vec<String>>,
}

impl Asked {
    /// Reads a query.
    ///
    /// # Errors
    /// [`OAuthFault::InvalidRequest`] when a parameter comes twice or all together are too long.
    pub fn read(query: &str) -> Result<Self, OAuthFault> {
        let mut asked = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let Some(known) = KNOWN.iter().find(|known| **known == name) else { continue };
            if asked.insert(*known, value.into_owned()).is_some() {
                return Err(OAuthFault::InvalidRequest("a parameter comes twice"));
            }
        }
        let asked = Self(asked);
        if asked.to_query().len() > MAX_BYTES {
            return Err(OAuthFault::InvalidRequest("the request is too long"));
        }
        Ok(asked)
    }

    /// A parameter; empty when it is not there.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// `state`, if it is one that can be sent back untouched.
    ///
    /// # Errors
    /// [`OAuthFault::InvalidRequest`] when it is too long or not printable ASCII (RFC 6749 appendix A.5).
    pub fn state(&self) -> Result<Option<&str>, OAuthFault> {
        let Some(state) = self.0.get("state") else { return Ok(None) };
        if state.len() <= MAX_STATE && state.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            Ok(Some(state))
        } else {
            Err(OAuthFault::InvalidRequest("`state` must be 1024 printable characters at most"))
        }
    }

    /// The request in its one spelling.
    #[must_use]
    pub fn to_query(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    /// Checks what is asked for. `is_ours` says whether a resource is this gateway.
    ///
    /// # Errors
    /// What the program did wrong.
    pub fn check(
        &self,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<AuthorizationRequest, OAuthFault> {
        if self.get("response_type") != "code" {
            return Err(OAuthFault::UnsupportedResponseType);
        }
        let method = self.get("code_challenge_method");
        let challenge = Challenge::read(self.get("code_challenge"), method)?;
        if self.0.get("resource").is_some_and(|resource| !is_ours(resource)) {
            return Err(OAuthFault::InvalidTarget);
        }
        let scopes = self.0.get("scope").filter(|scope| !scope.trim().is_empty());
        let scopes = scopes.map(|scopes| read_scopes(scopes)).transpose()?;
        Ok(AuthorizationRequest { challenge, scopes })
    }
}

/// Scopes with blanks between them, sorted, each once. Whether each is one is the directory's to say.
///
/// # Errors
/// [`OAuthFault::InvalidScope`] when there are too many.
fn read_scopes(text: &str) -> Result<Vec<String>, OAuthFault> {
    let mut scopes: Vec<String> =
        text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let are_scopes = crate::directory::check_scopes(&scopes).is_ok();
    if are_scopes && scopes.len() <= MAX_SCOPES {
        Ok(scopes)
    } else {
        Err(OAuthFault::InvalidScope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn query(change: &[(&str, &str)]) -> String {
        let mut pairs = BTreeMap::from([
            ("client_id", "imp_oc_x"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("redirect_uri", "https://client.example/cb"),
            ("response_type", "code"),
            ("scope", "notes:write notes:read"),
            ("state", "a b/c?d=e&f"),
        ]);
        pairs.extend(change.iter().copied());
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }

    fn check(change: &[(&str, &str)]) -> Result<AuthorizationRequest, OAuthFault> {
        Asked::read(&query(change)).unwrap().check(|resource| resource == "https://gate/mcp")
    }

    #[test]
    fn a_whole_request_is_read_and_written_in_one_spelling() {
        let asked = Asked::read(&query(&[("prompt", "none")])).unwrap();
        assert_eq!(asked.to_query(), query(&[]));
        assert_eq!(asked.state(), Ok(Some("a b/c?d=e&f")));
        let request = check(&[("resource", "https://gate/mcp")]).unwrap();
        assert_eq!(request.scopes.unwrap(), ["notes:read", "notes:write"]);
        assert_eq!(check(&[("scope", " ")]).unwrap().scopes, None);
    }

    #[test]
    fn a_downgrade_another_target_and_another_flow_are_refused() {
        let fault = |change: &[(&str, &str)]| check(change).unwrap_err();
        for method in ["plain", "", "s256"] {
            let downgraded = fault(&[("code_challenge_method", method)]);
            assert!(matches!(downgraded, OAuthFault::InvalidRequest(_)), "{method}");
        }
        assert!(matches!(fault(&[("code_challenge", "")]), OAuthFault::InvalidRequest(_)));
        assert_eq!(fault(&[("response_type", "token")]), OAuthFault::UnsupportedResponseType);
        for other in ["https://other/mcp", "https://gate/mcp/", "", "https://gate"] {
            assert_eq!(fault(&[("resource", other)]), OAuthFault::InvalidTarget, "{other}");
        }
        for scope in ["notes", "Notes:read", "notes:read\u{0}", "openid"] {
            assert_eq!(fault(&[("scope", scope)]), OAuthFault::InvalidScope, "{scope}");
        }
        let many: Vec<String> = (0..51).map(|n| format!("a:b{n}")).collect();
        assert_eq!(fault(&[("scope", &many.join(" "))]), OAuthFault::InvalidScope);
    }

    #[test]
    fn what_comes_twice_or_too_long_is_refused() {
        assert!(Asked::read(&format!("{}&state=x", query(&[]))).is_err());
        assert!(Asked::read(&query(&[("state", &"x".repeat(3_000))])).is_err());
        for state in ["x".repeat(1_025), "é".to_owned(), "a\nb".to_owned()] {
            assert!(Asked::read(&query(&[("state", &state)])).unwrap().state().is_err(), "{state}");
        }
    }
}
