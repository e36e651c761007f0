//! Asking the person inside the client, while its call waits (design.md section 5).
//!
//! ```text
//! tools/call  ->  ask first  ->  elicitation/create on the stream of this very call
//!                                   accept  -> the stored bytes, by the same way as from every other door
//!                                   decline -> cancelled, on record
//!                                   cancel, no answer in time, client gone -> it goes on waiting as ever
//! ```
//!
//! The client is the program that the question protects against. So a form counts only from a client that holds its
//! person's own token, which could answer at `/v1/confirmations` just the same; a program with a grant or a key leads
//! its person to the page. `confirmation.elicitation` turns forms off, or all of it.
//!
//! What waits here is kept by one replica and may be lost: then the call is answered as if nobody had been asked. An
//! answer has to reach the replica that asks; one that does not is refused, and the question still waits.
//!
//! INVARIANT: an answer counts once, from the session and the user that were asked, by the same kind of credential
//! (`elicits::nobody_elses_answer`, `elicits::no_second_answer`).
//! INVARIANT: what is accepted here takes no shorter way (`elicits::what_the_rules_forbid_meanwhile_is_not_run`).

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::question::{self, Said};
use super::session::Session;
use crate::answer::Asked;
use crate::config::Elicitation;
use crate::confirm;
use crate::directory::ConfirmationState;
use crate::door::sse::{self, Events, Gone};
use crate::gateway::Gateway;
use crate::identify::{Caller, Proof};
use crate::knock::{Knock, Wanted};
use crate::oauth::base_url;
use crate::pipeline;
use crate::refusal::Refusal;

/// Longest wait for a person; the question itself may wait longer.
const LONGEST: Duration = Duration::from_secs(600);
/// How often it is looked whether it was decided elsewhere.
const LOOK: Duration = Duration::from_secs(1);
/// Calls that wait so at once, of one user and of all.
const OF_A_USER: usize = 8;
const OF_ALL: usize = 256;

/// How a person is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By a form inside the client.
    Form,
    /// On the page, in a browser.
    Url,
}

/// A call that waits for its person.
pub struct Pending {
    /// What is asked.
    pub asked: Asked,
    /// The id of the call.
    pub request: Value,
    /// What the call is answered where nobody is asked.
    pub usual: Bytes,
}

/// The questions of this replica that a client was asked and has not answered.
#[derive(Default)]
pub struct Elicitations {
    waiting: Mutex<HashMap<String, Waiter>>,
}

struct Waiter {
    user: String,
    tenant: String,
    session: String,
    proof: Discriminant<Proof>,
    mode: Mode,
    reply: oneshot::Sender<Reply>,
}

/// What came back, and by whose request.
struct Reply {
    said: Said,
    knock: Knock,
}

/// A place among those who wait; dropping it leaves it.
struct Waiting {
    all: Arc<Elicitations>,
    id: String,
    reply: oneshot::Receiver<Reply>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}

impl Waiter {
    fn is_of(&self, caller: &Caller, session: &Session) -> bool {
        self.session == session.nonce
            && self.user == caller.user_id()
            && self.tenant == caller.tenant().as_str()
            && self.proof == discriminant(caller.proof())
    }
}

impl Elicitations {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiter>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place; none when too many wait.
    fn enter(self: &Arc<Self>, caller: &Caller, session: &Session, mode: Mode) -> Option<Waiting> {
        let (sender, reply) = oneshot::channel();
        let waiter = Waiter {
            user: caller.user_id().to_owned(),
            tenant: caller.tenant().to_string(),
            session: session.nonce.clone(),
            proof: discriminant(caller.proof()),
            mode,
            reply: sender,
        };
        let id = format!("portcullis-{}", uuid::Uuid::new_v4().simple());
        let mut waiting = self.lock();
        let of_user = waiting.values().filter(|other| other.user == waiter.user).count();
        if waiting.len() >= OF_ALL || of_user >= OF_A_USER {
            return None;
        }
        waiting.insert(id.clone(), waiter);
        drop(waiting);
        Some(Waiting { all: Arc::clone(self), id, reply })
    }

    /// Takes a client's answer to where it is waited for.
    ///
    /// # Errors
    /// [`Refusal::ConfirmationUnknown`] when this session was asked nothing of this id, or not any more;
    /// [`Refusal::MalformedBody`] when the answer has no meaning, which ends the asking and decides nothing.
    pub fn answer(
        &self,
        caller: &Caller,
        session: Option<&Session>,
        answer: &Value,
        knock: Knock,
    ) -> Result<(), Refusal> {
        let id = answer.get("id").and_then(Value::as_str).unwrap_or_default();
        let session = session.ok_or(Refusal::ConfirmationUnknown)?;
        let mut waiting = self.lock();
        if !waiting.get(id).is_some_and(|waiter| waiter.is_of(caller, session)) {
            return Err(Refusal::ConfirmationUnknown);
        }
        let waiter = waiting.remove(id).ok_or(Refusal::ConfirmationUnknown)?;
        drop(waiting);
        let said = Said::read(answer, waiter.mode);
        let reply = Reply { said: *said.as_ref().unwrap_or(&Said::Nothing), knock };
        waiter.reply.send(reply).map_err(|_| Refusal::ConfirmationUnknown)?;
        said.map(|_| ())
    }
}

/// How this caller's person can be asked inside this client; none when not.
fn mode(gateway: &Gateway, caller: &Caller, session: &Session) -> Option<Mode> {
    let setting = gateway.settings.confirmation.elicitation;
    let program = matches!(caller.proof(), Proof::Grant { .. } | Proof::ApiKey);
    let of_a_person = program || caller.strength().device;
    let is_a_person = confirm::is_a_person(caller);
    if setting == Elicitation::Form && session.modes.form && is_a_person {
        return Some(Mode::Form);
    }
    let may = setting != Elicitation::Off && session.modes.url && (is_a_person || of_a_person);
    may.then_some(Mode::Url)
}

/// Asks the person, on a stream that ends with the answer of the call.
///
/// # Errors
/// Gives the call back when its person can't be asked here.
pub fn ask(
    gateway: &Arc<Gateway>,
    all: &Arc<Elicitations>,
    (caller, session): (Caller, &Session),
    pending: Box<Pending>,
) -> Result<Response<Body>, Box<Pending>> {
    let asked = &pending.asked;
    let Some(mode) = mode(gateway, &caller, session).filter(|_| !asked.by_other) else {
        return Err(pending);
    };
    let Some(waiting) = all.enter(&caller, session, mode) else { return Err(pending) };
    let page = || {
        let base = base_url(&gateway.settings.server, None).filter(|_| session.modes.url)?;
        Some((Mode::Url, question::url(&waiting.id, asked, &base)))
    };
    let form = (mode == Mode::Form).then(|| question::form(&waiting.id, asked)).flatten();
    // What is too long for a form is read on the page.
    let Some((mode, question)) = form.map(|form| (Mode::Form, form)).or_else(page) else {
        return Err(pending);
    };
    waiting.all.lock().entry(waiting.id.clone()).and_modify(|waiter| waiter.mode = mode);
    let (events, response) = sse::response();
    let conversation =
        Conversation { gateway: Arc::clone(gateway), caller, mode, waiting, pending };
    tokio::spawn(async move {
        tokio::select! {
            () = events.gone() => {}
            _ = conversation.hold(&events, question) => {}
        }
    });
    Ok(response)
}

/// One question to one client.
struct Conversation {
    gateway: Arc<Gateway>,
    caller: Caller,
    mode: Mode,
    waiting: Waiting,
    pending: Box<Pending>,
}

impl Conversation {
    async fn hold(mut self, events: &Events, question: Value) -> Result<(), Gone> {
        events.send("message", None, &question).await?;
        let deadline = Instant::now() + patience(&self.pending.asked);
        let reply = tokio::select! {
            reply = &mut self.waiting.reply => reply.ok(),
            end = decided(&self.gateway, &self.caller, &self.pending.asked, deadline) => {
                return self.without_answer(events, end).await;
            }
        };
        let id = self.pending.asked.confirmation_id.clone();
        let wanted = match reply.as_ref().map(|reply| reply.said) {
            Some(Said::Yes) if self.mode == Mode::Url => {
                let (caller, asked) = (&self.caller, &self.pending.asked);
                let end = decided(&self.gateway, caller, asked, deadline).await;
                return self.without_answer(events, end).await;
            }
            Some(Said::Yes) => Wanted::Confirmed { id },
            // A program's "no" is not its person's.
            Some(Said::No) if confirm::is_a_person(&self.caller) => Wanted::Cancelled { id },
            _ => return self.usual(events).await,
        };
        let Some(Reply { knock, .. }) = reply else { return self.usual(events).await };
        // As any other answer: who it is, what the rules say now, whose it is to run.
        let answer = pipeline::run(Arc::clone(&self.gateway), Knock { wanted, ..knock }).await;
        let (member, value) = match super::result_of(answer) {
            Ok(result) => ("result", serde_json::to_value(result)),
            Err(fault) => ("error", serde_json::to_value(fault)),
        };
        self.end(events, member, value.unwrap_or_default()).await
    }

    /// It was decided by another way, or by nobody.
    async fn without_answer(
        &self,
        events: &Events,
        end: Option<ConfirmationState>,
    ) -> Result<(), Gone> {
        let Some(state) = end else { return self.usual(events).await };
        if self.mode == Mode::Url {
            events.send("message", None, &question::complete(&self.pending.asked)).await?;
        }
        let asked = &self.pending.asked;
        let ran = [ConfirmationState::Executed, ConfirmationState::Unknown].contains(&state);
        let outcome = match ran {
            true => confirm::outcome_of(&self.gateway, asked.trace_id, &asked.app).await,
            false => None,
        };
        let is_done = outcome.as_deref() == Some("done");
        let told = Asked { status: "decided", state, outcome, ..asked.clone() };
        let told = serde_json::to_value(told).unwrap_or_default();
        let result = match is_done {
            true => super::CallToolResult::structured(told),
            false => super::CallToolResult::structured_error(told),
        };
        self.end(events, "result", serde_json::to_value(result).unwrap_or_default()).await
    }

    async fn usual(&self, events: &Events) -> Result<(), Gone> {
        let usual = serde_json::from_slice(&self.pending.usual).unwrap_or_default();
        events.send("message", None, &usual).await
    }

    async fn end(&self, events: &Events, member: &str, value: Value) -> Result<(), Gone> {
        let last = json!({ "jsonrpc": "2.0", "id": self.pending.request, member: value });
        events.send("message", None, &last).await
    }
}

/// Waits until somebody has decided it by another way; none when nobody does in time, or the gateway is to end.
async fn decided(
    gateway: &Gateway,
    caller: &Caller,
    asked: &Asked,
    deadline: Instant,
) -> Option<ConfirmationState> {
    while Instant::now() < deadline && !gateway.tasks.is_closed() {
        tokio::time::sleep_until(deadline.min(Instant::now() + LOOK)).await;
        let found = gateway.directory.confirmation(caller.tenant(), &asked.confirmation_id).await;
        match found.map(|found| found.state) {
            Ok(ConfirmationState::Pending | ConfirmationState::Executing) => {}
            Ok(ConfirmationState::Expired) => return None,
            Ok(decided) => return Some(decided),
            Err(fault) => tracing::debug!(%fault, "a confirmation cannot be looked at"),
        }
    }
    None
}

/// How long the person may take.
fn patience(asked: &Asked) -> Duration {
    let ends = asked.expires_at.parse::<Timestamp>().unwrap_or(Timestamp::UNIX_EPOCH);
    let left = ends.as_millisecond().saturating_sub(Timestamp::now().as_millisecond());
    Duration::from_millis(u64::try_from(left).unwrap_or_default()).min(LONGEST)
}
