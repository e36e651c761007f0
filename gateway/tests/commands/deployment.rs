//! A deployment for the tests: the demo app over real HTTP, a configuration, people made by the
//! command, and `portcullis serve` in front.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{binary, json, run};

/// Files and people; nothing runs but the app.
pub(crate) struct Deployment {
    dir: TempDir,
    /// Id of the user `ana@acme.example`, who may do all in `notes`.
    pub(crate) ana: String,
    /// Her API key.
    pub(crate) key: String,
    _app: tokio::runtime::Runtime,
}

/// A gateway that serves a deployment.
pub(crate) struct Serving {
    child: Child,
    address: SocketAddr,
}

impl Deployment {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let app = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let listener = app.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let upstream = listener.local_addr().unwrap();
        app.spawn(async move { axum::serve(listener, portcullis::demo::app_router()).await });
        std::fs::write(dir.path().join("imperal.json"), portcullis::demo::MANIFEST).unwrap();
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[data]\ndir = \"data\"\n\
             [apps.notes]\nmanifest = \"imperal.json\"\nurl = \"http://{upstream}\"\n"
        );
        std::fs::write(dir.path().join("p.toml"), config).unwrap();
        let mut made = Self { dir, ana: String::new(), key: String::new(), _app: app };
        made.people();
        made
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Arguments of a command on this deployment.
    pub(crate) fn args<'a>(&self, args: &[&'a str]) -> Vec<&'a str> {
        [args, &["--config", "p.toml"]].concat()
    }

    pub(crate) fn run(&self, args: &[&str]) -> crate::Said {
        run(self.dir(), &self.args(args))
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        json(self.dir(), &self.args(args))
    }

    fn people(&mut self) {
        self.run(&["tenant", "create", "Default", "--id", "default"]).well();
        self.run(&["role", "create", "editor", "--scope", "notes:*"]).well();
        let user =
            ["user", "create", "--email", "ana@acme.example", "--role", "editor", "--no-password"];
        self.ana = text(&self.json(&user)[0]["id"]);
        let key = ["key", "create", &self.ana, "--name", "test", "--scope", "*"];
        self.key = text(&self.json(&key)["key"]);
    }

    pub(crate) fn serve(&self) -> Serving {
        self.serve_by(binary(self.dir()))
    }

    /// Serves on a host of which `command` knows more, or less.
    pub(crate) fn serve_by(&self, mut command: Command) -> Serving {
        command.args(self.args(&["serve"])).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit('/').next().unwrap().parse();
        Serving { child, address: address.unwrap_or_else(|e| panic!("{e}: {line:?}")) }
    }
}

impl Serving {
    /// Calls a function of `notes`; gives the operation id and the answer.
    pub(crate) fn call(&self, key: &str, function: &str, params: &str) -> (String, String) {
        let body = format!("{{\"function\":\"{function}\",\"params\":{params}}}");
        let head = format!(
            "POST /v1/extensions/notes/call HTTP/1.1\r\nHost: {}\r\nX-API-Key: {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let op = answer.lines().find_map(|line| line.strip_prefix("x-portcullis-op: "));
        (op.unwrap_or_else(|| panic!("{answer}")).to_owned(), answer)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
