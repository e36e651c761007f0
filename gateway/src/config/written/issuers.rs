//! `[identity.issuers.NAME]` as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretForm;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExternalIssuer {
    /// The issuer, exactly as its tokens and its discovery document name it.
    pub(crate) url: Option<String>,
    /// Audiences that a token has to be for, one of them.
    #[serde(default)]
    pub(crate) audiences: Vec<String>,
    /// Signature algorithms: `RS256`, `PS256`, `ES256`, `EdDSA`.
    #[serde(default)]
    pub(crate) algorithms: Vec<String>,
    /// The tenant whose people it vouches for.
    pub(crate) tenant: Option<String>,
    /// Hosts beside the issuer's own where its keys and endpoints may be, such as `www.googleapis.com`.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    /// Make people at first sight, with this role where the mapping gives no other. Nobody is made without it.
    pub(crate) provision: Option<String>,
    /// File that maps claims to roles and tenants.
    pub(crate) mapping: Option<String>,
    /// Client id, for sign-in in a browser.
    pub(crate) client_id: Option<String>,
    /// Client secret, for sign-in in a browser; a client without one proves itself by PKCE alone.
    pub(crate) client_secret: Option<SecretForm>,
}
