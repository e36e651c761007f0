//! Credentials that are lent call by call.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::Request;
use portcullis_audit::IntentReceipt;
use portcullis_kernel_adapter::catalogue::quarantine::{AcceptedTools, NewTools};
use portcullis_kernel_adapter::{
    App, CatalogueBuilder, Class, Credential, CredentialValue, DiscoverError, Dispatcher,
    DispatcherOptions, HttpUpstream, Lender, Lent, LentVersion, McpStdio, NotLent, Upstream,
};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{House, app, at, built, notes, scripted, serve};

const LONG: Duration = Duration::from_secs(10);

/// Has one value for everybody, which can be set again and taken away, and writes down who asked.
#[derive(Default)]
struct OneValue {
    version: Mutex<u32>,
    asked: Mutex<Vec<(Uuid, String, String)>>,
}

impl OneValue {
    fn set(&self, version: u32) {
        *self.version.lock().unwrap() = version;
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

#[async_trait]
impl Lender for OneValue {
    async fn version(&self, _: &App, _: &str) -> Result<LentVersion, NotLent> {
        match *self.version.lock().unwrap() {
            0 => Err(NotLent::NotSet("set it".into())),
            version => Ok(LentVersion { id: [7; 16], version }),
        }
    }

    async fn lend(&self, receipt: &IntentReceipt, app: &App, name: &str) -> Result<Lent, NotLent> {
        let version = self.version(app, name).await?;
        let asked = (receipt.op(), app.id.to_string(), name.to_owned());
        self.asked.lock().unwrap().push(asked);
        Ok(Lent { value: format!("lent-{}", version.version).into(), version })
    }
}

fn lent(mut upstream: HttpUpstream) -> HttpUpstream {
    upstream.credentials = vec![Credential {
        header: http::header::AUTHORIZATION,
        prefix: "Bearer ".into(),
        value: CredentialValue::Lent("token".into()),
    }];
    upstream
}

/// An upstream that writes down the headers of each request.
async fn hearing() -> (HttpUpstream, Arc<Mutex<Vec<http::HeaderMap>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&heard);
    let router = Router::new().fallback(move |request: Request| async move {
        hear.lock().unwrap().push(request.headers().clone());
        "{}"
    });
    (at(serve(router).await), heard)
}

#[tokio::test]
async fn a_lent_credential_is_asked_for_with_the_receipt_of_the_call() {
    let (upstream, heard) = hearing().await;
    let (house, lender) = (notes(lent(upstream)), OneValue::default());
    let dispatcher = Dispatcher::new(DispatcherOptions::default());
    for version in [1, 2] {
        lender.set(version);
        let call = house.call("notes/save", &json!({}), LONG);
        let op = call.op();
        let outcome = dispatcher.call(house.clear(&call).await, call, &lender).await;
        assert_eq!(outcome.status(), "done", "{outcome:?}");
        let asked = lender.asked.lock().unwrap().last().cloned();
        assert_eq!(asked, Some((op, "notes".into(), "token".into())));
        let heard = heard.lock().unwrap();
        assert_eq!(heard.last().unwrap()["authorization"], format!("Bearer lent-{version}"));
    }
}

#[tokio::test]
async fn nothing_is_sent_when_the_credential_is_not_lent() {
    let (address, seen) = scripted(vec![]).await;
    let (house, lender) = (notes(lent(at(address))), OneValue::default());
    let call = house.call("notes/list", &json!({}), LONG);
    let dispatcher = Dispatcher::new(DispatcherOptions::default());
    let outcome = dispatcher.call(house.clear(&call).await, call, &lender).await;
    assert_eq!((outcome.status(), outcome.class()), ("failed", Some(Class::SecretNotSet)));
    assert_eq!(seen.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_clearance_for_another_call_borrows_nothing() {
    let (upstream, _) = hearing().await;
    let (house, lender) = (notes(lent(upstream)), OneValue::default());
    lender.set(1);
    let one = house.call("notes/save", &json!({}), LONG);
    let other = house.call("notes/delete", &json!({}), LONG);
    let dispatcher = Dispatcher::new(DispatcherOptions::default());
    let outcome = dispatcher.call(house.clear(&one).await, other, &lender).await;
    assert_eq!(outcome.class(), Some(Class::NotTheSameCall));
    assert_eq!(lender.asked(), 0);
}

#[tokio::test]
async fn a_worker_of_functions_is_handed_the_token_for_the_apps_code() {
    let (upstream, heard) = hearing().await;
    let house = notes(upstream);
    let call = house.call("notes/save", &json!({}), LONG).with_extension_token("tok".into());
    assert!(!format!("{call:?}").contains("tok\""));
    let dispatcher = Dispatcher::new(DispatcherOptions::default());
    dispatcher.call(house.clear(&call).await, call, &OneValue::default()).await;
    assert_eq!(heard.lock().unwrap()[0]["x-portcullis-extension-token"], "tok");
}

/// A child whose environment has a lent value.
fn child(folder: &std::path::Path) -> Arc<App> {
    let file = |name: &str| folder.join(name).display().to_string();
    let tools = json!([{ "name": "say", "inputSchema": { "type": "object" },
                         "annotations": { "readOnlyHint": true } }]);
    std::fs::write(file("tools.json"), tools.to_string()).unwrap();
    let env = [("TOOLS", "tools.json"), ("PIDFILE", "pid"), ("CALLS", "calls")];
    let mut env: Vec<(String, CredentialValue)> =
        env.map(|(k, f)| (k.to_owned(), file(f).into())).to_vec();
    env.push(("TOKEN".into(), CredentialValue::Lent("token".into())));
    let script = "tests/dispatch/server.sh";
    let how = McpStdio { command: PathBuf::from("sh"), args: vec![script.into()], env, dir: None };
    Arc::new(app("srv", Upstream::McpStdio(how)))
}

#[tokio::test]
async fn a_child_is_started_with_what_is_lent_and_anew_when_that_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (app, lender) = (child(folder.path()), OneValue::default());
    let dispatcher = Dispatcher::new(DispatcherOptions::default());
    let deadline = Instant::now() + LONG;
    let unset = dispatcher.discover(&app, deadline, &lender, None).await.unwrap_err();
    assert!(matches!(unset, DiscoverError::NotLent(NotLent::NotSet(_))), "{unset}");
    lender.set(1);
    let unrecorded = dispatcher.discover(&app, deadline, &lender, None).await.unwrap_err();
    assert_eq!(unrecorded, DiscoverError::NeedsReceipt);

    let (upstream, _) = hearing().await;
    let elsewhere = notes(upstream);
    let receipt = elsewhere.receipt(&elsewhere.call("notes/list", &json!({}), LONG)).await;
    let tools = dispatcher.discover(&app, deadline, &lender, Some(&receipt)).await.unwrap();
    assert!(dispatcher.discover(&app, deadline, &lender, None).await.is_ok(), "it is connected");
    let mut builder = CatalogueBuilder::new(AcceptedTools::default(), NewTools::Quarantine);
    builder.add_mcp_app(App::clone(&app), &tools);
    let house = House::new(built(builder));
    let say = async || {
        let call = house.call("srv/say", &json!({}), LONG);
        dispatcher.call(house.clear(&call).await, call, &lender).await
    };
    let pid = || std::fs::read_to_string(folder.path().join("pid")).unwrap();

    let first = pid();
    assert_eq!((say().await.status(), lender.asked(), pid()), ("done", 1, first.clone()));
    lender.set(2);
    assert_eq!((say().await.status(), lender.asked()), ("done", 2));
    assert_ne!(pid(), first, "the child has the value of before");
    lender.set(0);
    assert_eq!(say().await.class(), Some(Class::SecretNotSet));
    lender.set(3);
    assert_eq!((say().await.status(), lender.asked()), ("done", 3));
}
