//! The only place that writes to stdout and stderr: aligned tables, JSON lines, errors with a hint.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use serde::Serialize;

/// Prints one line.
pub fn line(text: impl std::fmt::Display) {
    // A closed pipe (`| head`) is the reader's choice, not our fault.
    writeln!(std::io::stdout(), "{text}").ok();
}

/// Prints one JSON object on one line.
pub fn json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => line(without_controls(&text)),
        Err(fault) => error(format_args!("cannot write JSON: {fault}")),
    }
}

/// JSON has escapes for the controls that it lets stand in texts, and a terminal would obey them.
fn without_controls(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut text, c| {
        match c.is_control() {
            true => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => text.push(c),
        }
        text
    })
}

/// Prints an error, with its help when it has one, and gives the exit code 1.
pub fn fault(fault: impl miette::Diagnostic + Send + Sync + 'static) -> ExitCode {
    error(format_args!("{:?}", miette::Report::new(fault)));
    ExitCode::FAILURE
}

/// Prints an error line to stderr.
pub fn error(text: impl std::fmt::Display) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// Prints a question to stderr and stays on its line.
pub fn prompt(text: &str) {
    let mut stderr = std::io::stderr();
    write!(stderr, "{text}").and_then(|()| stderr.flush()).ok();
}

/// Whether a person is looking.
#[must_use]
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A text of somebody else's for one line: a character that a terminal obeys, hides or turns the text around with
/// becomes its number, `\u{1b}`.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, c| {
        match c.is_control() || is_hidden(c) {
            true => plain.extend(c.escape_unicode()),
            false => plain.push(c),
        }
        plain
    })
}

/// What a screen does not show, marks of direction among it (UAX #44, Default_Ignorable_Code_Point), and the two
/// separators of lines that are no control characters.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// A table: columns as wide as their widest cell, two spaces apart, the last one not padded. Cells are made [`plain`],
/// because names in them may come from servers.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = aligned(&widths, head.iter().copied());
    for row in rows {
        text.push('\n');
        text.push_str(&aligned(&widths, row.iter().map(String::as_str)));
    }
    text
}

fn aligned<'a>(widths: &[usize], cells: impl Iterator<Item = &'a str>) -> String {
    let padded: Vec<String> =
        widths.iter().zip(cells).map(|(width, cell)| format!("{cell:<width$}")).collect();
    padded.join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_no_control_characters() {
        assert_eq!(without_controls("{\"a\":\"x\u{9b}2K\u{7f}\"}"), r#"{"a":"x\u009b2K\u007f"}"#);
    }

    #[test]
    fn a_table_aligns_its_columns_and_leaves_no_trailing_blanks() {
        let rows = vec![vec!["a".into(), "bb".into()], vec!["ccc".into(), "d".into()]];
        assert_eq!(table(&["X", "Y"], &rows), "X    Y\na    bb\nccc  d");
    }

    #[test]
    fn a_cell_of_a_table_cannot_steer_the_terminal() {
        let rows = vec![vec!["a\u{1b}[2K\u{202e}\n".into(), "é".into()]];
        assert_eq!(table(&["X", "Y"], &rows).lines().last(), Some(r"a\u{1b}[2K\u{202e}\u{a}  é"));
        // A soft hyphen, a mark of Arabic, a joiner, an isolate, a separator of lines, a tag.
        for hidden in ['\u{ad}', '\u{61c}', '\u{200d}', '\u{2066}', '\u{2028}', '\u{e0041}'] {
            assert_eq!(plain(&hidden.to_string()), hidden.escape_unicode().to_string());
        }
    }
}
