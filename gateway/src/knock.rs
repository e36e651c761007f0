//! What a door hands to the pipeline: who seems to ask, from where, and for what.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use portcullis_policies::{Channel, RequestFacts};
use secrecy::SecretString;
use sync_wrapper::SyncWrapper;

use crate::directory::ApprovalVerdict;
use crate::edge::{CanonicalPath, ConnectionFacts};
use crate::forms::SignedForm;
use crate::manage::ManageWanted;
use crate::refusal::Refusal;

/// One request at a door, before anything about it is believed.
#[derive(Debug)]
pub struct Knock {
    /// The headers that may carry a credential or a hint; nothing else of the request.
    pub credentials: HeaderMap,
    /// The query of the request; a credential in it is refused.
    pub query: Option<String>,
    /// Who the client says it is; must equal what the credential says.
    pub hints: Hints,
    /// When, from where, by which door.
    pub request: RequestFacts,
    /// Whether the caller wants a signed promise of the record of this call.
    pub wants_promise: bool,
    /// Whether it was counted by user and tenant when its message came in.
    pub counted: bool,
    /// Whether it came in at a door for the code of an app in a call.
    pub in_call: bool,
    /// What is asked for.
    pub wanted: Wanted,
}

/// Client-written identity, never believed, only compared.
#[derive(Debug, Default, Clone)]
pub struct Hints {
    /// A user id.
    pub user: Option<String>,
    /// A tenant id; the literal `default` says nothing (wire-contract.md 5.1).
    pub tenant: Option<String>,
}

/// What is asked for.
#[derive(Debug)]
pub enum Wanted {
    /// A function of an app with JSON arguments, as the bytes that were sent.
    Function {
        /// The app's id as asked.
        app: String,
        /// The function's name as asked.
        function: String,
        /// The exact argument bytes: JSON that the door found acceptable.
        params: Bytes,
    },
    /// A route of a proxied HTTP service.
    Route(Box<RouteWanted>),
    /// Something about a secret of an app.
    Secret(SecretWanted),
    /// Something about users, roles, tenants or one's own account.
    Manage(ManageWanted),
    /// Something that an app's code keeps.
    Cached(CachedWanted),
    /// The stored bytes of a pending confirmation.
    Confirmed {
        /// The confirmation's id.
        id: String,
    },
    /// To approve, or decline, a pending call of somebody else's.
    Approval(ApprovalWanted),
    /// To cancel a pending confirmation.
    Cancelled {
        /// The confirmation's id.
        id: String,
    },
    /// Something that the door could not make sense of; identified and recorded all the same.
    Malformed(Refusal),
    /// Nothing yet.
    Nothing,
}

/// An approver's answer as asked.
#[derive(Debug)]
pub struct ApprovalWanted {
    /// The confirmation's id.
    pub id: String,
    /// What they say.
    pub verdict: ApprovalVerdict,
    /// The hash of what they were shown.
    pub hash: String,
    /// The role as which they say it; chosen for them when they hold one that is asked for.
    pub role: Option<String>,
    /// Why.
    pub reason: String,
}

/// A request for a proxied service, its body not yet read.
#[derive(Debug)]
pub struct RouteWanted {
    /// The app's id as asked.
    pub app: String,
    /// The path behind `/proxy/{app}`, canonical.
    pub path: CanonicalPath,
    /// Method, headers and body as they came.
    pub request: SyncWrapper<http::Request<Body>>,
}

/// What an app's code asks for of what it keeps (wire-contract.md 5.8).
#[derive(Debug)]
pub struct CachedWanted {
    /// The app's id as asked.
    pub app: String,
    /// The user's id as asked.
    pub user: String,
    /// What to do.
    pub deed: CachedDeed,
}

/// What to do with something that is kept.
#[derive(Debug)]
pub enum CachedDeed {
    /// Give a value.
    Get(CachedName),
    /// Keep a value for a time.
    Set(CachedName, Bytes, Duration),
    /// Forget a value.
    Delete(CachedName),
    /// Give a section of the skeleton.
    Section(String),
}

/// The name of a cached value, as asked.
#[derive(Debug)]
pub struct CachedName {
    /// The kind of value.
    pub model: String,
    /// First 16 hexadecimal digits of the digest of its key.
    pub key: String,
}

impl CachedDeed {
    /// The function of the gateway's own app `cache`.
    #[must_use]
    pub fn function(&self) -> &'static str {
        match self {
            Self::Get(_) => "get",
            Self::Set(..) => "set",
            Self::Delete(_) => "delete",
            Self::Section(_) => "section",
        }
    }
}

/// What is asked for about an app's secrets (wire-contract.md section 2).
#[derive(Debug)]
pub struct SecretWanted {
    /// The app's id as asked.
    pub app: String,
    /// What to do.
    pub deed: SecretDeed,
    /// When, from where, by which door: a list asks the rules about each secret.
    pub request: RequestFacts,
    /// The form of the gateway's own page that it came in by; none at any other door.
    pub form: Option<SignedForm>,
}

/// What to do about secrets. `Debug` shows no value.
#[derive(Debug)]
pub enum SecretDeed {
    /// Lend the value.
    Get {
        /// Name of the secret as asked.
        name: String,
    },
    /// Store a value.
    Set {
        /// Name of the secret as asked.
        name: String,
        /// The value.
        value: SecretString,
    },
    /// Forget the value.
    Delete {
        /// Name of the secret as asked.
        name: String,
    },
    /// Tell whether there is a value.
    Meta {
        /// Name of the secret as asked.
        name: String,
    },
    /// Tell which secrets the app declares.
    List,
}

impl SecretDeed {
    /// The function of the gateway's own app `secrets`, which is also the last part of the Cedar action.
    #[must_use]
    pub fn function(&self) -> &'static str {
        match self {
            Self::Get { .. } => "get",
            Self::Set { .. } => "set",
            Self::Delete { .. } => "delete",
            Self::Meta { .. } => "meta",
            Self::List => "list",
        }
    }

    /// The secret that is named; none when all are asked for.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Get { name }
            | Self::Set { name, .. }
            | Self::Delete { name }
            | Self::Meta { name } => Some(name),
            Self::List => None,
        }
    }
}

impl Knock {
    /// A knock with the present time.
    #[must_use]
    pub fn new(parts: &Parts, from: &ConnectionFacts, channel: Channel, wanted: Wanted) -> Self {
        Self {
            credentials: credentials(&parts.headers),
            query: parts.uri.query().map(str::to_owned),
            hints: Hints::default(),
            request: RequestFacts { time_ms: now_ms(), source: from.client, channel },
            wants_promise: parts.headers.contains_key(crate::answer::PROMISE),
            counted: false,
            in_call: false,
            wanted,
        }
    }
}

impl Hints {
    /// Fills in what `more` says.
    pub fn merge(&mut self, more: Self) {
        self.user = self.user.take().or(more.user);
        self.tenant = self.tenant.take().or(more.tenant);
    }
}

/// Headers that identification reads.
const CREDENTIALS: [&str; 7] = [
    "authorization",
    "x-api-key",
    "x-service-token",
    "x-acting-user",
    "x-tenant-id",
    "x-ext-id",
    "x-extension-id",
];

fn credentials(headers: &HeaderMap) -> HeaderMap {
    let mut picked = HeaderMap::with_capacity(2);
    for name in CREDENTIALS {
        for value in headers.get_all(name) {
            picked.append(name, value.clone());
        }
    }
    picked
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
