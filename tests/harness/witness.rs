//! One `portcullis ledger witness` process, on a folder of its own.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::binaries::binary;

/// A running witness; dropping it kills it.
#[derive(Debug)]
pub struct Witness {
    child: Child,
    folder: TempDir,
    trust: Vec<String>,
    /// `http://address:port`; the same after each start.
    pub url: String,
    /// Its verifier key.
    pub vkey: String,
}

impl Witness {
    /// A new witness of all logs of a deployment.
    ///
    /// Panics with its log when it does not start.
    #[must_use]
    pub fn of_deployment(name: &str, key: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("portcullis-witness-").tempdir();
        let folder = folder.expect("a temporary folder");
        let trust = ["--deployment", name, "--key", key].map(str::to_owned).to_vec();
        let (child, url, vkey) = start(folder.path(), "127.0.0.1:0", &trust);
        Self { child, folder, trust, url, vkey }
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Everything that it has logged, over all starts.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("log")).unwrap_or_default()
    }

    /// From the next start on it believes this key of a deployment too, as its newest.
    pub fn believes(&mut self, name: &str, key: &str) {
        self.trust.splice(0..0, ["--deployment", name, "--key", key].map(str::to_owned));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().expect("the killed witness is gone");
    }

    /// SIGTERM, and the end in order: whether it exited with 0.
    pub fn stop(&mut self) -> bool {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), Signal::TERM).expect("SIGTERM is sent");
        self.child.wait().expect("the stopped witness is gone").success()
    }

    /// Starts it again on the same folder and port.
    ///
    /// Panics with its log when it does not start, or under another key.
    pub fn restart(&mut self) {
        let address = self.url.trim_start_matches("http://").to_owned();
        let (child, url, vkey) = start(self.folder.path(), &address, &self.trust);
        assert_eq!((&url, &vkey), (&self.url, &self.vkey));
        self.child = child;
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn start(folder: &Path, address: &str, trust: &[String]) -> (Child, String, String) {
    let log = File::options().create(true).append(true).open(folder.join("log"));
    let mut child = Command::new(binary("portcullis"))
        .args(["ledger", "witness", "--listen", address, "--folder"])
        .arg(folder)
        .args(trust)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.expect("the log file"))
        .spawn()
        .expect("portcullis ledger witness starts");
    let said = BufReader::new(child.stdout.take().expect("its stdout"));
    let lines: Vec<String> = said.lines().take(2).map_while(Result::ok).collect();
    let after = |number: usize, words: &str| -> String {
        let line = lines.get(number).and_then(|line| line.strip_prefix(words));
        line.map(str::to_owned).unwrap_or_else(|| {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            panic!("the witness said {lines:?}:\n{log}")
        })
    };
    let (url, vkey) = (after(0, "witness listens on "), after(1, "its key: "));
    (child, url, vkey)
}
