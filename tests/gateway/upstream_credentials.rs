//! The upstream credentials of the vault are ...

use std::path::Path;

use harness::{Answer, Builder, Deployment, Upstream, Value, json, text};
use reqwest::Method;

use crate::parts::{part, wait_until};

const NOTES: &str = "planted-credential-of-notes";
const BANK: &str = "planted-credential-of-bank";
const AGAIN: &str = "planted-credential-set-again";
const TOKEN: &str = "x-portcullis-extension-token";

/// Stores a value as an operator does.
fn set(gate: &Deployment, app: &str, name: &str, value: &str) {
    let args = ["secret", "set", app, name, "--upstream", "--stdin"];
    let output = gate.portcullis_with_input(&args, value);
    assert!(output.status.success(), "{output:?}");
}

/// `notes` behind functions and `bank` behind the proxy, each with a credential of its own.
fn builder(upstream: &Upstream) -> Builder {
    let url = upstream.url();
    Deployment::builder()
        .file("notes.json", harness::MANIFEST)
        .app(&format!(
            "[apps.notes]\nmanifest = \"notes.json\"\nurl = \"{url}/notes\"\n\
             credential = {{ header = \"x-api-key\", value = {{ vault = \"notes_key\" }} }}"
        ))
        .app(&format!(
            "[apps.bank]\ncredential = {{ prefix = \"Bearer \", value = {{ vault = \"bank_token\" }} }}\n\
             [apps.bank.proxy]\nurl = \"{url}\"\n{}",
            harness::BANK
        ))
}

async fn start() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    let gate = builder(&upstream).env("RUST_LOG", "trace").start().await;
    set(&gate, "notes", "notes_key", NOTES);
    set(&gate, "bank", "bank_token", BANK);
    (gate, upstream)
}

async fn list_notes(gate: &Deployment) -> Answer {
    gate.call("ana", "notes", "list_notes", json!({})).await
}

fn uses(records: &[Value]) -> Vec<&Value> {
    records.iter().filter(|record| text(record, "/kind") == "secret_use").collect()
}

#[tokio::test]
async fn shown_to_their_own_upstream_and_to_no_other() {
    let (gate, upstream) = start().await;
    assert_eq!(list_notes(&gate).await.status, 200);
    let request = gate.signed("ana", Method::GET, "/proxy/bank/invoices").await;
    let request = request.header("x-portcullis-extension-token", "forged");
    assert_eq!(gate.send(request).await.status, 200);
    let seen = upstream.seen();
    assert_eq!((seen[0].header("x-api-key"), seen[0].header("authorization")), (NOTES, ""));
    let bearer = format!("Bearer {BANK}");
    assert_eq!((seen[1].header("authorization"), seen[1].header("x-api-key")), (&*bearer, ""));
    assert!(seen.iter().all(|seen| seen.header(TOKEN).is_empty()));
}

#[tokio::test]
async fn each_use_is_on_record_before_the_outcome() {
    let (gate, _upstream) = start().await;
    let answers = [list_notes(&gate).await, gate.get_as("ana", "/proxy/bank/invoices").await];
    for (answer, name) in answers.iter().zip(["notes_key", "bank_token"]) {
        let records = gate.settled(&answer.op(), 3).await;
        let kinds: Vec<&str> = records.iter().map(|record| text(record, "/kind")).collect();
        assert_eq!(kinds, ["intent", "secret_use", "outcome"], "{records:?}");
        let sec = &records[1]["sec"][0];
        assert_eq!((text(sec, "/name"), text(sec, "/purpose")), (name, "upstream"));
        assert_eq!((text(sec, "/version"), text(sec, "/id").len()), ("1", 32));
        assert_eq!(text(&records[1], "/ret"), "hold");
        assert_eq!(records[1]["ref"], records[0]["seq"]);
        assert!(!text(&records[1], "/who/subject").is_empty());
    }
    let verified = gate.verify();
    assert!(verified.whole, "{}", verified.said);
    wait_until("the use is shown beside the value", || {
        gate.must(&["secret", "list", "notes", "--upstream"]).contains("notes/list_notes")
    });
}

#[tokio::test]
async fn the_newest_ones_without_a_restart_and_none_once_they_are_deleted() {
    let (gate, upstream) = start().await;
    list_notes(&gate).await;
    set(&gate, "notes", "notes_key", AGAIN);
    let second = list_notes(&gate).await;
    assert_eq!(upstream.seen()[1].header("x-api-key"), AGAIN);
    let records = gate.settled(&second.op(), 3).await;
    assert_eq!(text(&records[1]["sec"][0], "/version"), "2");

    gate.must(&["secret", "delete", "notes", "notes_key", "--upstream"]);
    let refused = list_notes(&gate).await;
    assert_eq!((refused.status, refused.code()), (502, "BACKEND_UNREACHABLE"), "{refused:?}");
    for word in ["notes_key", "secret", "vault", "credential"] {
        assert!(!refused.text().contains(word), "{refused:?}");
    }
    assert_eq!(upstream.seen().len(), 2);
    let records = gate.settled(&refused.op(), 2).await;
    assert!(uses(&records).is_empty(), "{records:?}");
    assert_eq!(text(&records[1], "/res/error"), "secret_not_set");
    assert!(gate.log().contains("portcullis secret set notes notes_key --upstream"));
}

#[tokio::test]
async fn used_by_no_call_that_is_refused_or_still_has_to_be_confirmed() {
    let (gate, upstream) = start().await;
    let request = gate.signed("ben", Method::POST, "/proxy/bank/invoices").await;
    assert_eq!(gate.send(request.body("x")).await.status, 403);
    assert_eq!(gate.call("ana", "notes", "nothing", json!({})).await.status, 200);
    let request = gate.signed("ana", Method::DELETE, "/proxy/bank/invoices/7").await;
    let asked = gate.send(request).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    assert!(uses(&gate.records()).is_empty());
    assert_eq!(gate.decide("ana", &asked.confirmation(), "confirm").await.status, 200);
    assert_eq!(uses(&gate.records()).len(), 1);
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn in_no_answer_log_ledger_or_file() {
    let (gate, upstream) = start().await;
    let mut answers = vec![list_notes(&gate).await];
    answers.push(gate.get_as("ana", "/proxy/bank/invoices").await);
    upstream.answers("/notes/list_notes", 500, "broken");
    answers.push(list_notes(&gate).await);
    set(&gate, "notes", "notes_key", "planted-credential\nwith-a-line-break");
    answers.push(list_notes(&gate).await);
    assert_eq!(answers[3].status, 502, "{:?}", answers[3]);
    let log = gate.log();
    assert!(log.len() > 10_000, "the log is not at its loudest");
    let ledger: String = gate.records().iter().map(ToString::to_string).collect();
    let files = files(&gate.data());
    assert!(files.iter().any(|(name, _)| name.ends_with("directory.sqlite-wal")));
    for value in [NOTES, BANK, "with-a-line-break"] {
        assert!(!ledger.contains(value));
        assert!(!log.contains(value), "{:?}", log.lines().find(|line| line.contains(value)));
        for answer in &answers {
            assert!(!format!("{answer:?}").contains(value) && !answer.text().contains(value));
        }
        for (name, bytes) in &files {
            let held = bytes.windows(value.len()).any(|window| window == value.as_bytes());
            assert!(!held, "{value} in {name}");
        }
    }
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

/// An MCP server of PyPI `mcp`: over stdio it tells the digest of its token; over HTTP it writes down
/// the key of every request, and answers none without.
const SERVER: &str = r#"
import hashlib, os, sys
from mcp.server.fastmcp import FastMCP
from mcp.types import ToolAnnotations

server = FastMCP("keyed", port=int(sys.argv[1]))

@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def digest() -> str:
    return hashlib.sha256(os.environ.get("TOKEN", "").encode()).hexdigest()

if sys.argv[1] == "0":
    server.run()
else:
    import uvicorn
    inner = server.streamable_http_app()
    async def app(scope, receive, send):
        if scope["type"] == "http":
            key = dict(scope["headers"]).get(b"x-api-key", b"").decode()
            with open(sys.argv[2], "a") as seen:
                seen.write(scope["method"] + " " + key + "\n")
            if not key:
                await send({"type": "http.response.start", "status": 401, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
        await inner(scope, receive, send)
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
"#;

async fn call_digest(gate: &Deployment) -> String {
    gate.call("ada", "keyed", "digest", json!({})).await.text()
}

async fn until_digest(gate: &Deployment, wanted: &str) {
    for _ in 0..120 {
        if call_digest(gate).await.contains(wanted) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    panic!("the server was not reached: {}\n{}", call_digest(gate).await, gate.log());
}

fn sha256(value: &str) -> String {
    use sha2::{Digest as _, Sha256};
    hex::encode(Sha256::digest(value))
}

/// The gateway's own listing of the tools, as the deployment's log has it.
fn own_listing(records: &[Value]) -> Vec<&Value> {
    let own = |record: &&Value| {
        text(record, "/tool/name") == "tools/list" && text(record, "/who/subject") == "gateway"
    };
    records.iter().filter(own).collect()
}

#[tokio::test]
async fn in_the_environment_of_a_child_that_is_started_anew_when_they_change() {
    let builder = Deployment::builder().file("server.py", SERVER);
    let script = builder.dir().join("server.py").display().to_string();
    let command = json!([part("venv/bin/python"), script, "0"]);
    let app = format!(
        "[apps.keyed]\nmcp = {{ command = {command}, env = {{ TOKEN = {{ vault = \"token\" }} }} }}"
    );
    let gate = builder.app(&app).start().await;
    assert!(own_listing(&gate.records()).is_empty(), "what has no value is not tried");
    set(&gate, "keyed", "token", NOTES);
    until_digest(&gate, &sha256(NOTES)).await;
    let records = gate.records();
    let own = own_listing(&records);
    let kinds: Vec<&str> = own.iter().map(|record| text(record, "/kind")).collect();
    assert_eq!(kinds.first_chunk(), Some(&["intent", "secret_use", "outcome"]), "{own:?}");
    assert_eq!(text(own[1], "/sec/0/name"), "token");

    set(&gate, "keyed", "token", AGAIN);
    let answer = gate.call("ada", "keyed", "digest", json!({})).await;
    assert!(answer.text().contains(&sha256(AGAIN)), "{answer:?}");
    let records = gate.settled(&answer.op(), 3).await;
    assert_eq!(text(uses(&records)[0], "/sec/0/version"), "2");
    gate.must(&["secret", "delete", "keyed", "token", "--upstream"]);
    let refused = gate.call("ada", "keyed", "digest", json!({})).await;
    assert_eq!((refused.status, refused.code()), (502, "BACKEND_UNREACHABLE"), "{refused:?}");
    assert!(!gate.log().contains(NOTES) && !gate.log().contains(AGAIN));
    let verified = gate.verify();
    assert!(verified.whole, "{}", verified.said);
}

#[tokio::test]
async fn in_every_request_to_an_mcp_server_over_http() {
    let port = crate::parts::free_port();
    let builder = Deployment::builder().file("server.py", SERVER).env("RUST_LOG", "trace");
    let at = |name: &str| builder.dir().join(name).display().to_string();
    let (script, seen) = (at("server.py"), at("seen"));
    let mut server = std::process::Command::new(part("venv/bin/python"))
        .args([&script, &port.to_string(), &seen])
        .spawn()
        .unwrap();
    wait_until("the server listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let app = format!(
        "[apps.keyed]\nmcp = {{ url = \"http://127.0.0.1:{port}/mcp\", \
         headers = {{ x-api-key = {{ vault = \"key\" }} }} }}"
    );
    let gate = builder.app(&app).start().await;
    set(&gate, "keyed", "key", NOTES);
    until_digest(&gate, &sha256("")).await;
    set(&gate, "keyed", "key", AGAIN);
    let answer = gate.call("ada", "keyed", "digest", json!({})).await;
    assert!(answer.text().contains(&sha256("")), "{answer:?}");
    let requests = std::fs::read_to_string(&seen).unwrap();
    let (log, records) = (gate.log(), gate.settled(&answer.op(), 3).await);
    server.kill().unwrap();
    server.wait().unwrap();

    let keys: Vec<&str> = requests.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert!(keys.iter().all(|key| [NOTES, AGAIN].contains(key)), "{requests}");
    assert!(requests.contains(&format!("GET {NOTES}")), "no stream of events: {requests}");
    assert!(requests.contains(&format!("POST {AGAIN}")), "{requests}");
    assert_eq!(text(uses(&records)[0], "/sec/0/version"), "2");
    assert!(!log.contains(NOTES) && !log.contains(AGAIN));
}

#[tokio::test]
async fn beside_a_token_for_the_apps_code_where_it_declares_secrets() {
    let upstream = Upstream::start();
    let mut manifest: Value = serde_json::from_str(harness::MANIFEST).unwrap();
    manifest["secrets"] = json!([
        { "name": "inner", "description": "d", "write_mode": "both", "required": false }
    ]);
    let url = upstream.url();
    let gate = Deployment::builder()
        .file("notes.json", &manifest.to_string())
        .app(&format!("[apps.notes]\nmanifest = \"notes.json\"\nurl = \"{url}/notes\""))
        .start()
        .await;
    for _ in 0..2 {
        assert_eq!(list_notes(&gate).await.status, 200);
    }
    let seen = upstream.seen();
    let token = seen[0].header(TOKEN).to_owned();
    assert!(!token.is_empty() && token != gate.token("ana").await);
    assert_eq!(seen[1].header(TOKEN), token, "it is signed once");
    let path = "/v1/secrets/notes/inner";
    let ask = |method| gate.request(method, path).bearer_auth(&token);
    let stored = gate.send(ask(Method::PUT).json(&json!({ "value": "v" }))).await;
    assert_eq!(stored.status, 200, "{stored:?}");
    let lent = gate.send(ask(Method::GET)).await;
    assert_eq!(lent.body["value"], "v", "{lent:?}");
}
