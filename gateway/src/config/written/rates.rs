//! Rate limits as typed.

use crate::config::units::TimeSpan;
use schemars::JsonSchema;
use serde::Deserialize;

/// How often something may be done, each as `{ count = 5, per = "1m" }` or `"off"`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateLimits {
    /// All requests of one address (IPv6: of one /64 network), before anybody is identified; 6000 a minute by default.
    pub(crate) address: Option<RateForm>,
    /// Sign-ins of one address; 5 a minute by default.
    pub(crate) login: Option<RateForm>,
    /// Registrations of one address; 3 a minute by default.
    pub(crate) register: Option<RateForm>,
    /// Refreshed sessions of one user; 30 a minute by default.
    pub(crate) refresh: Option<RateForm>,
    /// `GET /v1/auth/me` of one user; 60 a minute by default.
    pub(crate) me: Option<RateForm>,
    /// API keys that one user lists, makes and revokes; 120 a minute by default.
    pub(crate) keys: Option<RateForm>,
    /// All requests of one user, whichever credential they came with; 3000 a minute by default.
    pub(crate) user: Option<RateForm>,
    /// All requests of one tenant; 60000 a minute by default.
    pub(crate) tenant: Option<RateForm>,
    /// Calls of one tenant to one app; 30000 a minute by default.
    pub(crate) app: Option<RateForm>,
    /// Calls of one tenant to one tool; 12000 a minute by default.
    pub(crate) tool: Option<RateForm>,
}

/// One limit, or none.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum RateForm {
    /// The schema allows the word `off` only.
    Off(#[expect(dead_code, reason = "there is one word for it")] String),
    Rate(Rate),
}

/// So many in a time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rate {
    /// How many.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) count: u32,
    /// In which time, from 1s to 24h.
    pub(crate) per: TimeSpan,
    /// How many may come at once after a pause; `count` by default.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) burst: Option<u32>,
}

/// The schema of a rate, except that the word `off` is possible, too. Written out so that there is no
/// `anyOf`, whose errors name no place.
impl JsonSchema for RateForm {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RateForm".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = Rate::json_schema(generator);
        schema.insert("type".to_owned(), serde_json::json!(["string", "object"]));
        schema.insert("pattern".to_owned(), "^off$".into());
        schema
            .insert("x-help".to_owned(), "write `{ count = 5, per = \"1m\" }` or `\"off\"`".into());
        schema
    }
}
