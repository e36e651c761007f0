//! The `portcullis` command as an operator uses it: the real binary, its output and its exit codes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the lint's own exception covers `#[test]` functions only"
)]

mod apps;
mod deployment;
mod directory;
mod past;
mod policy;
mod witness;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What a run of the command said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    /// What it printed, when it went well.
    #[track_caller]
    fn well(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self.out
    }

    /// Its error, when it failed with exit code 1.
    #[track_caller]
    fn failed(self) -> String {
        assert_eq!(self.code, 1, "{}\n{}", self.out, self.err);
        self.err
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

/// The binary in a folder of its own, without the tester's environment.
fn binary(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.current_dir(dir).env_clear().stdin(Stdio::null());
    command.env("USER", "tester").env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn run(dir: &Path, args: &[&str]) -> Said {
    binary(dir).args(args).output().unwrap().into()
}

/// What the command prints with `--json`, whatever its exit code.
fn json(dir: &Path, args: &[&str]) -> Value {
    let said = run(dir, &[args, &["--json"]].concat());
    serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}{}", said.out, said.err))
}
