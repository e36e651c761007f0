//! `portcullis policy check`: whether the rules can be used, and what they cannot see.

use serde_json::json;

use super::super::{catalogue, print};
use super::error::PolicyError;
use super::subject::{Place, Subject};

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
        "unseen": book.untypable(),
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

fn print_unseen(subject: &Subject) {
    let unseen = subject.rulebook.untypable();
    if unseen.is_empty() {
        return;
    }
    let row = |of: &portcullis_policies::UntypableArgument| {
        vec![of.tool.to_string(), of.path.clone(), of.why.clone()]
    };
    let rows: Vec<Vec<String>> = unseen.iter().map(row).collect();
    print::line("\nRules cannot see these arguments:");
    print::line(print::table(&["TOOL", "ARGUMENT", "WHY"], &rows));
}
