//! `portcullis policy test`: one line for each case.

use portcullis_policies::{CaseReport, run_cases};

use super::super::print;
use super::error::PolicyError;
use super::subject::Place;

/// Whether there is a case and every one passed.
pub(super) async fn run(place: &Place) -> Result<bool, PolicyError> {
    let subject = place.load().await?;
    let report = run_cases(&subject.rulebook, &place.cases()?);
    if place.json {
        print::json(&report.to_json());
    } else {
        print_text(&report);
    }
    Ok(report.passed())
}

fn print_text(report: &CaseReport) {
    let rows: Vec<Vec<String>> = report
        .results
        .iter()
        .map(|case| {
            let word = if case.differences.is_empty() { "ok" } else { "FAILED" };
            vec![word.to_owned(), case.name.clone(), case.file.clone()]
        })
        .collect();
    if rows.is_empty() {
        print::error("there is no case; add one to cases/, since no case proves nothing");
        return;
    }
    print::line(print::table(&["RESULT", "CASE", "FILE"], &rows));
    let failed: Vec<_> = report.results.iter().filter(|r| !r.differences.is_empty()).collect();
    for case in &failed {
        print::line(format_args!(
            "\n{} ({}):\n  {}",
            case.name,
            case.file,
            case.differences.join("\n  ")
        ));
    }
    print::line(format_args!("\n{} of {} cases passed", rows.len() - failed.len(), rows.len()));
}
