//! Reloads the rules when their files change.

use std::path::Path;
use std::sync::Arc;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::rules::{QUIET, Rules};

/// Watches the folder of the rules until the returned guard is dropped.
///
/// # Errors
/// When the system can't watch the folder.
pub fn watch(rules: Arc<Rules>, dir: &Path) -> notify::Result<impl Sized + use<>> {
    // One slot is enough: a change that arrives while one waits is the same news.
    let (changed, changes) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            changed.try_send(()).ok();
        }
    })?;
    watcher.watch(dir, RecursiveMode::Recursive)?;
    let task = tokio::spawn(reload_on_change(rules, changes));
    Ok((watcher, tokio_util::task::AbortOnDropHandle::new(task)))
}

async fn reload_on_change(rules: Arc<Rules>, mut changes: mpsc::Receiver<()>) {
    while changes.recv().await.is_some() {
        // Editors write in several steps; wait until the files are quiet.
        while tokio::time::timeout(QUIET, changes.recv()).await.is_ok_and(|more| more.is_some()) {}
        if let Err(fault) = rules.reload(None).await {
            let report = miette::Report::new(fault);
            tracing::error!(
                "the changed rules were refused, the old ones stay in force\n{report:?}"
            );
        }
    }
}
