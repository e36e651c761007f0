//! What can be wrong with a rule, and what to do about it.

use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};

use super::sources::RuleFile;

/// The kind of a mistake, by what the author has to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleErrorKind {
    /// The text is not Cedar.
    Syntax,
    /// The rule does not fit the schema.
    Validation,
    /// An annotation is missing, unknown or empty.
    Annotation,
    /// Two rules of one layer have the same `@id`.
    DuplicateId,
    /// The rule is a template, which cannot be proved.
    Template,
    /// Some request makes the rule fail, and a rule that fails refuses the call.
    CanError,
    /// The set allows what an invariant says must never be allowed.
    BrokenInvariant,
    /// A file or the schema could not be used at all.
    Io,
}

impl RuleErrorKind {
    /// The word in JSON and in diagnostics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Validation => "validation",
            Self::Annotation => "annotation",
            Self::DuplicateId => "duplicate_id",
            Self::Template => "template",
            Self::CanError => "can_error",
            Self::BrokenInvariant => "broken_invariant",
            Self::Io => "io",
        }
    }
}

/// One mistake, with its place and the remedy.
#[derive(Clone)]
pub struct RuleError {
    /// What has to change.
    pub kind: RuleErrorKind,
    message: String,
    help: String,
    source: Arc<NamedSource<String>>,
    span: Option<SourceSpan>,
    label: Option<String>,
}

impl RuleError {
    /// A mistake somewhere in `file`; see [`RuleError::at`] and [`RuleError::labelled`] for the place.
    pub(crate) fn new(
        kind: RuleErrorKind,
        file: &RuleFile,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let source = Arc::new(NamedSource::new(&file.path, file.text.clone()));
        Self { kind, message: message.into(), help: help.into(), source, span: None, label: None }
    }

    /// The same mistake at a span of the file's text.
    pub(crate) fn at(mut self, span: Option<SourceSpan>) -> Self {
        self.span = span;
        self
    }

    /// The same mistake with a word at its caret.
    pub(crate) fn labelled(mut self, label: Option<String>) -> Self {
        self.label = label;
        self
    }

    /// The path of the file, as in [`RuleFile::path`].
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// Line and column, both from 1; 1:1 when the whole file is meant.
    pub fn position(&self) -> (usize, usize) {
        let offset = self.span.map_or(0, |s| s.offset());
        let before = self.source.inner().get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }

    /// What to do next.
    pub fn help_text(&self) -> &str {
        &self.help
    }

    /// `{file, line, column, kind, message, help}`.
    pub fn to_json(&self) -> serde_json::Value {
        let (line, column) = self.position();
        serde_json::json!({
            "file": self.file(), "line": line, "column": column,
            "kind": self.kind.as_str(), "message": self.message, "help": self.help,
        })
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position();
        let kind = self.kind.as_str();
        write!(f, "{}:{line}:{column}: {kind}: {} ({})", self.file(), self.message, self.help)
    }
}

impl std::error::Error for RuleError {}

impl Diagnostic for RuleError {
    fn code(&self) -> Option<Box<dyn fmt::Display + '_>> {
        Some(Box::new(self.kind.as_str()))
    }

    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        Some(Box::new(&self.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&*self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(self.label.clone(), span))))
    }
}

/// Every mistake found in one set; never empty.
#[derive(Clone)]
pub struct RuleErrors(Vec<RuleError>);

impl RuleErrors {
    /// Fails with the collected mistakes when there is one.
    pub(crate) fn none_in(errors: Vec<RuleError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    /// The mistakes in the order of files and lines.
    pub fn iter(&self) -> impl Iterator<Item = &RuleError> {
        self.0.iter()
    }

    /// How many there are; at least 1.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// An array of [`RuleError::to_json`].
    pub fn to_json(&self) -> serde_json::Value {
        self.0.iter().map(RuleError::to_json).collect()
    }
}

impl From<RuleError> for RuleErrors {
    fn from(error: RuleError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for RuleErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the policy set has a mistake"),
            n => write!(f, "the policy set has {n} mistakes"),
        }
    }
}

impl fmt::Debug for RuleErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl std::error::Error for RuleErrors {}

impl Diagnostic for RuleErrors {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.0.iter().map(|e| e as &dyn Diagnostic)))
    }
}
