//! What a user chose: when writes ask first (wire-contract 1.3 and 5.4).

use std::collections::BTreeMap;

use super::change::Note;
use super::row::{Columns, json_text};
use super::users::touch_user;
use super::{Actor, ConfirmationPolicy, Directory, DirectoryError};

/// Confirmation settings of one user; all absent until the user sets one.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSettings {
    /// Whether confirmations are on; none follows the role.
    pub confirmation_enabled: Option<bool>,
    /// `write`, `destructive`, `all` to whether each asks; empty means all that can ask.
    #[serde(default)]
    pub confirmation_actions: BTreeMap<String, bool>,
    /// How long a question stays open, in seconds (10 to 86,400).
    pub confirmation_ttl_s: Option<u32>,
    /// What clients and workers read; of these the rules see the overrides.
    #[serde(default)]
    pub facts: SettingFacts,
}

/// Settings of a user that the gateway only keeps (wire-contract 1.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SettingFacts {
    /// Tools, by `app/function`, that ask or do not ask whatever else is set.
    pub confirmation_overrides: BTreeMap<String, bool>,
    /// Tries of a model to mend its arguments (0 to 10).
    pub kav_max_retries: Option<u32>,
    /// Free words for whoever routes a message (4 KiB).
    pub routing_context: Option<String>,
    /// Rounds of tools in one turn (1 to 100).
    pub max_tool_rounds: Option<u32>,
    /// Longest answer of a model in tokens (1 to 1,000,000).
    pub max_response_tokens: Option<u32>,
}

impl UserSettings {
    /// Whether writes of this user ask first, given the policy of the role.
    #[must_use]
    pub fn confirm_writes(&self, policy: ConfirmationPolicy) -> bool {
        let on = match policy {
            ConfirmationPolicy::AlwaysOn => return true,
            ConfirmationPolicy::DefaultOn => self.confirmation_enabled.unwrap_or(true),
            ConfirmationPolicy::DefaultOff => self.confirmation_enabled.unwrap_or(false),
        };
        let named = |key: &str| self.confirmation_actions.get(key).copied();
        on && (named("all") == Some(true) || named("write").unwrap_or(true))
    }
}

impl UserSettings {
    /// Tools of which the user said that they ask (`true`) or do not (`false`), in the order of their names. Where the
    /// role always asks, none is left out.
    #[must_use]
    pub fn overridden(&self, policy: ConfirmationPolicy, asks: bool) -> Vec<String> {
        if policy == ConfirmationPolicy::AlwaysOn && !asks {
            return Vec::new();
        }
        let all = self.facts.confirmation_overrides.iter();
        all.filter(|(_, said)| **said == asks).map(|(tool, _)| tool.clone()).collect()
    }
}

impl Directory {
    /// Settings of a user, or the defaults.
    pub async fn settings(&self, user: &str) -> Result<UserSettings, DirectoryError> {
        let row = sqlx::query(
            "SELECT confirmation_enabled, confirmation_actions, confirmation_ttl_s, facts \
             FROM user_settings WHERE user_id = $1",
        )
        .bind(user)
        .fetch_optional(self.pool())
        .await?;
        row.map_or_else(|| Ok(UserSettings::default()), |row| read_settings(Columns(&row)))
    }

    /// Replaces the settings of a user; in force with the next call.
    pub async fn set_settings(
        &self,
        user: &str,
        settings: &UserSettings,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        check(settings)?;
        let actions = json_text("confirmation_actions", &settings.confirmation_actions)?;
        let note = noted(self.note_on_user(by, "user.settings", user).await?, settings, &actions);
        let mut writing = self.write().await?;
        sqlx::query(
            "INSERT INTO user_settings \
             (user_id, confirmation_enabled, confirmation_actions, confirmation_ttl_s, facts) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (user_id) DO UPDATE SET \
             confirmation_enabled = excluded.confirmation_enabled, \
             confirmation_actions = excluded.confirmation_actions, \
             confirmation_ttl_s = excluded.confirmation_ttl_s, facts = excluded.facts",
        )
        .bind(user)
        .bind(settings.confirmation_enabled.map(i64::from))
        .bind(actions)
        .bind(settings.confirmation_ttl_s.map(i64::from))
        .bind(json_text("settings", &settings.facts)?)
        .execute(writing.connection())
        .await?;
        touch_user(&mut writing, user).await?;
        writing.finish(self, note).await
    }
}

fn noted(note: Note, settings: &UserSettings, actions: &str) -> Note {
    let enabled = settings.confirmation_enabled.map_or("role".to_owned(), |on| on.to_string());
    let overrides = &settings.facts.confirmation_overrides;
    let asks = overrides.values().filter(|asks| **asks).count();
    let overrides = format!("{asks} ask, {} do not", overrides.len().saturating_sub(asks));
    note.with("confirmation_enabled", enabled)
        .with("confirmation_actions", actions)
        .with("confirmation_overrides", &overrides)
}

fn check(settings: &UserSettings) -> Result<(), DirectoryError> {
    let known = |key: &String| ["write", "destructive", "all"].contains(&key.as_str());
    if !settings.confirmation_actions.keys().all(known) {
        return Err(DirectoryError::Invalid {
            what: "confirmation_actions",
            why: "its keys are `write`, `destructive` and `all`",
        });
    }
    if settings.confirmation_ttl_s.is_some_and(|ttl| !(10..=86_400).contains(&ttl)) {
        return Err(DirectoryError::Invalid {
            what: "confirmation_ttl_s",
            why: "10 to 86400 seconds",
        });
    }
    check_facts(&settings.facts)
}

fn check_facts(facts: &SettingFacts) -> Result<(), DirectoryError> {
    let out = |value: Option<u32>, range: std::ops::RangeInclusive<u32>| {
        value.is_some_and(|value| !range.contains(&value))
    };
    let tool = |name: &String| name.parse::<portcullis_policies::ToolName>().is_ok();
    let overrides = &facts.confirmation_overrides;
    let invalid = |what, why| Err(DirectoryError::Invalid { what, why });
    if overrides.len() > 1_000 || !overrides.keys().all(tool) {
        return invalid("confirmation_overrides", "at most 1,000 tools, each `app/function`");
    }
    if out(facts.kav_max_retries, 0..=10) {
        return invalid("kav_max_retries", "0 to 10");
    }
    if out(facts.max_tool_rounds, 1..=100) {
        return invalid("max_tool_rounds", "1 to 100");
    }
    if out(facts.max_response_tokens, 1..=1_000_000) {
        return invalid("max_response_tokens", "1 to 1000000");
    }
    if facts.routing_context.as_ref().is_some_and(|text| text.len() > 4_096) {
        return invalid("routing_context", "4096 bytes at most");
    }
    Ok(())
}

fn read_settings(row: Columns<'_>) -> Result<UserSettings, DirectoryError> {
    let ttl = row.optional_int("confirmation_ttl_s")?;
    Ok(UserSettings {
        confirmation_enabled: row.optional_int("confirmation_enabled")?.map(|on| on != 0),
        confirmation_actions: row.json("confirmation_actions")?,
        confirmation_ttl_s: ttl.and_then(|ttl| u32::try_from(ttl).ok()),
        facts: row.json("facts")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(enabled: Option<bool>, actions: &[(&str, bool)]) -> UserSettings {
        UserSettings {
            confirmation_enabled: enabled,
            confirmation_actions: actions.iter().map(|&(k, v)| (k.to_owned(), v)).collect(),
            confirmation_ttl_s: None,
            facts: SettingFacts::default(),
        }
    }

    #[test]
    fn a_user_cannot_switch_off_what_the_role_always_asks() {
        let off = settings(Some(false), &[("write", false)]);
        assert!(off.confirm_writes(ConfirmationPolicy::AlwaysOn));
    }

    #[test]
    fn writes_ask_when_the_user_or_the_role_switched_it_on() {
        use ConfirmationPolicy::{DefaultOff, DefaultOn};
        assert!(settings(None, &[]).confirm_writes(DefaultOn));
        assert!(!settings(None, &[]).confirm_writes(DefaultOff));
        assert!(settings(Some(true), &[]).confirm_writes(DefaultOff));
        assert!(!settings(Some(false), &[]).confirm_writes(DefaultOn));
        assert!(!settings(Some(true), &[("write", false)]).confirm_writes(DefaultOff));
        assert!(
            settings(Some(true), &[("all", true), ("write", false)]).confirm_writes(DefaultOff)
        );
    }
}
