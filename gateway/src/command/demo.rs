//! `portcullis demo`: the show, line by line, then a gateway to play with.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::print;
use crate::demo::{Demo, DemoError, Ledgers, Line};
use crate::serve::StopSignal;

/// Arguments of `portcullis demo`.
#[derive(Debug, Args)]
#[command(after_help = "Everything lives in a folder of its own that is removed at the end; \
    nothing of an installed Portcullis is touched.")]
pub struct DemoArgs {
    /// End after the show; status 0 only if every expected verdict came
    #[arg(long)]
    exit: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Serve on this port instead of any free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    port: u16,
}

/// Runs the demo.
#[must_use]
pub fn run(args: DemoArgs) -> ExitCode {
    match super::block_on(show(&args)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            print::error("the show did not go as expected; the lines marked `!` say where");
            ExitCode::FAILURE
        }
        Err(fault) => {
            print::error(format_args!("the demo ended early: {fault}"));
            ExitCode::FAILURE
        }
    }
}

async fn show(args: &DemoArgs) -> Result<bool, DemoError> {
    let demo = Demo::start(args.port).await?;
    say(args, || {
        format!("Portcullis listens on {}, with all its files in {}\n", demo.url(), demo.dir())
    });
    let lines = demo.calls().await?;
    print_calls(args, &lines);
    let ledgers = demo.ledger().await?;
    print_ledger(args, &ledgers);
    let as_expected = lines.iter().all(Line::is_as_expected) && ledgers.is_as_expected();
    if args.json {
        print::json(&json!({ "kind": "end", "as_expected": as_expected }));
    }
    if !args.exit {
        let stop = StopSignal::listen();
        invite(args, &demo);
        stop.asked().await;
    }
    demo.stop().await;
    Ok(as_expected)
}

fn invite(args: &DemoArgs, demo: &Demo) {
    let lines = demo.invitation();
    if args.json {
        for (shows, line) in lines {
            print::json(&json!({ "kind": "curl", "shows": shows, "line": line }));
        }
        return;
    }
    print::line("\nServing until Ctrl-C. As ana, for the next 24 hours:");
    for (shows, line) in lines {
        print::line(format_args!("\n# {shows}\n{line}"));
    }
}

fn print_calls(args: &DemoArgs, lines: &[Line]) {
    if args.json {
        for line in lines {
            print::json(&json!({
                "kind": "call", "title": line.title, "verdict": line.verdict, "rules": line.rules,
                "micros": line.micros, "as_expected": line.is_as_expected(),
            }));
        }
        return;
    }
    let rows: Vec<Vec<String>> = lines.iter().map(call_row).collect();
    print::line(print::table(&["", "CALL", "VERDICT", "DECIDING RULES", "TIME"], &rows));
}

fn call_row(line: &Line) -> Vec<String> {
    let mark = if line.is_as_expected() { " " } else { "!" };
    let millis = format!("{}.{:01} ms", line.micros / 1000, line.micros % 1000 / 100);
    vec![mark.into(), line.title.into(), line.verdict.clone(), line.rules.clone(), millis]
}

fn print_ledger(args: &DemoArgs, ledgers: &Ledgers) {
    if args.json {
        for row in &ledgers.rows {
            print::json(&json!({ "kind": "record", "record": row }));
        }
        print::json(&json!({
            "kind": "verify", "whole": ledgers.whole, "says": ledgers.verdict,
            "tampered_found": ledgers.tampered_found, "tampered_says": ledgers.tampered_verdict,
        }));
        return;
    }
    let rows: Vec<Vec<String>> = ledgers.rows.iter().map(|row| row.cells()).collect();
    print::line("\nWhat these calls left in the ledger (the newest rows of each log):");
    print::line(print::table(&["LOG", "SEQ", "KIND", "WHAT", "DECISION", "RULES", "LEAF"], &rows));
    print::line(format_args!("\nverify the ledger:              {}", ledgers.verdict));
    print::line(format_args!("one byte changed in a copy:     {}", ledgers.tampered_verdict));
}

/// Words for people; scripts get JSON only.
fn say(args: &DemoArgs, text: impl FnOnce() -> String) {
    if !args.json {
        print::line(text());
    }
}
