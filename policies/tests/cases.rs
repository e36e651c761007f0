//! The cases that come with the rules, the runner that runs them, and the decision table.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod support;

#[path = "cases/written_anew.rs"]
mod written_anew;

use portcullis_policies::*;
use serde_json::{Value, json};
use support::*;

fn book() -> Rulebook {
    load(&RuleSources::embedded())
}

fn run(cases: &Value) -> CaseReport {
    run_cases(&book(), &[CaseFile { path: "x.json".to_owned(), text: cases.to_string() }])
}

fn gates() -> Value {
    serde_json::from_str(&CaseFile::embedded()[1].text).unwrap()
}

#[test]
fn embedded_cases_pass() {
    let report = run_cases(&book(), &CaseFile::embedded());
    assert!(report.passed() && report.results.len() > 20, "{report}");
}

#[test]
fn embedded_cases_hold_for_every_gate() {
    let text = CaseFile::embedded().iter().map(|f| f.text.clone()).collect::<String>();
    let rules: RuleSources = serde_json::from_slice(book().policy_texts()).unwrap();
    for file in rules.platform {
        for id in file.text.lines().filter_map(|l| l.strip_prefix("@id(\"")?.strip_suffix("\")")) {
            assert!(text.contains(&format!("\"{id}\"")), "no case is decided by {id}");
        }
    }
}

#[test]
fn zero_cases_is_a_failure() {
    assert!(!run_cases(&book(), &[]).passed());
    assert!(!run(&json!([])).passed());
}

#[test]
fn wrong_expectation_fails_and_says_what_differs() {
    for (key, wrong) in [
        ("decision", json!("deny")),
        ("reason", json!(["tenant/other-tenant"])),
        ("num_errors", json!(1)),
        ("verdict", json!("refuse")),
    ] {
        let mut case = gates()[0].clone();
        case[key] = wrong;
        let report = run(&json!([case]));
        assert!(!report.passed());
        assert!(report.results[0].differences[0].contains(key), "{report}");
    }
}

#[test]
fn unreadable_case_is_one_that_failed() {
    let mut typo = gates()[0].clone();
    typo["verdct"] = json!("permit");
    assert!(!run(&json!([typo])).passed());
    assert!(!run(&json!({"not": "an array"})).passed());
}

#[test]
fn request_that_is_not_its_call_fails() {
    let mut case = gates()[0].clone();
    case["request"]["context"]["request"]["channel"] = json!("mcp");
    assert!(!run(&json!([case])).passed());
}

#[test]
fn counterexample_is_a_case_that_fails_until_the_rules_are_mended() {
    let mut broken = RuleSources::embedded();
    broken.platform.retain(|f| !f.path.ends_with("tenant.cedar"));
    let rulebook = load(&broken);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let solver = Solver::find().unwrap();
    let report = runtime.block_on(prove(&rulebook, &broken, &solver)).unwrap();
    let text = report.findings[0].counterexample.case_file();
    let file = [CaseFile { path: "counterexample.json".to_owned(), text }];
    assert!(!run_cases(&rulebook, &file).passed());
    let mended = run_cases(&book(), &file);
    assert!(mended.passed(), "{mended}");
}

#[test]
fn decision_table_shows_every_tool_for_everybody() {
    let column = |label: &str, scopes: &[&str], tenant: &str| Column {
        label: label.to_owned(),
        principal: user(scopes),
        target_tenant: tenant.parse().unwrap(),
    };
    let columns = [
        column("viewer", &["notes:read"], "imp_t_one"),
        column("member", &["notes:*", "bank:write"], "imp_t_one"),
        column("stranger", &["*"], "imp_t_two"),
    ];
    let expected = "\
tool                             type          viewer   member   stranger
bank/pay_invoice                 write         -        permit   -
notes/add_note                   write         -        permit   -
notes/delete_note                destructive   -        ask      -
notes/list_notes                 read          permit   permit   -
secrets/delete                   write         -        -        -
secrets/get                      read          -        -        -
secrets/list                     read          -        -        -
secrets/meta                     read          -        -        -
secrets/set                      write         -        -        -

permit: at once   ask: after a confirmation   other: after somebody else's   -: refused
";
    // What admins and people do with the directory is in the table of the tests with real parts.
    let of_directory = |line: &&str| {
        ["account/", "cache/", "confirmations/", "directory/"].iter().any(|a| line.starts_with(a))
    };
    let table = decision_table(&book(), &columns);
    let shown: String =
        table.lines().filter(|l| !of_directory(l)).map(|l| format!("{l}\n")).collect();
    assert_eq!(shown, expected);
}
