//! What the commands on the directory share: opening it, showing rows, asking for a password.
//!
//! The commands open the database file themselves, so they work with and without a running gateway; a
//! running one sees a change with its next call and writes it to the ledger.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::process::ExitCode;

use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::{Deployment, block_on, print};
use crate::directory::{Actor, Directory, DirectoryError};
use crate::identify::PasswordFault;

/// Longest password that is read, in bytes.
const MAX_PASSWORD_BYTES: u64 = 4 * 1024;

/// Why a command on the directory failed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum CommandError {
    /// The directory refused or failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The new password was not taken.
    #[error(transparent)]
    #[diagnostic(help("choose another one; it is never an argument, so that `ps` cannot show it"))]
    Password(#[from] PasswordFault),
    /// No password could be read.
    #[error("no password could be read")]
    #[diagnostic(help("type it at the terminal, or pipe it in with --password-stdin"))]
    NoPassword(#[source] std::io::Error),
    /// The two passwords that were typed differ.
    #[error("the two passwords are not the same")]
    #[diagnostic(help("try again"))]
    Differ,
    /// The host gives no random numbers.
    #[error("no random numbers")]
    #[diagnostic(help("check the host's random source"))]
    Randomness,
    /// The answer has no JSON form.
    #[error("the answer cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

/// What a command answers: words for people and the same as JSON.
pub(super) struct Shown {
    words: String,
    json: serde_json::Value,
}

impl Shown {
    /// One row for each item.
    pub(super) fn table<T: Serialize>(
        head: &[&str],
        items: &[T],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<Self, CommandError> {
        let rows: Vec<Vec<String>> = items.iter().map(row).collect();
        Self::line(print::table(head, &rows), &items)
    }

    /// Free words.
    pub(super) fn line(words: String, json: &impl Serialize) -> Result<Self, CommandError> {
        let json = serde_json::to_value(json).map_err(CommandError::Json)?;
        Ok(Self { words, json })
    }
}

/// Opens the directory of a deployment, runs one command on it and prints its answer.
pub(super) fn with_directory(
    deployment: &Deployment,
    json: bool,
    command: impl AsyncFnOnce(&Directory, &Actor) -> Result<Shown, CommandError>,
) -> ExitCode {
    let settings = match deployment.settings() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let answer = block_on(async {
        make_folder(&settings.data.dir)?;
        let directory = Directory::open(&settings.data.directory_db()).await?;
        let answer = command(&directory, &operator()).await;
        directory.close().await;
        answer
    });
    match answer {
        Ok(shown) if json => print::json(&shown.json),
        Ok(shown) => print::line(shown.words),
        Err(fault) => return print::fault(fault),
    }
    ExitCode::SUCCESS
}

/// The word for a switch in a table.
pub(super) fn activity(active: bool) -> String {
    if active { "active" } else { "deactivated" }.to_owned()
}

/// A new password: typed twice at a terminal without showing it, or the first line of standard input.
pub(super) fn read_password(from_stdin: bool) -> Result<SecretString, CommandError> {
    if from_stdin || !std::io::stdin().is_terminal() {
        return read_line();
    }
    let first = typed("New password: ")?;
    let again = typed("Once more: ")?;
    if first.expose_secret() == again.expose_secret() {
        Ok(first)
    } else {
        Err(CommandError::Differ)
    }
}

fn read_line() -> Result<SecretString, CommandError> {
    let mut text = String::new();
    let mut stdin = std::io::stdin().lock().take(MAX_PASSWORD_BYTES);
    stdin.read_line(&mut text).map_err(CommandError::NoPassword)?;
    let password = SecretString::from(text.trim_end_matches(['\r', '\n']));
    text.zeroize();
    Ok(password)
}

/// Asks at the terminal with the echo off, and on again whatever happens.
fn typed(prompt: &str) -> Result<SecretString, CommandError> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).map_err(|e| CommandError::NoPassword(e.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    print::prompt(prompt);
    tcsetattr(&stdin, OptionalActions::Flush, &silent)
        .map_err(|e| CommandError::NoPassword(e.into()))?;
    let password = read_line();
    let restored = tcsetattr(&stdin, OptionalActions::Flush, &before);
    print::error("");
    restored.map_err(|e| CommandError::NoPassword(e.into()))?;
    password
}

/// Whom the ledger will name: the login of the host, or its number where there is none.
pub(super) fn operator() -> Actor {
    let login =
        std::env::var("USER").unwrap_or_else(|_| rustix::process::getuid().as_raw().to_string());
    let plain: String = login.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
    Actor::command(&plain)
}

/// Only this user may look into the folder.
fn make_folder(folder: &std::path::Path) -> Result<(), DirectoryError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|source| {
        DirectoryError::Open { path: folder.display().to_string(), source: source.into() }
    })
}
