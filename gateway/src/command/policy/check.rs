//! `portcullis policy check`: whether the rules can be used, and what they cannot see.

use std::collections::BTreeMap;

use portcullis_policies::{ToolName, UntypableArgument};
use serde_json::json;

use super::super::{catalogue, print};
use super::error::PolicyError;
use super::subject::{Place, Subject, Tools};

/// Always true: mistakes are an error.
pub(super) async fn run(place: &Place) -> Result<bool, PolicyError> {
    let subject = place.load().await?;
    if place.json {
        print_json(place, &subject);
    } else {
        print_text(place, &subject);
    }
    Ok(true)
}

fn print_json(place: &Place, subject: &Subject) {
    let book = &subject.rulebook;
    print::json(&json!({
        "ok": true,
        "policy_set": book.digest().to_string(),
        "schema": book.schema_digest(),
        "rules_from": place.rules_dir(),
        "policies": book.rule_count(),
        "invariants": book.invariant_count(),
        "tools": book.tool_count(),
        "tools_from": subject.tools.from,
        "unseen": unseen(subject),
        "problems": subject.tools.problems,
    }));
}

fn print_text(place: &Place, subject: &Subject) {
    let book = &subject.rulebook;
    let from =
        place.rules_dir().map_or("those of the binary".into(), |dir| dir.display().to_string());
    let rows = [
        ("policy set", book.digest().to_string()),
        ("policies", format!("{}, {from}", book.rule_count())),
        (
            "invariants",
            format!("{} (`portcullis policy prove` proves them)", book.invariant_count()),
        ),
        ("tools", format!("{}, {}", book.tool_count(), subject.tools.from)),
    ];
    let rows = rows.map(|(what, value)| vec![what.to_owned(), value]);
    print::line(print::table(&["CHECKED", "AND IN ORDER"], &rows));
    print_unseen(subject);
    catalogue::print_problems(&subject.tools.problems);
}

/// What reaches a tool and no rule: the arguments without a type, and the bodies of proxied requests.
fn unseen(subject: &Subject) -> Vec<UntypableArgument> {
    let arguments = subject.rulebook.untypable().iter().cloned();
    arguments.chain(bodies(&subject.tools)).collect()
}

/// The proxy passes on a body with every method and reads none.
fn bodies(tools: &Tools) -> impl Iterator<Item = UntypableArgument> {
    let proxied = |tool: &ToolName| {
        let app = tools.catalogue.as_ref().and_then(|catalogue| catalogue.app(tool.app()));
        app.is_some_and(|app| app.upstream.as_proxy().is_some())
    };
    let routes = tools.specs.iter().map(|spec| &spec.name).filter(move |tool| proxied(tool));
    routes.map(|tool| UntypableArgument {
        tool: tool.clone(),
        path: "$.body".to_owned(),
        why: "of a proxied request rules see the path and the query, never the body".to_owned(),
        open: false,
    })
}

/// Most schemas are open, so an open end gets no row of its own: a line a tool, after what has a name.
fn print_unseen(subject: &Subject) {
    let (open, named): (Vec<_>, Vec<_>) = unseen(subject).into_iter().partition(|of| of.open);
    if !named.is_empty() {
        let rows: Vec<_> =
            named.into_iter().map(|of| vec![of.tool.to_string(), of.path, of.why]).collect();
        print::line("\nRules cannot see these arguments:");
        print::line(print::table(&["TOOL", "ARGUMENT", "WHY"], &rows));
    }
    if !open.is_empty() {
        print::line(
            "\nRules cannot see what an open schema lets in \
             (`additionalProperties: false` closes it; --json says why):",
        );
        open_lines(&open).into_iter().for_each(print::line);
    }
}

/// A line a tool.
fn open_lines(open: &[UntypableArgument]) -> Vec<String> {
    let mut places: BTreeMap<&ToolName, Vec<&str>> = BTreeMap::new();
    for of in open {
        places.entry(&of.tool).or_default().push(&of.path);
    }
    let line = |(tool, places): (&ToolName, Vec<&str>)| {
        let at = match places.as_slice() {
            ["$.*"] | [] => String::new(),
            [first] => format!(", at {}", print::plain(first)),
            [first, others @ ..] => {
                format!(", at {} and {} more", print::plain(first), others.len())
            }
        };
        format!("{tool}: any argument that its schema does not name{at}")
    };
    places.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_server_cannot_erase_the_line_about_itself() {
        let open = UntypableArgument {
            tool: "app/tool".parse().unwrap(),
            path: "$.a\u{1b}[2K\r.*".to_owned(),
            why: String::new(),
            open: true,
        };
        let lines = open_lines(&[open]);
        assert_eq!(
            lines,
            [r"app/tool: any argument that its schema does not name, at $.a\u{1b}[2K\u{d}.*"]
        );
    }
}
