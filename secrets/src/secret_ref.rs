//! Where the configuration says that a secret is, never the secret itself.

use rustix::fs::OFlags;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

/// Longest secret that is read, in bytes.
pub const MAX_SECRET: u64 = 64 << 10;

/// Names a secret: `{ file = "/run/secrets/token" }` or `{ env = "TOKEN" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub enum SecretRef {
    /// The text of a file, without one final line break.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// Why a reference gave no secret. Names the reference, never the value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretRefError {
    /// No such file.
    #[error("there is no secret file `{0}`")]
    NoFile(PathBuf),
    /// The file cannot be read.
    #[error("secret file `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// No such variable.
    #[error("the environment variable `{0}` is not set")]
    NoVariable(String),
    /// Not UTF-8.
    #[error("{0} is not UTF-8 text")]
    NotText(SecretName),
    /// Nothing in it.
    #[error("{0} is empty")]
    Empty(SecretName),
    /// More than [`MAX_SECRET`] bytes.
    #[error("{0} is longer than {MAX_SECRET} bytes")]
    TooLong(SecretName),
}

/// How a reference is named in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretName(String);

/// A table that names no secret, or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a secret as `{{ file = \"...\" }}` or as `{{ env = \"NAME\" }}`, one of them")]
pub struct NotAReference;

impl SecretRef {
    /// Reads the secret now. It is wiped when dropped.
    ///
    /// # Errors
    /// [`SecretRefError`]: absent, unreadable, empty, not UTF-8 or longer than [`MAX_SECRET`].
    pub fn read(&self) -> Result<SecretString, SecretRefError> {
        let text = match self {
            Self::File(path) => self.text_of(read_file(path)?)?,
            Self::Env(name) => self.text_of_variable(name)?,
        };
        if text.is_empty() {
            return Err(SecretRefError::Empty(self.name()));
        }
        if text.len() as u64 > MAX_SECRET {
            return Err(SecretRefError::TooLong(self.name()));
        }
        Ok(SecretString::from(text.as_str()))
    }

    /// Whether others than the owner and group can read the file. Not an error: orchestrators mount
    /// secrets so. False for variables and for files that cannot be looked at.
    #[must_use]
    pub fn is_world_readable(&self) -> bool {
        match self {
            Self::File(path) => std::fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o004 != 0),
            Self::Env(_) => false,
        }
    }

    /// A relative file is meant relative to `base` (the folder of the configuration file).
    #[must_use]
    pub fn relative_to(self, base: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(base.join(path)),
            Self::Env(name) => Self::Env(name),
        }
    }

    fn name(&self) -> SecretName {
        SecretName(match self {
            Self::File(path) => format!("secret file `{}`", path.display()),
            Self::Env(name) => format!("the environment variable `{name}`"),
        })
    }

    fn text_of(&self, bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, SecretRefError> {
        let text = std::str::from_utf8(&bytes).map_err(|_| SecretRefError::NotText(self.name()))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        Ok(Zeroizing::new(text.to_owned()))
    }

    fn text_of_variable(&self, name: &str) -> Result<Zeroizing<String>, SecretRefError> {
        match std::env::var(name) {
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(std::env::VarError::NotPresent) => Err(SecretRefError::NoVariable(name.to_owned())),
            Err(std::env::VarError::NotUnicode(value)) => {
                value.into_encoded_bytes().zeroize();
                Err(SecretRefError::NotText(self.name()))
            }
        }
    }
}

impl std::fmt::Display for SecretName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for SecretRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name())
    }
}

/// The form in TOML or JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env: Option<String>,
}

impl TryFrom<Form> for SecretRef {
    type Error = NotAReference;

    fn try_from(form: Form) -> Result<Self, NotAReference> {
        match (form.file, form.env) {
            (Some(file), None) => Ok(Self::File(file)),
            (None, Some(env)) => Ok(Self::Env(env)),
            _ => Err(NotAReference),
        }
    }
}

impl From<SecretRef> for Form {
    fn from(reference: SecretRef) -> Self {
        match reference {
            SecretRef::File(path) => Self { file: Some(path), env: None },
            SecretRef::Env(name) => Self { file: None, env: Some(name) },
        }
    }
}

/// Reads one byte more than is allowed, so that a longer file is noticed without being read. Non-blocking
/// open: a FIFO in place of the file must not hang the start.
fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretRefError> {
    let fail = |source: io::Error| match source.kind() {
        ErrorKind::NotFound => SecretRefError::NoFile(path.to_owned()),
        _ => SecretRefError::Io { path: path.to_owned(), source },
    };
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path).map_err(fail)?;
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET as usize + 16));
    file.take(MAX_SECRET + 3).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, SecretRef) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, bytes).unwrap();
        (folder, SecretRef::File(path))
    }

    #[test]
    fn one_final_line_break_is_not_part_of_the_secret() {
        for (written, read) in
            [("abc\n", "abc"), ("abc\r\n", "abc"), ("abc\n\n", "abc\n"), ("a b", "a b")]
        {
            let (_folder, reference) = file(written.as_bytes());
            assert_eq!(reference.read().unwrap().expose_secret(), read);
        }
    }

    #[test]
    fn errors_name_the_reference_and_never_the_value() {
        let cases: [&[u8]; 4] = [b"", b"\n", b"hunter2\xff", &[b'h'; MAX_SECRET as usize + 1]];
        for bytes in cases {
            let (_folder, reference) = file(bytes);
            let error = reference.read().unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("token") && !shown.contains("hunter2"), "{shown}");
        }
        let absent = SecretRef::Env("PORTCULLIS_TEST_SURELY_UNSET".into());
        assert!(matches!(absent.read(), Err(SecretRefError::NoVariable(_))));
        let absent = SecretRef::File("/nonexistent/token".into());
        assert!(matches!(absent.read(), Err(SecretRefError::NoFile(_))));
    }

    #[test]
    fn a_table_names_exactly_one_place() {
        let parse = serde_json::from_str::<SecretRef>;
        assert_eq!(parse(r#"{"env":"A"}"#).unwrap(), SecretRef::Env("A".into()));
        assert_eq!(parse(r#"{"file":"a"}"#).unwrap(), SecretRef::File("a".into()));
        for wrong in ["{}", r#"{"env":"A","file":"a"}"#, r#"{"value":"hunter2"}"#, r#""hunter2""#] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
