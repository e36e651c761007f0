//! With a certificate, the gateway speaks ...

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::parts::ours;

/// A gateway with TLS; dropping it kills it.
struct Gate {
    child: Child,
    url: String,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn http_1_1_and_http_2_over_tls_and_nothing_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let gate = serve(dir.path());
    assert!(gate.url.starts_with("https://"), "{}", gate.url);
    for (wanted, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let said = curl(dir.path(), &[wanted, &format!("{}/healthz", gate.url)]);
        assert!(said.status.success(), "{said:?}");
        assert_eq!(String::from_utf8_lossy(&said.stdout), format!("200 {version}"), "{said:?}");
    }
    let clear = gate.url.replace("https://", "http://");
    let said = curl(dir.path(), &["--http1.1", &format!("{clear}/healthz")]);
    assert!(!said.status.success(), "answered in the clear: {said:?}");
}

/// Prints status and HTTP version. Nobody signed the certificate of the test.
fn curl(dir: &Path, args: &[&str]) -> Output {
    let output = Command::new("curl")
        .current_dir(dir)
        .args(["--silent", "--show-error", "--max-time", "10", "--insecure"])
        .args(["--output", "body", "--write-out", "%{http_code} %{http_version}"])
        .args(args)
        .output();
    output.expect("curl is installed (apt-get install curl)")
}

fn serve(dir: &Path) -> Gate {
    let at = |name: &str| ours("../gateway/tests/edge").join(name).display().to_string();
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ntls = {{ cert = {:?}, key = {:?} }}\n",
        at("tls-chain.pem"),
        at("tls-key.pem")
    );
    std::fs::write(dir.join("portcullis.toml"), config).unwrap();
    let mut child = Command::new(harness::binary("portcullis"))
        .args(["serve", "--config", "portcullis.toml"])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("portcullis listens on ").unwrap_or_default().to_owned();
    Gate { child, url }
}
