//! `portcullis policy prove`: runs the solver, keeps its receipt, or shows what breaks the rules.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use portcullis_policies::{Finding, ProofReceipt, ProofReport, Solver, prove};
use serde_json::json;

use super::super::{catalogue, print};
use super::error::PolicyError;
use super::subject::{Place, Subject};

/// Arguments of `portcullis policy prove`.
#[derive(Debug, Args)]
pub(super) struct ProveArgs {
    /// Write the receipt that `proof_receipt` under [policies] takes, for hosts without a solver
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Where counterexamples are written as cases; the cases/ of the rules' folder when left out
    #[arg(long, value_name = "FOLDER")]
    cases_dir: Option<PathBuf>,
}

/// Whether everything holds.
pub(super) async fn run(place: &Place, args: &ProveArgs) -> Result<bool, PolicyError> {
    let solver = solver(place)?;
    let subject = place.load().await?;
    catalogue::print_problems(&subject.tools.problems);
    let began = Instant::now();
    let report = proved(&subject, &solver).await?;
    let written = write_counterexamples(&folder(place, args), &report.findings)?;
    if let (Some(file), Some(receipt)) = (&args.receipt, report.receipt()) {
        write_receipt(file, receipt)?;
    }
    if place.json {
        let mut answer = report.to_json();
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("written".to_owned(), json!(written));
        }
        print::json(&answer);
    } else {
        print_text(args, &report, &written, began.elapsed());
    }
    Ok(report.receipt().is_some())
}

fn solver(place: &Place) -> Result<Solver, PolicyError> {
    match &place.settings.policies.solver {
        Some(path) => {
            Solver::at(path).ok_or_else(|| PolicyError::NoSolver(format!(" at {}", path.display())))
        }
        None => Solver::find().ok_or_else(|| PolicyError::NoSolver(" on this host".to_owned())),
    }
}

async fn proved(subject: &Subject, solver: &Solver) -> Result<ProofReport, PolicyError> {
    let spinner = spinner(subject, solver);
    let report = prove(&subject.rulebook, &subject.sources, solver).await;
    spinner.finish_and_clear();
    Ok(report?)
}

/// The solver does not say how far it is; a person at a terminal sees that it works, and how long.
fn spinner(subject: &Subject, solver: &Solver) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(format!(
        "{} proves {} policies and {} invariants",
        solver.version,
        subject.rulebook.rule_count(),
        subject.rulebook.invariant_count()
    ));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn folder(place: &Place, args: &ProveArgs) -> PathBuf {
    let of_rules = || place.rules_dir().map(|dir| dir.join("cases"));
    args.cases_dir.clone().or_else(of_rules).unwrap_or_else(|| PathBuf::from("."))
}

fn write_counterexamples(dir: &Path, findings: &[Finding]) -> Result<Vec<PathBuf>, PolicyError> {
    let mut written = Vec::new();
    for finding in findings {
        let path = dir.join(&finding.counterexample.file_name);
        let write = std::fs::create_dir_all(dir)
            .and_then(|()| std::fs::write(&path, finding.counterexample.case_file()));
        write.map_err(|source| PolicyError::Write { path: path.clone(), source })?;
        written.push(path);
    }
    Ok(written)
}

fn write_receipt(file: &Path, receipt: &ProofReceipt) -> Result<(), PolicyError> {
    let failed = |source| PolicyError::Write { path: file.to_owned(), source };
    let text = serde_json::to_string_pretty(receipt).map_err(|fault| failed(fault.into()))?;
    std::fs::write(file, text + "\n").map_err(failed)
}

fn print_text(args: &ProveArgs, report: &ProofReport, written: &[PathBuf], took: Duration) {
    for (finding, file) in report.findings.iter().zip(written) {
        print::error(format_args!("{:?}", miette::Report::new(finding.error.clone())));
        print::line(format_args!(
            "{}\nis written to {} as a case that fails until the rules are mended\n",
            finding.counterexample,
            file.display()
        ));
    }
    match report.receipt() {
        None => print::error(format_args!("not proved: {} findings", report.findings.len())),
        Some(receipt) => {
            let rows = [
                ("policy set", receipt.policy_set.clone()),
                ("schema", receipt.schema.clone()),
                ("invariants", receipt.invariants.clone()),
                ("solver", receipt.solver.clone()),
                ("questions", format!("{} in {:.1} s", report.queries, took.as_secs_f64())),
            ];
            let rows = rows.map(|(what, value)| vec![what.to_owned(), value]);
            print::line(print::table(
                &["PROVED", "NO RULE CAN FAIL, EVERY INVARIANT HOLDS"],
                &rows,
            ));
            if let Some(file) = &args.receipt {
                print::line(format_args!("\nreceipt in {}", file.display()));
            }
        }
    }
}
