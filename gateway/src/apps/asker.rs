//! Asks MCP servers for their tools. Where a credential has to be lent for that, it is a deed of the gateway
//! itself, with an intent before and an outcome after.

use std::sync::Arc;

use portcullis_kernel_adapter::catalogue::mcp::McpTool;
use portcullis_kernel_adapter::{
    App, Class, DiscoverError, Dispatcher, NoLender, NotLent, Outcome, call_digest,
};
use portcullis_policies::ToolName;
use tokio::time::Instant;
use uuid::Uuid;

use super::{DISCOVERY, Lists};
use crate::record::{self, Trail};
use crate::secrets::{UpstreamLender, Upstreams};

/// Who asks, and what for.
pub(super) struct Asker<'a> {
    pub(super) dispatcher: &'a Dispatcher,
    /// None in a process that has no ledger to write to.
    pub(super) upstreams: Option<Upstreams<'a>>,
    pub(super) lists: &'a Lists,
}

impl Asker<'_> {
    /// The tools that a server lists now.
    pub(super) async fn ask(&self, app: &Arc<App>) -> Result<Vec<McpTool>, DiscoverError> {
        let deadline = Instant::now() + DISCOVERY;
        let Some(upstreams) = self.upstreams else {
            return self.dispatcher.discover(app, deadline, &NoLender, None).await;
        };
        let mut trail = Trail::of_gateway(Uuid::now_v7(), &app.id);
        let lender = UpstreamLender::new(upstreams, &trail);
        let asked = self.dispatcher.discover(app, deadline, &lender, None).await;
        drop(lender);
        if asked != Err(DiscoverError::NeedsReceipt) {
            return asked;
        }
        let unrecorded = |fault: &dyn std::fmt::Display| {
            DiscoverError::NotLent(NotLent::Storage(fault.to_string()))
        };
        let listing = ToolName::new(app.id.clone(), "tools/list").map_err(|e| unrecorded(&e))?;
        let digest = call_digest(&listing, b"{}");
        let receipt = record::own_intent(upstreams.ledger, &mut trail, digest).await;
        let receipt = receipt.map_err(|fault| unrecorded(&fault))?;
        let lender = UpstreamLender::new(upstreams, &trail);
        let listed = self.dispatcher.discover(app, deadline, &lender, Some(&receipt)).await;
        let used = lender.into_used();
        used.into_iter().for_each(|used| trail.used(used));
        record::own_outcome(upstreams.ledger, &trail, &outcome(&listed));
        listed
    }
}

/// How a listing ended, as the ledger has it.
fn outcome(listed: &Result<Vec<McpTool>, DiscoverError>) -> Outcome {
    let class = match listed {
        Ok(_) => return Outcome::Done { value: bytes::Bytes::new() },
        Err(DiscoverError::NotLent(why)) => return Outcome::from(why.clone()),
        Err(DiscoverError::Timeout) => Class::Timeout,
        Err(DiscoverError::Protocol(_)) => Class::Protocol,
        Err(_) => Class::Unreachable,
    };
    let message = listed.as_ref().err().map(ToString::to_string).unwrap_or_default();
    Outcome::failed(class, message)
}
