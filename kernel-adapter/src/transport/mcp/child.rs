//! A child process that leads its own group and takes the group with it when it goes.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::app::McpStdio;
use crate::outcome::bounded;

/// How long a child may take to end after its input was closed.
const GRACE: Duration = Duration::from_secs(2);
/// How much of a child's last words on stderr is kept, in bytes.
const LAST_WORDS: usize = 2_000;
/// What a child sees of the gateway's environment; the rest may hold the secrets of others.
const INHERITED: [&str; 3] = ["PATH", "HOME", "LANG"];

/// A running MCP server. Dropping it kills its whole process group at once.
///
/// The group is killed before the leader is reaped, so its id cannot belong to anybody else.
#[derive(Debug)]
pub(super) struct Group {
    leader: Child,
    id: Option<Pid>,
    last_words: Arc<Mutex<Vec<u8>>>,
    listening: Option<JoinHandle<()>>,
}

/// Starts the server with an environment; returns its group, output and input.
pub(super) fn start(
    how: &McpStdio,
    env: &[(String, SecretString)],
) -> std::io::Result<(Group, ChildStdout, ChildStdin)> {
    let mut command = Command::new(&how.command);
    command
        .args(&how.args)
        .env_clear()
        .envs(INHERITED.iter().filter_map(|k| std::env::var_os(k).map(|v| (k, v))))
        .envs(env.iter().map(|(k, v)| (k, v.expose_secret())))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(dir) = &how.dir {
        command.current_dir(dir);
    }
    let mut leader = command.spawn()?;
    let id = leader.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let pipes = (leader.stdout.take(), leader.stdin.take(), leader.stderr.take());
    let mut group = Group { leader, id, last_words: Arc::default(), listening: None };
    let (Some(stdout), Some(stdin), Some(stderr)) = pipes else {
        return Err(std::io::Error::other("the child has no pipes"));
    };
    let listening = keep_last_words(stderr, Arc::clone(&group.last_words));
    group.listening = Some(tokio::spawn(listening));
    Ok((group, stdout, stdin))
}

/// Reads stderr to its end so that the child never blocks on it, and keeps its tail.
async fn keep_last_words(mut stderr: ChildStderr, kept: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = [0; 1024];
    while let Ok(n) = stderr.read(&mut chunk).await {
        let Some(said) = chunk.get(..n).filter(|s| !s.is_empty()) else { return };
        if let Ok(mut kept) = kept.lock() {
            kept.extend_from_slice(said);
            let surplus = kept.len().saturating_sub(LAST_WORDS);
            kept.drain(..surplus);
        }
    }
}

impl Group {
    /// Ends the child and gives the last that it said on stderr: for the operator when it does not
    /// start. What it said just before it ended may still be on its way, so that is waited for.
    pub(super) async fn last_words(mut self) -> String {
        self.kill();
        if let Some(listening) = self.listening.take() {
            tokio::time::timeout(GRACE, listening).await.ok();
        }
        let kept = self.last_words.lock().map(|k| k.clone()).unwrap_or_default();
        bounded(String::from_utf8_lossy(&kept).trim())
    }

    /// Waits a little for a child whose input was closed, then kills what is left of its group.
    pub(super) async fn finish(mut self) {
        let until = Instant::now() + GRACE;
        while !self.leader_has_ended() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.kill();
        if let Err(e) = self.leader.wait().await {
            tracing::warn!(error = %e, "a child process could not be reaped");
        }
    }

    /// Looks without reaping: the id stays ours until the group is killed.
    pub(super) fn leader_has_ended(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.id.is_none_or(|id| !matches!(waitid(WaitId::Pid(id), look), Ok(None)))
    }

    fn kill(&mut self) {
        if let Some(id) = self.id.take() {
            // ESRCH: the whole group has ended already.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
