//! A ledger, a rulebook and upstreams for one test each. No assertions here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use portcullis_audit::{CallFields, Intent, IntentReceipt, Ledger, LedgerOptions};
use portcullis_kernel_adapter::catalogue::overrides::Overrides;
use portcullis_kernel_adapter::catalogue::quarantine::{AcceptedTools, NewTools};
use portcullis_kernel_adapter::manifest::Manifest;
use portcullis_kernel_adapter::{
    App, CallerFacts, Catalogue, CatalogueBuilder, Cleared, Credential, HttpUpstream, ResolvedCall,
    Upstream,
};
use portcullis_policies::{
    Channel, Confirmation, Permit, Principal, PrincipalKind, Question, RequestFacts, RuleFile,
    RuleSources, Rulebook, Strength, TenantId, ToolName, Verdict,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;
use uuid::Uuid;

/// Rules that allow everything, a ledger in a folder of its own, and a catalogue.
pub struct House {
    pub catalogue: Catalogue,
    rulebook: Rulebook,
    ledger: Ledger,
    _folder: tempfile::TempDir,
}

impl House {
    pub fn new(catalogue: Catalogue) -> House {
        let folder = tempfile::tempdir().unwrap();
        let text = "@id(\"all\") @reason(\"a test\") permit (principal, action, resource);";
        let allow = RuleFile { path: "all.cedar".into(), text: text.into() };
        let sources = RuleSources { platform: vec![allow], tenants: vec![], invariants: vec![] };
        let rulebook = Rulebook::load(&sources, &catalogue.specs()).unwrap();
        let at = |name: &str| folder.path().join(name);
        let options = LedgerOptions::new(at("ledger.sqlite"), "test", at("key"));
        let (ledger, _) = Ledger::open(options).unwrap();
        House { catalogue, rulebook, ledger, _folder: folder }
    }

    /// A call that may take `patience`.
    pub fn call(&self, tool: &str, args: &Value, patience: Duration) -> ResolvedCall {
        self.call_bytes(tool, Bytes::from(args.to_string()), patience)
    }

    pub fn call_bytes(&self, tool: &str, args: Bytes, patience: Duration) -> ResolvedCall {
        let name: ToolName = tool.parse().unwrap();
        let tool = Arc::clone(self.catalogue.tool(&name).expect("a known tool"));
        let app = Arc::clone(self.catalogue.app(name.app()).unwrap());
        let caller = CallerFacts { subject: "imp_u_ann".into(), tenant: tenant() };
        ResolvedCall::new(Uuid::now_v7(), app, tool, args, caller, Instant::now() + patience)
    }

    pub fn permit(&self, call: &ResolvedCall) -> Permit {
        let principal = Principal {
            kind: PrincipalKind::User,
            id: "imp_u_ann".into(),
            tenant: tenant(),
            roles: vec![],
            scopes: vec!["*".into()],
            confirm_writes: false,
            confirm_tools: Vec::new(),
            unconfirmed_tools: Vec::new(),
            unattended: false,
            person: None,
            strength: Strength::default(),
            agency: None,
            disabled_apps: Vec::new(),
            extension: None,
        };
        let input: Value = serde_json::from_slice(call.args()).unwrap();
        let decision = self.rulebook.decide(&Question {
            op: call.op(),
            call_digest: *call.digest(),
            principal: &self.rulebook.prepare(&principal),
            tool: call.tool().name(),
            target_tenant: &tenant(),
            target_id: None,
            target_owner: None,
            input: &input,
            request: RequestFacts {
                time_ms: 0,
                source: IpAddr::V4(Ipv4Addr::LOCALHOST),
                channel: Channel::Http,
            },
            confirmation: Confirmation::none(),
        });
        match decision.verdict {
            Verdict::Permit(permit) => permit,
            other => panic!("{other:?} {:?}", decision.explanation),
        }
    }

    pub async fn receipt(&self, call: &ResolvedCall) -> IntentReceipt {
        let intent = Intent {
            tenant: tenant().to_string(),
            op: call.op(),
            call_digest: *call.digest(),
            fields: CallFields::default(),
            body: None,
        };
        self.ledger.intent(intent).await.unwrap()
    }

    pub async fn clear(&self, call: &ResolvedCall) -> Cleared {
        Cleared::join(self.permit(call), self.receipt(call).await).unwrap()
    }
}

pub fn tenant() -> TenantId {
    "default".parse().unwrap()
}

pub fn app(id: &str, upstream: Upstream) -> App {
    App {
        id: id.parse().unwrap(),
        name: id.into(),
        tenant: None,
        tenant_argument: None,
        owner_argument: None,
        secrets: Arc::default(),
        upstream,
    }
}

/// An HTTP upstream with a credential of its own.
pub fn at(address: SocketAddr) -> HttpUpstream {
    HttpUpstream {
        base: format!("http://{address}/base").parse().unwrap(),
        credentials: vec![Credential {
            header: http::header::AUTHORIZATION,
            prefix: "Bearer ".into(),
            value: "of-the-app".to_owned().into(),
        }],
    }
}

/// The app `notes` with a read `list`, a write `save` and a destructive `delete`.
pub fn notes(upstream: HttpUpstream) -> House {
    let tool = |name: &str, action: &str| {
        json!({"name": name, "description": name, "action_type": action,
               "params_schema": {"type": "object"}})
    };
    let manifest = json!({
        "manifest_schema_version": 3, "sdk_version": "6.3.7", "app_id": "notes",
        "version": "1.0.0",
        "tools": [tool("list", "read"), tool("save", "write"), tool("delete", "destructive")]
    });
    let manifest = Manifest::parse(manifest.to_string().as_bytes()).unwrap();
    let mut builder = CatalogueBuilder::new(AcceptedTools::default(), NewTools::Quarantine);
    builder.add_manifest_app(app("notes", Upstream::Http(upstream)), &manifest);
    House::new(built(builder))
}

pub fn built(builder: CatalogueBuilder) -> Catalogue {
    let built = builder.build(&Overrides::default());
    assert!(built.problems.is_empty(), "{:?}", built.problems);
    built.catalogue
}

/// Serves a router on a free port.
pub async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A server that reads one request head on each connection and answers with the next of the given
/// bytes, then closes. Counts the connections on which a request came.
pub async fn scripted(answers: Vec<&'static [u8]>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            if socket.read(&mut buffer).await.unwrap_or(0) == 0 {
                continue;
            }
            let n = count.fetch_add(1, Ordering::SeqCst);
            let _ = socket.write_all(answers.get(n).copied().unwrap_or_default()).await;
        }
    });
    (address, seen)
}

/// A port on which nobody listens.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
