//! Turns calls, verdicts and outcomes into ledger records: the only place that picks what is
//! written down.
//!
//! A record names people by pseudonym and payloads by commitment (ledger-and-vault.md 5.2). What it
//! commits to, the capsule of the decision and the keys of the commitments, is sealed beside it
//! under the caller's own scope key, so that erasing a person leaves the chain verifiable.

mod body;
mod bounded;
mod catalogue;
mod own;
mod policies;
mod trail;

use portcullis_audit::{
    Appended, CallFields, Commitment, DEPLOYMENT, Entry, Intent, IntentReceipt, InvalidEntry, Kind,
    Ledger, OutcomeRecord, OutcomeStatus, ResultRef, Retention, Unavailable, fresh_key,
};
use portcullis_kernel_adapter::{Class, Outcome, StreamEnd};
use portcullis_policies::ActionType;

pub use body::{Opened, Unopened, open_body};
pub use bounded::{Bounded, STRANGERS_PER_SECOND};
pub use catalogue::catalogue;
pub use own::{own_intent, own_outcome};
pub use policies::{policies_loaded, policies_refused};
pub use trail::Trail;

use crate::answer::{Answer, Told};
use crate::directory::ConfirmationState;
use crate::dispatch::Dispatched;
use crate::edge::Pass;
use crate::gateway::Gateway;
use crate::refusal::Refusal;
use crate::resolve::ToolCall;

/// Makes the intent durable; without it nothing is dispatched.
///
/// # Errors
/// [`Refusal::AuditUnavailable`] when it could not be made durable within its deadline.
pub async fn intent(
    gateway: &Gateway,
    trail: &mut Trail,
    call: &ToolCall,
) -> Result<IntentReceipt, Refusal> {
    let mut fields = trail.fields();
    let input = Commitment::of("in", call.bytes()).map_err(body::unavailable)?;
    // Before there is an answer, so that one body is enough for both records.
    let answers_key = fresh_key().map_err(body::unavailable)?;
    let keys = [("in", input.key()), ("out", &*answers_key)];
    let body = body::seal(gateway, trail, &mut fields, &keys).await?;
    fields.input = Some(input);
    trail.answers_under(answers_key);
    // The outcome is kept as long: by then the trail knows.
    fields.ret = Some(trail.retention(call.tool().spec.action_type));
    let intent =
        Intent { tenant: trail.log(), op: trail.op(), call_digest: *call.digest(), fields, body };
    // What a person confirmed runs once, whatever the database says: the ledger looks in the commit.
    let receipt = match trail.claimed_confirmation() {
        Some(_) => gateway.ledger.intent_once(intent).await,
        None => gateway.ledger.intent(intent).await,
    };
    let receipt = receipt.map_err(unbegun)?;
    trail.intended(receipt.record(), call.tool().spec.action_type);
    Ok(receipt)
}

/// Records how the dispatch ended, and gives what the caller is told.
///
/// The outcome of a read rides on the next commit, for a stream when its body has ended. The answer
/// of anything else waits until its outcome is durable, and is withheld when that fails
/// (ledger-and-vault.md 5.7, rule 4); what a streamed answer's head says is its outcome then.
pub async fn outcome(
    gateway: &Gateway,
    trail: &Trail,
    place: Pass,
    dispatched: Dispatched,
) -> Told {
    match dispatched {
        Dispatched::Ended(outcome) => match written(gateway, trail, &outcome).await {
            Ok(()) => told(trail, outcome),
            Err(unrecorded) => Told::Refused(unrecorded),
        },
        Dispatched::Lent(value) => {
            // What is recorded of a lent value is that it was lent, and nothing made from it.
            let done = Outcome::Done { value: bytes::Bytes::new() };
            match written(gateway, trail, &done).await {
                Ok(()) => Told::Lent(value),
                Err(unrecorded) => Told::Refused(unrecorded),
            }
        }
        Dispatched::Streaming { response, end, .. } if trail.action() == ActionType::Read => {
            let record = outcome_of_stream(gateway.ledger.clone(), trail, end, place);
            gateway.tasks.spawn(record);
            Told::Streamed(response)
        }
        Dispatched::Streaming { response, end, head } => {
            gateway.tasks.spawn(async move {
                end.wait().await;
                drop(place);
            });
            match written(gateway, trail, &head).await {
                Ok(()) => Told::Streamed(response),
                Err(unrecorded) => Told::Refused(unrecorded),
            }
        }
    }
}

async fn written(gateway: &Gateway, trail: &Trail, outcome: &Outcome) -> Result<(), Refusal> {
    let record = outcome_record(trail, outcome, None);
    let written = match trail.action() {
        ActionType::Read => gateway.ledger.outcome_queued(record),
        ActionType::Write | ActionType::Destructive => {
            gateway.ledger.outcome(record).await.map(|_| ())
        }
    };
    written.map_err(|fault| {
        tracing::error!(op = %trail.op(), %fault, "an outcome could not be recorded");
        Refusal::OutcomeUnrecorded
    })
}

/// Queues the outcome of a streamed read when its body has ended; holds the call's place till then.
fn outcome_of_stream(
    ledger: Ledger,
    trail: &Trail,
    end: StreamEnd,
    place: Pass,
) -> impl Future<Output = ()> + use<> {
    let trail = trail.clone();
    async move {
        let exchange = end.wait().await;
        let answer = exchange.response.and_then(|tally| trail.commit_to_answer(&tally.sha256));
        let record = outcome_record(&trail, &exchange.outcome, answer);
        if let Err(fault) = ledger.outcome_queued(record) {
            tracing::error!(op = %trail.op(), %fault, "an outcome could not be recorded");
        }
        drop(place);
    }
}

fn told(trail: &Trail, outcome: Outcome) -> Told {
    match outcome {
        Outcome::Done { value } => Told::Done(value),
        // The app's own words about its failure are an answer like any other.
        Outcome::Failed { value: Some(value), .. }
        | Outcome::Refused { value: Some(value), .. } => Told::Done(value),
        Outcome::Refused { class: Class::SecretNotSet, .. } => Told::Refused(Refusal::SecretNotSet),
        Outcome::Refused { class: Class::SecretChanged, .. } => {
            Told::Refused(Refusal::SecretChanged)
        }
        Outcome::Refused { class: Class::NotFound, message, .. } => {
            Told::Refused(Refusal::NotThere(message))
        }
        Outcome::Refused { class: Class::Conflict, message, .. } => {
            Told::Refused(Refusal::Conflict(message))
        }
        Outcome::Refused { class: Class::Invalid, message, .. } => {
            Told::Refused(Refusal::InvalidValue(message))
        }
        // The tool changed, and its server was quicker than the catalogue.
        Outcome::Failed { class: Class::Quarantined, .. } => {
            let tool = trail.fields().tool;
            let name = tool.map(|tool| format!("{}/{}", tool.server, tool.name));
            Told::Refused(Refusal::ToolQuarantined(name.unwrap_or_default()))
        }
        Outcome::Failed { class: Class::Vault, .. } => Told::Refused(Refusal::VaultUnavailable),
        Outcome::Failed { class: Class::Storage, .. } => {
            Told::Refused(Refusal::Unavailable("directory".to_owned()))
        }
        // Without its credential an app can't be reached; why is the operator's to know.
        Outcome::Failed { class: Class::Unreachable | Class::SecretNotSet, .. } => {
            Told::Refused(Refusal::UpstreamUnreachable)
        }
        Outcome::Failed { class, .. } => Told::Refused(Refusal::UpstreamFailed(class.to_string())),
        Outcome::Refused { class, .. } => {
            Told::Refused(Refusal::UpstreamRefused(class.to_string()))
        }
        Outcome::Unknown { class, .. } => Told::Refused(Refusal::OutcomeUnknown(class.to_string())),
    }
}

/// Records a refusal and only then gives it: the answer becomes `audit_unavailable` when the
/// ledger can't take it.
pub async fn refusal(gateway: &Gateway, mut trail: Trail, refusal: Refusal) -> Answer {
    let mut fields = trail.fields();
    fields.res = Some(ResultRef {
        status: "refused".to_owned(),
        error: Some(refusal.code().to_lowercase()),
    });
    match admitted(gateway, &trail, &refusal) {
        // Beyond the bound it is counted in the next record; see `bounded`.
        None => return Answer::refused(trail.op(), refusal),
        Some(0) => {}
        Some(before) => {
            fields.note.insert("unrecorded".to_owned(), before.to_string());
        }
    }
    if trail.is_of_a_stranger() {
        fields.note.insert("peer".to_owned(), trail.source().to_string());
    }
    // Such as a refresh token that was spent twice: to an auditor that is not just any wrong credential.
    if let Refusal::InvalidCredential(why) = &refusal {
        fields.note.insert("why".to_owned(), (*why).to_owned());
    }
    if let Refusal::OverLimit(over) = &refusal {
        fields.note.insert("limit".to_owned(), over.rule.name().to_owned());
    }
    // A refusal harms nobody: it is recorded even when what belongs beside it can't be sealed.
    let body = match body::seal(gateway, &trail, &mut fields, &[]).await {
        Ok(body) => body,
        Err(_) => {
            fields.note.insert("body".to_owned(), "unsealed".to_owned());
            None
        }
    };
    let entry = Entry {
        tenant: trail.log(),
        kind: Kind::Decision,
        op: trail.op(),
        reference: None,
        fields,
        body,
    };
    match gateway.ledger.append(entry).await {
        Ok(record) => {
            trail.recorded(&record);
            trail.answer(&gateway.ledger, Told::Refused(refusal))
        }
        Err(fault) => Answer::refused(trail.op(), audit_unavailable(fault)),
    }
}

/// Whether a refusal gets a record of its own, and how many before it got none.
fn admitted(gateway: &Gateway, trail: &Trail, refusal: &Refusal) -> Option<u64> {
    match refusal {
        Refusal::OverLimit(_) => gateway.limits.records(&trail.log()).admit(),
        _ if trail.is_of_a_stranger() => gateway.strangers.admit(),
        _ => Some(0),
    }
}

/// Records which secret is about to be used for an intended call; the value is opened only when this
/// is durable.
///
/// # Errors
/// [`Refusal::AuditUnavailable`]; then nothing is opened.
pub async fn secret_use(
    ledger: &Ledger,
    trail: &Trail,
    receipt: &IntentReceipt,
) -> Result<(), Refusal> {
    // Who reached which secret must be there to be asked about for ever.
    let fields = CallFields { ret: Some(Retention::Hold), ..trail.fields() };
    let entry = Entry {
        tenant: trail.log(),
        kind: Kind::SecretUse,
        op: trail.op(),
        reference: Some(receipt.reference()),
        fields,
        body: None,
    };
    ledger.append(entry).await.map(|_| ()).map_err(audit_unavailable)
}

/// Records that the rules ask first, and the hashes that are shown; the question is released only when this is durable.
///
/// # Errors
/// [`Refusal::AuditUnavailable`]; the question then expires unseen.
pub async fn asked(
    gateway: &Gateway,
    trail: &mut Trail,
    (hash, request_hash): (&[u8; 32], Option<&str>),
    until: String,
) -> Result<(), Refusal> {
    // That nobody answered in time is no deed of anybody's: the record says itself when it ends.
    let mut shown = vec![("shown_hash", hex::encode(hash)), ("answer_until", until)];
    shown.extend(request_hash.map(|hash| ("shown_request_hash", hash.to_owned())));
    let record = noted(gateway, trail, "asked", shown).await?;
    trail.recorded(&record);
    Ok(())
}

/// Records that a pending confirmation was cancelled by its asker.
///
/// # Errors
/// [`Refusal::AuditUnavailable`]; it stays cancelled, since that can harm nobody.
pub async fn cancelled(gateway: &Gateway, trail: &mut Trail) -> Result<(), Refusal> {
    let record = decision(gateway, trail, "cancelled").await?;
    trail.recorded(&record);
    Ok(())
}

/// Records that a caller signed in or refreshed; the tokens are released only when this is durable.
///
/// # Errors
/// [`Refusal::AuditUnavailable`].
pub async fn signed_in(gateway: &Gateway, trail: &Trail) -> Result<(), Refusal> {
    decision(gateway, trail, "signed_in").await.map(|_| ())
}

/// Records that a person signed out of the gateway's pages.
///
/// # Errors
/// [`Refusal::AuditUnavailable`]; the cookie is taken back all the same, since that can harm nobody.
pub async fn signed_out(gateway: &Gateway, trail: &Trail) -> Result<(), Refusal> {
    decision(gateway, trail, "signed_out").await.map(|_| ())
}

async fn decision(gateway: &Gateway, trail: &Trail, status: &str) -> Result<Appended, Refusal> {
    noted(gateway, trail, status, Vec::new()).await
}

async fn noted(
    gateway: &Gateway,
    trail: &Trail,
    status: &str,
    notes: Vec<(&str, String)>,
) -> Result<Appended, Refusal> {
    let mut fields = trail.fields();
    fields.note.extend(notes.into_iter().map(|(key, note)| (key.to_owned(), note)));
    fields.res = Some(ResultRef { status: status.to_owned(), error: None });
    let body = body::seal(gateway, trail, &mut fields, &[]).await?;
    let entry = Entry {
        tenant: trail.log(),
        kind: Kind::Decision,
        op: trail.op(),
        reference: None,
        fields,
        body,
    };
    gateway.ledger.append(entry).await.map_err(audit_unavailable)
}

/// The log of a tenant, or the deployment's own when nobody was identified.
fn log_of(tenant: Option<&str>) -> String {
    tenant.unwrap_or(DEPLOYMENT).to_owned()
}

fn outcome_record(trail: &Trail, outcome: &Outcome, streamed: Option<Commitment>) -> OutcomeRecord {
    let status = match outcome {
        Outcome::Done { .. } => OutcomeStatus::Done,
        Outcome::Failed { .. } => OutcomeStatus::Failed,
        Outcome::Refused { .. } => OutcomeStatus::Refused,
        Outcome::Unknown { .. } => OutcomeStatus::Unknown,
    };
    let answer = match outcome {
        Outcome::Done { value } if !value.is_empty() => trail.commit_to_answer(value),
        _ => streamed,
    };
    OutcomeRecord {
        tenant: trail.log(),
        op: trail.op(),
        reference: trail.reference(),
        status,
        error_class: outcome.class().map(|class| class.to_string()),
        out: answer,
        fields: trail.fields(),
        body: None,
    }
}

/// Why nothing was begun.
fn unbegun(fault: Unavailable) -> Refusal {
    match fault {
        // Two confirms at once, between which somebody set the state back in the database.
        Unavailable::Invalid(InvalidEntry::AlreadyBegun) => {
            Refusal::ConfirmationUsed(ConfirmationState::Executed.to_string())
        }
        other => audit_unavailable(other),
    }
}

/// What the caller is told when the ledger can't record.
pub fn audit_unavailable(fault: Unavailable) -> Refusal {
    tracing::error!(%fault, "the ledger refused a record");
    Refusal::AuditUnavailable(fault.to_string())
}
