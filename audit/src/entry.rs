//! What callers hand to the ledger: the fields of a record before it has a place in a log.
//!
//! Every field here ends up as a string in the record (ledger-and-vault.md 5.2). Raw arguments,
//! names of people and header values have no field, on purpose: a payload enters only as a
//! [`Commitment`], a person only as a pseudonym.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::commitment::Commitment;
use crate::note::Checkpoint;

/// The log of the deployment itself (boot, rules, administration), as a tenant string.
pub const DEPLOYMENT: &str = "deployment";

/// What a record says (`kind` in ledger-and-vault.md 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An action is about to happen. Made only by [`crate::Ledger::intent`].
    Intent,
    /// What became of an intent. Made only by [`crate::Ledger::outcome`] and its queued form.
    Outcome,
    /// A decision that led to no action: a refusal or a question.
    Decision,
    /// A secret was opened for a call.
    SecretUse,
    /// Somebody changed the gateway: rules, users, configuration, start and stop.
    Admin,
    /// A log key changed.
    Key,
    /// The heads of other logs, as they stood: no log can be left out or told differently later.
    Anchor,
    /// A subject's keys were destroyed.
    Erase,
    /// An expired prefix was removed after it was exported.
    Prune,
    /// The ledger closed something that nobody else could close.
    Recover,
    /// The ledger stopped taking intents.
    Seal,
}

impl Kind {
    /// Every kind, in the order of the specification.
    pub const ALL: [Self; 11] = [
        Self::Intent,
        Self::Outcome,
        Self::Decision,
        Self::SecretUse,
        Self::Admin,
        Self::Key,
        Self::Anchor,
        Self::Erase,
        Self::Prune,
        Self::Recover,
        Self::Seal,
    ];

    /// The word in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Outcome => "outcome",
            Self::Decision => "decision",
            Self::SecretUse => "secret_use",
            Self::Admin => "admin",
            Self::Key => "key",
            Self::Anchor => "anchor",
            Self::Erase => "erase",
            Self::Prune => "prune",
            Self::Recover => "recover",
            Self::Seal => "seal",
        }
    }

    /// The kind behind a word, or nothing for a word that the format does not have.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl Kind {
    /// Whether it says what was destroyed or put in force for ever: pruning leaves it where it is.
    #[must_use]
    pub const fn is_certificate(self) -> bool {
        matches!(self, Self::Erase | Self::Prune | Self::Key)
    }

    /// Whether it is numbered within its session: what begins or ends the story of a call. What
    /// follows an intent is found from there.
    #[must_use]
    pub const fn is_counted(self) -> bool {
        matches!(self, Self::Intent | Self::Decision)
    }
}

/// How an action ended (`res.status`). A timeout is `Unknown`, never `Failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutcomeStatus {
    /// The upstream did it and said so.
    Done,
    /// The upstream said that it did not do it.
    Failed,
    /// The worker or upstream declined.
    Refused,
    /// Nobody can say whether it happened.
    Unknown,
}

impl OutcomeStatus {
    /// The word in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// How long the record and its body are kept (ledger-and-vault.md 1.12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Retention {
    /// 30 days.
    Days30,
    /// One year.
    #[default]
    Year1,
    /// Six years.
    Years6,
    /// Seven years.
    Years7,
    /// Ten years.
    Years10,
    /// Until somebody lifts the hold.
    Hold,
}

impl Retention {
    /// The word in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Days30 => "30d",
            Self::Year1 => "1y",
            Self::Years6 => "6y",
            Self::Years7 => "7y",
            Self::Years10 => "10y",
            Self::Hold => "hold",
        }
    }

    /// The class with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let all =
            [Self::Days30, Self::Year1, Self::Years6, Self::Years7, Self::Years10, Self::Hold];
        all.into_iter().find(|class| class.as_str() == word)
    }

    /// Until when what was written at `written` is kept, by the calendar; `None` is for ever.
    #[must_use]
    pub fn keeps_until(self, written: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let span = match self {
            Self::Days30 => jiff::Span::new().days(30),
            Self::Year1 => jiff::Span::new().years(1),
            Self::Years6 => jiff::Span::new().years(6),
            Self::Years7 => jiff::Span::new().years(7),
            Self::Years10 => jiff::Span::new().years(10),
            Self::Hold => return None,
        };
        let until = written.to_zoned(jiff::tz::TimeZone::UTC).checked_add(span);
        until.ok().map(|until| until.timestamp())
    }
}

/// Who acted (`who`). Empty fields are left out of the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// Pseudonym of the subject; never a name or an e-mail address.
    pub subject: Option<String>,
    /// The extension (app) that acted for the subject, when there is one.
    pub extension: Option<String>,
    /// Session id, pseudonymous. The ledger numbers what it tells of a session; see
    /// [`crate::SessionSeq`].
    pub session: Option<String>,
    /// The session is of this one call: its number would say nothing, and take the place of one that does.
    pub once: bool,
}

/// Which tool was meant (`tool`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolRef {
    /// The app that serves it.
    pub server: String,
    /// The function within the app.
    pub name: String,
    /// SHA-256 of the tool's schema as it was in force, lowercase hex.
    pub schema: String,
}

/// What the rules said (`pol`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRef {
    /// `permit`, `ask_first` or `refuse`.
    pub decision: String,
    /// Ids of the determining policies.
    pub rules: Vec<String>,
    /// Digest of the policy set in force, lowercase hex; the set is stored under it.
    pub bundle: String,
}

/// How it ended (`res`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultRef {
    /// Status word.
    pub status: String,
    /// Stable error class, when there is one; never a message.
    pub error: Option<String>,
}

/// A secret that a record is about (`sec`): which one, never its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedSecret {
    /// Random id of the secret, lowercase hex.
    pub id: String,
    /// Its name, as declared by the app or chosen by the operator.
    pub name: String,
    /// Version of the value, from 1; 0 when there is none.
    pub version: u64,
    /// What it is used for: `extension`, `upstream`, ...
    pub purpose: String,
}

/// The fields that a caller may fill in; what is empty is left out of the record.
#[derive(Clone, Debug, Default)]
pub struct CallFields {
    /// Who acted.
    pub who: Who,
    /// Which tool.
    pub tool: Option<ToolRef>,
    /// What the rules said.
    pub pol: Option<PolicyRef>,
    /// Commitment to the arguments (`in`).
    pub input: Option<Commitment>,
    /// Commitment to the answer (`out`).
    pub output: Option<Commitment>,
    /// Retention class (`ret`).
    pub ret: Option<Retention>,
    /// Secrets that the record is about (`sec`).
    pub sec: Vec<UsedSecret>,
    /// Heads of other logs (`heads`); only in anchor records, set by the ledger.
    pub heads: Vec<Checkpoint>,
    /// Result (`res`); set by the ledger for outcomes.
    pub res: Option<ResultRef>,
    /// Further named facts of admin, recover and decision records. Keys are ASCII lower snake case.
    pub note: BTreeMap<String, String>,
}

/// Bytes that the caller has sealed already; kept beside the record, never in the leaf.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(pub Vec<u8>);

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} sealed bytes)", self.0.len())
    }
}

/// Position of a record in its log, as carried by an [`crate::IntentReceipt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordRef(pub u64);

/// An action that is about to happen.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Tenant of the target, or [`DEPLOYMENT`].
    pub tenant: String,
    /// Operation id, shared by intent and outcome.
    pub op: Uuid,
    /// Digest of the resolved call; the receipt carries it back.
    pub call_digest: [u8; 32],
    /// Who, what, under which rules.
    pub fields: CallFields,
    /// Sealed body: arguments, decision capsule, commitment keys.
    pub body: Option<Body>,
}

/// What became of an intent.
#[derive(Clone, Debug)]
pub struct OutcomeRecord {
    /// Tenant of the intent.
    pub tenant: String,
    /// Operation id of the intent.
    pub op: Uuid,
    /// The intent's place in its log, from [`crate::IntentReceipt::reference`].
    pub reference: RecordRef,
    /// How it ended.
    pub status: OutcomeStatus,
    /// Stable error class; never a message.
    pub error_class: Option<String>,
    /// Commitment to the answer.
    pub out: Option<Commitment>,
    /// Further fields; `res` and `output` are replaced by the three above.
    pub fields: CallFields,
    /// Sealed body.
    pub body: Option<Body>,
}

/// Any record that is neither an intent nor an outcome.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Tenant, or [`DEPLOYMENT`].
    pub tenant: String,
    /// What it is; `Intent` and `Outcome` are refused here.
    pub kind: Kind,
    /// Operation id.
    pub op: Uuid,
    /// The record of the same log that this one is about, if any (`ref`).
    pub reference: Option<RecordRef>,
    /// Who, what, why.
    pub fields: CallFields,
    /// Sealed body.
    pub body: Option<Body>,
}
