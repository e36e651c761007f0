//! Everything that is wrong with a configuration, at once, each with its place and what to do.

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode};
use serde::Serialize;
use std::fmt;
use std::ops::Range;

/// What sort of mistake it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The file cannot be read.
    File,
    /// Not TOML.
    Syntax,
    /// A key that means nothing here.
    UnknownKey,
    /// A value of the wrong type, or not one of those that are possible.
    Value,
    /// Something is missing.
    Missing,
    /// Two things that exclude each other.
    Conflict,
    /// A secret written down, or a reference that gives none.
    Secret,
    /// A file or folder that is named and is not there.
    NotThere,
    /// Not a mistake, but worth a second thought; stops nothing.
    Doubtful,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq)]
pub struct Mistake {
    /// What sort it is.
    pub kind: Kind,
    /// What is wrong; never shows a secret.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// Where, in bytes of the text; none when it is about the file as a whole.
    pub span: Option<Range<usize>>,
}

/// All mistakes of one file, in the order of the text.
pub struct Mistakes {
    file: String,
    /// The text with secrets blanked out, so that a rendered report shows none.
    shown: NamedSource<String>,
    mistakes: Vec<Mistake>,
}

/// A mistake with its place counted out, as `--json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The configuration file.
    pub file: String,
    /// Line, from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// Column in characters, from 1; 0 when it is about the file as a whole.
    pub column: usize,
    /// What sort it is.
    pub kind: Kind,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl Mistakes {
    /// `secrets` are the byte ranges of `text` that no report may show.
    pub(super) fn new(
        file: &str,
        text: &str,
        secrets: &[Range<usize>],
        mut mistakes: Vec<Mistake>,
    ) -> Self {
        mistakes.sort_by_key(|mistake| {
            (mistake.span.as_ref().map_or(0, |span| span.start), mistake.kind)
        });
        mistakes.dedup();
        let shown = NamedSource::new(file, blank_out(text, secrets)).with_language("TOML");
        Self { file: file.to_owned(), shown, mistakes }
    }

    /// The mistakes, in the order of the text.
    #[must_use]
    pub fn all(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// The mistakes with lines and columns, for `--json` and for tests.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.mistakes.iter().map(|mistake| self.report(mistake)).collect()
    }

    fn are_doubts(&self) -> bool {
        self.mistakes.iter().all(|mistake| mistake.kind == Kind::Doubtful)
    }

    fn report(&self, mistake: &Mistake) -> Report {
        let place = mistake.span.as_ref().map(|span| line_and_column(self.shown.inner(), span));
        let (line, column) = place.unwrap_or_default();
        Report {
            file: self.file.clone(),
            line,
            column,
            kind: mistake.kind,
            message: mistake.message.clone(),
            help: mistake.help.clone(),
        }
    }
}

impl fmt::Debug for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.reports()).finish()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.are_doubts() { "warning" } else { "mistake" };
        match self.mistakes.len() {
            1 => write!(f, "`{}`: one {what}", self.file),
            count => write!(f, "`{}`: {count} {what}s", self.file),
        }
    }
}

impl std::error::Error for Mistakes {}

impl Diagnostic for Mistakes {
    fn severity(&self) -> Option<Severity> {
        Some(if self.are_doubts() { Severity::Warning } else { Severity::Error })
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.shown)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.mistakes.iter().map(|mistake| mistake as &dyn Diagnostic)))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

impl Diagnostic for Mistake {
    fn severity(&self) -> Option<Severity> {
        let doubtful = self.kind == Kind::Doubtful;
        Some(if doubtful { Severity::Warning } else { Severity::Error })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.help.is_empty()).then(|| Box::new(&self.help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span.clone()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some("here".to_owned()), span))))
    }
}

/// Line and column (in characters) of the beginning of a span, both from 1.
pub(super) fn line_and_column(text: &str, span: &Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Writes asterisks over the ranges; line breaks and lengths stay, so that every place stays right.
fn blank_out(text: &str, ranges: &[Range<usize>]) -> String {
    let secret = |index| ranges.iter().any(|range| range.contains(&index));
    let mut shown = String::with_capacity(text.len());
    for (index, letter) in text.char_indices() {
        if letter != '\n' && secret(index) {
            shown.extend(std::iter::repeat_n('*', letter.len_utf8()));
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let text = "a\nüb = 1";
        assert_eq!(line_and_column(text, &(0..1)), (1, 1));
        assert_eq!(line_and_column(text, &(4..5)), (2, 2));
        assert_eq!(line_and_column(text, &(999..1000)), (2, 7));
    }

    #[test]
    fn blanking_out_keeps_every_place() {
        let text = "a = \"hütte\nx\"\nb = 1";
        let shown = blank_out(text, std::slice::from_ref(&(4..14)));
        assert_eq!(shown, "a = *******\n**\nb = 1");
        assert_eq!(shown.len(), text.len());
    }
}
