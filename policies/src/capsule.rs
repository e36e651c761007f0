//! Capsules: everything that is needed to run a decision again, long after.
//!
//! A replay shares nothing with the decision but the rule texts: requests are read from JSON by Cedar itself, entities
//! too, and the *whole* set is asked instead of a slice. So a replay that agrees is evidence, not an echo.
//!
//! A capsule is written for every call and read hardly ever, so it is put together as text ([`CapsuleText`]) from parts
//! that are the same for many calls and were written once.

mod text;

use std::collections::BTreeSet;

use cedar_policy::{Context, Entities, EntityUid, EvalResult, Request};
use cedar_policy_core::ast::PolicySet;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::approvals;
use crate::derive::{Derived, derive};
use crate::engine::{ENGINE, Engine, Ruling};
use crate::question::Frame;
use crate::rulebook::{Rule, RuleErrors, RuleSources, Rulebook, parse, set_of};
use crate::verdict::{Confirmation, Question, VerdictKind};
use crate::vocabulary::TenantId;

pub use text::CapsuleText;
pub(crate) use text::{EntityText, json_of};

/// Everything that is needed to run a decision again. It holds the arguments: seal it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capsule {
    /// Format of the capsule; 1.
    pub version: u32,
    /// Version of the engine that decided.
    pub engine: String,
    /// Digest of the policy set that decided, lowercase hex.
    pub policy_set: String,
    /// The Cedar principal, `Portcullis::User::"u1"`.
    pub principal: String,
    /// The Cedar action.
    pub action: String,
    /// The Cedar resource.
    pub resource: String,
    /// The context in Cedar's JSON form.
    pub context: Json,
    /// The entity slice in Cedar's JSON form.
    pub entities: Json,
}

impl std::fmt::Debug for Capsule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The context holds arguments, which may be secrets.
        f.debug_struct("Capsule")
            .field("policy_set", &self.policy_set)
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

/// What a replay says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayedVerdict {
    /// The verdict.
    pub verdict: VerdictKind,
    /// Ids of the rules that decided.
    pub rules: Vec<String>,
    /// Roles as each of which another person had to approve it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<String>,
    /// What could not be evaluated, with the rule's id.
    pub errors: Vec<String>,
    /// True when the set is the one that the capsule names.
    pub same_set: bool,
    /// True when the engine is the one that the capsule names.
    pub same_engine: bool,
}

/// Why a decision cannot be run again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The capsule is damaged.
    #[error(
        "the capsule's {part} cannot be read: {why}; fetch it again from the ledger and verify the ledger"
    )]
    Capsule {
        /// Which part.
        part: &'static str,
        /// Cedar's words.
        why: String,
    },
    /// The capsule has a format of a later version.
    #[error("the capsule has format {0}, this version reads format 1; use a newer portcullis")]
    Version(u32),
    /// The recorded policy texts cannot be read.
    #[error(
        "the recorded policy set cannot be read: {0}; fetch it again from the ledger and verify the ledger"
    )]
    PolicyTexts(String),
    /// The recorded rules do not parse.
    #[error("the recorded rules do not parse with this version")]
    Rules(#[from] RuleErrors),
}

/// A policy set as recorded, without catalogue or schema: enough to run its decisions again, not enough to decide anew.
pub struct RecordedSet {
    pub(crate) engine: Engine,
    pub(crate) rules: Vec<Rule>,
    set: PolicySet,
    digest: String,
}

impl RecordedSet {
    /// Reads the bytes that [`Rulebook::policy_texts`] gave.
    ///
    /// # Errors
    /// When they are damaged or do not parse with this version.
    pub fn from_texts(texts: &[u8]) -> Result<Self, ReplayError> {
        let sources: RuleSources =
            serde_json::from_slice(texts).map_err(|e| ReplayError::PolicyTexts(e.to_string()))?;
        let (rules, _, errors) = parse(&sources);
        RuleErrors::none_in(errors)?;
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(texts));
        Self::of(rules, digest).map_err(ReplayError::PolicyTexts)
    }

    fn of(rules: Vec<Rule>, digest: String) -> Result<Self, String> {
        let live = rules.iter().filter(|r| !r.shadow).map(|r| r.policy.clone());
        Ok(Self { engine: Engine::new()?, set: set_of(live)?, rules, digest })
    }

    /// SHA-256 of the texts, lowercase hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The `@reason` of a rule of this set.
    pub fn reason(&self, id: &str) -> Option<&str> {
        self.rules.iter().find(|rule| rule.id == id).map(|rule| rule.reason.as_str())
    }

    /// The ruling on a capsule as it stands, and the verdict that follows.
    pub(crate) fn rule(&self, capsule: &Capsule) -> Result<(Ruling, VerdictKind), ReplayError> {
        self.derive(capsule).map(|derived| (derived.ruling, derived.kind))
    }

    fn derive(&self, capsule: &Capsule) -> Result<Derived, ReplayError> {
        if capsule.version != 1 {
            return Err(ReplayError::Version(capsule.version));
        }
        let asked = Asked::of(capsule)?;
        let mut damaged = None;
        let roles = self.approver_roles(asked.target_tenant().as_deref());
        let derived = derive(&asked.stands, &roles, |confirmation| {
            asked.ask(self, confirmation).unwrap_or_else(|e| {
                damaged = Some(e);
                Ruling::default()
            })
        });
        damaged.map_or(Ok(derived), Err)
    }

    /// The roles that the rules of the platform and of one tenant may want approvals of.
    fn approver_roles(&self, tenant: Option<&str>) -> BTreeSet<String> {
        let applies = |rule: &&Rule| {
            rule.tenant.is_none() || rule.tenant.as_ref().map(TenantId::as_str) == tenant
        };
        approvals::roles_in(self.rules.iter().filter(applies).map(|rule| &rule.policy))
    }

    /// Runs a recorded decision again on the whole set.
    ///
    /// # Errors
    /// When the capsule is damaged or of a later format. A rule that fails is a refusal, not an error.
    pub fn replay(&self, capsule: &Capsule) -> Result<ReplayedVerdict, ReplayError> {
        let derived = self.derive(capsule)?;
        let errors = derived.ruling.errors.iter().chain(&derived.errors_when_confirmed);
        Ok(ReplayedVerdict {
            verdict: derived.kind,
            rules: derived.ruling.determining().to_vec(),
            approvals: derived.approvals,
            errors: errors.map(|(id, cause)| format!("{id}: {cause}")).collect(),
            same_set: capsule.policy_set == self.digest,
            same_engine: capsule.engine == ENGINE,
        })
    }
}

impl std::fmt::Debug for RecordedSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordedSet").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Rulebook {
    /// Everything that is needed to run this decision again; `None` when the question could not be asked at all (an unknown
    /// tool, an argument that is not what its schema says), which [`Rulebook::decide`] refuses without asking a rule.
    pub fn capsule(&self, q: &Question<'_>) -> Option<Capsule> {
        let frame = Frame::of(self, q).ok()?;
        let request = frame.request(&self.engine, q.confirmation);
        let uid =
            |entry: &cedar_policy_core::ast::EntityUIDEntry| entry.uid().map(ToString::to_string);
        Some(Capsule {
            version: 1,
            engine: ENGINE.to_owned(),
            policy_set: self.digest().to_string(),
            principal: uid(request.principal())?,
            action: uid(request.action())?,
            resource: uid(request.resource())?,
            context: request.context()?.to_json_value().ok()?,
            entities: frame.entities.to_json_value().ok()?,
        })
    }

    /// Runs a recorded decision again on this set, as a whole: on the set that decided it must agree; on another it says
    /// what that set would have decided.
    ///
    /// # Errors
    /// As [`RecordedSet::replay`].
    pub fn replay(&self, capsule: &Capsule) -> Result<ReplayedVerdict, ReplayError> {
        self.recorded()?.replay(capsule)
    }

    /// This set as [`RecordedSet`], for many replays.
    ///
    /// # Errors
    /// Never in practice.
    pub fn recorded(&self) -> Result<RecordedSet, ReplayError> {
        RecordedSet::of(self.rules.clone(), self.digest().to_string())
            .map_err(ReplayError::PolicyTexts)
    }
}

/// A capsule in Cedar's terms.
pub(crate) struct Asked<'c> {
    capsule: &'c Capsule,
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    pub(crate) entities: Entities,
    pub(crate) stands: Confirmation,
}

impl<'c> Asked<'c> {
    pub(crate) fn of(capsule: &'c Capsule) -> Result<Self, ReplayError> {
        let uid = |part, text: &str| text.parse::<EntityUid>().map_err(|e| damaged(part, &e));
        let stands = capsule.context.get("confirmation").cloned().unwrap_or_default();
        Ok(Self {
            principal: uid("principal", &capsule.principal)?,
            action: uid("action", &capsule.action)?,
            resource: uid("resource", &capsule.resource)?,
            entities: Entities::from_json_value(capsule.entities.clone(), None)
                .map_err(|e| damaged("entities", &e))?,
            stands: serde_json::from_value(stands).map_err(|e| damaged("confirmation", &e))?,
            capsule,
        })
    }

    fn ask(&self, set: &RecordedSet, confirmation: &Confirmation) -> Result<Ruling, ReplayError> {
        let request = self.request(confirmation)?;
        Ok(set.engine.ask(&set.set, request.as_ref().clone(), self.entities.as_ref()))
    }

    pub(crate) fn request(&self, confirmation: &Confirmation) -> Result<Request, ReplayError> {
        let mut context = self.capsule.context.clone();
        if let Some(context) = context.as_object_mut() {
            context.insert("confirmation".to_owned(), json!(confirmation));
        }
        let context =
            Context::from_json_value(context, None).map_err(|e| damaged("context", &e))?;
        Request::new(
            self.principal.clone(),
            self.action.clone(),
            self.resource.clone(),
            context,
            None,
        )
        .map_err(|e| damaged("request", &e))
    }

    /// The tenant of the resource, as the capsule has it.
    pub(crate) fn target_tenant(&self) -> Option<String> {
        let tenant = self.entities.get(&self.resource)?.attr("tenant")?.ok()?;
        match tenant {
            EvalResult::String(tenant) => Some(tenant),
            _ => None,
        }
    }
}

fn damaged(part: &'static str, why: &impl ToString) -> ReplayError {
    ReplayError::Capsule { part, why: why.to_string() }
}
