//! The configured apps and their tools as they are now: what the policy and app commands work on.

use portcullis_kernel_adapter::catalogue::quarantine::AcceptedTools;
use portcullis_kernel_adapter::{Built, Dispatcher, DispatcherOptions, Problem};

use super::print;
use crate::apps::{self, AppsError};
use crate::config::Settings;
use crate::open::look_at_directory;

/// Reads and asks all configured apps, each within a bounded time; changes nothing.
///
/// # Errors
/// When an app's own files are wrong, or when the directory can't be read.
pub(super) async fn discover(settings: &Settings) -> Result<Built, AppsError> {
    let accepted = accepted(settings).await?;
    let dispatcher = Dispatcher::new(DispatcherOptions::default());
    let built = apps::build(settings, accepted, &dispatcher).await;
    dispatcher.close().await;
    built
}

/// Before the first start there is no directory, and looking does not make one.
async fn accepted(settings: &Settings) -> Result<AcceptedTools, AppsError> {
    let Some(directory) = look_at_directory(settings).await? else {
        return Ok(AcceptedTools::default());
    };
    let accepted = apps::accepted_tools(&directory).await;
    directory.close().await;
    accepted
}

/// Names what was left out, on stderr.
pub(super) fn print_problems(problems: &[Problem]) {
    for problem in problems {
        print::error(format_args!("warning: {}: {}", problem.subject, problem.message));
    }
}
