//! What is asked and what is answered: questions, verdicts and their reasons.
//!
//! The one verdict that allows something, [`Permit`], lives in `decide.rs`, the only file that can make it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::decide::Permit;
use crate::rulebook::PreparedPrincipal;
use crate::vocabulary::{Channel, TenantId, ToolName};

/// One call to be decided.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The operation; a permit carries it.
    pub op: Uuid,
    /// Digest of tool name and argument bytes; a permit carries it.
    pub call_digest: [u8; 32],
    /// Who asks, prepared by this rulebook.
    pub principal: &'a PreparedPrincipal,
    /// What is to be called.
    pub tool: &'a ToolName,
    /// The tenant on whose things the tool works.
    pub target_tenant: &'a TenantId,
    /// The thing itself when the call names one, else the app as a whole.
    pub target_id: Option<&'a str>,
    /// The person whose the thing is, where that is known.
    pub target_owner: Option<&'a str>,
    /// The arguments: a JSON object that fits the tool's schema.
    pub input: &'a serde_json::Value,
    /// When, from where and by which door.
    pub request: RequestFacts,
    /// What was confirmed already.
    pub confirmation: &'a Confirmation,
}

/// When, from where and by which door a call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFacts {
    /// Unix time in milliseconds; a rule sees it as the datetime `context.request.time`.
    pub time_ms: i64,
    /// Address of the caller.
    pub source: IpAddr,
    /// The door.
    pub channel: Channel,
}

/// What was confirmed for exactly this call. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confirmation {
    /// Somebody who may do so confirmed this very call.
    pub given: bool,
    /// Somebody who is not the one who asks approved it.
    pub by_other: bool,
    /// The roles as which others approved it. Whoever approves does so once and as one role, so that two names in it are
    /// two people.
    #[serde(default)]
    pub approved_as: BTreeSet<String>,
}

/// Nothing was confirmed.
static UNCONFIRMED: Confirmation =
    Confirmation { given: false, by_other: false, approved_as: BTreeSet::new() };

impl Confirmation {
    /// Nothing was confirmed.
    #[must_use]
    pub fn none() -> &'static Self {
        &UNCONFIRMED
    }

    /// The asker's own word, and nobody else's.
    #[must_use]
    pub fn own() -> Self {
        Self { given: true, ..Self::default() }
    }
}

/// A verdict and why.
#[derive(Debug)]
pub struct Decision {
    /// What happens.
    pub verdict: Verdict,
    /// Which rules said so.
    pub explanation: Explanation,
}

/// What the rules say about one call.
#[derive(Debug)]
pub enum Verdict {
    /// It may be done.
    Permit(Permit),
    /// It may be done once somebody has confirmed it.
    AskFirst(AskFirst),
    /// It may not be done.
    Refusal(Refusal),
}

/// The kind of a verdict, for records, cases and tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// See [`Verdict::Permit`].
    Permit,
    /// [`Verdict::AskFirst`] with [`Wants::Confirmation`].
    AskFirst,
    /// [`Verdict::AskFirst`] with [`Wants::ConfirmationByOther`].
    AskOther,
    /// See [`Verdict::Refusal`].
    Refuse,
}

impl VerdictKind {
    /// The word as it stands in records and case files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::AskFirst => "ask_first",
            Self::AskOther => "ask_other",
            Self::Refuse => "refuse",
        }
    }
}

impl fmt::Display for VerdictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Verdict {
    /// The kind without the proof.
    pub fn kind(&self) -> VerdictKind {
        match self {
            Self::Permit(_) => VerdictKind::Permit,
            Self::AskFirst(AskFirst { wants: Wants::Confirmation, .. }) => VerdictKind::AskFirst,
            Self::AskFirst(_) => VerdictKind::AskOther,
            Self::Refusal(_) => VerdictKind::Refuse,
        }
    }
}

/// Denied now; the same question with a confirmation would be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskFirst {
    /// The operation that waits.
    pub op: Uuid,
    /// Whose confirmation is needed.
    pub wants: Wants,
    /// Roles as each of which another person has to approve; empty when any other person is enough, or none is needed.
    pub approvals: Vec<String>,
    /// Ids of the rules that ask for it.
    pub rules: Vec<String>,
    /// Their reasons, for people.
    pub reasons: Vec<String>,
}

/// Whose confirmation is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wants {
    /// The asker's own is enough.
    Confirmation,
    /// Somebody else's.
    ConfirmationByOther,
}

/// Not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Ids of the rules that forbid; empty when no rule permits, or when the question could not be asked.
    pub rules: Vec<String>,
    /// The `@reason` texts of these rules, or what was wrong with the question.
    pub reasons: Vec<String>,
    /// True when a rule could not be evaluated: no answer is a refusal.
    pub errored: bool,
    /// A sign-in with which the rules would not refuse.
    pub step_up: Option<StepUp>,
}

/// A stronger or fresher sign-in, in the terms of RFC 9470.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUp {
    /// The authentication context class that is needed; `None` when the one of now is enough.
    pub acr: Option<String>,
    /// How many seconds ago the sign-in may have been; `None` when the one of now is fresh enough.
    pub max_age: Option<i64>,
}

/// Why a verdict is what it is, whatever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Ids of the rules that decided.
    pub rules: Vec<String>,
    /// What could not be evaluated, with the rule's id.
    pub errors: Vec<String>,
    /// Shadow rules that would have changed the verdict.
    pub shadow: Vec<ShadowFlip>,
    /// The policy set that was asked.
    pub policy_set: PolicySetDigest,
}

/// A rule, or a set, in shadow that would have changed the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShadowFlip {
    /// The rule's id, or `set:` and the digest of the shadow set.
    pub policy: String,
    /// What the verdict would have been; see [`VerdictKind::as_str`].
    pub would: &'static str,
}

/// SHA-256 of the exact bytes of [`crate::Rulebook::policy_texts`]; shown as lowercase hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PolicySetDigest(pub(crate) [u8; 32]);

impl PolicySetDigest {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PolicySetDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PolicySetDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicySetDigest({self})")
    }
}
