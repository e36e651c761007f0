//! What the operator says about one issuer.

use portcullis_policies::TenantId;
use portcullis_secrets::SecretRef;

use super::Mapping;

/// A signature algorithm that an external issuer may use. All are asymmetric: whoever can check cannot sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 7518 and RFC 8037")]
pub enum ExternalAlgorithm {
    Rs256,
    Ps256,
    Es256,
    EdDsa,
}

impl ExternalAlgorithm {
    /// All of them with their names.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Rs256, "RS256"),
        (Self::Ps256, "PS256"),
        (Self::Es256, "ES256"),
        (Self::EdDsa, "EdDSA"),
    ];

    /// The one of this name, in exactly this spelling.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(algorithm, _)| algorithm)
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }
}

/// The gateway as a client of an issuer, for sign-in in a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalClient {
    /// The client's id.
    pub id: String,
    /// Where its secret is; a client without one proves itself by PKCE alone.
    pub secret: Option<SecretRef>,
}

/// One trusted issuer, pinned to its algorithms, audiences and tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalIssuer {
    /// Its name in paths, commands and records.
    pub name: String,
    /// `iss`, exactly.
    pub url: String,
    /// A token has to be for one of these.
    pub audiences: Vec<String>,
    /// A token has to be signed by one of these.
    pub algorithms: Vec<ExternalAlgorithm>,
    /// Whose people it vouches for, where the mapping names no other.
    pub tenant: TenantId,
    /// Hosts beside the issuer's own where its keys and endpoints may be.
    pub hosts: Vec<String>,
    /// The role of somebody who is made at first sight, where the mapping names no other; none: nobody is made.
    pub provision: Option<String>,
    /// From claims to roles and tenants.
    pub mapping: Mapping,
    /// For sign-in in a browser.
    pub client: Option<ExternalClient>,
}
