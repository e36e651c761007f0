//! `portcullis key signing`: replaces the key of access tokens without a failed call.

use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::records::{CommandError, Shown};
use crate::config::Settings;
use crate::deployment_keys::DeploymentKeys;
use crate::directory::{Actor, Directory, SigningKeyRow};
use crate::identify::{Haste, Rotation};
use crate::secrets::{Absent, open_vault};

/// Arguments of `portcullis key signing`.
#[derive(Debug, Args)]
pub(super) struct SigningArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The keys that are published, and when each may go on
    List,
    /// Publish the next key, wait until every verifier can have it, and let it sign; broken off, call it again
    Rotate,
    /// Publish the next key; it does not sign yet
    Prepare,
    /// Let a prepared key sign
    Promote(Which),
    /// Take a key out of use whose last token is dead, or a prepared one that shall never sign
    Retire(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// Id of the key
    kid: String,
    /// Do not wait: calls may fail, which is the smaller harm when a key is in wrong hands
    #[arg(long)]
    at_once: bool,
}

impl Which {
    fn haste(&self) -> Haste {
        if self.at_once { Haste::AtOnce } else { Haste::Patient }
    }
}

pub(super) async fn answer(
    args: SigningArgs,
    settings: &Settings,
    directory: &Directory,
    by: &Actor,
) -> Result<Shown, CommandError> {
    let keys = DeploymentKeys::new(open_vault(settings, Absent::Refuse).await?.vault);
    let rotation = Rotation { directory, sealer: &keys, by };
    match args.verb {
        Verb::List => list(&rotation).await,
        Verb::Rotate => rotate(&rotation).await,
        Verb::Prepare => {
            let made = rotation.prepare().await?;
            Shown::line(prepared(&rotation, &made), &shown(&rotation, &made))
        }
        Verb::Promote(which) => {
            rotation.promote(&which.kid, which.haste()).await?;
            signs(&rotation, &which.kid).await
        }
        Verb::Retire(which) => {
            rotation.retire(&which.kid, which.haste()).await?;
            Shown::line(format!("{} is retired", which.kid), &json!({ "retired": which.kid }))
        }
    }
}

/// The whole way up to the new key's signing; what is left to do later is said.
async fn rotate(rotation: &Rotation<'_>) -> Result<Shown, CommandError> {
    let made = rotation.prepare().await?;
    wait_until(rotation.next_at(&made)).await;
    rotation.promote(&made.kid, Haste::Patient).await?;
    signs(rotation, &made.kid).await
}

async fn signs(rotation: &Rotation<'_>, kid: &str) -> Result<Shown, CommandError> {
    let mut words = format!("{kid} signs now");
    let keys = rotation.keys().await?;
    for row in keys.iter().filter(|row| row.kid != kid) {
        if let Some(at) = rotation.next_at(row) {
            let (old, at) = (&row.kid, to_the_second(at));
            words.push_str(&format!("\nfrom {at} on: portcullis key signing retire {old}"));
        }
    }
    let keys: Vec<Value> = keys.iter().map(|row| shown(rotation, row)).collect();
    Shown::line(words, &json!({ "signing": kid, "keys": keys }))
}

async fn list(rotation: &Rotation<'_>) -> Result<Shown, CommandError> {
    let keys: Vec<Value> = rotation.keys().await?.iter().map(|row| shown(rotation, row)).collect();
    let text = |of: &Value, name| of.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    Shown::table(&["KEY", "STATE", "SINCE", "MAY GO ON"], &keys, |key| {
        ["kid", "state", "since", "next_at"].map(|name| text(key, name)).to_vec()
    })
}

fn prepared(rotation: &Rotation<'_>, made: &SigningKeyRow) -> String {
    let at = rotation.next_at(made).map(to_the_second).unwrap_or_default();
    let kid = &made.kid;
    format!("{kid} is published\nfrom {at} on: portcullis key signing promote {kid}")
}

fn shown(rotation: &Rotation<'_>, row: &SigningKeyRow) -> Value {
    json!({
        "kid": row.kid,
        "state": row.state.to_string(),
        "since": Timestamp::from_millisecond(row.changed_ms).ok().map(to_the_second),
        "next_at": rotation.next_at(row).map(to_the_second),
    })
}

/// RFC 3339, for scripts and for tables.
fn to_the_second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Waits with a bar on a terminal and one line elsewhere.
async fn wait_until(at: Option<Timestamp>) {
    let left = |at: Timestamp| Duration::try_from(at.duration_since(Timestamp::now()));
    let Some(wait) = at.and_then(|at| left(at).ok()) else { return };
    let bar = ProgressBar::with_draw_target(Some(wait.as_secs()), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {eta}") {
        bar.set_style(style);
    }
    bar.set_message("published; until every verifier can have it");
    while let Some(wait) = at.and_then(|at| left(at).ok()).filter(|wait| !wait.is_zero()) {
        tokio::time::sleep(wait.min(Duration::from_secs(1))).await;
        bar.inc(1);
    }
    bar.finish_and_clear();
}
