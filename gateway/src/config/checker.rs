//! The tools of the second stage: each takes what was written at a place and gives a usable value, or
//! notes a mistake there and gives none.

use super::Files;
use super::document::{At, Document, looks_secret};
use super::mistakes::{Kind, Mistake};
use super::settings::SecretSource;
use super::units::{Bytes, TimeSpan, show_bytes, show_duration};
use super::written::SecretForm;
use http::Uri;
use portcullis_secrets::{SecretRef, SecretRefError};
use std::fmt::Display;
use std::io::Read as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// What to do with a secret that was written down.
pub(super) const BY_REFERENCE: &str = "secrets are given by reference: `{ vault = \"name\" }`, \
    `{ file = \"path\" }` or `{ env = \"NAME\" }`";

/// Collects mistakes and warnings while the settings are made.
pub(super) struct Checker<'a> {
    document: &'a Document,
    /// Folder that relative paths start from.
    base: &'a Path,
    files: Files,
    broken: &'a [At],
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<Mistake>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(
        document: &'a Document,
        (base, files): (&'a Path, Files),
        broken: &'a [At],
    ) -> Self {
        Self { document, base, files, broken, mistakes: Vec::new(), warnings: Vec::new() }
    }

    /// Whether what is in the files is looked at, too.
    pub(super) fn reads_files(&self) -> bool {
        self.files == Files::Read
    }

    /// Whether anything at all stands there, even something broken.
    pub(super) fn is_written(&self, at: &At) -> bool {
        self.document.get(at).is_some()
    }

    /// Notes a mistake about a value.
    pub(super) fn wrong(&mut self, kind: Kind, at: &At, message: String, help: &str) {
        let span = Some(self.document.value_span(at));
        self.mistakes.push(Mistake { kind, message, help: help.to_owned(), span });
    }

    /// Notes a mistake about a key, or about the table that the key opens.
    pub(super) fn wrong_key(&mut self, kind: Kind, at: &At, message: String, help: &str) {
        let span = Some(self.document.key_span(at));
        self.mistakes.push(Mistake { kind, message, help: help.to_owned(), span });
    }

    pub(super) fn warn(&mut self, at: &At, message: String, help: &str) {
        let span = Some(self.document.value_span(at));
        let (kind, help) = (Kind::Doubtful, help.to_owned());
        self.warnings.push(Mistake { kind, message, help, span });
    }

    /// What has to be there. When it was there and broken, that was reported already.
    pub(super) fn required<T>(&mut self, at: &At, written: Option<T>, help: &str) -> Option<T> {
        if written.is_none() && !self.broken.iter().any(|broken| at.is_within(broken)) {
            let table = at.parent().unwrap_or_default();
            let message = format!("`{table}` has no `{}`", at.last().unwrap_or_default());
            self.wrong_key(Kind::Missing, &table, message, help);
        }
        written
    }

    /// A duration within bounds, or its default.
    pub(super) fn duration(
        &mut self,
        at: &At,
        written: Option<&TimeSpan>,
        default: Duration,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let Some(written) = written else { return Some(default) };
        let duration = written.duration().filter(|duration| bounds.contains(duration));
        if duration.is_none() {
            let (least, most) = (show_duration(*bounds.start()), show_duration(*bounds.end()));
            let message = format!("`{at}` must be from {least} to {most}");
            self.wrong(
                Kind::Value,
                at,
                message,
                &format!("the default is {}", show_duration(default)),
            );
        }
        duration
    }

    /// A size within bounds, or its default.
    pub(super) fn bytes(
        &mut self,
        at: &At,
        written: Option<&Bytes>,
        default: usize,
        bounds: RangeInclusive<usize>,
    ) -> Option<usize> {
        let Some(written) = written else { return Some(default) };
        let bytes = written.bytes().filter(|bytes| bounds.contains(bytes));
        if bytes.is_none() {
            let (least, most) = (show_bytes(*bounds.start()), show_bytes(*bounds.end()));
            let message = format!("`{at}` must be from {least} to {most}");
            self.wrong(
                Kind::Value,
                at,
                message,
                &format!("the default is {}", show_bytes(default)),
            );
        }
        bytes
    }

    /// Anything that is parsed from text and whose error says what is allowed.
    pub(super) fn parsed<T>(&mut self, at: &At, text: &str, help: &str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        match text.parse() {
            Ok(value) => Some(value),
            Err(why) => {
                self.wrong(Kind::Value, at, format!("`{at}`: {why}"), help);
                None
            }
        }
    }

    /// An http or https address of a host and nothing below it, as browsers write an origin; without a final slash.
    pub(super) fn origin(&mut self, at: &At, text: &str) -> Option<String> {
        let help = "write how browsers name the gateway and nothing more, such as \
                    `https://gate.example.org`";
        let uri = self.address(at, text, help)?;
        let origin = text.strip_suffix('/').unwrap_or(text);
        let bare = uri.authority().is_some_and(|host| {
            let default = match uri.scheme_str() {
                Some("https") => ":443",
                _ => ":80",
            };
            let (scheme, host) = (uri.scheme_str().unwrap_or_default(), host.as_str());
            origin == format!("{scheme}://{host}")
                && !host.bytes().any(|b| b.is_ascii_uppercase())
                && !host.ends_with(default)
        });
        if bare {
            return Some(origin.to_owned());
        }
        let message = format!("`{at}` must be a bare origin in lower case, without path or query");
        self.wrong(Kind::Value, at, message, help);
        None
    }

    /// An http or https address without user and password.
    pub(super) fn url(&mut self, at: &At, text: &str) -> Option<Uri> {
        let help =
            "write an address such as `http://127.0.0.1:9000` or `https://api.example.org/v2`";
        self.address(at, text, help)
    }

    fn address(&mut self, at: &At, text: &str, help: &'static str) -> Option<Uri> {
        let uri: Uri = match text.parse() {
            Ok(uri) => uri,
            Err(why) => {
                self.wrong(Kind::Value, at, format!("`{at}` is not an address: {why}"), help);
                return None;
            }
        };
        let http = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if !http || authority.is_empty() {
            self.wrong(Kind::Value, at, format!("`{at}` is not an http or https address"), help);
            return None;
        }
        if authority.contains('@') {
            let message = format!("`{at}` must not hold a user name or password");
            self.wrong(Kind::Secret, at, message, "give it by reference, as `credential`");
            return None;
        }
        if uri.query().is_some() {
            self.wrong(Kind::Value, at, format!("`{at}` must not hold a query"), help);
            return None;
        }
        Some(uri)
    }

    /// A path, relative ones from the folder of the configuration file.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        self.base.join(text)
    }

    /// A file that is there and can be opened.
    pub(super) fn file(&mut self, at: &At, text: &str) -> Option<PathBuf> {
        let path = self.path(text);
        let opened = std::fs::File::open(&path).and_then(|file| file.metadata());
        let why = match opened {
            Ok(meta) if meta.is_file() => return Some(path),
            Ok(_) => "it is not a file".to_owned(),
            Err(why) => why.to_string(),
        };
        self.not_there(at, &path, &why);
        None
    }

    /// The path and the bytes of a file that is there, can be read, and has at most `most` bytes.
    pub(super) fn read(&mut self, at: &At, text: &str, most: usize) -> Option<(PathBuf, Vec<u8>)> {
        let path = self.file(at, text)?;
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&path);
        let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        let read = file.and_then(|file| file.take(limit).read_to_end(&mut bytes));
        let why = match read {
            Ok(length) if length <= most => return Some((path, bytes)),
            Ok(_) => format!("it has more than {}", show_bytes(most)),
            Err(why) => why.to_string(),
        };
        self.not_there(at, &path, &why);
        None
    }

    /// The file, unless what it holds has faults: each of them is a mistake.
    pub(super) fn faultless(
        &mut self,
        at: &At,
        path: PathBuf,
        faults: impl IntoIterator<Item = impl Display>,
        help: &str,
    ) -> Option<PathBuf> {
        let mut faults = faults.into_iter().peekable();
        let sound = faults.peek().is_none();
        for fault in faults {
            let message = format!("`{at}` names `{}`: {fault}", path.display());
            self.wrong(Kind::Value, at, message, help);
        }
        sound.then_some(path)
    }

    /// A folder that is there and can be listed.
    pub(super) fn folder(&mut self, at: &At, text: &str) -> Option<PathBuf> {
        let path = self.path(text);
        match std::fs::read_dir(&path) {
            Ok(_) => Some(path),
            Err(why) => {
                self.not_there(at, &path, &why.to_string());
                None
            }
        }
    }

    /// A reference to a secret. One that is no value of the vault must be readable now: better to fail at
    /// start than at the first call.
    pub(super) fn secret(&mut self, at: &At, form: &SecretForm) -> Option<SecretSource> {
        let reference = match (&form.file, &form.env, &form.vault) {
            (None, None, Some(name)) => return Some(SecretSource::Vault(name.clone())),
            (Some(file), None, None) => SecretRef::File(self.path(file)),
            (None, Some(name), None) => SecretRef::Env(name.clone()),
            // The schema allows exactly one of them.
            _ => return None,
        };
        if let Err(why) = reference.read() {
            self.wrong(Kind::Secret, at, format!("`{at}`: {why}"), secret_help(&why));
            return None;
        }
        if reference.is_world_readable() {
            let message = format!("`{at}`: everybody on this machine can read {reference}");
            self.warn(at, message, "run `chmod 600` on it, unless a mount sets its mode");
        }
        Some(SecretSource::Given(reference))
    }

    /// Plain text for a variable, unless its name promises a secret.
    pub(super) fn plain(&mut self, at: &At, text: String) -> Option<String> {
        if at.last().is_some_and(|name| looks_secret(&name)) {
            let message = format!("`{at}` must not hold the secret itself");
            self.wrong(Kind::Secret, at, message, BY_REFERENCE);
            return None;
        }
        Some(text)
    }

    fn not_there(&mut self, at: &At, path: &Path, why: &str) {
        let message = format!("`{at}` names `{}`: {why}", path.display());
        let help = "relative paths are relative to the folder of the configuration file";
        self.wrong(Kind::NotThere, at, message, help);
    }
}

fn secret_help(why: &SecretRefError) -> &'static str {
    match why {
        SecretRefError::NoFile(_) | SecretRefError::Io { .. } => {
            "write the secret into that file, mode 600, readable by the user that runs the gateway"
        }
        SecretRefError::NoVariable(_) => "set the variable where the gateway is started",
        _ => "a secret is UTF-8 text of 1 byte to 64 KiB",
    }
}
