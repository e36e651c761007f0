//! The mapping file: which claims of a provider mean which role and tenant. No rule stands in it, and no code of a
//! provider runs: the first entry that fits counts.
//!
//! ```toml
//! [[map]]
//! claim = "groups"        # a text, or a list that holds it
//! value = "notes-editors"
//! role = "editor"
//! tenant = "imp_t_acme"   # the issuer's own tenant when left out
//! ```

use portcullis_policies::TenantId;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Most entries of one file.
const MAX_ENTRIES: usize = 1_000;
/// Longest file.
pub const MAX_FILE: u64 = 256 * 1024;

/// Why a mapping file is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingFault {
    /// Not TOML of this shape; with line and column.
    #[error("{0}")]
    Shape(String),
    /// An entry says nothing.
    #[error("entry {0} gives neither a role nor a tenant, or names no claim")]
    Empty(usize),
    /// Two entries for the same value: the second would never count.
    #[error("entry {0} has the claim and value of an earlier one")]
    Twice(usize),
    /// Too many entries.
    #[error("there are more than {MAX_ENTRIES} entries")]
    TooMany,
}

/// What claims come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapping {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    claim: String,
    value: String,
    role: Option<String>,
    tenant: Option<TenantId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    map: Vec<Entry>,
}

impl Mapping {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, MappingFault> {
        let file: File = toml::from_str(text).map_err(|e| MappingFault::Shape(e.to_string()))?;
        if file.map.len() > MAX_ENTRIES {
            return Err(MappingFault::TooMany);
        }
        let mut seen = std::collections::HashSet::new();
        for (at, entry) in file.map.iter().enumerate() {
            let role = entry.role.as_deref().unwrap_or("-");
            let says = entry.role.is_some() || entry.tenant.is_some();
            if !says || role.is_empty() || entry.claim.is_empty() || entry.value.is_empty() {
                return Err(MappingFault::Empty(at.saturating_add(1)));
            }
            let twice = !seen.insert((&entry.claim, &entry.value, entry.role.is_some()));
            if twice {
                return Err(MappingFault::Twice(at.saturating_add(1)));
            }
        }
        Ok(Self { entries: file.map })
    }

    /// The role that the claims give in `tenant`: the first entry with a role that fits and is about that tenant. One
    /// that names none is about the issuer's `own`: a group of one tenant gives nothing in another.
    #[must_use]
    pub fn role<'a>(
        &'a self,
        claims: &'a Map<String, Value>,
        own: &TenantId,
        tenant: &TenantId,
    ) -> Option<&'a str> {
        self.fitting(claims)
            .filter(|entry| entry.tenant.as_ref().unwrap_or(own) == tenant)
            .find_map(|entry| entry.role.as_deref())
    }

    /// The tenant that the claims give; the first entry with a tenant that fits.
    #[must_use]
    pub fn tenant<'a>(&'a self, claims: &'a Map<String, Value>) -> Option<&'a TenantId> {
        self.fitting(claims).find_map(|entry| entry.tenant.as_ref())
    }

    fn fitting<'a>(&'a self, claims: &'a Map<String, Value>) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(|entry| match claims.get(&entry.claim) {
            Some(Value::String(text)) => *text == entry.value,
            Some(Value::Array(list)) => list.iter().any(|one| one.as_str() == Some(&entry.value)),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FILE: &str = r#"
[[map]]
claim = "groups"
value = "admins"
role = "admin"
[[map]]
claim = "groups"
value = "staff"
role = "editor"
[[map]]
claim = "org"
value = "globex"
tenant = "imp_t_globex"
"#;

    fn claims(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_first_entry_that_fits_counts_for_texts_and_lists() {
        let mapping = Mapping::parse(FILE).unwrap();
        let own: TenantId = "imp_t_acme".parse().unwrap();
        let both = claims(json!({"groups": ["staff", "admins"], "org": "globex"}));
        assert_eq!(mapping.role(&both, &own, &own), Some("admin"));
        let globex = mapping.tenant(&both).unwrap();
        assert_eq!(globex.as_str(), "imp_t_globex");
        assert_eq!(mapping.role(&both, &own, globex), None, "an admin here is none there");
        let staff = claims(json!({"groups": "staff"}));
        assert_eq!(mapping.role(&staff, &own, &own), Some("editor"));
        for other in [
            json!({}),
            json!({"groups": ["Staff"]}),
            json!({"groups": {"staff": true}}),
            json!({"groups": "admins,staff"}),
            json!({"groups": [["admins"]]}),
        ] {
            assert_eq!(mapping.role(&claims(other.clone()), &own, &own), None, "{other}");
        }
    }

    #[test]
    fn a_typo_or_an_entry_without_effect_is_refused() {
        for bad in [
            "[[map]]\nclaim = \"a\"\nvalue = \"b\"\nroles = \"c\"",
            "[[map]]\nclaim = \"a\"\nvalue = \"b\"",
            "[[map]]\nclaim = \"\"\nvalue = \"b\"\nrole = \"c\"",
            "[[map]]\nclaim = \"a\"\nvalue = \"b\"\nrole = \"\"",
            "[[map]]\nclaim = \"a\"\nvalue = \"b\"\ntenant = \"acme\"",
            "[[map]]\nclaim = \"a\"\nvalue = \"b\"\nrole = \"c\"\n[[map]]\nclaim = \"a\"\nvalue = \"b\"\nrole = \"d\"",
            "[[maps]]\nclaim = \"a\"\nvalue = \"b\"\nrole = \"c\"",
        ] {
            assert!(Mapping::parse(bad).is_err(), "{bad}");
        }
    }
}
