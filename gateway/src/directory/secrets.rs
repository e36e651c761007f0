//! Values of secrets, sealed by the caller before they come here (wire-contract.md section 2).
//!
//! A value has a place (tenant, owner, app, name), a random id and a version that only grows. Every
//! change is a compare-and-set on the version, so that of two writers one is told to try again; and
//! whoever opens a value names id and version, so that an older blob put back is noticed.
//!
//! INVARIANT: no version of a secret is ever given twice (`a_version_is_never_given_twice`).
//! INVARIANT: of two changes of one version exactly one counts (`of_two_changes_one_counts`).

use std::fmt;

use super::change::{Note, Writing};
use super::holds::{Hold, in_the_way};
use super::row::{Columns, base64_encode};
use super::{Actor, Directory, DirectoryError, now_ms};

macro_rules! select_secrets {
    ($rest:literal) => {
        concat!(
            "SELECT tenant_id, owner, app, name, id, version, sealed, set_ms, set_by, ",
            "last_used_ms, last_used_by FROM secrets ",
            $rest
        )
    };
}

/// Whose value it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretOwner {
    /// One user, by id.
    User(String),
    /// The app: one value for all its users.
    App,
    /// The gateway: what it shows an upstream; no app can read it.
    Upstream,
}

impl SecretOwner {
    /// The word in the row and in the vault's context; no user id begins with `__`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::User(id) => id,
            Self::App => "__app__",
            Self::Upstream => "__upstream__",
        }
    }

    fn of(word: String) -> Self {
        match word.as_str() {
            "__app__" => Self::App,
            "__upstream__" => Self::Upstream,
            _ => Self::User(word),
        }
    }
}

/// Where one value is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretPlace {
    /// The tenant whose key seals it; `deployment` for what no tenant owns.
    pub tenant: String,
    /// Whose it is.
    pub owner: SecretOwner,
    /// The app that declares it.
    pub app: String,
    /// Its name within the app.
    pub name: String,
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.name)
    }
}

/// A stored secret; its value is in it only sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// Where it is kept.
    pub place: SecretPlace,
    /// Random id, given when it was first set.
    pub id: [u8; 16],
    /// Version of the value, from 1.
    pub version: u32,
    /// The sealed value; `None` once it was forgotten.
    pub sealed: Option<Vec<u8>>,
    /// Unix milliseconds of the last change.
    pub set_ms: i64,
    /// Who changed it last.
    pub set_by: String,
    /// Unix milliseconds of the last use, up to a second behind.
    pub last_used_ms: Option<i64>,
    /// What used it last: `app/function`, or the app itself.
    pub last_used_by: Option<String>,
}

impl fmt::Debug for StoredSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSecret")
            .field("place", &self.place)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A new value, sealed.
#[derive(Clone)]
pub struct NewSecret {
    /// Where it goes.
    pub place: SecretPlace,
    /// The id that it was sealed under.
    pub id: [u8; 16],
    /// The version that it was sealed under: one more than what is stored, 1 where nothing is.
    pub version: u32,
    /// The sealed value.
    pub sealed: Vec<u8>,
    /// Who sets it.
    pub by: String,
}

/// One use of a value, to be noted beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUsed {
    /// Which value.
    pub place: SecretPlace,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// What used it.
    pub by: String,
}

impl Directory {
    /// What is stored at a place; `None` when nothing ever was.
    pub async fn secret(
        &self,
        place: &SecretPlace,
    ) -> Result<Option<StoredSecret>, DirectoryError> {
        let sql = select_secrets!("WHERE tenant_id = $1 AND owner = $2 AND app = $3 AND name = $4");
        let row = sqlx::query(sql)
            .bind(&place.tenant)
            .bind(place.owner.as_str())
            .bind(&place.app)
            .bind(&place.name)
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| read_secret(Columns(&row))).transpose()
    }

    /// All secrets of an owner in an app, by name.
    pub async fn secrets_of(
        &self,
        tenant: &str,
        owner: &SecretOwner,
        app: &str,
    ) -> Result<Vec<StoredSecret>, DirectoryError> {
        let sql = select_secrets!("WHERE tenant_id = $1 AND owner = $2 AND app = $3 ORDER BY name");
        let rows = sqlx::query(sql)
            .bind(tenant)
            .bind(owner.as_str())
            .bind(app)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| read_secret(Columns(row))).collect()
    }

    /// At most `limit` secrets that hold a value, in the order of their places, after `after`.
    pub async fn secrets_page(
        &self,
        after: Option<&SecretPlace>,
        limit: u32,
    ) -> Result<Vec<StoredSecret>, DirectoryError> {
        let sql = select_secrets!(
            "WHERE sealed IS NOT NULL AND (tenant_id, owner, app, name) > ($1, $2, $3, $4) \
             ORDER BY tenant_id, owner, app, name LIMIT $5"
        );
        let part = |read: fn(&SecretPlace) -> &str| after.map_or("", read).to_owned();
        let rows = sqlx::query(sql)
            .bind(part(|p| &p.tenant))
            .bind(part(|p| p.owner.as_str()))
            .bind(part(|p| &p.app))
            .bind(part(|p| &p.name))
            .bind(i64::from(limit))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| read_secret(Columns(row))).collect()
    }

    /// Stores a value that a call set; the call's own records tell of it. False when somebody else
    /// changed the secret meanwhile: then nothing was stored.
    pub async fn set_secret(&self, new: &NewSecret) -> Result<bool, DirectoryError> {
        let mut connection = self.pool().acquire().await?;
        store(&mut connection, new).await
    }

    /// As [`Directory::set_secret`], for an operator: leaves a note.
    pub async fn set_secret_by(&self, new: &NewSecret, by: &Actor) -> Result<bool, DirectoryError> {
        let mut writing = self.write().await?;
        if !store(writing.connection(), new).await? {
            return Ok(false);
        }
        let note = note_of("secret.set", &new.place, by);
        writing.finish(self, note.with("secret_version", new.version)).await?;
        Ok(true)
    }

    /// Forgets a value; the place keeps its version. False when there was none.
    pub async fn forget_secret(
        &self,
        place: &SecretPlace,
        by: &str,
    ) -> Result<bool, DirectoryError> {
        let mut connection = self.pool().acquire().await?;
        forget(&mut connection, place, by).await
    }

    /// As [`Directory::forget_secret`], for an operator: leaves a note.
    pub async fn forget_secret_by(
        &self,
        place: &SecretPlace,
        by: &Actor,
    ) -> Result<bool, DirectoryError> {
        let mut writing = self.write().await?;
        let was_set = forget(writing.connection(), place, &by.to_string()).await?;
        writing.finish(self, note_of("secret.delete", place, by).with("was_set", was_set)).await?;
        Ok(was_set)
    }

    /// Replaces the sealed form of a value that itself stays as it is, because it was sealed again
    /// under another key. False when the secret was changed meanwhile.
    pub async fn reseal_secret(
        &self,
        stored: &StoredSecret,
        sealed: &[u8],
    ) -> Result<bool, DirectoryError> {
        let Some(before) = &stored.sealed else { return Ok(false) };
        let done = sqlx::query(
            "UPDATE secrets SET sealed = $1 WHERE id = $2 AND version = $3 AND sealed = $4",
        )
        .bind(base64_encode(sealed))
        .bind(hex::encode(stored.id))
        .bind(i64::from(stored.version))
        .bind(base64_encode(before))
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Forgets every value of a tenant, or of one user of it; gives how many there were. A hold stands in the
    /// way: then nothing is forgotten, and the ledger says that somebody tried.
    pub async fn forget_secrets_of(
        &self,
        tenant: &str,
        user: Option<&str>,
        by: &Actor,
    ) -> Result<Result<u64, Hold>, DirectoryError> {
        let mut writing = self.write().await?;
        if let Some(hold) = in_the_way(writing.connection(), tenant, user).await? {
            let note = Note::new(by, "vault.erase_refused", tenant).on(user.unwrap_or(tenant));
            writing.finish(self, note.with("held_by", &hold.by)).await?;
            return Ok(Err(hold));
        }
        Ok(Ok(self.forget(writing, (tenant, user), by).await?))
    }

    /// Forgets, once more, what was set while the keys were destroyed, and gives how many values that were. A
    /// hold that came meanwhile keeps them: then nothing is forgotten, and nobody was refused.
    pub async fn forget_secrets_set_meanwhile(
        &self,
        tenant: &str,
        user: Option<&str>,
        by: &Actor,
    ) -> Result<Result<u64, Hold>, DirectoryError> {
        let mut writing = self.write().await?;
        match in_the_way(writing.connection(), tenant, user).await? {
            Some(hold) => Ok(Err(hold)),
            None => Ok(Ok(self.forget(writing, (tenant, user), by).await?)),
        }
    }

    async fn forget(
        &self,
        mut writing: Writing,
        (tenant, user): (&str, Option<&str>),
        by: &Actor,
    ) -> Result<u64, DirectoryError> {
        let done = sqlx::query(
            "UPDATE secrets SET sealed = NULL, set_ms = $1, set_by = $2 \
             WHERE tenant_id = $3 AND ($4 = '' OR owner = $4) AND sealed IS NOT NULL",
        )
        .bind(now_ms())
        .bind(by.to_string())
        .bind(tenant)
        .bind(user.unwrap_or_default())
        .execute(writing.connection())
        .await?;
        let note = Note::new(by, "secret.destroy", tenant).on(user.unwrap_or(tenant));
        writing.finish(self, note.with("secrets", done.rows_affected())).await?;
        Ok(done.rows_affected())
    }

    /// Notes uses beside their values, in one transaction; the ledger has each of them anyway.
    pub async fn note_secrets_used(&self, uses: &[SecretUsed]) -> Result<(), DirectoryError> {
        let mut transaction = self.pool().begin_with(self.begin_statement()).await?;
        for used in uses {
            sqlx::query(
                "UPDATE secrets SET last_used_ms = $1, last_used_by = $2 WHERE tenant_id = $3 \
                 AND owner = $4 AND app = $5 AND name = $6",
            )
            .bind(used.at_ms)
            .bind(&used.by)
            .bind(&used.place.tenant)
            .bind(used.place.owner.as_str())
            .bind(&used.place.app)
            .bind(&used.place.name)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

async fn store(
    connection: &mut sqlx::AnyConnection,
    new: &NewSecret,
) -> Result<bool, DirectoryError> {
    let sql = if new.version == 1 {
        "INSERT INTO secrets (tenant_id, owner, app, name, id, version, sealed, set_ms, set_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING"
    } else {
        "UPDATE secrets SET version = $6, sealed = $7, set_ms = $8, set_by = $9 \
         WHERE tenant_id = $1 AND owner = $2 AND app = $3 AND name = $4 AND id = $5 \
         AND version = $6 - 1"
    };
    let done = sqlx::query(sql)
        .bind(&new.place.tenant)
        .bind(new.place.owner.as_str())
        .bind(&new.place.app)
        .bind(&new.place.name)
        .bind(hex::encode(new.id))
        .bind(i64::from(new.version))
        .bind(base64_encode(&new.sealed))
        .bind(now_ms())
        .bind(&new.by)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

async fn forget(
    connection: &mut sqlx::AnyConnection,
    place: &SecretPlace,
    by: &str,
) -> Result<bool, DirectoryError> {
    let done = sqlx::query(
        "UPDATE secrets SET sealed = NULL, set_ms = $1, set_by = $2 WHERE tenant_id = $3 \
         AND owner = $4 AND app = $5 AND name = $6 AND sealed IS NOT NULL",
    )
    .bind(now_ms())
    .bind(by)
    .bind(&place.tenant)
    .bind(place.owner.as_str())
    .bind(&place.app)
    .bind(&place.name)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn note_of(action: &'static str, place: &SecretPlace, by: &Actor) -> Note {
    Note::new(by, action, &place.tenant).on(place).with("owner", place.owner.as_str())
}

fn read_secret(row: Columns<'_>) -> Result<StoredSecret, DirectoryError> {
    let corrupt = |column: &str| DirectoryError::Corrupt { column: column.to_owned() };
    let mut id = [0; 16];
    hex::decode_to_slice(row.text("id")?, &mut id).map_err(|_| corrupt("id"))?;
    let sealed = match row.optional_text("sealed")? {
        None => None,
        Some(_) => Some(row.sealed("sealed")?),
    };
    Ok(StoredSecret {
        place: SecretPlace {
            tenant: row.text("tenant_id")?,
            owner: SecretOwner::of(row.text("owner")?),
            app: row.text("app")?,
            name: row.text("name")?,
        },
        id,
        version: u32::try_from(row.int("version")?).map_err(|_| corrupt("version"))?,
        sealed,
        set_ms: row.int("set_ms")?,
        set_by: row.text("set_by")?,
        last_used_ms: row.optional_int("last_used_ms")?,
        last_used_by: row.optional_text("last_used_by")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, operator};
    use super::*;

    fn place(owner: SecretOwner) -> SecretPlace {
        let (tenant, app, name) = ("imp_t_acme".into(), "notes".into(), "api_key".into());
        SecretPlace { tenant, owner, app, name }
    }

    fn new(version: u32, sealed: &[u8]) -> NewSecret {
        let place = place(SecretOwner::User("imp_u_1".into()));
        NewSecret { place, id: [7; 16], version, sealed: sealed.to_vec(), by: "imp_u_1".into() }
    }

    #[tokio::test]
    async fn a_version_is_never_given_twice() {
        let fixture = Fixture::new().await;
        let directory = &fixture.directory;
        assert!(directory.set_secret(&new(1, b"one")).await.unwrap());
        assert!(directory.forget_secret(&new(1, b"").place, "imp_u_1").await.unwrap());
        assert!(!directory.set_secret(&new(1, b"again")).await.unwrap());
        assert!(directory.set_secret(&new(2, b"two")).await.unwrap());
        let stored = directory.secret(&new(1, b"").place).await.unwrap().unwrap();
        assert_eq!((stored.version, stored.sealed.as_deref()), (2, Some(b"two".as_slice())));
        assert!(!directory.set_secret(&new(2, b"late")).await.unwrap());
    }

    #[tokio::test]
    async fn of_two_changes_one_counts() {
        let fixture = Fixture::new().await;
        fixture.directory.set_secret(&new(1, b"one")).await.unwrap();
        let tries = (0..8_u8).map(|n| {
            let directory = fixture.directory.clone();
            tokio::spawn(async move { directory.set_secret(&new(2, &[n])).await.unwrap() })
        });
        let mut won = 0;
        for one in tries.collect::<Vec<_>>() {
            won += u32::from(one.await.unwrap());
        }
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn an_operators_change_leaves_a_note_without_the_value() {
        let fixture = Fixture::new().await;
        let mut value = new(1, b"sealed-bytes");
        value.place = place(SecretOwner::Upstream);
        assert!(fixture.directory.set_secret_by(&value, &operator()).await.unwrap());
        let changes = fixture.directory.unrecorded(10).await.unwrap();
        let last = changes.last().unwrap();
        assert_eq!((last.action.as_str(), last.target.as_str()), ("secret.set", "notes/api_key"));
        assert_eq!(last.fields["owner"], "__upstream__");
        assert!(!format!("{last:?}").contains("sealed-bytes"));
    }

    #[tokio::test]
    async fn a_resealed_value_gives_way_to_a_newer_one() {
        let fixture = Fixture::new().await;
        let directory = &fixture.directory;
        directory.set_secret(&new(1, b"one")).await.unwrap();
        let old = directory.secret(&new(1, b"").place).await.unwrap().unwrap();
        directory.set_secret(&new(2, b"two")).await.unwrap();
        assert!(!directory.reseal_secret(&old, b"one under a new key").await.unwrap());
        let now = directory.secret(&old.place).await.unwrap().unwrap();
        assert!(directory.reseal_secret(&now, b"two under a new key").await.unwrap());
        let page = directory.secrets_page(None, 10).await.unwrap();
        assert_eq!(page.len(), 1);
        assert_eq!(page[0].sealed.as_deref(), Some(b"two under a new key".as_slice()));
        assert!(directory.secrets_page(Some(&page[0].place), 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn uses_are_noted_and_everything_of_a_user_can_be_forgotten() {
        let fixture = Fixture::new().await;
        let directory = &fixture.directory;
        directory.set_secret(&new(1, b"one")).await.unwrap();
        let place = new(1, b"").place;
        let used = SecretUsed { place: place.clone(), at_ms: 5, by: "notes".into() };
        directory.note_secrets_used(&[used]).await.unwrap();
        let stored = directory.secret(&place).await.unwrap().unwrap();
        assert_eq!((stored.last_used_ms, stored.last_used_by.as_deref()), (Some(5), Some("notes")));
        let gone = directory.forget_secrets_of("imp_t_acme", Some("imp_u_1"), &operator()).await;
        assert_eq!(gone.unwrap(), Ok(1));
        assert_eq!(directory.secret(&place).await.unwrap().unwrap().sealed, None);
    }
}
