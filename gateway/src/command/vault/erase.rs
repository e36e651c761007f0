//! `portcullis vault erase`: keys are destroyed for good, and a certificate says which.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args};
use portcullis_audit::crash_point;
use portcullis_policies::TenantId;
use portcullis_secrets::{
    DEADLINE, Destroyed, DestroyedKey, Epochs, Erasure, KekVersion, KeyRef, KeyState,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::super::records::{CommandError, Shown};
use super::super::{print, time};
use crate::config::Settings;
use crate::directory::{Actor, Directory};
use crate::secrets::OpenedVault;

/// How often a running gateway wipes keys that had their time (`serve.rs`, `keep_house`).
const WIPED_WITHIN: Duration = Duration::from_secs(30);

/// Whose keys; exactly one.
#[derive(Debug, Args)]
#[group(skip)]
#[command(group(ArgGroup::new("whom").required(true).args(["tenant", "user"])))]
pub(super) struct Whose {
    /// All keys of a tenant and of its users
    #[arg(long)]
    tenant: Option<TenantId>,
    /// All keys of one user, in every app: the user's id
    #[arg(long)]
    user: Option<String>,
}

/// Arguments of `portcullis vault erase`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Erase {
    #[command(flatten)]
    whose: Whose,
    /// Where the certificate goes; printed where this is absent
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Yes, for good
    #[arg(long)]
    yes: bool,
}

/// What was destroyed. Its digest is in the ledger, so that nobody can write another one later.
#[derive(Serialize)]
struct Certificate {
    certificate: &'static str,
    whose: String,
    destroyed_at: String,
    /// By then no replica has an unwrapped key in memory any more.
    live_by: String,
    /// By then no copy of these keys opens any more, whoever has it; none: never by itself.
    final_by: Option<String>,
    by: String,
    secrets_forgotten: u64,
    keys: Vec<Key>,
    /// Copies of these keys in backups stay readable until these versions of the key-encryption key are
    /// destroyed, too; each such destruction is a record of the deployment's log.
    final_once_destroyed: Vec<u32>,
}

#[derive(Serialize)]
struct Key {
    id: String,
    tenant: String,
    user: String,
    app: String,
    version: u32,
    wrapped_under: u32,
}

impl Whose {
    /// Tenant and user, as ids.
    pub(super) async fn find(
        &self,
        directory: &Directory,
    ) -> Result<(String, Option<String>), CommandError> {
        match (&self.tenant, &self.user) {
            (Some(tenant), _) => Ok((tenant.to_string(), None)),
            (None, Some(user)) => {
                let user = directory.user(user).await?;
                Ok((user.tenant.to_string(), Some(user.id)))
            }
            (None, None) => Err(CommandError::WhichTenant),
        }
    }
}

/// Destroys and certifies.
pub(super) async fn run(
    settings: &Settings,
    opened: &OpenedVault,
    directory: &Directory,
    by: &Actor,
    whose: Erase,
) -> Result<Shown, CommandError> {
    let (tenant, user) = whose.whose.find(directory).await?;
    let shown = user.clone().unwrap_or_else(|| tenant.clone());
    if !whose.yes {
        return Err(CommandError::NotSure(shown));
    }
    let what = match &user {
        None => Erasure::Tenant(tenant.clone()),
        Some(user) => Erasure::User { tenant: tenant.clone(), user: user.clone() },
    };
    // A certificate that could not be kept is found before anything is destroyed.
    let mut file = open_new(whose.certificate.as_deref())?;
    // Values first: a crash in between leaves keys that open nothing, not values without a certificate.
    let forgotten = directory.forget_secrets_of(&tenant, user.as_deref(), by).await?;
    let forgotten = forgotten.map_err(|hold| {
        // Nothing is certified; asked again, the name must be free.
        whose.certificate.as_deref().map(std::fs::remove_file);
        CommandError::Held(hold)
    })?;
    let destroyed = opened.vault.destroy(&what).await?;
    crash_point!("vault_erase_destroyed");
    // What was set in between; a hold that came in between keeps that, and came too late for the keys.
    let meanwhile = directory.forget_secrets_set_meanwhile(&tenant, user.as_deref(), by).await?;
    let (late, held) = meanwhile.map_or_else(|hold| (0, Some(hold)), |count| (count, None));
    let known = opened.vault.store().kek_versions().await?;
    let epochs = opened.vault.epochs(settings.final_erasure.unwrap_or_default());
    let final_by = settings.final_erasure.and_then(|_| final_by(epochs, &known, &destroyed));
    let left = left_under(&known, &destroyed, epochs.delay);
    let certificate = certificate(shown, (&destroyed, left), forgotten + late, by).effective(
        destroyed.at_ms,
        settings.key_cache,
        final_by,
    );
    let text = serde_json::to_string_pretty(&certificate).map_err(CommandError::Json)? + "\n";
    let digest = hex::encode(Sha256::digest(text.as_bytes()));
    let whose_keys = (tenant.as_str(), certificate.whose.as_str());
    let (count, final_words) = (destroyed.keys.len(), certificate.final_words());
    directory.note_erasure(whose_keys, (&digest, count), (&final_words, held), by).await?;
    if let Some(file) = &mut file {
        let kept = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        // Its digest is in the ledger: the text must not be lost.
        kept.inspect_err(|_| print::line(&text)).map_err(CommandError::Certificate)?;
    }
    let words = certificate.words(whose.certificate.as_deref(), &text, &digest);
    Shown::line(words, &serde_json::json!({ "sha256": digest, "certificate": certificate }))
}

/// When the last version that wrapped one of these keys is gone, if versions change by themselves.
fn final_by(epochs: Epochs, known: &[KekVersion], destroyed: &Destroyed) -> Option<i64> {
    let noted = left_of(known, destroyed, epochs.delay)
        .map(|version| epochs.final_at(version, destroyed.at_ms));
    // Its term begins when a gateway notes it.
    let unnoted = |key: &DestroyedKey| known.iter().all(|version| version.key != key.kek);
    let whole = i64::try_from(epochs.final_within.as_millis()).unwrap_or(i64::MAX);
    let from_now = destroyed.keys.iter().any(unnoted);
    noted.chain(from_now.then(|| destroyed.at_ms.saturating_add(whole))).max()
}

/// Versions under which a copy of these keys may be wrapped: not only those of today, for a key is wrapped again
/// under each new one, and copies of the days before stay as they are.
fn left_of<'a>(
    known: &'a [KekVersion],
    destroyed: &Destroyed,
    delay: Duration,
) -> impl Iterator<Item = &'a KekVersion> + use<'a> {
    let (none, at_ms) = (destroyed.keys.is_empty(), destroyed.at_ms);
    known.iter().filter(move |version| !none && !is_gone(version, delay, at_ms))
}

/// One that was told to go is left for as long as the provider can bring it back. Nobody asks the provider
/// whether somebody did.
fn is_gone(version: &KekVersion, delay: Duration, at_ms: i64) -> bool {
    let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
    version.state == KeyState::Destroyed && version.changed_ms.saturating_add(delay) <= at_ms
}

/// Numbers of the versions that are left, and of those that wrapped one of these keys and are not known to be gone.
fn left_under(known: &[KekVersion], destroyed: &Destroyed, delay: Duration) -> Vec<u32> {
    let gone = |key: &KeyRef| {
        let mut known = known.iter().filter(|version| version.key == *key);
        known.any(|version| is_gone(version, delay, destroyed.at_ms))
    };
    let own = destroyed.keys.iter().map(|key| &key.kek).filter(|key| !gone(key));
    let left = left_of(known, destroyed, delay).map(|version| &version.key);
    let mut numbers: Vec<u32> = own.chain(left).map(|key| key.kek_ver).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

impl Certificate {
    fn effective(self, at_ms: i64, cache: Duration, final_by: Option<i64>) -> Self {
        // A question that was under way, and the next round of who wipes what had its time.
        let late = cache.saturating_add(DEADLINE).saturating_add(WIPED_WITHIN);
        let cache = i64::try_from(late.as_millis()).unwrap_or(i64::MAX);
        let live_by = time(at_ms.saturating_add(cache));
        Self { live_by, final_by: final_by.map(time), ..self }
    }

    /// What was done, for people; the certificate itself where it has no file.
    fn words(&self, file: Option<&Path>, text: &str, digest: &str) -> String {
        let (count, live_by, final_words) = (self.keys.len(), &self.live_by, self.final_words());
        let said = match file {
            Some(file) => {
                format!("{count} keys are destroyed; the certificate is {}", file.display())
            }
            None => {
                format!("{text}\n{count} keys are destroyed; SHA-256 of this certificate: {digest}")
            }
        };
        format!(
            "{said}\nunreadable here now, and in every replica by {live_by} UTC\nin old copies: {final_words}"
        )
    }

    /// When copies are unreadable, too.
    fn final_words(&self) -> String {
        let versions: Vec<String> =
            self.final_once_destroyed.iter().map(ToString::to_string).collect();
        match (&self.final_by, versions.is_empty()) {
            (_, true) if self.keys.is_empty() => "there were no keys".to_owned(),
            (_, true) => "unreadable already".to_owned(),
            (Some(at), _) => format!("unreadable by {at} UTC"),
            (None, _) => format!(
                "readable until somebody destroys key-encryption key version {}; \
                 `[key_provider] final_erasure` does it by itself",
                versions.join(", ")
            ),
        }
    }
}

fn open_new(path: Option<&Path>) -> Result<Option<File>, CommandError> {
    let Some(path) = path else { return Ok(None) };
    File::create_new(path).map(Some).map_err(CommandError::NoCertificate)
}

fn certificate(
    whose: String,
    (destroyed, final_once_destroyed): (&Destroyed, Vec<u32>),
    forgotten: u64,
    by: &Actor,
) -> Certificate {
    Certificate {
        certificate: "portcullis key destruction, version 1",
        whose,
        destroyed_at: time(destroyed.at_ms),
        live_by: String::new(),
        final_by: None,
        by: by.to_string(),
        secrets_forgotten: forgotten,
        keys: destroyed.keys.iter().map(key).collect(),
        final_once_destroyed,
    }
}

fn key(key: &DestroyedKey) -> Key {
    Key {
        id: key.sk_id.to_string(),
        tenant: key.scope.tenant().to_owned(),
        user: key.scope.user().to_owned(),
        app: key.scope.extension().to_owned(),
        version: key.sk_ver,
        wrapped_under: key.kek.kek_ver,
    }
}

#[cfg(test)]
mod tests {
    use portcullis_secrets::{Scope, ScopeKeyId};

    use super::*;

    const DAY_MS: i64 = 86_400_000;
    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    fn key_ref(kek_ver: u32) -> KeyRef {
        KeyRef { kek_id: "kek".to_owned(), kek_ver }
    }

    fn noted(kek_ver: u32, state: KeyState, on_day: i64) -> KekVersion {
        let (kek_provider, key) = ("test".to_owned(), key_ref(kek_ver));
        KekVersion { kek_provider, key, state, changed_ms: on_day * DAY_MS }
    }

    /// One key, destroyed on day 20.
    fn destroyed(kek_ver: u32) -> Destroyed {
        let (sk_id, scope) =
            (ScopeKeyId::from_bytes([7; 16]), Scope::new("imp_t_acme", "ana", "notes").unwrap());
        let key = DestroyedKey { sk_id, scope, sk_ver: 1, kek: key_ref(kek_ver) };
        Destroyed { keys: vec![key], at_ms: 20 * DAY_MS }
    }

    fn left(known: &[KekVersion], delay: Duration) -> Vec<u32> {
        left_under(known, &destroyed(1), delay)
    }

    #[test]
    fn a_version_that_can_still_be_brought_back_is_left() {
        let known = [noted(1, KeyState::Destroyed, 18), noted(2, KeyState::Active, 18)];
        assert_eq!(left(&known, Duration::ZERO), [2]);
        assert_eq!(left(&known, WEEK), [1, 2]);
        let known = [noted(1, KeyState::Destroyed, 13), noted(2, KeyState::Active, 18)];
        assert_eq!(left(&known, WEEK), [2], "its week is over");
        assert_eq!(left(&known[1..], WEEK), [1, 2], "nobody noted what became of it");
        let words = |left| {
            let by = Actor::gateway();
            certificate("ana".to_owned(), (&destroyed(1), left), 0, &by).final_words()
        };
        let gone = [noted(1, KeyState::Destroyed, 1), noted(2, KeyState::Destroyed, 2)];
        assert_eq!(words(left(&gone, WEEK)), "unreadable already");
        assert!(words(vec![1, 2]).contains("version 1, 2"), "{}", words(vec![1, 2]));
    }

    #[test]
    fn a_bound_is_stated_for_a_version_that_no_gateway_has_noted_yet() {
        let final_within = Duration::from_secs(30 * 86_400);
        let epochs = Epochs { final_within, live_within: WEEK, delay: Duration::ZERO };
        let days = |known: &[KekVersion], kek_ver| {
            final_by(epochs, known, &destroyed(kek_ver)).map(|at_ms| at_ms / DAY_MS)
        };
        assert_eq!(days(&[], 1), Some(50));
        assert_eq!(days(&[noted(1, KeyState::Active, 15)], 1), Some(45), "its term runs");
        assert_eq!(days(&[noted(1, KeyState::Active, 15)], 2), Some(50));
        let none = Destroyed { keys: Vec::new(), at_ms: 0 };
        assert_eq!(final_by(epochs, &[], &none), None, "there is nothing to wait for");
    }
}
