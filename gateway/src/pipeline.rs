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
//! (`records::every_refusal_before_it_is_answered`).

use std::sync::Arc;

use portcullis_kernel_adapter::{Cleared, Outcome};
use portcullis_policies::{Confirmation, Verdict};
use uuid::Uuid;

use crate::answer::{Answer, Told};
use crate::gateway::Gateway;
use crate::identify::{self, Caller};
use crate::knock::{Knock, Wanted};
use crate::record::{self, Trail};
use crate::refusal::Refusal;
use crate::resolve::{self, ToolCall};
use crate::{confirm, dispatch};

/// Runs one call to its end and gives what the caller is told.
///
/// The caller may hang up at any time: what was begun is finished and recorded all the same.
pub async fn run(gateway: Arc<Gateway>, knock: Knock) -> Answer {
    let op = Uuid::now_v7();
    let steps = tokio::spawn(async move {
        let mut trail = Trail::begin(op, &knock);
        match steps(&gateway, knock, &mut trail).await {
            Ok(told) => trail.answer(told),
            Err(refusal) => record::refusal(&gateway, trail, refusal).await,
        }
    });
    steps.await.unwrap_or_else(|fault| {
        // A bug of ours: the intent, if there was one, is closed as unknown at the next start.
        tracing::error!(%op, %fault, "a call's task ended abnormally");
        Answer::refused(op, Refusal::Unavailable("task".into()))
    })
}

async fn steps(gateway: &Gateway, knock: Knock, trail: &mut Trail) -> Result<Told, Refusal> {
    let caller = identify::identify(gateway, &knock.credentials, &knock.hints).await?;
    trail.caller(gateway, &caller);

    let in_force = gateway.in_force()?;
    let (call, confirmation) = match knock.wanted {
        Wanted::Confirmed { id } => confirm::reopen(gateway, &in_force, &caller, id, trail).await?,
        wanted => (resolve::resolve(&in_force, &caller, wanted).await?, Confirmation::default()),
    };
    trail.call(&call);
    let _place = gateway.calls.enter(caller.tenant()).await?;

    let question = call.question(trail.op(), &caller, &in_force, knock.request, confirmation);
    let decision = in_force.rulebook.decide(&question.as_policies());
    trail.decision(&decision, || in_force.rulebook.capsule(&question.as_policies()));
    let permit = match decision.verdict {
        Verdict::Permit(permit) => permit,
        Verdict::AskFirst(ask) => {
            return confirm::ask(gateway, &caller, &call, ask, trail).await.map(Told::AskFirst);
        }
        Verdict::Refusal(refusal) => return Err(refusal.into()),
    };

    let receipt = record::intent(gateway, trail, &call).await?;
    let cleared = Cleared::join(permit, receipt).map_err(dispatch::not_the_same_call)?;
    let outcome = dispatch::dispatch(gateway, cleared, &caller, call).await;
    record::outcome(gateway, trail, outcome).await
}
