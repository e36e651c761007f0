//! Who watches the ledger from outside.

use std::time::Duration;

use portcullis_audit::note::CosignerKey;

/// `[ledger.witness]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessing {
    /// What happens when no quorum cosigns.
    pub policy: WitnessPolicy,
    /// The witnesses.
    pub witnesses: Vec<WitnessSettings>,
    /// How many must have cosigned a head; 1 to all of them, 0 when there are none.
    pub quorum: usize,
    /// How long durable records may be without a head that a quorum cosigned.
    pub max_lag: Duration,
}

/// What happens when no quorum cosigns for too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WitnessPolicy {
    /// Nobody is asked.
    #[default]
    None,
    /// A warning.
    BestEffort,
    /// No call is admitted until a quorum has cosigned again.
    Required,
}

impl WitnessPolicy {
    /// The word of the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::BestEffort => "best_effort",
            Self::Required => "required",
        }
    }
}

/// One witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessSettings {
    /// Its name in policies.
    pub name: String,
    /// Submission prefix, without a final slash.
    pub url: String,
    /// What its cosignatures are checked with.
    pub key: CosignerKey,
}

impl Default for Witnessing {
    fn default() -> Self {
        Self {
            policy: WitnessPolicy::None,
            witnesses: Vec::new(),
            quorum: 0,
            max_lag: Duration::from_secs(10),
        }
    }
}
