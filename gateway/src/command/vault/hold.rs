//! `portcullis vault hold`, `lift` and `holds`: what nobody may erase for a while.

use clap::Args;

use super::super::records::{CommandError, Shown};
use super::super::time;
use super::erase::Whose;
use crate::directory::{Actor, Directory, Hold};

/// Arguments of `portcullis vault hold`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Holding {
    #[command(flatten)]
    whose: Whose,
    /// Why; stays in the directory, the ledger says only that there is a hold
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Holds the keys of a tenant or a user.
pub(super) async fn hold(
    directory: &Directory,
    by: &Actor,
    what: &Holding,
) -> Result<Shown, CommandError> {
    let (tenant, user) = what.whose.find(directory).await?;
    directory.hold((&tenant, user.as_deref()), &what.reason, by).await?;
    let whose = user.as_deref().unwrap_or(&tenant);
    Shown::line(
        format!(
            "the keys of {whose} are held: nobody can erase them until `portcullis vault lift`"
        ),
        &serde_json::json!({ "held": whose }),
    )
}

/// Lifts a hold.
pub(super) async fn lift(
    directory: &Directory,
    by: &Actor,
    whose: &Whose,
) -> Result<Shown, CommandError> {
    let (tenant, user) = whose.find(directory).await?;
    directory.lift_hold((&tenant, user.as_deref()), by).await?;
    let whose = user.as_deref().unwrap_or(&tenant);
    Shown::line(format!("the hold on {whose} is lifted"), &serde_json::json!({ "lifted": whose }))
}

/// Lists what is held.
pub(super) async fn list(directory: &Directory) -> Result<Shown, CommandError> {
    let row = |hold: &Hold| {
        let user = hold.user.clone().unwrap_or_else(|| "(all)".to_owned());
        vec![hold.tenant.clone(), user, time(hold.since_ms), hold.by.clone(), hold.reason.clone()]
    };
    let head = ["TENANT", "USER", "SINCE", "BY", "REASON"];
    Shown::table(&head, &directory.holds().await?, row)
}
