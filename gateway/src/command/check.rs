//! `portcullis check`: everything that is wrong with a configuration, or what it would run.

use super::{Deployment, print};
use crate::config::{self, App, Files, Loaded, Mistakes, Report, Routes, Settings, Upstream};
use clap::Args;
use portcullis_secrets::{KeyFile, KeyFileError};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

/// Arguments of `portcullis check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    deployment: Deployment,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print the JSON Schema of the configuration file, so that editors complete it
    #[arg(long, conflicts_with = "json")]
    schema: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Answer {
    ok: bool,
    mistakes: Vec<Report>,
    warnings: Vec<Report>,
    runs: Vec<Row>,
}

/// One line of what would run.
#[derive(Debug, Serialize)]
struct Row {
    what: String,
    value: String,
}

/// Exit code 0 when the configuration can be used, 1 when it cannot.
#[must_use]
pub fn run(args: CheckArgs) -> ExitCode {
    if args.schema {
        return print_schema();
    }
    let checked = match &args.deployment.config {
        Some(path) => config::load(path, Files::Read),
        None => config::parse("(defaults)", "", Path::new("")),
    };
    if args.json { print_json(checked) } else { print_text(checked) }
}

fn print_schema() -> ExitCode {
    match serde_json::to_string_pretty(&config::schema()) {
        Ok(text) => {
            print::line(text);
            ExitCode::SUCCESS
        }
        Err(why) => {
            print::error(format_args!("cannot write the schema: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn print_json(checked: Result<Loaded, Mistakes>) -> ExitCode {
    let answer = match checked {
        Ok(loaded) => Answer {
            ok: true,
            mistakes: Vec::new(),
            warnings: loaded.warnings.reports(),
            runs: rows(&loaded.settings),
        },
        Err(mistakes) => Answer {
            ok: false,
            mistakes: mistakes.reports(),
            warnings: Vec::new(),
            runs: Vec::new(),
        },
    };
    print::json(&answer);
    if answer.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_text(checked: Result<Loaded, Mistakes>) -> ExitCode {
    let loaded = match checked {
        Ok(loaded) => loaded,
        Err(mistakes) => return print::fault(mistakes),
    };
    let rows: Vec<Vec<String>> =
        rows(&loaded.settings).into_iter().map(|row| vec![row.what, row.value]).collect();
    print::line(print::table(&["WHAT", "WOULD RUN"], &rows));
    if !loaded.warnings.all().is_empty() {
        print::error(format_args!("{:?}", miette::Report::new(loaded.warnings)));
    }
    ExitCode::SUCCESS
}

fn rows(settings: &Settings) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |what: &str, value: String| rows.push(Row { what: what.to_owned(), value });
    let scheme = if settings.server.tls.is_some() { "https" } else { "http" };
    row("listen", format!("{scheme}://{}", settings.server.listen));
    if let Some(url) = &settings.server.public_url {
        row("public url", url.clone());
    }
    row("data", settings.data.dir.display().to_string());
    let key = settings.key_provider.shown();
    match &settings.key_provider {
        config::KeyProvider::KeyFile { path }
            if matches!(KeyFile::open(path), Err(KeyFileError::Absent { .. })) =>
        {
            row("key file", format!("{key} (new)"));
        }
        config::KeyProvider::KeyFile { .. } => row("key file", key),
        _ => row("key", key),
    }
    row("deployment", settings.ledger.deployment.clone());
    if let Some(line) = witnesses(&settings.ledger.witness) {
        row("witnesses", line);
    }
    row("rules", rules(settings));
    for app in settings.apps.values() {
        row(&format!("app {}", app.id), app_line(app));
    }
    rows
}

fn witnesses(watched: &config::Witnessing) -> Option<String> {
    if watched.policy == config::WitnessPolicy::None {
        return None;
    }
    let names: Vec<&str> = watched.witnesses.iter().map(|witness| witness.name.as_str()).collect();
    let (policy, quorum, lag) = (watched.policy.as_str(), watched.quorum, watched.max_lag);
    Some(format!("{policy}: {quorum} of {} within {} s", names.join(", "), lag.as_secs_f64()))
}

fn rules(settings: &Settings) -> String {
    let policies = &settings.policies;
    let from = match &policies.dir {
        Some(dir) => dir.display().to_string(),
        None => "those of the binary".to_owned(),
    };
    let proof = if policies.require_proof { ", only when proved" } else { "" };
    let watch = if policies.watch && policies.dir.is_some() { ", watched" } else { "" };
    format!("{from}{proof}{watch}")
}

fn app_line(app: &App) -> String {
    let where_it_runs = match &app.upstream {
        Upstream::Manifest { file, url } => format!("{} at {url}", file.display()),
        Upstream::McpChild { program, .. } => format!("MCP server `{program}` over stdio"),
        Upstream::McpHttp { url, .. } => format!("MCP server at {url}"),
        Upstream::Proxy { url, routes: Routes::Table(routes) } => {
            format!("proxy to {url}, {} routes", routes.len())
        }
        Upstream::Proxy { url, routes: Routes::OpenApi(file) } => {
            format!("proxy to {url}, routes of {}", file.display())
        }
        Upstream::Demo => "the demo app".to_owned(),
    };
    match &app.tenant {
        Some(tenant) => format!("{where_it_runs}, for tenant {tenant}"),
        None => format!("{where_it_runs}, for every tenant"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_run_names_every_app_and_its_place() {
        let text = "[apps.a1]\ndemo = true\n[apps.a2]\ntenant = \"default\"\n\
                    mcp = { command = [\"server\"] }\n";
        let loaded = config::parse("p.toml", text, Path::new("/x")).unwrap();
        let rows: Vec<String> = rows(&loaded.settings)
            .into_iter()
            .map(|r| format!("{}: {}", r.what, r.value))
            .collect();
        for row in [
            "listen: http://127.0.0.1:8080",
            "key file: /x/portcullis-data/keys/kek (new)",
            "app a1: the demo app, for every tenant",
            "app a2: MCP server `server` over stdio, for tenant default",
        ] {
            assert!(rows.iter().any(|found| found == row), "`{row}` is missing in {rows:#?}");
        }
    }

    #[test]
    fn the_json_answer_holds_every_mistake_and_says_that_it_is_not_ok() {
        let mistakes = config::parse("p.toml", "a = 1\nb = 2\n", Path::new("")).unwrap_err();
        assert_eq!(mistakes.reports().len(), 2);
        assert_eq!(print_json(Err(mistakes)), ExitCode::FAILURE);
    }
}
