//! The decision table: who may call what, in a form that a reviewer reads as a diff.

use std::fmt::Write as _;

use crate::cases::example_request;
use crate::rulebook::Rulebook;
use crate::verdict::{Confirmation, Question, VerdictKind};
use crate::vocabulary::{Principal, TenantId, ToolName};

/// One column of the table: somebody, and on whose things the tools would work.
#[derive(Debug, Clone)]
pub struct Column {
    /// What stands above the column.
    pub label: String,
    /// Who asks.
    pub principal: Principal,
    /// On whose things.
    pub target_tenant: TenantId,
}

/// The table of all tools against the given people, as aligned text with a legend.
///
/// Each call has the smallest arguments that fit the schema and no confirmation. Tools are in the order of their names;
/// `-` is a refusal.
pub fn decision_table(rulebook: &Rulebook, columns: &[Column]) -> String {
    let people: Vec<_> = columns.iter().map(|c| rulebook.prepare(&c.principal)).collect();
    let mut rows = vec![header(columns)];
    for (name, facts) in rulebook.tools_by_name() {
        let input = facts.input.smallest();
        let cell = |(column, principal)| {
            let column: &Column = column;
            let question = Question {
                op: uuid::Uuid::nil(),
                call_digest: [0; 32],
                principal,
                tool: name,
                target_tenant: &column.target_tenant,
                target_id: None,
                target_owner: None,
                input: &input,
                request: example_request(),
                confirmation: Confirmation::none(),
            };
            word(rulebook.decide(&question).verdict.kind()).to_owned()
        };
        let mut row = vec![ToolName::to_string(name), facts.group.to_string()];
        row.extend(columns.iter().zip(&people).map(cell));
        rows.push(row);
    }
    let legend =
        "permit: at once   ask: after a confirmation   other: after somebody else's   -: refused";
    format!("{}\n{legend}\n", aligned(&rows))
}

fn header(columns: &[Column]) -> Vec<String> {
    let labels = columns.iter().map(|c| c.label.clone());
    ["tool", "type"].map(str::to_owned).into_iter().chain(labels).collect()
}

fn word(kind: VerdictKind) -> &'static str {
    match kind {
        VerdictKind::Permit => "permit",
        VerdictKind::AskFirst => "ask",
        VerdictKind::AskOther => "other",
        VerdictKind::Refuse => "-",
    }
}

fn aligned(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            match widths.get_mut(at) {
                Some(width) => *width = (*width).max(cell.chars().count()),
                None => widths.push(cell.chars().count()),
            }
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}   ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
