//! Approvals: what other people say of a pending call that its rules want others to approve.
//!
//! Approving is an action of the gateway's own app `confirmations`, decided by the rules and recorded like any call, under
//! the operation of the call that it is about. The approver presents the hash of what they saw. Each person approves
//! once, as one of the roles that they hold or as none, so that two roles are two people.
//!
//! An approval runs nothing and shows its approver no answer: its asker does that, by confirming (`super::reopen`). Then
//! every approval is looked at again: it is opened, and its approver is asked about by the rules and roles of that
//! moment, as they approved.
//!
//! INVARIANT: only approvals that would be allowed still count
//! (`approvals::does_not_count_who_might_not_say_so_any_more`).
//! INVARIANT: no stored word can be made up, changed or moved in the database
//! (`approvals::made_up_or_moved_in_the_database_counts_for_nothing`). Who can write credentials of a person into it can
//! still act as that person; the ledger then names them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use portcullis_kernel_adapter::{Class, Outcome};
use portcullis_policies::{
    CONFIRMATIONS_APP, Channel, Confirmation, Principal, RequestFacts, Strength, TenantId, Verdict,
    Wants,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{a_person, as_shown, context, find, still_open, time, unavailable, wants_word};
use crate::answer::{Asked, Said};
use crate::directory::{self, ApprovalVerdict, ConfirmationState, DirectoryError, StoredApproval};
use crate::gateway::Gateway;
use crate::identify::Caller;
use crate::in_force::InForce;
use crate::knock::ApprovalWanted;
use crate::record::Trail;
use crate::refusal::{Changed, Refusal};
use crate::resolve::{self, Own, ToolCall};

/// So many calls are listed for an approver at once, oldest first.
const MOST_LISTED: usize = 100;
/// Longest reason in characters.
const MAX_REASON: usize = 500;

/// What is sealed of one person's word. The seal itself binds tenant, approver and confirmation.
#[derive(Debug, Serialize, Deserialize)]
struct Word {
    op: Uuid,
    /// Hash of the call that was approved.
    hash: String,
    verdict: ApprovalVerdict,
    /// The role as which; empty for none.
    role: String,
    reason: String,
    time_ms: i64,
    source: IpAddr,
    channel: Channel,
    /// How the approver had signed in.
    strength: Strength,
}

/// An approver's word, resolved: what is written once it is permitted.
#[derive(Debug)]
pub struct OwnApproval {
    pending: directory::Confirmation,
    word: Word,
}

/// Something that waits for the caller's word about somebody else's call.
#[derive(Debug, Serialize)]
pub struct ToApprove {
    /// The pending call.
    #[serde(flatten)]
    pub asked: Asked,
    /// The roles as which the caller may approve it; empty for none in particular.
    pub approve_as: Vec<String>,
}

/// Resolves an approver's answer to a call of the app `confirmations`.
///
/// # Errors
/// What is not there, not theirs to say, decided already, or not what they saw.
pub async fn answer(
    gateway: &Gateway,
    in_force: &InForce,
    caller: &Caller,
    (wanted, request): (ApprovalWanted, RequestFacts),
    trail: &mut Trail,
) -> Result<ToolCall, Refusal> {
    a_person(caller)?;
    let pending = find(gateway, caller, &wanted.id).await?;
    trail.confirmation(&wanted.id);
    wants_others(&pending)?;
    super::open(gateway, &pending).await?;
    trail.goes_on(pending.asked.op);
    still_open(&pending)?;
    // A digest that everybody involved was shown is no secret.
    if wanted.hash != hex::encode(pending.asked.args_digest) {
        return Err(Refusal::InvalidValue("hash: it is not that of what waits; look again".into()));
    }
    if wanted.reason.chars().count() > MAX_REASON {
        let text = format!("reason: use {MAX_REASON} characters at most");
        return Err(Refusal::InvalidValue(text));
    }
    let role = match (wanted.verdict, wanted.role) {
        (_, Some(role)) => role,
        (ApprovalVerdict::Declined, None) => String::new(),
        (ApprovalVerdict::Approved, None) => role_of(in_force, caller, &pending)?,
    };
    let word = Word {
        op: pending.asked.op,
        hash: wanted.hash,
        verdict: wanted.verdict,
        role,
        reason: wanted.reason,
        time_ms: request.time_ms,
        source: request.source,
        channel: request.channel,
        strength: Strength::clone(caller.strength()),
    };
    call(gateway, caller.principal(), caller.user_id(), OwnApproval { pending, word })
}

/// The one role as which the caller can help; none where no rule asks for a role that they hold.
fn role_of(
    in_force: &InForce,
    caller: &Caller,
    pending: &directory::Confirmation,
) -> Result<String, Refusal> {
    match roles_of(in_force, caller.principal(), pending).as_slice() {
        [] => Ok(String::new()),
        [only] => Ok(only.clone()),
        several => {
            let text = format!("as: say as which role you approve: {}", several.join(" or "));
            Err(Refusal::InvalidValue(text))
        }
    }
}

/// Roles of the caller that the rules ask for: those that were asked for by name, or else any that a rule knows.
fn roles_of(
    in_force: &InForce,
    principal: &Principal,
    pending: &directory::Confirmation,
) -> Vec<String> {
    let asked: BTreeSet<&String> = pending.asked.approver_roles.iter().collect();
    let known = in_force.rulebook.approver_roles(&pending.asked.target_tenant);
    let held = |among: BTreeSet<&String>| -> Vec<String> {
        principal.roles.iter().filter(|role| among.contains(role)).cloned().collect()
    };
    match held(asked) {
        none if none.is_empty() => held(known.iter().collect()),
        some => some,
    }
}

fn wants_others(pending: &directory::Confirmation) -> Result<(), Refusal> {
    match pending.asked.wants == wants_word(Wants::ConfirmationByOther) {
        true => Ok(()),
        false => Err(Refusal::ConfirmationForeign("only its asker answers it")),
    }
}

/// The call that the rules are asked about.
fn call(
    gateway: &Gateway,
    principal: &Principal,
    approver: &str,
    own: OwnApproval,
) -> Result<ToolCall, Refusal> {
    let asked = &own.pending.asked;
    let args = json!({
        "id": own.pending.id,
        "app": asked.tool.app(),
        "tool": asked.tool.to_string(),
        "actionType": asked.action_type,
        "asker": asked.user_id,
        "self": asked.user_id == approver,
        "as": own.word.role,
        "held": principal.roles.contains(&own.word.role),
        "reason": own.word.reason,
    });
    let function = match own.word.verdict {
        ApprovalVerdict::Approved => "approve",
        ApprovalVerdict::Declined => "decline",
    };
    let tenant = asked.tenant.clone();
    let own = Own::Approval(Box::new(own));
    resolve::own_call(gateway, (CONFIRMATIONS_APP, function), own, args, tenant)
}

/// Writes a permitted word down.
pub async fn carry_out(gateway: &Gateway, caller: &Caller, own: OwnApproval) -> Outcome {
    let OwnApproval { pending, word } = own;
    let (id, verdict) = (pending.id, word.verdict);
    let sealed = match seal(gateway, &pending.asked.tenant, caller.user_id(), &id, &word).await {
        Ok(sealed) => sealed,
        Err(fault) => return Outcome::failed(Class::Vault, fault),
    };
    let stored = StoredApproval {
        confirmation_id: id.clone(),
        approver_id: caller.user_id().to_owned(),
        verdict,
        sealed,
    };
    let done = match verdict {
        ApprovalVerdict::Approved => gateway.directory.approve(&stored).await,
        ApprovalVerdict::Declined => gateway.directory.decline(&stored).await,
    };
    match done {
        Ok(()) => {
            let told = json!({ "confirmation_id": id, "verdict": verdict, "as": word.role });
            Outcome::Done { value: told.to_string().into() }
        }
        Err(fault @ DirectoryError::Conflict { .. }) => {
            let message = fault.to_string();
            Outcome::Refused { class: Class::Conflict, message, value: None }
        }
        Err(fault) => Outcome::failed(Class::Storage, fault),
    }
}

async fn seal(
    gateway: &Gateway,
    tenant: &TenantId,
    approver: &str,
    id: &str,
    word: &Word,
) -> Result<Vec<u8>, Refusal> {
    let plain = Zeroizing::new(serde_json::to_vec(word).map_err(unavailable)?);
    let context = context(tenant.as_str(), approver, CONFIRMATIONS_APP, id)?;
    gateway.vault.seal(&context, &plain).await.map_err(unavailable)
}

/// Opens a stored word. What does not open, or speaks of another call, was not written by this gateway.
async fn opened(
    gateway: &Gateway,
    pending: &directory::Confirmation,
    stored: &StoredApproval,
) -> Result<Word, Refusal> {
    let changed = || Refusal::from(Changed::Approval);
    let tenant = pending.asked.tenant.as_str();
    let context = context(tenant, &stored.approver_id, CONFIRMATIONS_APP, &pending.id)?;
    let lease = gateway.vault.open(&context, &stored.sealed).await.map_err(|fault| {
        tracing::error!(id = %pending.id, %fault, "a stored approval does not open");
        changed()
    })?;
    let word: Word = lease.with(|plain| serde_json::from_slice(plain)).map_err(unavailable)?;
    let hash = hex::encode(pending.asked.args_digest);
    let same = (word.op, &word.hash, word.verdict) == (pending.asked.op, &hash, stored.verdict);
    if same { Ok(word) } else { Err(changed()) }
}

/// What stands confirmed of a pending call when its asker says yes now.
///
/// # Errors
/// A stored approval that is none.
pub(super) async fn confirmed(
    gateway: &Gateway,
    in_force: &InForce,
    pending: &directory::Confirmation,
) -> Result<Confirmation, Refusal> {
    let mut confirmation = Confirmation::own();
    if pending.asked.wants != wants_word(Wants::ConfirmationByOther) {
        return Ok(confirmation);
    }
    let mut counted = BTreeSet::new();
    for stored in gateway.directory.approvals(&pending.id).await.map_err(unavailable)? {
        if !counted.insert(stored.approver_id.clone()) {
            return Err(Refusal::from(Changed::Approval));
        }
        let word = opened(gateway, pending, &stored).await?;
        if word.verdict == ApprovalVerdict::Declined {
            return Err(Refusal::ConfirmationUsed(ConfirmationState::Declined.to_string()));
        }
        let role = word.role.clone();
        if still_allowed(gateway, in_force, pending, &stored.approver_id, word).await? {
            confirmation.by_other = true;
            if !role.is_empty() {
                confirmation.approved_as.insert(role);
            }
        }
    }
    Ok(confirmation)
}

/// Whether the approver might say so under the rules and roles of now, as they said it then.
async fn still_allowed(
    gateway: &Gateway,
    in_force: &InForce,
    pending: &directory::Confirmation,
    approver: &str,
    word: Word,
) -> Result<bool, Refusal> {
    let standing = match gateway.directory.principal(approver).await {
        Ok(standing) => standing,
        Err(DirectoryError::NotFound { .. } | DirectoryError::Inactive { .. }) => return Ok(false),
        Err(fault) => return Err(unavailable(fault)),
    };
    let strength = word.strength.clone();
    let principal = Principal { strength, ..Principal::clone(&standing.principal) };
    let request =
        RequestFacts { time_ms: word.time_ms, source: word.source, channel: word.channel };
    let own = OwnApproval { pending: pending.clone(), word };
    may(gateway, in_force, (&principal, approver), own, request)
}

/// Whether the rules would let somebody say this.
fn may(
    gateway: &Gateway,
    in_force: &InForce,
    (principal, approver): (&Principal, &str),
    own: OwnApproval,
    request: RequestFacts,
) -> Result<bool, Refusal> {
    let op = own.word.op;
    let call = call(gateway, principal, approver, own)?;
    let prepared = in_force.rulebook.prepare(principal);
    let given = Confirmation::own();
    let decision = in_force.rulebook.decide(&call.question(op, &prepared, request, &given));
    Ok(matches!(decision.verdict, Verdict::Permit(_)))
}

/// The roles as which the caller may approve a pending call; `None` when they may not at all.
fn approvable(
    gateway: &Gateway,
    in_force: &InForce,
    caller: &Caller,
    pending: &directory::Confirmation,
    request: RequestFacts,
) -> Result<Option<Vec<String>>, Refusal> {
    let strength = Strength::clone(caller.strength());
    let principal = Principal { strength, ..Principal::clone(caller.principal()) };
    let asked = |role: &str| {
        let word = Word {
            op: pending.asked.op,
            hash: String::new(),
            verdict: ApprovalVerdict::Approved,
            role: role.to_owned(),
            reason: String::new(),
            time_ms: request.time_ms,
            source: request.source,
            channel: request.channel,
            strength: principal.strength.clone(),
        };
        let own = OwnApproval { pending: pending.clone(), word };
        may(gateway, in_force, (&principal, caller.user_id()), own, request)
    };
    let mut allowed = Vec::new();
    for role in roles_of(in_force, &principal, pending) {
        if asked(&role)? {
            allowed.push(role);
        }
    }
    // Where roles are asked for, a call is nobody's to see who holds none of them.
    let of_no_role = allowed.is_empty() && pending.asked.approver_roles.is_empty();
    Ok(if !allowed.is_empty() || (of_no_role && asked("")?) { Some(allowed) } else { None })
}

/// What waits for the caller's word about calls of others, oldest first.
///
/// # Errors
/// When the directory or the key provider can't answer.
pub async fn to_approve(
    gateway: &Gateway,
    caller: &Caller,
    request: RequestFacts,
) -> Result<Vec<ToApprove>, Refusal> {
    a_person(caller)?;
    let in_force = gateway.in_force()?;
    let list = gateway.directory.pending_for_others(caller.tenant(), caller.user_id()).await;
    let mut shown = Vec::new();
    for pending in list.map_err(unavailable)? {
        if shown.len() == MOST_LISTED {
            break;
        }
        let allowed = approvable(gateway, &in_force, caller, &pending, request)?;
        if let Some(approve_as) = allowed {
            match as_shown(gateway, pending).await {
                Ok(asked) => shown.push(ToApprove { asked, approve_as }),
                // Whoever can spoil one row must not hide the others.
                Err(Refusal::ConfirmationChanged(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
    }
    Ok(shown)
}

/// One call of somebody else's, for one who may approve it: as long as it waits, and to those who answered it later too.
///
/// # Errors
/// That it is none of theirs.
pub(super) async fn one(
    gateway: &Gateway,
    caller: &Caller,
    pending: directory::Confirmation,
    request: RequestFacts,
) -> Result<ToApprove, Refusal> {
    let foreign = || Refusal::ConfirmationForeign("it is somebody else's");
    a_person(caller)?;
    wants_others(&pending).map_err(|_| foreign())?;
    // Whose word is not wanted learns nothing of it, not even that it is over.
    let in_force = gateway.in_force()?;
    let allowed = approvable(gateway, &in_force, caller, &pending, request)?;
    let approve_as = allowed.ok_or_else(foreign)?;
    if !answered(gateway, caller, &pending).await? {
        still_open(&pending)?;
    }
    Ok(ToApprove { asked: as_shown(gateway, pending).await?, approve_as })
}

/// Whether the caller has answered it: then it may be looked at again.
async fn answered(
    gateway: &Gateway,
    caller: &Caller,
    pending: &directory::Confirmation,
) -> Result<bool, Refusal> {
    let said = gateway.directory.approvals(&pending.id).await.map_err(unavailable)?;
    Ok(said.iter().any(|word| word.approver_id == caller.user_id()))
}

/// What others said, for those who may see the call.
///
/// # Errors
/// A stored approval that is none.
pub(super) async fn said(
    gateway: &Gateway,
    pending: &directory::Confirmation,
) -> Result<Vec<Said>, Refusal> {
    let mut all = Vec::new();
    if wants_others(pending).is_err() {
        return Ok(all);
    }
    for stored in gateway.directory.approvals(&pending.id).await.map_err(unavailable)? {
        let word = opened(gateway, pending, &stored).await?;
        let by = gateway.directory.user(&stored.approver_id).await;
        all.push(Said {
            by: by.map_or_else(|_| stored.approver_id.clone(), |user| user.email),
            verdict: word.verdict,
            role: word.role,
            reason: word.reason,
            at: time(word.time_ms)?,
        });
    }
    Ok(all)
}

/// What is missing before the asker's own word is enough; `None` when nothing is.
pub(super) fn missing(
    in_force: &InForce,
    caller: &Caller,
    call: &ToolCall,
    (op, request): (Uuid, RequestFacts),
    confirmation: &Confirmation,
) -> Option<Refusal> {
    let principal = in_force.prepare(caller);
    let question = call.question(op, &principal, request, confirmation);
    // A permit of this asking is dropped: the call is decided once more, and recorded, after it is claimed.
    let Verdict::AskFirst(ask) = in_force.rulebook.decide(&question).verdict else { return None };
    let roles = ask.approvals.into_iter().filter(|role| !confirmation.approved_as.contains(role));
    Some(Refusal::ConfirmationUnapproved(roles.collect()))
}
