//! `[ledger.witness]` as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::units::TimeSpan;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Witnessing {
    /// `none`; `best_effort`: a warning when no quorum cosigns; `required`: no calls then.
    #[schemars(extend("default" = "none"))]
    pub(crate) policy: Option<WitnessPolicyForm>,
    /// The witnesses.
    pub(crate) witnesses: Option<Vec<WitnessForm>>,
    /// How many of them must have cosigned a head. All by default.
    #[schemars(range(min = 1, max = 256))]
    pub(crate) quorum: Option<u32>,
    /// How long records may be without a cosigned head.
    #[schemars(extend("default" = "10s"))]
    pub(crate) max_lag: Option<TimeSpan>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WitnessForm {
    /// Its name in the log and in policies of auditors; no white space.
    pub(crate) name: Option<String>,
    /// Where it is asked, without `/add-checkpoint`.
    pub(crate) url: Option<String>,
    /// Its verifier key, as `portcullis ledger witness --vkey` prints it.
    pub(crate) key: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WitnessPolicyForm {
    #[default]
    None,
    BestEffort,
    Required,
}
