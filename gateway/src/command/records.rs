//! What the commands on the directory share: opening it, showing rows, asking for a password.
//!
//! The commands open the database file themselves, so they work with and without a running gateway; a
//! running one sees a change with its next call and writes it to the ledger.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::process::ExitCode;

use portcullis_policies::AppId;
use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::{Deployment, block_on, print};
use crate::config::Settings;
use crate::directory::{Actor, Directory, DirectoryError};
use crate::identify::PasswordFault;
use crate::open::open_directory;

/// A terminal's line is cut there (Linux, canonical mode), in bytes.
const MAX_TYPED: usize = 4095;
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
    /// The vault's provider, table or both.
    #[error(transparent)]
    Vault(#[from] crate::secrets::VaultOpenError),
    /// A scope key or its store.
    #[error(transparent)]
    Key(#[from] portcullis_secrets::KeyError),
    /// The store of scope keys.
    #[error(transparent)]
    ScopeKeys(#[from] portcullis_secrets::StoreError),
    /// A value could not be sealed.
    #[error(transparent)]
    Seal(#[from] portcullis_secrets::SealError),
    /// A value could not be sealed again.
    #[error(transparent)]
    Reseal(#[from] portcullis_secrets::ResealError),
    /// A key was not rotated, retired or destroyed.
    #[error(transparent)]
    Rotate(#[from] portcullis_secrets::RotateError),
    /// An app's files.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Apps(#[from] crate::apps::AppsError),
    /// Signing keys.
    #[error(transparent)]
    Identity(#[from] crate::identify::IdentityError),
    /// A signing key did not go on.
    #[error(transparent)]
    #[diagnostic(help(
        "`portcullis key signing list` shows the keys; --at-once does not wait, and calls may fail"
    ))]
    Rotation(#[from] crate::identify::RotationError),
    /// No such issuer.
    #[error("no issuer `{0}` is configured")]
    #[diagnostic(help(
        "`[identity.issuers.NAME]` in the configuration names them; name the file by --config"
    ))]
    NoIssuer(String),
    /// No such app.
    #[error("no app `{0}` is configured")]
    #[diagnostic(help(
        "`portcullis app list --config FILE` lists them; name the file by --config"
    ))]
    NoApp(AppId),
    /// The app's manifest does not declare it.
    #[error("no secret `{secret}` is declared")]
    #[diagnostic(help("the app's manifest declares: {declared}"))]
    NotDeclared {
        /// As asked.
        secret: String,
        /// What is declared.
        declared: String,
    },
    /// A name that no secret can have.
    #[error("a secret's name begins with a-z and has a-z, 0-9 and `_`, at most 63")]
    Name,
    /// The tenant is not clear.
    #[error("it is not clear which tenant is meant")]
    #[diagnostic(help("name it by --tenant"))]
    WhichTenant,
    /// The value is too long, or empty.
    #[error("a value of this secret has 1 to {0} bytes")]
    Length(usize),
    /// The terminal may have cut the line.
    #[error("a terminal takes no line of {MAX_TYPED} bytes or more")]
    #[diagnostic(help("pipe it in with --stdin"))]
    TooLongToType,
    /// Two changed the secret at once.
    #[error("somebody else changed this secret at the same moment")]
    #[diagnostic(help("look who did, then try again"))]
    Changed,
    /// No such version of the key-encryption key.
    #[error("the key-encryption key has no version {0}")]
    #[diagnostic(help("`portcullis vault status` lists them"))]
    NoVersion(u32),
    /// Destroying keys wants a word.
    #[error("this destroys the keys of {0} for good: what they sealed can never be read again")]
    #[diagnostic(help("add --yes when that is what you want"))]
    NotSure(String),
    /// Somebody wants the keys kept; nothing was destroyed.
    #[error("nothing was destroyed: {} {} held since {} by {}: {}",
        .0.user.as_deref().unwrap_or(&.0.tenant), if .0.user.is_some() { "is" } else { "(the tenant) is" },
        super::time(.0.since_ms), .0.by, .0.reason)]
    #[diagnostic(help("`portcullis vault holds` lists all; `portcullis vault lift` ends one"))]
    Held(crate::directory::Hold),
    /// The certificate's file cannot be made; nothing was destroyed.
    #[error("the certificate's file cannot be made, so nothing was destroyed")]
    #[diagnostic(help("name a file that is not there yet, in a folder that is"))]
    NoCertificate(#[source] std::io::Error),
    /// A backup could not be written.
    #[error("the backup {} cannot be written", path.display())]
    #[diagnostic(help("name a folder that is not there yet, on a disk with room"))]
    Backup {
        /// Folder or file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The certificate could not be written; what it certifies is done and in the ledger.
    #[error("the keys are destroyed, and the certificate could not be written")]
    Certificate(#[source] std::io::Error),
    /// The answer has no JSON form.
    #[error("the answer cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

/// What a command answers: words for people and the same as JSON.
pub(super) struct Shown {
    words: String,
    json: serde_json::Value,
    /// Part of what was asked for could not be done: printed all the same, and no script takes it for done.
    partly: bool,
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
        Ok(Self { words, json, partly: false })
    }

    /// The same with exit status 1 where something could not be done.
    pub(super) fn partly(self, partly: bool) -> Self {
        Self { partly, ..self }
    }
}

/// Opens the directory of a deployment, runs one command on it and prints its answer.
pub(super) fn with_directory(
    deployment: &Deployment,
    json: bool,
    command: impl AsyncFnOnce(&Directory, &Actor) -> Result<Shown, CommandError>,
) -> ExitCode {
    with_deployment(deployment, json, async |_, directory, by| command(directory, by).await)
}

/// As [`with_directory`], for commands that need the settings, too.
pub(super) fn with_deployment(
    deployment: &Deployment,
    json: bool,
    command: impl AsyncFnOnce(&Settings, &Directory, &Actor) -> Result<Shown, CommandError>,
) -> ExitCode {
    let settings = match deployment.settings() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let answer = block_on(async {
        make_folder(&settings.data.dir)?;
        let directory = open_directory(&settings).await?;
        let answer = command(&settings, &directory, &operator()).await;
        directory.close().await;
        answer
    });
    let shown = match answer {
        Ok(shown) => shown,
        Err(fault) => return print::fault(fault),
    };
    if json {
        print::json(&shown.json)
    } else {
        print::line(shown.words)
    }
    if shown.partly { ExitCode::FAILURE } else { ExitCode::SUCCESS }
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

/// A password that is known already: typed once at a terminal without showing it, or the first line of standard input.
pub(super) fn read_password_once(prompt: &str) -> Result<SecretString, CommandError> {
    if std::io::stdin().is_terminal() { typed(prompt) } else { read_line() }
}

/// A value of 1 to `limit` bytes: typed twice at a terminal without showing it, or the whole of standard
/// input without its final line break.
pub(super) fn read_secret(from_stdin: bool, limit: usize) -> Result<SecretString, CommandError> {
    let value = if from_stdin || !std::io::stdin().is_terminal() {
        read_all(limit)?
    } else {
        let first = typed("Value: ")?;
        if first.expose_secret() != typed("Once more: ")?.expose_secret() {
            return Err(CommandError::Differ);
        }
        first
    };
    match value.expose_secret().len() {
        0 => Err(CommandError::Length(limit)),
        length if length > limit => Err(CommandError::Length(limit)),
        _ => Ok(value),
    }
}

fn read_all(limit: usize) -> Result<SecretString, CommandError> {
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut text = String::with_capacity(limit + 3);
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(3);
    let read = std::io::stdin().lock().take(most).read_to_string(&mut text);
    read.map_err(CommandError::NoPassword)?;
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = SecretString::from(value.strip_suffix('\r').unwrap_or(value));
    text.zeroize();
    Ok(value)
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
    let password = read_line().and_then(|typed| match typed.expose_secret().len() {
        // The terminal cuts a longer line without a word.
        0..MAX_TYPED => Ok(typed),
        _ => Err(CommandError::TooLongToType),
    });
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
