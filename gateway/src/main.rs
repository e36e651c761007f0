//! The `portcullis` command: reads its arguments, runs one command, and ends with its exit code.

use clap::Parser;
use portcullis::command::{Cli, run};

// Cedar allocates per decision; this allocator takes 8-10 % off it (engineering-facts.md 1).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    if let Err(fault) = portcullis::harden::process() {
        portcullis::command::not_hardened(&fault);
        return std::process::ExitCode::FAILURE;
    }
    run(Cli::parse())
}
