//! One call, resolved: which tool, which bytes, for whom, until when.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use portcullis_policies::{TenantId, ToolName};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use crate::app::App;
use crate::tool::Tool;

/// Longest that a call may take, whatever its deadline says.
pub const MAX_CALL: Duration = Duration::from_secs(180);

/// SHA-256 over `"portcullis/call/v1\n"`, the tool name, a zero byte and the argument bytes.
///
/// Injective: a tool name holds no zero byte. Permit and receipt carry this digest, so both are
/// good for exactly these bytes to exactly this tool.
pub fn call_digest(tool: &ToolName, args: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"portcullis/call/v1\n");
    hash.update(tool.to_string().as_bytes());
    hash.update([0]);
    hash.update(args);
    hash.finalize().into()
}

/// Who the worker is told is asking. It learns nothing else about the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerFacts {
    /// Id of the user or service.
    pub subject: String,
    /// Tenant of the target.
    pub tenant: TenantId,
}

/// A call that is ready to be dispatched once it is cleared. Its parts cannot change after its
/// digest was taken.
#[derive(Debug)]
pub struct ResolvedCall {
    op: Uuid,
    app: Arc<App>,
    tool: Arc<Tool>,
    args: Bytes,
    digest: [u8; 32],
    caller: CallerFacts,
    deadline: Instant,
    extension_token: Option<SecretString>,
    call_token: Option<SecretString>,
}

impl ResolvedCall {
    /// Puts a call together; `app` and `tool` come from the same catalogue snapshot. `args` are
    /// the exact argument bytes, JSON. A deadline beyond [`MAX_CALL`] from now is cut.
    pub fn new(
        op: Uuid,
        app: Arc<App>,
        tool: Arc<Tool>,
        args: Bytes,
        caller: CallerFacts,
        deadline: Instant,
    ) -> ResolvedCall {
        let digest = call_digest(tool.name(), &args);
        let deadline = deadline.min(Instant::now() + MAX_CALL);
        let (extension_token, call_token) = (None, None);
        ResolvedCall { op, app, tool, args, digest, caller, deadline, extension_token, call_token }
    }

    /// Hands the worker a token by which the app's own code acts for this caller. It is told to workers
    /// of function calls only.
    #[must_use]
    pub fn with_extension_token(mut self, token: SecretString) -> ResolvedCall {
        self.extension_token = Some(token);
        self
    }

    /// Hands the worker a token for one request of the called code to what it keeps. It is told to workers
    /// of function calls only.
    #[must_use]
    pub fn with_call_token(mut self, token: SecretString) -> ResolvedCall {
        self.call_token = Some(token);
        self
    }

    /// The token for one request, where there is one.
    pub(crate) fn call_token(&self) -> Option<&SecretString> {
        self.call_token.as_ref()
    }

    /// The token for the app's own code, where there is one.
    pub(crate) fn extension_token(&self) -> Option<&SecretString> {
        self.extension_token.as_ref()
    }

    /// Operation id.
    pub fn op(&self) -> Uuid {
        self.op
    }

    /// The tool.
    pub fn tool(&self) -> &Arc<Tool> {
        &self.tool
    }

    /// Its app.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The exact argument bytes.
    pub fn args(&self) -> &Bytes {
        &self.args
    }

    /// [`call_digest`] of tool and arguments.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// What the worker learns of the caller.
    pub fn caller(&self) -> &CallerFacts {
        &self.caller
    }

    /// When the dispatcher gives up.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}
