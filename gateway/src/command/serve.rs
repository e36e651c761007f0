//! `portcullis serve`: runs the gateway until Ctrl-C or SIGTERM.

use std::process::ExitCode;

use clap::Args;

use super::{Deployment, print};
use crate::open::OpenError;
use crate::serve::{Running, StopSignal};

/// Arguments of `portcullis serve`.
#[derive(Debug, Args)]
#[command(after_help = "SIGTERM and Ctrl-C end it in order: no new connections, running calls \
    finish within `drain_timeout`, the ledger is flushed, exit 0.")]
pub struct ServeArgs {
    #[command(flatten)]
    deployment: Deployment,
}

/// Runs the gateway.
#[must_use]
pub fn run(args: ServeArgs) -> ExitCode {
    super::log_to_stderr();
    let settings = match args.deployment.settings_to_serve() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    match super::block_on(serve(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => print::fault(fault),
    }
}

async fn serve(settings: crate::config::Settings) -> Result<(), OpenError> {
    let running = Running::start(settings).await?;
    let stop = StopSignal::listen();
    print::line(format_args!("portcullis listens on {}", running.url()));
    stop.asked().await;
    running.stop().await;
    Ok(())
}
