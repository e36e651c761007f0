//! A secret as a manifest declares it (wire contract section 2). No value is ever here.

use serde_json::{Map, Value};

/// Largest value that any declaration may allow, in bytes.
pub const MAX_SECRET_BYTES: usize = 65_536;
/// What a declaration allows that says nothing, in bytes.
const DEFAULT_BYTES: usize = 4_096;

/// Whose value it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecretScope {
    /// Each user has a value of their own.
    #[default]
    User,
    /// The app has one value for all its users.
    App,
}

impl SecretScope {
    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::App => "app",
        }
    }
}

/// Who may change the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// People only.
    User,
    /// The app's own code only.
    Extension,
    /// Both.
    Both,
}

impl WriteMode {
    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Extension => "extension",
            Self::Both => "both",
        }
    }
}

/// One declared secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretDeclaration {
    /// `^[a-z][a-z0-9_]{0,62}$`, unique in its app.
    pub name: String,
    /// For people; not blank.
    pub description: String,
    /// The app does not work without it.
    pub required: bool,
    /// Who may change it; [`WriteMode::User`] where the manifest does not say, as the SDK has it.
    pub write_mode: WriteMode,
    /// Largest value in bytes of UTF-8, 1 to [`MAX_SECRET_BYTES`].
    pub max_bytes: usize,
    /// After how many days a person should be reminded to replace it.
    pub rotation_hint_days: Option<u32>,
    /// Whose value it is.
    pub scope: SecretScope,
    /// Environment variable of the gateway (`IMPERAL_APPSECRET_...`) that stands in for a value of the
    /// app that was not set.
    pub env_fallback: Option<String>,
}

impl SecretDeclaration {
    /// Reads an entry that the manifest's checks let pass; what is absent has its default.
    pub(crate) fn of(entry: &Map<String, Value>) -> Self {
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        let number = |key: &str| entry.get(key).and_then(Value::as_u64);
        let max_bytes = number("max_bytes").and_then(|n| usize::try_from(n).ok());
        Self {
            name: text("name").unwrap_or_default().to_owned(),
            description: text("description").unwrap_or_default().to_owned(),
            required: entry.get("required").and_then(Value::as_bool).unwrap_or(false),
            write_mode: match text("write_mode") {
                Some("extension") => WriteMode::Extension,
                Some("both") => WriteMode::Both,
                _ => WriteMode::User,
            },
            max_bytes: max_bytes.unwrap_or(DEFAULT_BYTES).min(MAX_SECRET_BYTES),
            rotation_hint_days: number("rotation_hint_days").and_then(|n| u32::try_from(n).ok()),
            scope: if text("scope") == Some("app") { SecretScope::App } else { SecretScope::User },
            env_fallback: text("env_fallback").map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_manifest_does_not_say_is_the_strictest() {
        let entry = json!({"name": "api_key", "description": "d"});
        let declared = SecretDeclaration::of(entry.as_object().unwrap());
        assert_eq!(declared.write_mode, WriteMode::User);
        assert_eq!((declared.scope, declared.max_bytes), (SecretScope::User, 4_096));
        assert_eq!((declared.required, declared.env_fallback), (false, None));
    }

    #[test]
    fn every_word_of_the_manifest_is_understood() {
        for mode in [WriteMode::User, WriteMode::Extension, WriteMode::Both] {
            let entry = json!({"name": "a", "description": "d", "write_mode": mode.as_str(),
                "scope": "app", "max_bytes": 9, "rotation_hint_days": 30, "required": true,
                "env_fallback": "IMPERAL_APPSECRET_A"});
            let declared = SecretDeclaration::of(entry.as_object().unwrap());
            assert_eq!((declared.write_mode, declared.scope), (mode, SecretScope::App));
            assert_eq!((declared.max_bytes, declared.rotation_hint_days), (9, Some(30)));
            assert_eq!(declared.env_fallback.as_deref(), Some("IMPERAL_APPSECRET_A"));
        }
    }
}
