//! Confirmations (design.md section 5): the exact bytes are stored sealed, shown by their hash, and
//! run once, after a fresh decision.
//!
//! The client presents only the confirmation's id, never arguments again, so there is nothing to
//! swap. This file makes no permit: it only asks for a new decision.
//!
//! The whole story has one operation id in the ledger, that of the call which asked: asked, answered, decided again,
//! carried out.
//!
//! INVARIANT: what was shown is what runs (`confirms::the_stored_bytes_run_once`).
//! INVARIANT: who can write to the database can make nothing run that was not shown, and nothing twice
//! (`confirm_forgeries::of_any_column_runs_nothing`, `confirm_forgeries::of_the_state_runs_nothing_twice`,
//! `confirm_races::exactly_one_runs_it_when_somebody_sets_the_state_back_between_two_answers`).

mod approvals;
mod asker;
mod card;
mod outcome;
mod person;
mod request;
mod settle;
mod stored;

pub use approvals::{OwnApproval, ToApprove, answer, carry_out, to_approve};
pub use asker::Asker;
pub use card::{Line, Lines, secrets_of, spelled};
pub use outcome::of as outcome_of;
pub use person::is_a_person;
pub use request::{ShownBody, ShownRequest};
pub use settle::{close_abandoned, end_of, settle};

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use portcullis_audit::crash_point;
use portcullis_policies::{AskFirst, Confirmation, RequestFacts, ToolName, Wants};
use serde::Serialize;
use serde_json::Value;

use self::person::a_person;
use self::stored::{Stored, context, facts, open, seal, stored_call};
use crate::answer::{Asked, Said, Told};
use crate::directory::{self, ConfirmationState, NewConfirmation};
use crate::gateway::Gateway;
use crate::identify::Caller;
use crate::in_force::InForce;
use crate::oauth::base_url;
use crate::record::{self, Trail};
use crate::refusal::Refusal;
use crate::resolve::{self, ToolCall};

/// So many questions of one person may wait: more than anybody reads, and as many as a list shows.
const MOST_PENDING: i64 = 100;

/// Stores the call and gives the question that the caller is shown.
///
/// # Errors
/// When the bytes can't be sealed or stored: then nothing is pending.
pub async fn ask(
    gateway: &Gateway,
    caller: &Caller,
    call: &mut ToolCall,
    ask: AskFirst,
    trail: &mut Trail,
) -> Result<Told, Refusal> {
    // A question that nobody can ever answer is refused instead of kept.
    if caller.is_platform() {
        return Err(Refusal::ConfirmationForeign(
            "nobody could confirm what is done in nobody's name",
        ));
    }
    if gateway
        .directory
        .count_pending(caller.tenant(), caller.user_id())
        .await
        .map_err(unavailable)?
        >= MOST_PENDING
    {
        return Err(Refusal::TooManyPending);
    }
    let id = directory::fresh_confirmation_id();
    let forward = call.store_forward(gateway.settings.server.limits.body_bytes).await?;
    let request = forward.as_ref().map(resolve::StoredRequest::shown);
    let request_hash = request.as_ref().map(ShownRequest::hash);
    let asker = Asker::of(gateway, caller, trail.channel()).await;
    let expires_ms = expiry(gateway, caller).await?;
    let mut new = NewConfirmation {
        op: trail.op(),
        tenant: caller.tenant().clone(),
        user_id: caller.user_id().to_owned(),
        tool: call.tool().spec.name.clone(),
        tool_digest: call.tool().schema_digest,
        action_type: call.tool().spec.action_type,
        target_tenant: call.target_tenant().clone(),
        target_id: None,
        wants: wants_word(ask.wants).to_owned(),
        approver_roles: ask.approvals,
        rules: ask.rules.clone(),
        policy_digest: trail.policy_set(),
        args_digest: *call.digest(),
        sealed_args: Vec::new(),
        summary: call.summary(),
        created_ms: Timestamp::now().as_millisecond(),
        expires_ms,
    };
    let (facts, args) = (facts(&new), BASE64.encode(call.bytes()));
    let stored = Stored { facts, args, forward, request_hash, asker: Some(asker) };
    new.sealed_args = seal(gateway, &id, &new, &stored).await?;
    gateway.directory.ask_confirmation(&id, &new).await.map_err(unavailable)?;
    crash_point!("confirm_after_question");
    trail.confirmation(&id);
    let until = time(new.expires_ms)?;
    let hashes = (&new.args_digest, stored.request_hash.as_deref());
    record::asked(gateway, trail, hashes, until).await?;
    let pending = directory::Confirmation::fresh(id, new);
    let mut asked = shown(&pending, call.bytes(), request, Vec::new())?;
    asked.secrets = secrets_of(&call.tool().spec.input_schema, call.args());
    asked.asked_by = stored.asker;
    asked.page = page(gateway, &asked.confirmation_id);
    Ok(Told::AskFirst(Box::new(asked)))
}

/// Opens a pending confirmation for the caller: the stored bytes as a call that makes sense *now*,
/// to be decided again. Claims it, so that of many confirms exactly one goes on.
///
/// # Errors
/// Unknown, foreign, used, expired and changed confirmations are refused, each with its own code.
pub async fn reopen(
    gateway: &Gateway,
    in_force: &InForce,
    caller: &Caller,
    (id, request): (&str, RequestFacts),
    trail: &mut Trail,
) -> Result<(ToolCall, Confirmation), Refusal> {
    let pending = find(gateway, caller, id).await?;
    trail.confirmation(id);
    own(caller, &pending)?;
    let stored = open(gateway, &pending).await?;
    trail.goes_on(pending.asked.op);
    still_open(&pending)?;
    outcome::not_ended(gateway, pending.asked.op).await?;
    let call = stored_call(gateway, in_force, caller, (&pending, stored)).await?;
    let confirmation = approvals::confirmed(gateway, in_force, &pending).await?;
    if pending.asked.wants == wants_word(Wants::ConfirmationByOther) {
        let asking = (pending.asked.op, request);
        // It goes on waiting: somebody may still approve it.
        approvals::missing(in_force, caller, &call, asking, &confirmation).map_or(Ok(()), Err)?;
    }
    crash_point!("confirm_before_claim");
    if !gateway.directory.claim_confirmation(id, caller.user_id()).await.map_err(unavailable)? {
        return Err(decided_meanwhile(gateway, caller, id).await);
    }
    trail.claimed();
    crash_point!("confirm_after_claim");
    Ok((call, confirmation))
}

/// Cancels a pending confirmation of the caller's own.
///
/// # Errors
/// As [`reopen`].
pub async fn cancel(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    trail: &mut Trail,
) -> Result<Told, Refusal> {
    let pending = find(gateway, caller, id).await?;
    trail.confirmation(id);
    own(caller, &pending)?;
    open(gateway, &pending).await?;
    trail.goes_on(pending.asked.op);
    still_open(&pending)?;
    match gateway.directory.cancel_confirmation(id, caller.user_id()).await.map_err(unavailable)? {
        true => {
            crash_point!("confirm_after_cancel");
            record::cancelled(gateway, trail).await?;
            Ok(Told::Cancelled(id.to_owned()))
        }
        false => Err(decided_meanwhile(gateway, caller, id).await),
    }
}

/// The caller's pending confirmations, oldest first.
///
/// # Errors
/// When the directory or the key provider can't answer.
pub async fn pending(gateway: &Gateway, caller: &Caller) -> Result<Vec<Asked>, Refusal> {
    a_person(caller)?;
    let list = gateway.directory.pending_confirmations(caller.tenant(), caller.user_id()).await;
    let mut shown = Vec::new();
    for one in list.map_err(unavailable)? {
        match as_shown(gateway, one).await {
            Ok(asked) => shown.push(asked),
            // Whoever can spoil one row must not hide the others.
            Err(Refusal::ConfirmationChanged(_)) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(shown)
}

/// One confirmation as its asker sees it, what is decided already too.
///
/// # Errors
/// As [`reopen`].
pub async fn own_one(gateway: &Gateway, caller: &Caller, id: &str) -> Result<Asked, Refusal> {
    let found = find(gateway, caller, id).await?;
    own(caller, &found)?;
    as_shown(gateway, found).await
}

/// One confirmation as its asker sees it, what is decided already too; or as one who may approve it does.
///
/// # Errors
/// As [`reopen`].
pub async fn one(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    request: RequestFacts,
) -> Result<Seen, Refusal> {
    let found = find(gateway, caller, id).await?;
    match own(caller, &found) {
        Ok(()) => Ok(Seen::Own(as_shown(gateway, found).await?)),
        Err(foreign) if found.asked.user_id == caller.user_id() => Err(foreign),
        Err(_) => Ok(Seen::ToApprove(approvals::one(gateway, caller, found, request).await?)),
    }
}

/// A pending call as one of two kinds of people sees it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Seen {
    /// Its asker.
    Own(Asked),
    /// Somebody who may approve it.
    ToApprove(ToApprove),
}

async fn find(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> Result<directory::Confirmation, Refusal> {
    gateway.directory.confirmation(caller.tenant(), id).await.map_err(|fault| match fault {
        directory::DirectoryError::NotFound { .. } => Refusal::ConfirmationUnknown,
        other => unavailable(other),
    })
}

/// A question is its asker's to answer, and a person's: an API key that could confirm what it asks
/// for would need nobody.
fn own(caller: &Caller, found: &directory::Confirmation) -> Result<(), Refusal> {
    a_person(caller)?;
    if found.asked.user_id == caller.user_id() {
        Ok(())
    } else {
        Err(Refusal::ConfirmationForeign("it is somebody else's"))
    }
}

fn still_open(found: &directory::Confirmation) -> Result<(), Refusal> {
    let late = found.asked.expires_ms <= Timestamp::now().as_millisecond();
    match found.state {
        ConfirmationState::Pending if !late => Ok(()),
        ConfirmationState::Pending | ConfirmationState::Expired => {
            Err(Refusal::ConfirmationExpired)
        }
        decided => Err(Refusal::ConfirmationUsed(decided.to_string())),
    }
}

async fn decided_meanwhile(gateway: &Gateway, caller: &Caller, id: &str) -> Refusal {
    match find(gateway, caller, id).await {
        Ok(found) => {
            still_open(&found).err().unwrap_or_else(|| Refusal::ConfirmationUsed("claimed".into()))
        }
        Err(fault) => fault,
    }
}

async fn as_shown(gateway: &Gateway, found: directory::Confirmation) -> Result<Asked, Refusal> {
    let stored = open(gateway, &found).await?;
    let args = BASE64.decode(&stored.args).map_err(unavailable)?;
    let request = stored.forward.as_ref().map(resolve::StoredRequest::shown);
    let said = approvals::said(gateway, &found).await?;
    let mut asked = shown(&found, &args, request, said)?;
    asked.asked_by = stored.asker;
    asked.page = page(gateway, &asked.confirmation_id);
    if matches!(asked.state, ConfirmationState::Executed | ConfirmationState::Unknown) {
        asked.outcome = outcome::of(gateway, asked.trace_id, &asked.app).await;
    }
    asked.secrets = secrets(gateway, &found.asked.tool, &asked.arguments);
    Ok(asked)
}

/// Where the tool says that secrets are; of one that is gone nothing is known.
fn secrets(gateway: &Gateway, name: &ToolName, arguments: &Value) -> Vec<String> {
    let (app, function) = (name.app().as_str(), name.function());
    let own = gateway.own.tool(app, function).map(|(_, tool)| Arc::clone(tool));
    let tool =
        own.or_else(|| gateway.in_force().ok().and_then(|now| now.catalogue.tool(name).cloned()));
    tool.map(|tool| secrets_of(&tool.spec.input_schema, arguments)).unwrap_or_default()
}

fn shown(
    found: &directory::Confirmation,
    args: &[u8],
    request: Option<ShownRequest>,
    approvals: Vec<Said>,
) -> Result<Asked, Refusal> {
    let asked = &found.asked;
    let late = asked.expires_ms <= Timestamp::now().as_millisecond();
    let state = match found.state {
        ConfirmationState::Pending if late => ConfirmationState::Expired,
        state => state,
    };
    let waits = state == ConfirmationState::Pending;
    Ok(Asked {
        status: if waits { "confirmation_required" } else { "decided" },
        confirmation_id: found.id.clone(),
        page: None,
        state,
        outcome: None,
        user_id: asked.user_id.clone(),
        tenant_id: asked.tenant.to_string(),
        target_tenant: asked.target_tenant.to_string(),
        asked_by: None,
        // Made from what the seal binds, and not from the column of that name.
        summary: resolve::summary(&asked.tool, asked.action_type),
        app: asked.tool.app().to_string(),
        function: asked.tool.function().to_owned(),
        action_type: asked.action_type,
        arguments: serde_json::from_slice(args).map_err(unavailable)?,
        arguments_text: String::from_utf8(args.to_vec()).map_err(unavailable)?,
        request_hash: request.as_ref().map(ShownRequest::hash),
        request,
        secrets: Vec::new(),
        hash: hex::encode(asked.args_digest),
        created_at: time(asked.created_ms)?,
        expires_at: time(asked.expires_ms)?,
        rules: asked.rules.clone(),
        by_other: asked.wants == wants_word(Wants::ConfirmationByOther),
        approver_roles: asked.approver_roles.clone(),
        approvals,
        trace_id: asked.op,
    })
}

fn page(gateway: &Gateway, id: &str) -> Option<String> {
    base_url(&gateway.settings.server, None).map(|base| format!("{base}/confirm/{id}"))
}

fn time(ms: i64) -> Result<String, Refusal> {
    Timestamp::from_millisecond(ms).map(|at| at.to_string()).map_err(unavailable)
}

/// When the question ends, in Unix milliseconds: the person's own choice, or the deployment's.
async fn expiry(gateway: &Gateway, caller: &Caller) -> Result<i64, Refusal> {
    let own = gateway.directory.settings(caller.user_id()).await.map_err(unavailable)?;
    let chosen = own.confirmation_ttl_s.map(|seconds| Duration::from_secs(seconds.into()));
    let ttl = chosen.unwrap_or(gateway.settings.confirmation.ttl);
    let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::from(i32::MAX));
    Ok(Timestamp::now().as_millisecond().saturating_add(ttl))
}

fn wants_word(wants: Wants) -> &'static str {
    match wants {
        Wants::Confirmation => "confirmation",
        Wants::ConfirmationByOther => "confirmation_by_other",
    }
}

fn unavailable(fault: impl std::fmt::Display) -> Refusal {
    tracing::error!(%fault, "a confirmation could not be handled");
    Refusal::Unavailable("confirmations".to_owned())
}
