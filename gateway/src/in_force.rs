//! One consistent snapshot of what decides: the catalogue and the rulebook made for it.
//!
//! A call takes the snapshot once and keeps it to its end, so that a reload in the middle of a
//! call can't mix the tools of one set with the rules of another. A swap replaces all of it.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use portcullis_kernel_adapter::Catalogue;
use portcullis_policies::{PreparedPrincipal, Principal, Rulebook, Strength};

use crate::identify::Caller;

/// Whether the solver has shown that the set holds its invariants and cannot error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Proved here, at load, by this solver.
    Proved {
        /// The solver and its version.
        solver: String,
    },
    /// Proved elsewhere: a receipt names exactly this set, schema and these invariants.
    Receipt {
        /// The solver and its version, as the receipt says.
        solver: String,
    },
    /// Not proved; the text says why.
    Unproved {
        /// Why not.
        why: String,
    },
}

impl Proof {
    /// The word in the ledger: `proved` or `unproved`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Proved { .. } | Self::Receipt { .. } => "proved",
            Self::Unproved { .. } => "unproved",
        }
    }
}

/// What decides at the moment.
pub struct InForce {
    /// Apps and tools.
    pub catalogue: Arc<Catalogue>,
    /// The rules, typed for exactly these tools.
    pub rulebook: Rulebook,
    /// What is known about the rules.
    pub proof: Proof,
    prepared: Cache<Prepared, Arc<PreparedPrincipal>>,
}

/// What a built entity depends on: who, for whom, as of which change of the directory, and how they signed in. Without
/// the last a session could be taken for a stronger one of the same person, and without the second the platform would act
/// for one person by the settings of another.
type Prepared = (String, String, u64, Arc<Strength>);

/// Principals whose entities are kept built; more than that are built again.
const PREPARED_PRINCIPALS: u64 = 10_000;
const PREPARED_IDLE: Duration = Duration::from_secs(300);

impl InForce {
    /// A snapshot of a rulebook and the catalogue that it was made for.
    #[must_use]
    pub fn new(catalogue: Arc<Catalogue>, rulebook: Rulebook, proof: Proof) -> Self {
        let prepared =
            Cache::builder().max_capacity(PREPARED_PRINCIPALS).time_to_idle(PREPARED_IDLE).build();
        Self { catalogue, rulebook, proof, prepared }
    }

    /// The caller's entities, built once per version of the principal and of the rules, and per sign-in.
    ///
    /// INVARIANT: a weaker session is never taken for a stronger one of the same person
    /// (`second_factor::signs_in_with_a_code_once_and_passes_a_rule_that_wants_two_factors`).
    #[must_use]
    pub fn prepare(&self, caller: &Caller) -> Arc<PreparedPrincipal> {
        let strength = Arc::clone(caller.strength());
        let (id, user) = (caller.principal().id.clone(), caller.user_id().to_owned());
        let key = (id, user, caller.version(), strength);
        self.prepared.get_with(key, || {
            let strength = Strength::clone(caller.strength());
            let principal = Principal { strength, ..Principal::clone(caller.principal()) };
            Arc::new(self.rulebook.prepare(&principal))
        })
    }
}

impl std::fmt::Debug for InForce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InForce")
            .field("policy_set", &self.rulebook.digest().to_string())
            .field("proof", &self.proof)
            .finish_non_exhaustive()
    }
}
