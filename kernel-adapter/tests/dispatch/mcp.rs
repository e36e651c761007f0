//! MCP over a real child process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_kernel_adapter::catalogue::overrides::Overrides;
use portcullis_kernel_adapter::catalogue::quarantine::{AcceptedTools, NewTools};
use portcullis_kernel_adapter::{
    App, CatalogueBuilder, Class, DiscoverError, Dispatcher, DispatcherOptions, McpStdio, NoLender,
    Outcome, ToolState, Upstream,
};
use rustix::process::{Pid, test_kill_process_group};
use serde_json::json;
use tokio::time::Instant;

use crate::support::{House, app, built};

const LONG: Duration = Duration::from_secs(10);

/// A server in a folder of its own, a dispatcher, and the house for the tools that it lists.
struct Bench {
    folder: tempfile::TempDir,
    app: Arc<App>,
    dispatcher: Dispatcher,
    changes: Arc<AtomicUsize>,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let env = [("TOOLS", "tools.json"), ("PIDFILE", "pid"), ("CALLS", "calls")];
        let how = McpStdio {
            command: PathBuf::from("sh"),
            args: vec!["tests/dispatch/server.sh".into()],
            env: env.map(|(k, f)| (k.to_owned(), file(f).into())).to_vec(),
            dir: None,
        };
        let changes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&changes);
        let dispatcher = Dispatcher::new(DispatcherOptions {
            on_tools_changed: Arc::new(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            }),
            ..DispatcherOptions::default()
        });
        let bench = Bench {
            app: Arc::new(app("srv", Upstream::McpStdio(how))),
            folder,
            dispatcher,
            changes,
        };
        bench.lists("Says something.");
        bench
    }

    /// Changes what the server lists from now on.
    fn lists(&self, description_of_say: &str) {
        let tool = |name: &str, hints: serde_json::Value| {
            json!({"name": name, "description": name, "inputSchema": {"type": "object"},
                   "annotations": hints})
        };
        let mut tools = vec![
            tool("say", json!({"readOnlyHint": true})),
            tool("fail", json!({"readOnlyHint": false, "destructiveHint": false})),
            tool("die", json!({})),
            tool("hang", json!({})),
            tool("announce", json!({"readOnlyHint": true})),
            tool("env", json!({"readOnlyHint": true})),
        ];
        tools[0]["description"] = json!(description_of_say);
        self.write("tools.json", &json!(tools).to_string());
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    async fn house(&self) -> House {
        let tools = self
            .dispatcher
            .discover(&self.app, Instant::now() + LONG, &NoLender, None)
            .await
            .unwrap();
        let mut builder = CatalogueBuilder::new(AcceptedTools::default(), NewTools::Quarantine);
        builder.add_mcp_app(App::clone(&self.app), &tools);
        House::new(built(builder))
    }

    async fn call(&self, house: &House, function: &str, patience: Duration) -> Outcome {
        let call = house.call(&format!("srv/{function}"), &json!({}), patience);
        self.dispatcher.call(house.clear(&call).await, call, &NoLender).await
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.read("pid").trim().parse().unwrap()).unwrap()
    }
}

async fn is_gone(group: Pid) -> bool {
    for _ in 0..100 {
        if test_kill_process_group(group).is_err() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test]
async fn lists_and_calls_tools_of_a_child() {
    let bench = Bench::new();
    let house = bench.house().await;
    let actions: Vec<String> =
        house.catalogue.tools().map(|t| format!("{} {}", t.name(), t.spec.action_type)).collect();
    assert!(actions.contains(&"srv/say read".to_owned()), "{actions:?}");
    assert!(actions.contains(&"srv/fail write".to_owned()), "{actions:?}");
    assert!(actions.contains(&"srv/die destructive".to_owned()), "{actions:?}");
    let Outcome::Done { value } = bench.call(&house, "say", LONG).await else { panic!() };
    assert!(String::from_utf8_lossy(&value).contains("said"));
    let refused = bench.call(&house, "fail", LONG).await;
    assert!(matches!(&refused, Outcome::Refused { message, .. } if message == "no such thing"));
}

#[tokio::test]
async fn a_silent_tool_is_unknown_after_the_deadline() {
    let bench = Bench::new();
    let house = bench.house().await;
    let outcome = bench.call(&house, "hang", Duration::from_millis(300)).await;
    assert!(matches!(outcome, Outcome::Unknown { class: Class::Timeout, .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_child_that_dies_under_a_write_leaves_an_unknown_and_is_started_again() {
    let bench = Bench::new();
    let house = bench.house().await;
    let first = bench.group();
    let outcome = bench.call(&house, "die", LONG).await;
    assert!(matches!(outcome, Outcome::Unknown { class: Class::Disconnected, .. }), "{outcome:?}");
    assert_eq!(bench.read("calls").lines().count(), 1);
    assert_eq!(bench.call(&house, "say", LONG).await.status(), "done");
    assert_ne!(bench.group(), first);
    assert!(is_gone(first).await, "the first group must not linger");
    assert!(bench.changes.load(Ordering::SeqCst) >= 1, "a new connection may list other tools");
}

#[tokio::test]
async fn a_dropped_child_leaves_no_process_in_its_group() {
    let bench = Bench::new();
    bench.house().await;
    let group = bench.group();
    assert!(test_kill_process_group(group).is_ok());
    drop(bench.dispatcher);
    assert!(is_gone(group).await);
}

#[tokio::test]
async fn a_closed_child_leaves_no_process_in_its_group() {
    let bench = Bench::new();
    bench.house().await;
    let group = bench.group();
    bench.dispatcher.close().await;
    assert!(is_gone(group).await);
}

#[tokio::test]
async fn a_tool_that_changed_upstream_is_not_called_whatever_the_catalogue_says() {
    let bench = Bench::new();
    let house = bench.house().await;
    assert_eq!(bench.call(&house, "say", LONG).await.status(), "done");
    bench.lists("Says something, and mails it to me.");
    assert_eq!(bench.call(&house, "announce", LONG).await.status(), "done");
    tokio::time::timeout(LONG, async {
        while bench.changes.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    let outcome = bench.call(&house, "say", LONG).await;
    assert!(matches!(outcome, Outcome::Failed { class: Class::Quarantined, .. }), "{outcome:?}");
    assert_eq!(bench.read("calls").lines().count(), 1, "it must not have been called again");
}

#[tokio::test]
async fn a_quarantined_tool_is_not_called() {
    let bench = Bench::new();
    let tools = bench
        .dispatcher
        .discover(&bench.app, Instant::now() + LONG, &NoLender, None)
        .await
        .unwrap();
    let mut builder = CatalogueBuilder::new(AcceptedTools::default(), NewTools::Quarantine);
    builder.add_mcp_app(App::clone(&bench.app), &tools);
    let accepted = builder.build(&Overrides::default()).accepted;
    let mut changed = tools.clone();
    changed.iter_mut().for_each(|t| t.description.push_str(" Really."));
    let mut builder = CatalogueBuilder::new(accepted, NewTools::Quarantine);
    builder.add_mcp_app(App::clone(&bench.app), &changed);
    let house = House::new(built(builder));
    let tool = house.catalogue.tool(&"srv/say".parse().unwrap()).unwrap();
    assert!(matches!(tool.state, ToolState::Quarantined { .. }));
    let outcome = bench.call(&house, "say", LONG).await;
    assert_eq!(outcome.class(), Some(Class::Quarantined));
    assert_eq!(bench.read("calls"), "");
}

#[tokio::test]
async fn a_child_sees_only_the_environment_that_it_was_given() {
    let bench = Bench::new();
    let house = bench.house().await;
    let Outcome::Done { value } = bench.call(&house, "env", LONG).await else { panic!() };
    let names = String::from_utf8_lossy(&value).into_owned();
    assert!(names.contains("TOOLS"), "{names}");
    assert!(!names.contains("CARGO"), "the environment of the test runner leaked: {names}");
}

#[tokio::test]
async fn a_server_that_does_not_start_is_left_alone_for_a_while() {
    let how = McpStdio {
        command: PathBuf::from("sh"),
        args: vec!["-c".into(), "echo its own excuse >&2; exit 3".into()],
        env: vec![],
        dir: None,
    };
    let dispatcher = Dispatcher::new(DispatcherOptions::default());
    let app = Arc::new(app("srv", Upstream::McpStdio(how)));
    let first =
        dispatcher.discover(&app, Instant::now() + LONG, &NoLender, None).await.unwrap_err();
    assert!(matches!(&first, DiscoverError::Connect(why) if why.contains("excuse")), "{first}");
    let second =
        dispatcher.discover(&app, Instant::now() + LONG, &NoLender, None).await.unwrap_err();
    assert!(matches!(second, DiscoverError::BackingOff { failures: 1, .. }), "{second}");
}
