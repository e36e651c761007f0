//! The verifiers that are programs: Go with `golang.org/x/mod`, Python with `pymerkle`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where Debian's `golang-golang-x-mod-dev` puts its source.
const GOPATH: &str = "/usr/share/gocode";

/// Runs the Go verifier and gives what it said.
pub(crate) fn go(arguments: &[&str]) -> Result<String, String> {
    said(Command::new(go_program()).args(arguments))
}

/// Checks a log with Go.
pub(crate) fn go_log(folder: &Path, vkey: &str) -> Result<String, String> {
    go(&["log", folder.to_str().unwrap(), vkey])
}

/// Checks a log with Python.
pub(crate) fn python_log(folder: &Path, vkey: &str) -> Result<String, String> {
    let python = part("venv/bin/python");
    assert!(python.exists(), "missing: {}; `tests/parts/install.sh` installs it", python.display());
    let script = ours("python/verify.py");
    let output = Command::new(&python).args(["-c", "import pymerkle, cryptography"]).output();
    let found = output.is_ok_and(|output| output.status.success());
    assert!(found, "missing: pymerkle, cryptography; install tests/parts/requirements.txt");
    said(Command::new(python).arg(script).arg(folder).arg(vkey))
}

/// Builds the Go verifier, once per test program.
fn go_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let library = Path::new(GOPATH).join("src/golang.org/x/mod/sumdb/tlog/tlog.go");
        assert!(library.exists(), "missing: golang-golang-x-mod-dev (apt-get install it)");
        // Renamed into place, so that no test process runs what another still writes.
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("verify");
        let written = program.with_extension(std::process::id().to_string());
        let build = Command::new("go")
            .args(["build", "-o"])
            .arg(&written)
            .arg(ours("go/main.go"))
            .env("GO111MODULE", "off")
            .env("GOPATH", GOPATH)
            .env("GOFLAGS", "")
            .output();
        let build = build.expect("missing: go (apt-get install golang-go)");
        assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
        std::fs::rename(written, &program).unwrap();
        program
    })
}

fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let why = text(&output.stderr);
    // A verifier that crashes has rejected nothing.
    assert!(why.starts_with("rejected: "), "{command:?}: {why}");
    Err(why)
}

/// A file of the folder of real parts.
fn part(path: &str) -> PathBuf {
    let parts = std::env::var_os("PORTCULLIS_TEST_PARTS").map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::var_os("HOME").expect("HOME is set");
        PathBuf::from(home).join(".cache/portcullis/parts")
    });
    parts.join(path)
}

fn ours(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers").join(path)
}
