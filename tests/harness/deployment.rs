//! A running deployment, and everything that a test can do to it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::binaries::binary;
use crate::builder::Builder;
use crate::process::Process;

/// One `portcullis serve` on a folder of its own, which goes with it.
#[derive(Debug)]
pub struct Deployment {
    pub(crate) dir: TempDir,
    env: Vec<(String, String)>,
    process: Process,
    pub(crate) http: reqwest::Client,
    /// User ids by name of the person.
    pub(crate) members: Mutex<HashMap<String, String>>,
    /// Access tokens by name of the person.
    pub(crate) tokens: tokio::sync::Mutex<HashMap<String, String>>,
}

impl Deployment {
    /// A deployment to be put together.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) async fn start(builder: Builder) -> Self {
        let toml = builder.configuration();
        let Builder { dir, env, .. } = builder;
        std::fs::write(config_in(dir.path()), toml).expect("the configuration is written");
        let process = serve(dir.path(), &env);
        let gate = Self {
            dir,
            env,
            process,
            http: crate::http::client(),
            members: Mutex::default(),
            tokens: tokio::sync::Mutex::default(),
        };
        gate.expect_health().await;
        gate
    }

    /// Where it listens, such as `http://127.0.0.1:40123`; another port after each start.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.process.url
    }

    /// The process id of the gateway.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// The folder with the configuration, `portcullis-data` and the log.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The gateway's own files.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("portcullis-data")
    }

    /// Everything that the gateway has logged, over all starts.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_in(self.dir.path())).unwrap_or_default()
    }

    /// Runs `portcullis <args> --config <this deployment>`, also beside the running gateway.
    pub fn portcullis(&self, args: &[&str]) -> Output {
        self.portcullis_with_input(args, "")
    }

    /// The same, with `input` on its standard input.
    pub fn portcullis_with_input(&self, args: &[&str], input: &str) -> Output {
        self.command(args, input, &[])
    }

    /// The same, with further environment variables for this one command.
    pub fn portcullis_with_env(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        self.command(args, "", env)
    }

    fn command(&self, args: &[&str], input: &str, env: &[(&str, &str)]) -> Output {
        use std::io::Write as _;
        let mut child = Command::new(binary("portcullis"))
            .args(args)
            .arg("--config")
            .arg(config_in(self.dir.path()))
            .current_dir(self.dir.path())
            // Where the token is, which whoever opens the vault has to know.
            .envs(self.env.iter().filter(|(key, _)| key == "SOFTHSM2_CONF").cloned())
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("portcullis starts");
        // A command that reads nothing may be gone before the pipe is written.
        child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        child.wait_with_output().expect("portcullis ends")
    }

    /// Runs a command that must succeed, and gives its standard output.
    ///
    /// Panics with its standard error when it fails.
    pub fn must(&self, args: &[&str]) -> String {
        said(args, &self.portcullis(args))
    }

    /// Runs a command that changes the directory, and waits until the running gateway counts it: a change
    /// by another process is in force at most [`portcullis::directory::STANDING_TTL`] later.
    pub async fn change(&self, args: &[&str]) {
        self.must(args);
        tokio::time::sleep(portcullis::directory::STANDING_TTL).await;
    }

    /// Sends SIGTERM and waits for the end in order; the folder stays until this is dropped.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.terminate();
        self.process.wait()
    }

    /// Starts it again, and sends SIGTERM with its first word.
    pub fn start_and_stop_at_once(&mut self) -> ExitStatus {
        self.process = serve(self.dir.path(), &self.env);
        self.stop()
    }

    /// Sends SIGTERM only.
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits for an end that was begun elsewhere: by [`Self::terminate`] or by a failpoint.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same folder, with the environment as it is set now.
    ///
    /// Panics with its log when it does not start.
    pub async fn restart(&mut self) {
        self.process = serve(self.dir.path(), &self.env);
        self.expect_health().await;
    }

    /// Starts it again and says how long it took until it answered.
    pub async fn restart_timed(&mut self) -> Duration {
        let began = Instant::now();
        self.restart().await;
        began.elapsed()
    }

    /// Starts it again where it is expected not to start; its log says why.
    pub fn fails_to_restart(&mut self) -> ExitStatus {
        let (config, log) = (config_in(self.dir.path()), log_in(self.dir.path()));
        match Process::start(&config, &log, &self.env) {
            Err(status) => status,
            Ok(_) => panic!("portcullis started, but was expected not to"),
        }
    }

    /// Sets an environment variable for the next start; empty takes it away.
    pub fn set_env(&mut self, key: &str, value: &str) {
        self.env.retain(|(known, _)| known != key);
        if !value.is_empty() {
            self.env.push((key.to_owned(), value.to_owned()));
        }
    }

    async fn expect_health(&self) {
        let health = self.get("/healthz").await;
        assert_eq!(health.status, 200, "{health:?}\n{}", self.log());
    }

    pub(crate) fn member(&self, name: &str) -> Option<String> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.get(name).cloned()
    }
}

fn serve(dir: &Path, env: &[(String, String)]) -> Process {
    let log = log_in(dir);
    Process::start(&config_in(dir), &log, env).unwrap_or_else(|status| {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        panic!("portcullis serve ended ({status}) before it listened:\n{log}")
    })
}

fn config_in(dir: &Path) -> PathBuf {
    dir.join("portcullis.toml")
}

fn log_in(dir: &Path) -> PathBuf {
    dir.join("gateway.log")
}

pub(crate) fn said(args: &[&str], output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "portcullis {args:?} failed: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
