//! The real parts: MCP servers, clients and services that nobody of Portcullis wrote.
//!
//! `tests/parts/install.sh` puts them into one folder; a part that is missing fails the test with
//! its name.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Builder, Deployment, Upstream, Value, json};
use tokio::io::AsyncWriteExt as _;

/// Longest wait for something that must happen; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// A file of the folder of real parts.
pub(crate) fn part(path: &str) -> String {
    let dir = std::env::var_os("PORTCULLIS_TEST_PARTS").map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::var_os("HOME").expect("HOME is set");
        PathBuf::from(home).join(".cache/portcullis/parts")
    });
    let file = dir.join(path);
    assert!(file.exists(), "missing: {}; `tests/run` installs it", file.display());
    file.display().to_string()
}

/// A file of this crate's folder, in which its tests run.
pub(crate) fn ours(path: &str) -> PathBuf {
    std::env::current_dir().unwrap().join(path)
}

/// The MCP server `mcp-server-git` (PyPI) over a repository with one commit, as the app `git`.
pub(crate) fn git_app(dir: &Path) -> String {
    let repository = dir.join("repository");
    std::fs::create_dir(&repository).unwrap();
    git(&repository, &["init", "--quiet", "--initial-branch", "main"]);
    git(&repository, &["config", "user.name", "Ana"]);
    git(&repository, &["config", "user.email", "ana@acme.example"]);
    std::fs::write(repository.join("notes.txt"), "milk\n").unwrap();
    git(&repository, &["add", "notes.txt"]);
    git(&repository, &["commit", "--quiet", "--message", "the first commit"]);
    let server = part("venv/bin/mcp-server-git");
    format!(
        "[apps.git]\nmcp = {{ command = [{server:?}, \"--repository\", {:?}] }}",
        repository.display().to_string()
    )
}

/// Runs git in a folder and gives what it said.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git").current_dir(dir).args(args).output();
    let output = output.expect("git is installed (apt-get install git)");
    assert!(output.status.success(), "git {args:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The MCP server `@modelcontextprotocol/server-filesystem` (npm) over one folder, as the app `files`.
pub(crate) fn files_app(dir: &Path) -> String {
    let folder = dir.join("files");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("hello.txt"), "hello\n").unwrap();
    let server = part("npm/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js");
    format!(
        "[apps.files]\nmcp = {{ command = [\"node\", {server:?}, {:?}] }}",
        folder.display().to_string()
    )
}

/// A process of the test; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    _stdin: Option<ChildStdin>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The MCP server `@modelcontextprotocol/server-everything` (npm) over streamable HTTP.
pub(crate) fn everything(port: u16) -> Running {
    let server = part("npm/node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    let child = Command::new("node")
        .args([server.as_str(), "streamableHttp"])
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("node is installed");
    let running = Running { child, _stdin: None };
    wait_until("server-everything listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    running
}

/// A port of this machine that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// `tests/parts/http_service.py`: the functions of a notebook, and a service with routes.
pub(crate) fn http_service() -> (Running, u16) {
    let mut child = Command::new(part("venv/bin/python"))
        .arg(ours("parts/http_service.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let stdin = child.stdin.take();
    (Running { child, _stdin: stdin }, port.trim().parse().unwrap())
}

/// Takes steps as a person with the MCP client of PyPI `mcp`; see `tests/clients/mcp_client.py`.
pub(crate) async fn mcp(gate: &Deployment, user: &str, steps: Value) -> Vec<Value> {
    let plan = json!({
        "url": format!("{}/mcp", gate.url()), "token": gate.token(user).await, "steps": steps,
    });
    let said = python(&["clients/mcp_client.py"], &plan.to_string()).await;
    let said: Value = serde_json::from_str(&said).expect("JSON of the client");
    said["results"].as_array().expect("a result for each step").clone()
}

/// Runs a Python script of this folder in the venv of the parts; gives its standard output.
pub(crate) async fn python(args: &[&str], input: &str) -> String {
    python_of("venv", args, input).await
}

/// The same in another venv: `venv-sdk-5` holds the oldest SDK that is supported.
pub(crate) async fn python_of(venv: &str, args: &[&str], input: &str) -> String {
    let mut child = tokio::process::Command::new(part(&format!("{venv}/bin/python")))
        .current_dir(ours(""))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a script of this folder that drives a real browser by a plan; gives the JSON that it prints.
pub(crate) async fn browser(script: &str, plan: &Value) -> Value {
    let mut child = tokio::process::Command::new("node")
        .arg(ours(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node is installed");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(plan.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON of the browser")
}

/// Waits for what must come.
///
/// Panics with `what` when it does not.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The rules of this repository with these beside them.
pub(crate) fn policies_with(upstream: &Upstream, rules: &str) -> Builder {
    let mut builder = Deployment::builder().notes(upstream);
    for folder in ["rules", "invariants"] {
        for file in std::fs::read_dir(ours("../policies").join(folder)).unwrap() {
            let file = file.unwrap();
            let name = format!("policies/{folder}/{}", file.file_name().to_str().unwrap());
            builder = builder.file(&name, &std::fs::read_to_string(file.path()).unwrap());
        }
    }
    builder.file("policies/rules/test.cedar", rules).settings("[policies]\ndir = \"policies\"")
}
