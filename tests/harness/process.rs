//! One `portcullis serve` process: started, listened to until it listens, ended in two ways.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::binaries::binary;

/// Longest wait for a start or an end in order; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running process; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// `http://address:port`, as the process itself said.
    pub(crate) url: String,
}

impl Process {
    /// Starts `portcullis serve` and waits until it says where it listens.
    ///
    /// # Errors
    /// The exit status, when it ended before; its log says why.
    pub(crate) fn start(
        config: &Path,
        log: &Path,
        env: &[(String, String)],
    ) -> Result<Self, ExitStatus> {
        let log = File::options().create(true).append(true).open(log).expect("the log file");
        let mut child = Command::new(binary("portcullis"))
            .args(["serve", "--config"])
            .arg(config)
            .envs(env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("portcullis serve starts");
        let mut said = BufReader::new(child.stdout.take().expect("its stdout"));
        let mut line = String::new();
        said.read_line(&mut line).expect("its first line");
        match line.trim().strip_prefix("portcullis listens on ") {
            Some(url) => Ok(Self { url: url.to_owned(), child }),
            None => Err(child.wait().expect("its exit status")),
        }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: no destructor, no flush.
    pub(crate) fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().expect("the killed process is gone");
    }

    /// Sends SIGTERM and comes back at once.
    pub(crate) fn terminate(&self) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), Signal::TERM).expect("SIGTERM is sent");
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the state of the process") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "portcullis did not end within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
