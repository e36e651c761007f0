//! `[identity.issuers]`: whose tokens are believed, and of what.

use std::collections::BTreeMap;

use super::super::checker::Checker;
use super::super::document::At;
use super::super::mistakes::Kind;
use super::super::written::issuers as written;
use super::keys;
use crate::identify::{
    ExternalAlgorithm, ExternalClient, ExternalIssuer, MAX_MAPPING_FILE, Mapping,
};

/// All issuers, in the order of their names.
pub(super) fn issuers(
    c: &mut Checker<'_>,
    at: &At,
    written: BTreeMap<String, written::ExternalIssuer>,
) -> Option<Vec<ExternalIssuer>> {
    let mut all: Vec<Option<ExternalIssuer>> = Vec::new();
    for (name, one) in written {
        let place = at.key(&name);
        let issuer = issuer(c, &place, name, one);
        let twice = issuer
            .as_ref()
            .is_some_and(|new| all.iter().flatten().any(|known| known.url == new.url));
        if twice {
            let message = "two issuers have this address".to_owned();
            c.wrong(Kind::Conflict, &place.key("url"), message, "give each issuer one table");
        }
        all.push(issuer);
    }
    all.into_iter().collect()
}

fn issuer(
    c: &mut Checker<'_>,
    at: &At,
    name: String,
    written: written::ExternalIssuer,
) -> Option<ExternalIssuer> {
    let named = is_name(c, at, &name);
    let url = address(c, &at.key("url"), written.url);
    let algorithms = algorithms(c, &at.key("algorithms"), &written.algorithms);
    let help = "write the id of a tenant, such as `imp_t_acme`";
    let tenant = c.required(&at.key("tenant"), written.tenant, help);
    let tenant = tenant.and_then(|text| c.parsed(&at.key("tenant"), &text, help));
    let mapping = match written.mapping {
        None => Some(Mapping::default()),
        Some(file) => mapping(c, &at.key("mapping"), &file),
    };
    let secret =
        written.client_secret.map(|form| keys::outside(c, &at.key("client_secret"), &form));
    let client = match (written.client_id, secret) {
        (Some(id), None) => Some(Some(ExternalClient { id, secret: None })),
        (Some(id), Some(Some(secret))) => Some(Some(ExternalClient { id, secret: Some(secret) })),
        (_, Some(None)) => None,
        (None, Some(_)) => {
            let message = "there is a `client_secret` and no `client_id`".to_owned();
            c.wrong(Kind::Missing, &at.key("client_secret"), message, "give both, or neither");
            None
        }
        (None, None) => Some(None),
    };
    if written.audiences.is_empty() && matches!(client, Some(None)) {
        let message = format!("`{at}` takes no token: it has no `audiences` and no `client_id`");
        c.wrong_key(Kind::Missing, at, message, "say for whom its tokens have to be");
        return None;
    }
    Some(ExternalIssuer {
        name: named.then_some(name)?,
        url: url?,
        audiences: written.audiences,
        algorithms: algorithms?,
        tenant: tenant?,
        hosts: written.hosts,
        provision: written.provision,
        mapping: mapping?,
        client: client?,
    })
}

/// It stands in paths and records.
fn is_name(c: &mut Checker<'_>, at: &At, name: &str) -> bool {
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fits = (1..=32).contains(&name.len()) && name.bytes().all(letters);
    if !fits {
        let message = format!("`{at}` cannot stand in paths");
        c.wrong_key(Kind::Value, at, message, "use 1 to 32 of a-z, 0-9 and `-`");
    }
    fits
}

/// https, or http to this very machine.
fn address(c: &mut Checker<'_>, at: &At, written: Option<String>) -> Option<String> {
    let help = "write the issuer as its tokens name it, such as `https://login.example.org`";
    let text = c.required(at, written, help)?;
    let uri = c.url(at, &text)?;
    let host = uri.host().unwrap_or_default();
    let here = ["127.0.0.1", "localhost", "[::1]"].contains(&host);
    if uri.scheme_str() != Some("https") && !here {
        let message = format!("`{at}` is not https: whoever is in between could give keys");
        c.wrong(Kind::Value, at, message, "use https; http is taken for 127.0.0.1 only");
        return None;
    }
    Some(text)
}

fn algorithms(c: &mut Checker<'_>, at: &At, names: &[String]) -> Option<Vec<ExternalAlgorithm>> {
    let known: Vec<Option<ExternalAlgorithm>> =
        names.iter().map(|name| ExternalAlgorithm::named(name)).collect();
    let found: Option<Vec<_>> = known.into_iter().collect();
    let found = found.filter(|found| !found.is_empty());
    if found.is_none() {
        let message = format!("`{at}` pins no signature algorithm that is taken");
        let help = "name those that the issuer signs by: RS256, PS256, ES256, EdDSA";
        c.wrong(Kind::Value, at, message, help);
    }
    found
}

fn mapping(c: &mut Checker<'_>, at: &At, file: &str) -> Option<Mapping> {
    let path = c.file(at, file)?;
    let size = std::fs::metadata(&path).map_or(u64::MAX, |meta| meta.len());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) if size <= MAX_MAPPING_FILE => text,
        Ok(_) => {
            c.wrong(Kind::Value, at, format!("{} is too long", path.display()), "shorten it");
            return None;
        }
        Err(why) => {
            c.wrong(Kind::File, at, format!("{}: {why}", path.display()), "make it readable");
            return None;
        }
    };
    match Mapping::parse(&text) {
        Ok(mapping) => Some(mapping),
        Err(why) => {
            let message = format!("{} is no mapping: {why}", path.display());
            let help = "each `[[map]]` has `claim`, `value`, and `role` or `tenant` or both";
            c.wrong(Kind::Value, at, message, help);
            None
        }
    }
}
