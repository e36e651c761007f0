//! The seven steps of one call, in order, in one place.
//!
//! ```text
//! identify -> resolve -> decide -> (confirm) -> record intent -> dispatch -> record outcome
//! ```
//!
//! Each arrow is a value that only the step before it can make and that the next step consumes, so
//! that a dispatch which was not decided and written down does not compile. There are no HTTP types
//! here beyond the request that a proxied call carries along; the doors shape answers.
//!
//! INVARIANT: the steps outlive the connection (`survives::a_client_that_hangs_up`): they run in a
//! task of their own, and the door only waits for it.
//! INVARIANT: a refusal is in the ledger before its answer is released
//! (`records::every_refusal_before_it_is_answered`); of callers whom nobody knows at most 100 a second,
//! and over a limit at most 10 a second of a tenant: the rest are counted in the next record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_audit::crash_point;
use portcullis_kernel_adapter::Cleared;
use portcullis_policies::{Confirmation, Verdict};
use uuid::Uuid;

use crate::answer::{Answer, Told};
use crate::config::Rule;
use crate::gateway::Gateway;
use crate::identify::Caller;
use crate::knock::{Knock, Wanted};
use crate::record::{self, Trail};
use crate::refusal::Refusal;
use crate::{confirm, dispatch, resolve};

/// A wait that is too short for anybody's rights to have changed unnoticed.
const MOMENT: Duration = Duration::from_millis(50);

/// Runs one call to its end and gives what the caller is told.
///
/// The caller may hang up at any time: what was begun is finished and recorded all the same.
pub async fn run(gateway: Arc<Gateway>, knock: Knock) -> Answer {
    let op = Uuid::now_v7();
    let tasks = gateway.tasks.clone();
    // Boxed at once: a task is handed on by value several times before it runs, and this one is large.
    let steps = tasks.spawn(Box::pin(async move {
        let mut trail = Trail::begin(op, &knock);
        let mut told = steps(&gateway, knock, &mut trail).await;
        trail.ended(&gateway.turns, &mut told);
        let end = confirm::end_of(&trail, &told);
        confirm::settle(&gateway, &trail, end).await;
        match told {
            Ok(told) => trail.answer(&gateway.ledger, told),
            Err(refusal) => record::refusal(&gateway, trail, refusal).await,
        }
    }));
    steps.await.unwrap_or_else(|fault| {
        // A bug of ours: the intent, if there was one, is closed as unknown at the next start.
        tracing::error!(%op, %fault, "a call's task ended abnormally");
        Answer::refused(op, Refusal::Unavailable("task".into()))
    })
}

/// Somebody who only looks: identified, and on record when that is refused.
pub struct Visit {
    /// Who looks.
    pub caller: Caller,
    trail: Trail,
}

impl Visit {
    /// Identifies for a door that only shows something.
    ///
    /// # Errors
    /// Why nothing is shown; recorded like any other refusal.
    pub async fn begin(gateway: &Gateway, knock: &Knock) -> Result<Self, Refusal> {
        let mut trail = Trail::begin(Uuid::now_v7(), knock);
        match identified(gateway, knock, &mut trail).await {
            Ok(caller) => Ok(Self { caller, trail }),
            Err(refusal) => Err(record::refusal(gateway, trail, refusal).await.into_refusal()),
        }
    }

    /// Counts what has a limit of its own for each user; a refusal is recorded.
    ///
    /// # Errors
    /// That it was one too many.
    pub async fn within(self, gateway: &Gateway, rule: Rule) -> Result<Self, Refusal> {
        match gateway.limits.user(rule, &self.caller).await {
            Ok(()) => Ok(self),
            Err(refusal) => self.end(gateway, Err(refusal)).await,
        }
    }

    /// Somebody whom a spent credential has proved already.
    #[must_use]
    pub fn of(gateway: &Gateway, knock: &Knock, caller: Box<Caller>) -> Self {
        let mut trail = Trail::begin(Uuid::now_v7(), knock);
        trail.caller(gateway, &caller);
        Self { caller: *caller, trail }
    }

    /// Records a refusal of somebody whom nothing has proved.
    pub async fn refused(gateway: &Gateway, knock: &Knock, refusal: Refusal) -> Refusal {
        let trail = Trail::begin(Uuid::now_v7(), knock);
        record::refusal(gateway, trail, refusal).await.into_refusal()
    }

    /// Records that the one who looked has signed out.
    ///
    /// # Errors
    /// That it could not be recorded.
    pub async fn signed_out(self, gateway: &Gateway) -> Result<(), Refusal> {
        record::signed_out(gateway, &self.trail).await
    }

    /// Gives what was found, or records why it was not shown.
    ///
    /// # Errors
    /// The refusal that was found, or that it could not be recorded.
    pub async fn end<T>(self, gateway: &Gateway, found: Result<T, Refusal>) -> Result<T, Refusal> {
        match found {
            Ok(found) => Ok(found),
            Err(refusal) => Err(record::refusal(gateway, self.trail, refusal).await.into_refusal()),
        }
    }
}

/// Who asks, and that it is not one too many of that user or tenant.
async fn identified(
    gateway: &Gateway,
    knock: &Knock,
    trail: &mut Trail,
) -> Result<Caller, Refusal> {
    let caller = gateway.identify(knock).await?;
    trail.caller(gateway, &caller);
    if !knock.counted {
        gateway.limits.caller(&caller).await?;
    }
    Ok(caller)
}

async fn steps(gateway: &Gateway, knock: Knock, trail: &mut Trail) -> Result<Told, Refusal> {
    let mut caller = identified(gateway, &knock, trail).await?;
    let arrived = Instant::now();
    let place = gateway.calls.enter(caller.tenant().as_str()).await?;
    if arrived.elapsed() > MOMENT {
        caller = gateway.identify_again(&knock, &caller).await?;
    }

    let in_force = gateway.in_force()?;
    let (mut call, confirmation) = match knock.wanted {
        Wanted::Cancelled { id } => return confirm::cancel(gateway, &caller, &id, trail).await,
        Wanted::Confirmed { id } => {
            confirm::reopen(gateway, &in_force, &caller, (&id, knock.request), trail).await?
        }
        Wanted::Approval(wanted) => {
            let asked = (wanted, knock.request);
            let call = confirm::answer(gateway, &in_force, &caller, asked, trail).await?;
            // Whoever shows the hash has looked: that is a confirmation of one's own word.
            (call, Confirmation::own())
        }
        Wanted::Manage(wanted) => {
            // Unlike an app's argument, a tenant that is named here says no more than who asks.
            if let Some(tenant) = knock.hints.tenant.as_deref().filter(|t| *t != "default") {
                caller.agrees_on_tenant("tenant_id", tenant)?;
            }
            (resolve::managed(gateway, &caller, wanted).await?, Confirmation::default())
        }
        wanted => resolve::resolve(gateway, &in_force, &caller, &knock.hints, wanted)?,
    };
    trail.call(&call);
    if let Some(secret) = call.own_secret() {
        trail.secret(secret);
    }

    let principal = in_force.prepare(&caller);
    let question = call.question(trail.op(), &principal, knock.request, &confirmation);
    let (decision, capsule) = in_force.rulebook.decide_recorded(&question);
    trail.decision(&decision, capsule);
    // Who may not call a tool uses up nobody's share of it.
    if !matches!(decision.verdict, Verdict::Refusal(_)) {
        gateway.limits.call(&caller, &call).await?;
    }
    let permit = match decision.verdict {
        Verdict::Permit(permit) => permit,
        // A value that is typed is not kept for later: it is confirmed where it is typed.
        Verdict::AskFirst(_) if !call.can_wait() => return Err(call.cannot_wait()),
        Verdict::AskFirst(ask) => {
            return confirm::ask(gateway, &caller, &mut call, ask, trail).await;
        }
        Verdict::Refusal(refusal) => return Err(refusal.into()),
    };

    crash_point!("before_intent");
    let receipt = record::intent(gateway, trail, &call).await?;
    let cleared = Cleared::join(permit, receipt).map_err(dispatch::not_the_same_call)?;
    crash_point!("after_intent_before_dispatch");
    let dispatched = dispatch::dispatch(gateway, cleared, &caller, trail, call).await;
    crash_point!("after_dispatch_before_outcome");
    let told = record::outcome(gateway, trail, place, dispatched).await;
    crash_point!("after_outcome_before_reply");
    Ok(told)
}
