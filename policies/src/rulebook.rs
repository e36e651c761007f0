//! A checked policy set, immutable, indexed by action.

mod error;
mod sources;

use crate::verdict::PolicySetDigest;
use crate::vocabulary::{Principal, TenantId, ToolName, ToolSpec};

pub use error::{RuleError, RuleErrorKind, RuleErrors};
pub use sources::{RuleFile, RuleSources};

/// A policy set that was checked as a whole: immutable, shared in an `Arc`, swapped whole.
#[derive(Debug)]
pub struct Rulebook {
    digest: PolicySetDigest,
    schema: String,
    texts: Vec<u8>,
    untypable: Vec<UntypableArgument>,
}

/// An argument that Cedar cannot type, so that no rule can see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct UntypableArgument {
    /// The tool.
    pub tool: ToolName,
    /// JSON path within the arguments, `$.amount`.
    pub path: String,
    /// Why, in words for the tool's author.
    pub why: String,
}

/// A principal with its scopes expanded and its Cedar entity built: once per principal version and rulebook.
#[derive(Debug, Clone)]
pub struct PreparedPrincipal {
    principal: Principal,
}

impl PreparedPrincipal {
    /// The principal as it was given.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }
}

impl Rulebook {
    /// Checks a policy set as a whole against the schema made from the tools.
    ///
    /// # Errors
    /// Every mistake at once, each with file, line, caret and remedy.
    pub fn load(sources: &RuleSources, tools: &[ToolSpec]) -> Result<Self, RuleErrors> {
        let _ = tools;
        let texts = serde_json::to_vec(sources).map_err(|e| {
            let file = RuleFile { path: "policy set".to_owned(), text: String::new() };
            RuleError::new(RuleErrorKind::Io, &file, e.to_string(), "report this as a defect")
        })?;
        let digest = PolicySetDigest(<sha2::Sha256 as sha2::Digest>::digest(&texts).into());
        RuleErrors::none_in(Vec::new())?;
        Ok(Self { digest, schema: String::new(), texts, untypable: Vec::new() })
    }

    /// SHA-256 of [`Rulebook::policy_texts`].
    pub fn digest(&self) -> &PolicySetDigest {
        &self.digest
    }

    /// The Cedar schema made from the catalogue, as text.
    pub fn schema_text(&self) -> &str {
        &self.schema
    }

    /// The exact bytes that the digest covers; stored by digest, so that past decisions can be run again.
    pub fn policy_texts(&self) -> &[u8] {
        &self.texts
    }

    /// Arguments that rules cannot see.
    pub fn untypable(&self) -> &[UntypableArgument] {
        &self.untypable
    }

    /// Expands the scopes and builds the entity of a principal.
    pub fn prepare(&self, principal: &Principal) -> PreparedPrincipal {
        PreparedPrincipal { principal: principal.clone() }
    }

    /// Says whether some input could be permitted or asked about: what `tools/list` shows.
    pub fn may_ever(
        &self,
        principal: &PreparedPrincipal,
        tool: &ToolName,
        target_tenant: &TenantId,
    ) -> bool {
        let _ = (principal, tool, target_tenant);
        false
    }
}
