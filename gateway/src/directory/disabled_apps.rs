//! Apps that are switched off for a user (wire-contract.md 1.3).

use portcullis_policies::{AppId, OWN_APPS};

use super::row::{Columns, json_text};
use super::{Actor, Directory, DirectoryError};

/// More apps than anybody has.
const MAX: usize = 1_000;

impl Directory {
    /// Apps that are switched off for this user, in the order of their ids.
    pub async fn disabled_apps(&self, user: &str) -> Result<Vec<AppId>, DirectoryError> {
        let row = sqlx::query("SELECT disabled_apps FROM users WHERE id = $1")
            .bind(user)
            .fetch_optional(self.pool())
            .await?
            .ok_or(DirectoryError::NotFound { what: "user" })?;
        Columns(&row).json("disabled_apps")
    }

    /// Switches an app off or on for this user, in force with the next call; answers whether that changed anything.
    pub async fn switch_app(
        &self,
        user: &str,
        app: &AppId,
        on: bool,
        by: &Actor,
    ) -> Result<bool, DirectoryError> {
        if OWN_APPS.contains(&app.as_str()) {
            return Err(DirectoryError::Conflict {
                what: "app",
                why: "the gateway's own apps are always on, so that nobody locks themselves out",
            });
        }
        let action = if on { "user.app_on" } else { "user.app_off" };
        let note = self.note_on_user(by, action, user).await?.with("app", app);
        let mut writing = self.write().await?;
        let row = sqlx::query("SELECT disabled_apps FROM users WHERE id = $1")
            .bind(user)
            .fetch_one(writing.connection())
            .await?;
        let mut off: Vec<AppId> = Columns(&row).json("disabled_apps")?;
        match (off.binary_search(app), on) {
            (Ok(at), true) => drop(off.remove(at)),
            (Err(at), false) => off.insert(at, app.clone()),
            _ => return Ok(false),
        }
        if off.len() > MAX {
            return Err(DirectoryError::Invalid {
                what: "app",
                why: "at most 1000 are switched off",
            });
        }
        let version = writing.version;
        sqlx::query("UPDATE users SET disabled_apps = $1, version = $2 WHERE id = $3")
            .bind(json_text("disabled_apps", &off)?)
            .bind(version)
            .bind(user)
            .execute(writing.connection())
            .await?;
        writing.finish(self, note).await?;
        Ok(true)
    }
}
