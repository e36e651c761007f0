//! The words of the rules as checked types: tenants, apps, tools, principals.
//!
//! Whatever holds one of these types was checked when it was made, so nothing further in asks again
//! whether a name is a name. No Cedar type leaks out of this file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest tenant or app name in bytes.
const SHORT_NAME_MAX: usize = 64;
/// The longest function name in bytes.
const FUNCTION_MAX: usize = 128;

/// A name that is not what its kind allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{given}` is not valid: {rule}")]
pub struct InvalidName {
    kind: &'static str,
    given: String,
    rule: &'static str,
}

impl InvalidName {
    fn new(kind: &'static str, given: &str, rule: &'static str) -> Self {
        // A hostile name may be long: the message keeps only its beginning.
        Self { kind, given: given.chars().take(80).collect(), rule }
    }
}

/// One tenant: `default`, or `imp_t_` and at least one of `[A-Za-z0-9_]`; 64 bytes at most.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(String);

impl TenantId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let rule = "use `default` or `imp_t_` followed by letters, digits or `_`, 64 bytes at most";
        let tail = text.strip_prefix("imp_t_").unwrap_or_default();
        let word = !tail.is_empty() && tail.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if (text == "default" || word) && text.len() <= SHORT_NAME_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::new("tenant", text, rule))
        }
    }
}

/// One app: `^[a-z0-9][a-z0-9-]*[a-z0-9]$`, 64 bytes at most (so 2 at least).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppId(String);

impl AppId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AppId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let rule = "use 2 to 64 of a-z, 0-9 and `-`, with no `-` at either end";
        let letters =
            text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let ends = !text.starts_with('-') && !text.ends_with('-');
        if letters && ends && (2..=SHORT_NAME_MAX).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::new("app", text, rule))
        }
    }
}

/// One tool, written `{app}/{function}`.
///
/// The app holds no `/`, so the text splits in one way only and tool name to Cedar action is injective.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ToolName {
    app: AppId,
    function: String,
}

impl ToolName {
    /// Joins an app and a function: 1 to 128 of `[A-Za-z0-9_.:-]` and `/`, with no `/` at either end.
    ///
    /// # Errors
    /// [`InvalidName`] when the function is anything else.
    pub fn new(app: AppId, function: &str) -> Result<Self, InvalidName> {
        let rule =
            "use 1 to 128 of A-Z, a-z, 0-9, `_`, `.`, `:`, `-` and `/`, with no `/` at either end";
        let letters = function.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-/".contains(&b));
        let ends = !function.starts_with('/') && !function.ends_with('/');
        if letters && ends && (1..=FUNCTION_MAX).contains(&function.len()) {
            Ok(Self { app, function: function.to_owned() })
        } else {
            Err(InvalidName::new("function", function, rule))
        }
    }

    /// The app that serves the tool.
    pub fn app(&self) -> &AppId {
        &self.app
    }

    /// The function within the app.
    pub fn function(&self) -> &str {
        &self.function
    }
}

impl FromStr for ToolName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (app, function) = text
            .split_once('/')
            .ok_or_else(|| InvalidName::new("tool", text, "write it as `app/function`"))?;
        Self::new(app.parse()?, function)
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app.0, self.function)
    }
}

impl TryFrom<String> for ToolName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<ToolName> for String {
    fn from(name: ToolName) -> Self {
        name.to_string()
    }
}

/// The text conversions that the two plain names share.
macro_rules! plain_name {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}
plain_name!(TenantId);
plain_name!(AppId);

/// What a tool does to the world, as its manifest, its MCP hints or the operator say.
///
/// The default is [`ActionType::Destructive`]: a tool that does not say gets the strictest gate.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ActionType {
    /// Changes nothing.
    Read,
    /// Changes something that can be changed back.
    Write,
    /// Changes something for good, or nobody said what it does.
    #[default]
    Destructive,
}

impl ActionType {
    /// The word in manifests, in scopes and as the Cedar action group.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Destructive => "destructive",
        }
    }
}

impl fmt::Display for ActionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ActionType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Read, Self::Write, Self::Destructive]
            .into_iter()
            .find(|action| action.as_str() == text)
            .ok_or(())
    }
}

/// Who asks: a person, or a program with a credential of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A person.
    User,
    /// An API key, a service token or an extension token.
    Service,
}

/// Who asks, as the directory says now (never as a token claims).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// A person or a program.
    pub kind: PrincipalKind,
    /// The id in the directory, unique within the deployment.
    pub id: String,
    /// The tenant to which the principal belongs.
    pub tenant: TenantId,
    /// Names of the roles held; rules may say `principal in Portcullis::Role::"admin"`.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Scopes as granted, wildcards too; the rulebook expands them.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The agency within the tenant, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agency: Option<String>,
    /// Apps that are switched off for the person, and for the programs that act in the person's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disabled_apps: Vec<String>,
    /// True when the person wants to be asked before every write.
    #[serde(default)]
    pub confirm_writes: bool,
    /// Tools, by `app/function`, before which the person wants to be asked whatever they do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confirm_tools: Vec<String>,
    /// Tools, by `app/function`, whose writes the person wants not to be asked about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed_tools: Vec<String>,
    /// Id of the person in whose name it acts: a person's own id, the owner's of a key; none for the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// True of a program that acts in nobody's name: nobody could answer its questions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unattended: bool,
    /// How this session was signed in; nothing for programs, and in the directory.
    #[serde(default, skip_serializing_if = "Strength::is_empty")]
    pub strength: Strength,
    /// The app whose code acts for the user; only an extension token has one, and it is a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<AppId>,
}

/// How somebody signed in: the methods, the class and the time, in the terms of OpenID Connect.
///
/// The default is what a program has: nothing, which no rule takes for a sign-in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Strength {
    /// Authentication methods (RFC 8176): `pwd`, `otp`, `mfa` ...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// Authentication context class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// Unix seconds of the sign-in; refreshing a session does not move it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// A program holds the session: its person approved it elsewhere, by a device code (RFC 8628).
    /// No answer to a question counts that comes from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub device: bool,
}

/// By how many seconds the clock of who signed somebody in may be ahead.
const CLOCKS_DIFFER: i64 = 60;

impl Strength {
    /// True when nobody signed in.
    pub fn is_empty(&self) -> bool {
        self.amr.is_empty() && self.acr.is_none() && self.auth_time.is_none()
    }

    /// True when more than one factor was used.
    pub fn mfa(&self) -> bool {
        self.amr.iter().any(|method| method == "mfa")
    }

    /// Whole seconds since the sign-in at a time in Unix milliseconds; a sign-in that lies a little ahead was just now,
    /// because clocks differ, and one that lies further ahead is none. `None` without a sign-in.
    pub(crate) fn age(&self, time_ms: i64) -> Option<i64> {
        let age = time_ms.div_euclid(1_000).saturating_sub(self.auth_time?);
        (age >= -CLOCKS_DIFFER).then(|| age.max(0))
    }
}

/// The door by which a call came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// The HTTP API under `/v1`.
    Http,
    /// The MCP door.
    Mcp,
    /// The reverse proxy.
    Proxy,
    /// The operator's command.
    Cli,
    /// The gateway's own pages, in a browser.
    Page,
}

impl Channel {
    /// The word that rules compare with, `context.request.channel == "mcp"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Mcp => "mcp",
            Self::Proxy => "proxy",
            Self::Cli => "cli",
            Self::Page => "page",
        }
    }
}

/// A tool as the rules see it: what it is called, what it does, what it needs and what it takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// The name, which is also the Cedar action.
    pub name: ToolName,
    /// What the app says about it; rules do not see it.
    #[serde(default)]
    pub description: String,
    /// What it does to the world.
    #[serde(default)]
    pub action_type: ActionType,
    /// Scopes that the manifest declares, all needed; empty means the default of [`crate::scope::required`].
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The arguments as a JSON Schema object.
    pub input_schema: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tenant_is_default_or_prefixed() {
        assert!("default".parse::<TenantId>().is_ok());
        assert!("imp_t_acme_1".parse::<TenantId>().is_ok());
        for bad in ["", "acme", "imp_t_", "imp_t_a-b", "Default", "imp_t_é", "default\n"] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
        }
        assert!(format!("imp_t_{}", "a".repeat(59)).parse::<TenantId>().is_err());
    }

    #[test]
    fn app_has_no_dash_at_either_end() {
        assert!("my-notes".parse::<AppId>().is_ok());
        for bad in ["", "a", "-ab", "ab-", "Ab", "a/b", "a_b", "a\u{0}b"] {
            assert!(bad.parse::<AppId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn function_refuses_what_could_change_a_path_or_a_policy() {
        assert!("notes/a/b.c:d-e_F".parse::<ToolName>().is_ok());
        for bad in
            ["notes", "notes/", "notes//a", "notes/a/", "notes/a\"b", "notes/a b", "notes/%2e"]
        {
            assert!(bad.parse::<ToolName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn unnamed_action_type_is_destructive() {
        assert_eq!(ActionType::default(), ActionType::Destructive);
    }

    proptest! {
        #[test]
        fn tool_name_text_is_injective(text in "[a-z0-9-]{2,6}/[a-z0-9./:_-]{1,10}") {
            if let Ok(name) = text.parse::<ToolName>() {
                prop_assert_eq!(name.to_string(), text);
                let again = ToolName::new(name.app().clone(), name.function()).unwrap();
                prop_assert_eq!(again, name);
            }
        }
    }
}
