//! `portcullis vault status`.

use std::time::Duration;

use portcullis_secrets::{KekVersion, KeyRef, KeyState};
use serde::Serialize;

use super::super::records::{CommandError, Shown};
use super::super::{print, time};
use crate::secrets::OpenedVault;

/// A replica that said nothing for so long is taken for stopped, in milliseconds.
const LIVE_MS: i64 = 600_000;

#[derive(Serialize)]
struct Status {
    provider: &'static str,
    current: u32,
    versions: Vec<Version>,
    replicas: Vec<Replica>,
}

#[derive(Serialize)]
struct Version {
    version: u32,
    key: String,
    state: &'static str,
    scope_keys: u64,
    since: String,
    /// When copies of what it wrapped open no more, where versions change by themselves.
    final_by: Option<String>,
}

#[derive(Serialize)]
struct Replica {
    replica: String,
    version: u32,
    seen: String,
    /// Live, and wrapping with an older version than the current one.
    straggles: bool,
}

/// Shows provider, versions and replicas.
pub(super) async fn show(
    opened: &OpenedVault,
    final_erasure: Option<Duration>,
) -> Result<Shown, CommandError> {
    let epochs = final_erasure.map(|bound| opened.vault.epochs(bound));
    let final_by = |known: &KekVersion| {
        let left = epochs.filter(|_| known.state != KeyState::Destroyed);
        left.map(|epochs| time(epochs.final_at(known, crate::directory::now_ms())))
    };
    let current = opened.vault.current_kek().await?;
    let store = opened.vault.store();
    let uses = store.kek_use().await?;
    let wraps = |key: &KeyRef| uses.iter().filter(|u| u.key == *key).map(|u| u.keys).sum();
    let mut versions: Vec<Version> = Vec::new();
    for known in store.kek_versions().await? {
        let (key, scope_keys) = (known.key.to_string(), wraps(&known.key));
        let (state, since) = (known.state.as_str(), time(known.changed_ms));
        let (version, final_by) = (known.key.kek_ver, final_by(&known));
        versions.push(Version { version, key, state, scope_keys, since, final_by });
    }
    if versions.iter().all(|known| known.version != current.kek_ver) {
        let (key, scope_keys) = (current.to_string(), wraps(&current));
        let (state, since) = ("active", String::new());
        let (version, final_by) = (current.kek_ver, None);
        versions.push(Version { version, key, state, scope_keys, since, final_by });
    }
    versions.sort_by_key(|known| known.version);
    let since = crate::directory::now_ms().saturating_sub(LIVE_MS);
    let replicas = store.replicas().await?.into_iter().map(|report| Replica {
        straggles: report.at_ms >= since && report.key != current,
        version: report.key.kek_ver,
        seen: time(report.at_ms),
        replica: report.replica,
    });
    let provider = opened.vault.provider_kind();
    let status =
        Status { provider, current: current.kek_ver, versions, replicas: replicas.collect() };
    Shown::line(words(&status), &status)
}

fn words(status: &Status) -> String {
    let version = |v: &Version| {
        let (state, since) = (v.state.to_owned(), v.since.clone());
        let gone = v.final_by.clone().unwrap_or_else(|| "by command".to_owned());
        vec![v.version.to_string(), state, v.scope_keys.to_string(), since, gone, v.key.clone()]
    };
    let replica = |r: &Replica| {
        let word = if r.straggles { "STRAGGLES: restart it" } else { "" };
        vec![r.replica.clone(), r.version.to_string(), r.seen.clone(), word.to_owned()]
    };
    let versions: Vec<_> = status.versions.iter().map(version).collect();
    let replicas: Vec<_> = status.replicas.iter().map(replica).collect();
    format!(
        "key provider: {}\n\n{}\n\n{}",
        status.provider,
        print::table(&["VERSION", "STATE", "SCOPE KEYS", "SINCE", "GONE BY", "KEY"], &versions),
        print::table(&["REPLICA", "WRAPS WITH", "SEEN", ""], &replicas),
    )
}
