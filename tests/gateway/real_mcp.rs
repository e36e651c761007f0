//! In front of MCP servers and services that nobody of Portcullis wrote, the gateway ...

use harness::{Deployment, Value, json, text};

use crate::parts::{
    Running, everything, files_app, free_port, git, git_app, http_service, mcp, wait_until,
};

#[tokio::test]
async fn git_reads_and_writes_run_and_a_reset_runs_once_it_is_confirmed() {
    let builder = Deployment::builder();
    let app = git_app(builder.dir());
    let gate = builder.app(&app).start().await;
    let repository = gate.dir().join("repository");
    let path = repository.display().to_string();

    let read = gate.call("ada", "git", "git_log", json!({ "repo_path": path })).await;
    assert_eq!((read.status, read.body["status"].as_str()), (200, Some("success")), "{read:?}");
    assert!(read.text().contains("the first commit"), "{read:?}");

    let branch = json!({ "repo_path": path, "branch_name": "next" });
    let written = gate.call("ada", "git", "git_create_branch", branch).await;
    assert_eq!(written.status, 200, "{written:?}");
    assert!(git(&repository, &["branch"]).contains("next"));

    std::fs::write(repository.join("notes.txt"), "eggs\n").unwrap();
    git(&repository, &["add", "notes.txt"]);
    let asked = gate.call("ada", "git", "git_reset", json!({ "repo_path": path })).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    assert!(!git(&repository, &["diff", "--cached"]).is_empty(), "nothing ran yet");
    let done = gate.decide("ada", &asked.confirmation(), "confirm").await;
    assert_eq!(done.status, 200, "{done:?}");
    assert!(git(&repository, &["diff", "--cached"]).is_empty(), "the reset ran");
    assert_eq!(gate.decide("ada", &asked.confirmation(), "confirm").await.status, 409);
}

#[tokio::test]
async fn an_error_of_the_tool_itself_is_told_as_an_error() {
    let builder = Deployment::builder();
    let app = git_app(builder.dir());
    let gate = builder.app(&app).start().await;
    let path = gate.dir().join("repository").display().to_string();
    let nothing_staged = json!({ "repo_path": path, "message": "nothing" });
    let refused = gate.call("ada", "git", "git_commit", nothing_staged.clone()).await;
    assert_eq!(refused.body["status"], "error", "{refused:?}");
    let records = gate.settled(&refused.op(), 2).await;
    assert_eq!(text(&records[1], "/res/status"), "refused");

    let steps = json!([{ "call": "git__git_commit", "arguments": nothing_staged }]);
    let results = mcp(&gate, "ada", steps).await;
    assert_eq!(results[0]["result"]["isError"], true, "{results:?}");
}

#[tokio::test]
async fn files_are_read_and_made_over_mcp_and_overwritten_once_that_is_confirmed() {
    let builder = Deployment::builder();
    let app = files_app(builder.dir());
    let gate = builder.app(&app).start().await;
    let folder = gate.dir().join("files");
    let at = |name: &str| folder.join(name).display().to_string();
    let steps = json!([
        { "call": "files__read_text_file", "arguments": { "path": at("hello.txt") } },
        { "call": "files__create_directory", "arguments": { "path": at("new") } },
        { "call": "files__write_file", "arguments": { "path": at("hello.txt"), "content": "bye" } },
    ]);
    let results = mcp(&gate, "ada", steps).await;
    assert_eq!(results[0]["result"]["content"][0]["text"], "hello\n", "{results:?}");
    assert!(folder.join("new").is_dir(), "{results:?}");

    let asked = &results[2]["result"]["structuredContent"];
    assert_eq!(asked["status"], "confirmation_required", "{results:?}");
    assert_eq!(asked["arguments"], json!({ "path": at("hello.txt"), "content": "bye" }));
    let hello = || std::fs::read_to_string(folder.join("hello.txt")).unwrap();
    assert_eq!(hello(), "hello\n", "nothing ran yet");
    let id = asked["confirmation_id"].as_str().unwrap();
    assert_eq!(gate.decide("ada", id, "confirm").await.status, 200);
    assert_eq!(hello(), "bye");
}

#[tokio::test]
async fn a_server_over_streamable_http_is_called_through_both_doors_and_after_a_restart() {
    let (gate, server, port) = before_everything().await;
    let echo = gate.call("ada", "everything", "echo", json!({ "message": "ho" })).await;
    assert!(echo.text().contains("Echo: ho"), "{echo:?}");
    let steps = json!([
        { "call": "everything__get-sum", "arguments": { "a": 2, "b": 3 } },
        { "call": "everything__toggle-simulated-logging" },
    ]);
    let results = mcp(&gate, "ada", steps).await;
    assert!(results[0].to_string().contains("sum of 2 and 3 is 5"), "{results:?}");
    assert_eq!(results[1]["result"]["isError"], false, "a write runs: {results:?}");

    drop(server);
    let _server = everything(port);
    let echo = gate.call("ada", "everything", "echo", json!({ "message": "again" })).await;
    assert!(echo.text().contains("Echo: again"), "{echo:?}");
}

#[tokio::test]
async fn the_operators_word_about_a_tool_is_stronger_than_its_servers_and_on_record() {
    let (gate, _server, _) = before_everything().await;
    let asked = gate.call("ada", "everything", "toggle-subscriber-updates", json!({})).await;
    assert_eq!(asked.status, 202, "destructive by the operator's word: {asked:?}");
    let done = gate.decide("ada", &asked.confirmation(), "confirm").await;
    assert_eq!(done.status, 200, "{done:?}");
    let records = gate.records();
    let said = records.iter().find(|r| text(r, "/note/action") == "tool_overridden");
    let said = said.expect("a record of the override");
    assert_eq!(text(said, "/note/subject"), "everything/toggle-subscriber-updates");
    assert_eq!((text(said, "/note/from"), text(said, "/note/to")), ("write", "destructive"));
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_is_called_once_it_is_there() {
    let port = free_port();
    let app = format!("[apps.everything]\nmcp = {{ url = \"http://127.0.0.1:{port}/mcp\" }}");
    let gate = Deployment::builder().app(&app).start().await;
    let hello =
        || async { gate.call("ada", "everything", "echo", json!({ "message": "hi" })).await };
    assert_eq!(hello().await.code(), "UNKNOWN_SUB_FUNCTION");
    let _server = everything(port);
    for _ in 0..300 {
        if hello().await.text().contains("Echo: hi") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    panic!("the server was not noticed:\n{}", gate.log());
}

#[tokio::test]
async fn an_app_with_a_manifest_is_called_through_both_doors() {
    let (gate, _service) = before_the_service().await;
    let steps = json!([
        { "call": "notes__create_note", "arguments": { "title": "milk" } },
        { "call": "notes__list_notes", "arguments": {} },
    ]);
    let results = mcp(&gate, "ana", steps).await;
    assert_eq!(results[1]["result"]["structuredContent"]["data"], json!({ "notes": ["milk"] }));
    let asked = gate.call("ana", "notes", "delete_note", json!({ "note_id": "note-1" })).await;
    let done = gate.decide("ana", &asked.confirmation(), "confirm").await;
    assert_eq!(done.body["data"], json!({ "note_id": "note-1" }), "{done:?}");
    let left = gate.call("ana", "notes", "list_notes", json!({})).await;
    assert_eq!(left.body["data"], json!({ "notes": [] }));
}

#[tokio::test]
async fn a_proxied_service_takes_requests_by_their_routes_and_no_calls() {
    let (gate, _service) = before_the_service().await;
    let read = gate.get_as("ana", "/proxy/bank/invoices?state=open").await;
    assert_eq!(read.body["path"], "/invoices?state=open", "{read:?}");
    assert_eq!(read.body["authorization"], Value::Null, "the caller's token stays here");
    let written = gate.post_as("ana", "/proxy/bank/invoices", &json!({ "sum": 7 })).await;
    assert_eq!(written.body["got"], "{\"sum\":7}", "{written:?}");
    let drop = gate.signed("ana", reqwest::Method::DELETE, "/proxy/bank/invoices/7").await;
    let asked = gate.send(drop).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let done = gate.decide("ana", &asked.confirmation(), "confirm").await;
    assert_eq!((done.status, &done.body["deleted"]), (200, &json!(true)), "{done:?}");

    let route = json!({ "path": {}, "query": {} });
    let called = gate.call("ana", "bank", "list_invoices", route.clone()).await;
    assert_eq!(called.code(), "UNKNOWN_SUB_FUNCTION", "{called:?}");
    let steps = json!([{ "list": true }, { "call": "bank__list_invoices", "arguments": route }]);
    let results = mcp(&gate, "ana", steps).await;
    assert!(!results[0].to_string().contains("bank__"), "{results:?}");
    assert_eq!(results[1]["error"]["code"], -32602, "{results:?}");
}

#[tokio::test]
async fn a_route_that_is_said_to_do_less_than_its_method_is_on_record() {
    let routes = r#"routes = [
  { name = "find", method = "POST", path = "/find", action = "read" },
  { name = "add", method = "POST", path = "/add", action = "write" },
]"#;
    let shop = format!("[apps.shop.proxy]\nurl = \"http://127.0.0.1:{}\"\n{routes}", free_port());
    let gate = Deployment::builder().app(&shop).start().await;
    let records = gate.records();
    let is_override = |r: &&Value| text(r, "/note/action") == "tool_overridden";
    let said: Vec<&Value> = records.iter().filter(is_override).collect();
    assert_eq!(said.len(), 1, "a write by method and by word is no override: {said:?}");
    assert_eq!(text(said[0], "/note/subject"), "shop/find");
    assert_eq!((text(said[0], "/note/from"), text(said[0], "/note/to")), ("write", "read"));
}

#[tokio::test]
async fn a_killed_stdio_server_is_started_anew_and_its_group_ends_with_the_gateway() {
    let builder = Deployment::builder();
    let app = git_app(builder.dir());
    let mut gate = builder.app(&app).start().await;
    let first = only_child(gate.process_id());
    let killed = rustix::process::Pid::from_raw(first).unwrap();
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
    wait_until("the child is gone", || {
        children(gate.process_id()).iter().all(|child| child.state == 'Z' || child.id != first)
    });
    let path = gate.dir().join("repository").display().to_string();
    let branch = json!({ "repo_path": path, "branch_name": "after" });
    let written = gate.call("ada", "git", "git_create_branch", branch).await;
    assert_eq!((written.status, written.body["status"].as_str()), (200, Some("success")));

    let second = only_child(gate.process_id());
    assert_ne!(second, first);
    assert!(gate.stop().success());
    assert!(group(first).is_empty() && group(second).is_empty(), "a process was left");
}

#[tokio::test]
async fn arguments_that_rules_cannot_see_are_named_and_do_not_stop_anything() {
    let builder = Deployment::builder();
    let app = files_app(builder.dir());
    let gate = builder.app(&app).start().await;
    assert!(gate.log().contains("rules cannot see some arguments"), "{}", gate.log());
    assert!(gate.log().contains("files/"), "{}", gate.log());
}

async fn before_everything() -> (Deployment, Running, u16) {
    let port = free_port();
    let server = everything(port);
    let app = format!(
        "[apps.everything]\nmcp = {{ url = \"http://127.0.0.1:{port}/mcp\" }}\n\
         [apps.everything.tools.toggle-subscriber-updates]\naction = \"destructive\""
    );
    (Deployment::builder().app(&app).start().await, server, port)
}

async fn before_the_service() -> (Deployment, Running) {
    let (service, port) = http_service();
    let url = format!("http://127.0.0.1:{port}");
    let gate = Deployment::builder()
        .file("notes.json", harness::MANIFEST)
        .app(&format!("[apps.notes]\nmanifest = \"notes.json\"\nurl = \"{url}\""))
        .app(&format!("[apps.bank]\n[apps.bank.proxy]\nurl = \"{url}\"\n{}", harness::BANK))
        .start()
        .await;
    (gate, service)
}

/// A process as `/proc` shows it.
#[derive(Debug)]
struct Process {
    id: i32,
    parent: i32,
    group: i32,
    state: char,
}

fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = entries.filter_map(|e| std::fs::read_to_string(e.path().join("stat")).ok());
    stats.filter_map(|stat| parse_stat(&stat)).collect()
}

/// `pid (name) state ppid pgrp ...` (proc_pid_stat(5)).
fn parse_stat(stat: &str) -> Option<Process> {
    let (head, tail) = stat.rsplit_once(')')?;
    let mut fields = tail.split_whitespace();
    Some(Process {
        id: head.split_whitespace().next()?.parse().ok()?,
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}

fn children(parent: u32) -> Vec<Process> {
    let parent = i32::try_from(parent).unwrap();
    processes().into_iter().filter(|p| p.parent == parent).collect()
}

fn only_child(parent: u32) -> i32 {
    let alive: Vec<i32> =
        children(parent).iter().filter(|p| p.state != 'Z').map(|p| p.id).collect();
    assert_eq!(alive.len(), 1, "{alive:?}");
    alive[0]
}

fn group(id: i32) -> Vec<Process> {
    processes().into_iter().filter(|p| p.group == id).collect()
}
