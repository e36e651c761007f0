//! The configuration: one TOML file, in two stages.
//!
//! 1. The text becomes a document: JSON, and the place of every value in the text (`document`).
//! 2. One pass over the JSON Schema finds every unknown key and wrong type (`shape`). What is broken is
//!    cut out and the rest is `Written`, the file as typed (`written`).
//! 3. `Written` becomes [`Settings`]: every value checked, every default filled in, every file and secret
//!    that is named looked at (`checked`, with the tools of `checker`).
//!
//! All mistakes come out at once as [`Mistakes`], with file, line, caret and what to do. Nobody else in
//! the gateway reads files or environment variables to find out how to behave.
//!
//! INVARIANT: no report shows a secret, even one that was written down by mistake
//! (`tests::no_report_shows_a_secret_that_was_written_down`).
//! INVARIANT: one mistake hides no other (`tests::all_mistakes_are_reported_at_once_with_their_lines`).

mod checked;
mod checker;
mod document;
mod mistakes;
mod settings;
mod shape;
mod units;
mod written;

pub use mistakes::{Kind, Mistake, Mistakes, Report};
pub use settings::{
    App, Confirmation, Credential, Data, Directory as DirectorySettings, Elicitation, EnvValue,
    Identity, KeyProvider, Ledger, Limits, MAX_TIMEOUT, NewTools, Policies, Rate, RateLimits,
    RedisSettings, RedisUrl, Route, Routes, Rule, SecretSource, Server, Settings, Tls,
    ToolOverride, Upstream, WitnessPolicy, WitnessSettings, Witnessing,
};
pub use shape::schema;

use checker::Checker;
use document::Document;
use std::io::Read;
use std::path::Path;

/// Folder of the gateway's own files when the configuration names none.
pub const DEFAULT_DIR: &str = "portcullis-data";

/// Longest configuration file in bytes.
const MAX_FILE: u64 = 4 << 20;

/// Settings that can be used, and what is nevertheless doubtful about them.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Nothing of this stops the gateway; each with its place.
    pub warnings: Mistakes,
}

/// Reads and checks a configuration file.
///
/// # Errors
/// Every mistake in it at once, or the one that it cannot be read.
pub fn load(path: &Path, files: Files) -> Result<Loaded, Mistakes> {
    let file = path.display().to_string();
    let text = read(path).map_err(|message| {
        let help = "name another file with `--config`, or leave that out to use the defaults";
        let mistake = Mistake { kind: Kind::File, message, help: help.to_owned(), span: None };
        Mistakes::new(&file, "", &[], vec![mistake])
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    with_files(&file, &text, folder, files)
}

/// How far the files are looked at that a configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// That they are there: enough for a command that needs none of them, which a manifest somebody is writing
    /// must not keep from working.
    Opened,
    /// What is in them, as a start reads it.
    Read,
}

/// Checks a configuration text, and the files that it names. `file` is its name in reports; relative paths in it
/// start at `folder`.
///
/// # Errors
/// Every mistake in it at once.
pub fn parse(file: &str, text: &str, folder: &Path) -> Result<Loaded, Mistakes> {
    with_files(file, text, folder, Files::Read)
}

fn with_files(file: &str, text: &str, folder: &Path, files: Files) -> Result<Loaded, Mistakes> {
    let (document, syntax) = Document::parse(text);
    let mut mistakes: Vec<Mistake> = syntax.into_iter().map(syntax_mistake).collect();
    let mut secrets = document.secret_spans();
    let mut warnings = Vec::new();
    let (shape, settings) = match shape::check(&document) {
        Ok((shape, written)) => {
            let mut checker = Checker::new(&document, (folder, files), &shape.broken);
            let settings = checked::settings(&mut checker, written);
            warnings = checker.warnings;
            mistakes.extend(checker.mistakes);
            (shape, settings)
        }
        Err((shape, error)) => {
            mistakes.push(disagreement(&error));
            (shape, None)
        }
    };
    mistakes.extend(shape.mistakes);
    secrets.extend(shape.secrets);
    drop_echoes(text, &mut mistakes);
    secrets.extend(secret_mistakes(&mistakes));
    match settings {
        Some(settings) if mistakes.is_empty() => {
            Ok(Loaded { settings, warnings: Mistakes::new(file, text, &secrets, warnings) })
        }
        _ => Err(Mistakes::new(file, text, &secrets, mistakes)),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|why| why.to_string())?;
    let read = file.take(MAX_FILE + 1).read_to_string(&mut text);
    match read {
        Err(why) => Err(why.to_string()),
        Ok(length) if length as u64 > MAX_FILE => {
            Err(format!("it is longer than {} MiB", MAX_FILE >> 20))
        }
        Ok(_) => Ok(text),
    }
}

fn syntax_mistake(error: document::SyntaxError) -> Mistake {
    Mistake {
        kind: Kind::Syntax,
        message: error.message,
        help: "see https://toml.io for how TOML is written".to_owned(),
        span: Some(error.span),
    }
}

/// The schema accepted what the types do not take: a mistake of ours, reported all the same.
fn disagreement(error: &serde_json::Error) -> Mistake {
    Mistake {
        kind: Kind::Value,
        message: error.to_string(),
        help: "please report this: the schema should have caught it".to_owned(),
        span: None,
    }
}

/// A line that is not TOML has no value worth checking: what else was found there is an echo.
fn drop_echoes(text: &str, mistakes: &mut Vec<Mistake>) {
    let line = |mistake: &Mistake| {
        mistake.span.as_ref().map(|span| mistakes::line_and_column(text, span).0)
    };
    let broken: Vec<_> =
        mistakes.iter().filter(|mistake| mistake.kind == Kind::Syntax).filter_map(line).collect();
    mistakes.retain(|mistake| {
        mistake.kind == Kind::Syntax || line(mistake).is_none_or(|line| !broken.contains(&line))
    });
}

/// Whatever was called a secret is blanked out, too: an address with a password in it, for one.
fn secret_mistakes(mistakes: &[Mistake]) -> Vec<std::ops::Range<usize>> {
    mistakes
        .iter()
        .filter(|mistake| mistake.kind == Kind::Secret)
        .filter_map(|mistake| mistake.span.clone())
        .collect()
}

#[cfg(test)]
mod tests;
