//! `portcullis policy replay`: does the recorded set give the recorded decision, and would another?

use std::path::PathBuf;

use clap::Args;
use portcullis_audit::Query;
use portcullis_policies::{RecordedSet, ReplayedVerdict, Rulebook};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::super::{catalogue, print};
use super::error::PolicyError;
use super::past::{Archive, Past};
use super::subject::{Place, rules_of};

/// Arguments of `portcullis policy replay`.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// One recorded operation; without it, the newest records of all logs
    #[arg(long, value_name = "OPERATION", conflicts_with_all = ["log", "since", "limit"])]
    op: Option<Uuid>,
    /// A candidate: a folder with rules/; says what it would have decided instead
    #[arg(long, value_name = "FOLDER")]
    against: Option<PathBuf>,
    /// Only this log: a tenant
    #[arg(long)]
    log: Option<String>,
    /// Only records from this time on, such as 2026-11-21T10:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<jiff::Timestamp>,
    /// At most so many records, the newest
    #[arg(long, default_value_t = 1000)]
    limit: u64,
}

/// One decision, run again.
#[derive(Serialize)]
struct Again {
    op: Uuid,
    time: String,
    tool: String,
    recorded: String,
    replayed: ReplayedVerdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate: Option<ReplayedVerdict>,
}

impl Again {
    fn of(past: &Past, candidate: Option<&RecordedSet>) -> Result<Self, PolicyError> {
        Ok(Self {
            op: past.row.record.op,
            time: past.row.record.ts.clone(),
            tool: past.tool(),
            recorded: past.verdict().to_owned(),
            replayed: past.set.replay(&past.capsule)?,
            candidate: candidate.map(|set| set.replay(&past.capsule)).transpose()?,
        })
    }

    /// The recorded set says what was recorded.
    fn agrees(&self) -> bool {
        self.replayed.verdict.as_str() == self.recorded
    }

    /// The candidate would have decided otherwise.
    fn flips(&self) -> bool {
        self.candidate.as_ref().is_some_and(|of| of.verdict != self.replayed.verdict)
    }

    fn row(&self) -> Vec<String> {
        let word = match (self.agrees(), self.flips()) {
            (false, _) => "DIFFERS",
            (true, true) => "FLIPS",
            (true, false) => "same",
        };
        let last = self.candidate.as_ref().unwrap_or(&self.replayed);
        vec![
            word.to_owned(),
            self.op.to_string(),
            self.time.clone(),
            self.tool.clone(),
            self.recorded.clone(),
            last.verdict.to_string(),
            last.rules.iter().chain(&last.errors).cloned().collect::<Vec<_>>().join(", "),
        ]
    }
}

/// Whether every decision is the recorded one, and the candidate's too.
pub(super) async fn run(place: &Place, args: &ReplayArgs) -> Result<bool, PolicyError> {
    let candidate = match &args.against {
        Some(_) => Some(candidate(place, args).await?),
        None => None,
    };
    let mut archive = Archive::open(&place.settings).await?;
    let (mut again, mut closed) = (Vec::new(), Vec::new());
    match args.op {
        Some(op) => again.push(Again::of(&archive.decision(op).await?, candidate.as_ref())?),
        None => {
            for row in since(&archive, args)? {
                let op = row.record.op;
                match archive.past(row).await {
                    Ok(Some(past)) => again.push(Again::of(&past, candidate.as_ref())?),
                    Ok(None) => {}
                    // One erased person must not hide what the set does to all others.
                    Err(fault) => closed.push(format!("{op}: {fault}")),
                }
            }
        }
    }
    print_all(place, args, &again, &closed);
    Ok(again.iter().all(|one| one.agrees() && !one.flips()))
}

/// The candidate is checked against the tools of now, like a set that is to be loaded.
async fn candidate(place: &Place, args: &ReplayArgs) -> Result<RecordedSet, PolicyError> {
    let sources = rules_of(args.against.as_deref())?;
    let tools = place.tools().await?;
    catalogue::print_problems(&tools.problems);
    Ok(Rulebook::load(&sources, &tools.specs)?.recorded()?)
}

fn since(
    archive: &Archive,
    args: &ReplayArgs,
) -> Result<Vec<portcullis_audit::RecordRow>, PolicyError> {
    let query = Query { log: args.log.clone(), limit: Some(args.limit), ..Query::default() };
    let mut rows = archive.decided(&query)?;
    if let Some(since) = args.since {
        // Both in UTC with six digits of a second, so that the texts have the order of the times.
        let since = format!("{since:.6}");
        rows.retain(|row| row.record.ts >= since);
    }
    Ok(rows)
}

fn print_all(place: &Place, args: &ReplayArgs, again: &[Again], closed: &[String]) {
    let differ = again.iter().filter(|one| !one.agrees()).count();
    let flips = again.iter().filter(|one| one.flips()).count();
    if place.json {
        print::json(&json!({
            "replayed": again.len(), "differ": differ, "flips": flips, "closed": closed,
            "decisions": again.iter().filter(|one| shown(args, one)).collect::<Vec<_>>(),
        }));
        return;
    }
    let rows: Vec<Vec<String>> =
        again.iter().filter(|one| shown(args, one)).map(Again::row).collect();
    if !rows.is_empty() {
        let head = ["", "OPERATION", "TIME", "TOOL", "RECORDED", "NOW", "RULES"];
        print::line(print::table(&head, &rows));
        print::line("");
    }
    let flips = args
        .against
        .as_ref()
        .map_or(String::new(), |dir| format!("; {} would flip {flips}", dir.display()));
    print::line(format_args!(
        "{} decisions replayed, {differ} differ from the ledger{flips}",
        again.len()
    ));
    for line in closed {
        print::error(format_args!("not replayed: {line}"));
    }
}

/// A range shows only what is not as it was.
fn shown(args: &ReplayArgs, one: &Again) -> bool {
    args.op.is_some() || !one.agrees() || one.flips()
}
