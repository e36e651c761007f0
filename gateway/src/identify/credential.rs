//! Exactly one credential out of the headers, and hints that must agree with it.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::{Caller, Unidentified};

/// Longest access token that is looked at, in bytes; ours are under 1.5 KiB.
pub(crate) const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Query parameters by which clients leak credentials (RFC 6750 section 2.3 and common habits).
const QUERY_CREDENTIALS: [&str; 8] = [
    "access_token",
    "token",
    "id_token",
    "refresh_token",
    "jwt",
    "api_key",
    "apikey",
    "authorization",
];

/// What a caller shows; not checked yet.
#[derive(Clone, Copy)]
pub(crate) enum Credential<'a> {
    Bearer(&'a str),
    ApiKey(&'a str),
    Service(&'a str),
    /// A call token; the service token that clients send beside it must be of the same app and tenant.
    Call {
        token: &'a str,
        service: Option<&'a str>,
    },
}

pub(crate) fn of_request<'a>(
    headers: &'a HeaderMap,
    query: Option<&str>,
) -> Result<Credential<'a>, Unidentified> {
    if query.is_some_and(names_a_credential) {
        return Err(Unidentified::InQuery);
    }
    let authorization = only(headers, AUTHORIZATION.as_str(), "authorization")?;
    let api_key = only(headers, "x-api-key", "x-api-key")?;
    // Clients that have no service token send the header all the same, empty (wire-contract 0.14).
    let service = only(headers, "x-service-token", "x-service-token")?.filter(|t| !t.is_empty());
    match (authorization, api_key, service) {
        (None, None, None) => Err(Unidentified::Missing),
        (Some(value), None, service) if call_token(value).is_some() => {
            let token = call_token(value).unwrap_or_default();
            Ok(Credential::Call { token, service })
        }
        (Some(value), None, None) => bearer(value).map(Credential::Bearer),
        (None, Some(value), None) => Ok(Credential::ApiKey(value)),
        (None, None, Some(value)) if value.len() <= MAX_TOKEN_BYTES => {
            Ok(Credential::Service(value))
        }
        (None, None, Some(_)) => Err(Unidentified::Malformed { header: "x-service-token" }),
        _ => Err(Unidentified::Ambiguous { header: "authorization" }),
    }
}

/// The user for whom a service says that it acts; believed of the platform's own services only.
pub(crate) fn acting_user(headers: &HeaderMap) -> Result<Option<&str>, Unidentified> {
    only(headers, "x-acting-user", "x-acting-user")
}

/// Hints must equal what the credential says; an absent hint is fine, an empty one is not.
pub(crate) fn hints_agree(headers: &HeaderMap, caller: &Caller) -> Result<(), Unidentified> {
    if let Some(user) = only(headers, "x-acting-user", "x-acting-user")? {
        caller.agrees_on_user("x-acting-user", user)?;
    }
    if let Some(tenant) = only(headers, "x-tenant-id", "x-tenant-id")? {
        caller.agrees_on_tenant("x-tenant-id", tenant)?;
    }
    for name in ["x-ext-id", "x-extension-id"] {
        if let Some(app) = only(headers, name, name)? {
            caller.agrees_on_extension(name, app)?;
        }
    }
    Ok(())
}

/// The value of a header that may come at most once, as visible ASCII.
fn only<'a>(
    headers: &'a HeaderMap,
    name: &str,
    header: &'static str,
) -> Result<Option<&'a str>, Unidentified> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Unidentified::Ambiguous { header });
    }
    let text = value.to_str().map_err(|_| Unidentified::Malformed { header })?;
    Ok(Some(text))
}

/// The token of a `Bearer` value: one blank, then one word (RFC 6750 section 2.1; the scheme in any
/// case, RFC 9110 section 11.1).
fn bearer(value: &str) -> Result<&str, Unidentified> {
    let malformed = Unidentified::Malformed { header: "authorization" };
    let (scheme, token) = value.split_once(' ').ok_or(Unidentified::Scheme)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Unidentified::Scheme);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if token.is_empty() || token.len() > MAX_TOKEN_BYTES || !token.chars().all(plain) {
        return Err(malformed);
    }
    Ok(token)
}

/// The token of an `ImperalCallToken` value (wire-contract.md 0.14).
fn call_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("imperalcalltoken").then_some(token)
}

fn names_a_credential(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        let name = name.replace('-', "_").to_ascii_lowercase();
        let name = name.strip_prefix("x_").unwrap_or(&name);
        QUERY_CREDENTIALS.contains(&name)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for &(name, value) in pairs {
            map.append(name, HeaderValue::from_static(value));
        }
        map
    }

    fn refused(pairs: &[(&'static str, &'static str)], query: Option<&str>) -> &'static str {
        match of_request(&headers(pairs), query) {
            Ok(_) => "accepted",
            Err(refusal) => refusal.code(),
        }
    }

    #[test]
    fn exactly_one_credential_is_taken() {
        let bearer = ("authorization", "Bearer a.b.c");
        assert_eq!(refused(&[bearer], None), "accepted");
        assert_eq!(refused(&[("authorization", "bEaReR a.b.c")], None), "accepted");
        assert_eq!(refused(&[("x-api-key", "imp_live_x")], Some("page=2")), "accepted");
        assert_eq!(refused(&[], None), "credential_missing");
        assert_eq!(refused(&[bearer, bearer], None), "credential_ambiguous");
        assert_eq!(refused(&[bearer, ("x-api-key", "k")], None), "credential_ambiguous");
        assert_eq!(
            refused(&[("x-api-key", "k"), ("x-api-key", "k")], None),
            "credential_ambiguous"
        );
        assert_eq!(refused(&[("authorization", "Basic YTpi")], None), "credential_scheme");
        assert_eq!(refused(&[("authorization", "Bearer")], None), "credential_scheme");
    }

    #[test]
    fn a_bearer_value_of_another_form_is_refused() {
        for value in [
            "Bearer ",
            "Bearer  a.b.c",
            "Bearer a.b.c ",
            "Bearer a.b.c, Bearer d.e.f",
            "Bearer a\tb",
        ] {
            assert_eq!(
                refused(&[("authorization", value)], None),
                "credential_malformed",
                "{value:?}"
            );
        }
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES + 1));
        let mut map = HeaderMap::new();
        map.insert("authorization", HeaderValue::from_str(&long).unwrap());
        assert!(matches!(of_request(&map, None), Err(Unidentified::Malformed { .. })));
    }

    #[test]
    fn a_credential_in_the_query_is_refused_beside_a_good_header_too() {
        let bearer = [("authorization", "Bearer a.b.c")];
        for query in ["access_token=x", "a=1&TOKEN=x", "x-api-key=k", "a;jwt=1", "Authorization=x"]
        {
            assert_eq!(refused(&bearer, Some(query)), "credential_in_query", "{query}");
        }
    }
}
