//! What is known about one call so far, so that a refusal at any step is recorded with all of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use portcullis_audit::{
    Appended, CallFields, Commitment, Ledger, PolicyRef, RecordRef, Retention, ToolRef, UsedSecret,
    Who,
};
use portcullis_policies::{
    ActionType, AppId, CACHE_APP, CONFIRMATIONS_APP, CapsuleText, Decision, SECRETS_APP, TenantId,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::log_of;
use crate::answer::{Answer, Told};
use crate::directory::ApprovalVerdict;
use crate::gateway::Gateway;
use crate::guard::{Turns, turn_of};
use crate::identify::Caller;
use crate::knock::{Knock, Wanted};
use crate::refusal::Refusal;
use crate::resolve::ToolCall;

/// The trail of one call: filled step by step, never read by a decision.
#[derive(Debug, Clone)]
pub struct Trail {
    op: Uuid,
    channel: &'static str,
    source: IpAddr,
    /// App and function as asked for, until the tool is known.
    asked: Option<String>,
    tenant: Option<TenantId>,
    /// The caller's id in the directory; names the scope key of the sealed body, nothing else.
    user: Option<String>,
    /// The caller's session as the caller knows it; the record has a pseudonym of it.
    session: Option<String>,
    who: Who,
    tool: Option<ToolRef>,
    pol: Option<PolicyRef>,
    capsule: Option<CapsuleText>,
    /// What shadow policies would have decided otherwise.
    shadow: Vec<String>,
    confirmation: Option<String>,
    /// The confirmation that this call took, so that it has to settle it.
    claimed: Option<String>,
    intent: Option<(u64, ActionType)>,
    wants_promise: bool,
    /// Where the record is that tells the caller's story.
    recorded: Option<Appended>,
    /// Under which the outcome commits to the answer; it is sealed with the intent.
    answers_key: Option<Hidden>,
    /// The secret that the call is about, as `app/name`.
    secret: Option<String>,
    /// Secrets that the call used or changed.
    sec: Vec<UsedSecret>,
}

impl Trail {
    /// The trail of a call of which nothing is known but its door.
    #[must_use]
    pub fn begin(op: Uuid, knock: &Knock) -> Self {
        Self {
            op,
            channel: knock.request.channel.as_str(),
            source: knock.request.source,
            asked: asked(&knock.wanted),
            tenant: None,
            user: None,
            session: None,
            who: Who::default(),
            tool: None,
            pol: None,
            capsule: None,
            shadow: Vec::new(),
            confirmation: None,
            claimed: None,
            intent: None,
            wants_promise: knock.wants_promise,
            recorded: None,
            answers_key: None,
            secret: None,
            sec: Vec::new(),
        }
    }

    /// The trail of a deed of the gateway itself: it lists the tools of an app.
    #[must_use]
    pub fn of_gateway(op: Uuid, app: &AppId) -> Self {
        let who = Who { subject: Some("gateway".to_owned()), ..Who::default() };
        let (server, name) = (app.to_string(), "tools/list".to_owned());
        let tool = ToolRef { server, name, schema: String::new() };
        Self {
            op,
            channel: "gateway",
            source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            asked: None,
            tenant: None,
            user: None,
            session: None,
            who,
            tool: Some(tool),
            pol: None,
            capsule: None,
            shadow: Vec::new(),
            confirmation: None,
            claimed: None,
            intent: None,
            wants_promise: false,
            recorded: None,
            answers_key: None,
            secret: None,
            sec: Vec::new(),
        }
    }

    /// Who asks is known.
    pub fn caller(&mut self, gateway: &Gateway, caller: &Caller) {
        self.tenant = Some(caller.tenant().clone());
        self.user = Some(caller.user_id().to_owned());
        self.who.subject = Some(gateway.pseudonyms.of(caller.tenant(), &caller.principal().id));
        // The id of a key or of somebody at another issuer would name the person behind the pseudonym.
        let session = format!("session/{}", caller.session());
        self.who.session = Some(gateway.pseudonyms.of(caller.tenant(), &session));
        self.session = Some(caller.session().to_owned());
        self.who.once = caller.is_once();
        self.who.extension = caller.extension().map(ToString::to_string);
    }

    /// What is asked for is known.
    pub fn call(&mut self, call: &ToolCall) {
        let tool = call.tool();
        if self.who.extension.is_none() {
            self.who.extension = Some(tool.spec.name.app().to_string());
        }
        self.tool = Some(ToolRef {
            server: tool.spec.name.app().to_string(),
            name: tool.spec.name.function().to_owned(),
            schema: hex::encode(tool.schema_digest),
        });
    }

    /// What the rules say is known.
    pub fn decision(&mut self, decision: &Decision, capsule: Option<CapsuleText>) {
        self.pol = Some(PolicyRef {
            decision: decision.verdict.kind().as_str().to_owned(),
            rules: decision.explanation.rules.clone(),
            bundle: decision.explanation.policy_set.to_string(),
        });
        self.capsule = capsule;
        let flips = decision.explanation.shadow.iter();
        self.shadow = flips.map(|flip| format!("{} would {}", flip.policy, flip.would)).collect();
    }

    /// The call belongs to a confirmation: it is pending under this id, or runs because of it.
    pub fn confirmation(&mut self, id: &str) {
        self.confirmation = Some(id.to_owned());
    }

    /// The call goes on with an operation that asked first, so that its whole story has one id.
    pub fn goes_on(&mut self, op: Uuid) {
        self.op = op;
    }

    /// The confirmation is this call's to run.
    pub fn claimed(&mut self) {
        self.claimed.clone_from(&self.confirmation);
    }

    /// The confirmation that this call took.
    #[must_use]
    pub fn claimed_confirmation(&self) -> Option<&str> {
        self.claimed.as_deref()
    }

    /// Whether an intent was made durable, so that something may have been carried out.
    #[must_use]
    pub fn was_intended(&self) -> bool {
        self.intent.is_some()
    }

    /// The intent is durable.
    pub fn intended(&mut self, record: &Appended, action: ActionType) {
        self.intent = Some((record.seq, action));
        self.recorded(record);
    }

    /// The record that tells the caller's story is durable. Nothing is told of it to a stranger: it would
    /// count the deployment's own records for anybody, and sign at anybody's word.
    pub fn recorded(&mut self, record: &Appended) {
        self.recorded = (!self.is_of_a_stranger()).then(|| record.clone());
    }

    /// The signed promise of it, when the caller wants that.
    fn promise(&self, ledger: &Ledger) -> Option<String> {
        let wanted = self.recorded.as_ref().filter(|_| self.wants_promise);
        wanted.map(|record| ledger.promise(record))
    }

    /// The outcome commits to the answer under this key.
    pub(super) fn answers_under(&mut self, key: Zeroizing<[u8; 32]>) {
        self.answers_key = Some(Hidden(key));
    }

    /// The commitment to the answer. Without randomness an outcome is still better recorded without one.
    pub(super) fn commit_to_answer(&self, answer: &[u8]) -> Option<Commitment> {
        match &self.answers_key {
            Some(Hidden(key)) => Some(Commitment::under(key.clone(), "out", answer)),
            None => Commitment::of("out", answer).ok(),
        }
    }

    /// The call is about this secret, written `app/name`; its records are kept for ever (`security_forever`).
    pub fn secret(&mut self, secret: String) {
        self.secret = Some(secret);
    }

    /// The call used or changed this version of a secret.
    pub fn used(&mut self, secret: UsedSecret) {
        self.sec.push(secret);
    }

    /// The tool that is called, `app/function`, once it is known.
    #[must_use]
    pub fn tool_name(&self) -> Option<String> {
        self.tool.as_ref().map(|tool| format!("{}/{}", tool.server, tool.name))
    }

    /// Keeps for the session's next calls how this one ended, and counts it where arguments did not fit.
    pub fn ended(&self, turns: &Turns, told: &mut Result<Told, Refusal>) {
        if let (Some(session), Some(user)) = (&self.session, &self.user) {
            // As it was asked for, so that what did not fit and what then did are counted as one.
            let tool = self.asked.clone().or_else(|| self.tool_name());
            turns.ended(&turn_of(session, user), &tool.unwrap_or_default(), told);
        }
    }

    /// The operation id.
    #[must_use]
    pub fn op(&self) -> Uuid {
        self.op
    }

    /// The door.
    #[must_use]
    pub fn channel(&self) -> &'static str {
        self.channel
    }

    /// Address of the peer.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// Whether nobody was identified.
    #[must_use]
    pub fn is_of_a_stranger(&self) -> bool {
        self.tenant.is_none()
    }

    /// The log that this call's records go to.
    #[must_use]
    pub fn log(&self) -> String {
        log_of(self.tenant.as_ref().map(TenantId::as_str))
    }

    /// Ids of the rules that decided, if it came to that.
    #[must_use]
    pub fn rules(&self) -> Vec<String> {
        self.pol.as_ref().map(|pol| pol.rules.clone()).unwrap_or_default()
    }

    /// Digest (hex) of the policy set that decided.
    #[must_use]
    pub fn policy_set(&self) -> String {
        self.pol.as_ref().map(|pol| pol.bundle.clone()).unwrap_or_default()
    }

    /// The answer of a call that came through.
    #[must_use]
    pub fn answer(self, ledger: &Ledger, told: Told) -> Answer {
        let promise = self.promise(ledger);
        let counted = self.recorded.as_ref().and_then(Appended::counted);
        Answer { op: self.op, rules: self.rules(), promise, counted, told }
    }

    /// The fields that every record of this call shares.
    pub(super) fn fields(&self) -> CallFields {
        let mut fields = CallFields {
            who: self.who.clone(),
            tool: self.tool.clone(),
            pol: self.pol.clone(),
            ..CallFields::default()
        };
        fields.note.insert("channel".to_owned(), self.channel.to_owned());
        if let (None, Some(asked)) = (&self.tool, &self.asked) {
            fields.note.insert("asked".to_owned(), asked.clone());
        }
        if !self.shadow.is_empty() {
            fields.note.insert("shadow".to_owned(), self.shadow.join("; "));
        }
        if let Some(id) = &self.confirmation {
            fields.note.insert("confirmation".to_owned(), id.clone());
        }
        if let Some(secret) = &self.secret {
            fields.note.insert("secret".to_owned(), secret.clone());
        }
        fields.ret = Some(self.retention(self.action()));
        fields.sec.clone_from(&self.sec);
        fields
    }

    /// How long a record of it is kept: what is about secrets for ever, what only reads by the
    /// contract's `standard_90d`, and all else, refusals too, by its default `federal_7y`
    /// (wire-contract.md), each as the next class that is not shorter.
    pub(super) const fn retention(&self, action: ActionType) -> Retention {
        match (&self.secret, action) {
            (Some(_), _) => Retention::Hold,
            (None, ActionType::Read) => Retention::Year1,
            (None, ActionType::Write | ActionType::Destructive) => Retention::Years7,
        }
    }

    /// The place of the intent; an outcome refers to it.
    pub(super) fn reference(&self) -> RecordRef {
        RecordRef(self.intent.map_or(0, |(seq, _)| seq))
    }

    /// The action type of the intended call; what never came to an intent counts as destructive.
    pub(super) fn action(&self) -> ActionType {
        self.intent.map_or(ActionType::Destructive, |(_, action)| action)
    }

    pub(super) fn capsule(&self) -> Option<&CapsuleText> {
        self.capsule.as_ref()
    }

    /// Tenant, user and app of the scope key under which the body is sealed.
    pub(super) fn scope(&self) -> Option<(&str, &str, &str)> {
        let tenant = self.tenant.as_ref()?.as_str();
        let app = self.tool.as_ref().map_or("", |tool| tool.server.as_str());
        Some((tenant, self.user.as_deref()?, app))
    }
}

/// A key that no log shows.
#[derive(Clone)]
struct Hidden(Zeroizing<[u8; 32]>);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

/// What a call names before it is known to be there: printable, short, never an argument or a path.
fn asked(wanted: &Wanted) -> Option<String> {
    let text = match wanted {
        Wanted::Function { app, function, .. } => format!("{app}/{function}"),
        Wanted::Route(route) => route.app.clone(),
        Wanted::Secret(wanted) => format!("{SECRETS_APP}/{}", wanted.deed.function()),
        Wanted::Cached(wanted) => format!("{CACHE_APP}/{}", wanted.deed.function()),
        Wanted::Manage(wanted) => wanted.verb.function().to_owned(),
        Wanted::Approval(wanted) => match wanted.verdict {
            ApprovalVerdict::Approved => format!("{CONFIRMATIONS_APP}/approve"),
            ApprovalVerdict::Declined => format!("{CONFIRMATIONS_APP}/decline"),
        },
        Wanted::Confirmed { .. } | Wanted::Cancelled { .. } => return None,
        Wanted::Malformed(_) | Wanted::Nothing => return None,
    };
    Some(text.chars().filter(|c| !c.is_control()).take(128).collect())
}
