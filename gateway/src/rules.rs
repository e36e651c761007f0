//! Which rules are in force: loads a set, has it proved, writes it down, and only then swaps.
//!
//! INVARIANT: a set that does not validate, or that breaks an invariant, never replaces a good one
//! (`reloads::stay_as_they_are_when_the_new_set_breaks_an_invariant` and its three neighbours).
//! INVARIANT: the ledger names every set before it decides its first call
//! (`reloads::change_for_the_next_call_without_a_dropped_request`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use portcullis_audit::Ledger;
use portcullis_kernel_adapter::Catalogue;
use portcullis_policies::{
    ProofReceipt, RuleErrors, RuleSources, Rulebook, Solver, UntypableArgument, prove,
};
use tokio::sync::Mutex;

use crate::in_force::{InForce, Proof};
use crate::record;

/// Where rules come from and what is wanted of them.
#[derive(Debug, Clone)]
pub struct RulesOptions {
    /// A folder with `rules/` and `invariants/`; none means the set built into the program.
    pub dir: Option<PathBuf>,
    /// Refuse a set that is not proved.
    pub require_proof: bool,
    /// A receipt of a proof made elsewhere (JSON).
    pub receipt: Option<PathBuf>,
    /// The solver, when it is not the `cvc5` of the path.
    pub solver: Option<PathBuf>,
    /// A whole set that is evaluated beside this one and recorded where it would decide otherwise.
    pub shadow: Option<PathBuf>,
}

/// Why a set was not taken.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RulesError {
    /// The files can't be read.
    #[error("the rules cannot be read from {}: {source}", dir.display())]
    Read {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The set itself is bad: syntax, validation, annotations, or a proof failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bad(#[from] RuleErrors),
    /// The set is not proved and has to be.
    #[error("the policy set is not proved ({0}), and `require_proof` is on")]
    #[diagnostic(help(
        "install cvc5, or name a receipt made by `portcullis policy prove --receipt` in `proof_receipt`"
    ))]
    Unproved(String),
    /// The solver is there and could not say.
    #[error("the policy set could not be proved: {0}")]
    #[diagnostic(help(
        "simplify the rule it names, or name a receipt of a proof made elsewhere in `proof_receipt`"
    ))]
    Undecided(String),
    /// The set could not be written down, so it may not decide.
    #[error("the ledger could not record the policy set: {0}")]
    Ledger(String),
}

impl RulesError {
    /// Every mistake with its place, in one text for the record.
    fn whole_story(&self) -> String {
        match self {
            Self::Bad(mistakes) => {
                let lines: Vec<String> = mistakes.iter().map(|one| format!("{one:?}")).collect();
                lines.join("; ")
            }
            other => other.to_string(),
        }
    }
}

/// The rules, reloadable.
pub struct Rules {
    options: RulesOptions,
    current: ArcSwapOption<InForce>,
    /// One reload at a time; holds the catalogue that the next set is made for.
    catalogue: Mutex<Arc<Catalogue>>,
    ledger: Ledger,
}

impl Rules {
    /// Loads the first set.
    ///
    /// # Errors
    /// When the set is bad; the gateway does not start on bad rules.
    pub async fn open(
        options: RulesOptions,
        catalogue: Arc<Catalogue>,
        ledger: Ledger,
    ) -> Result<Self, RulesError> {
        let rules = Self {
            options,
            current: ArcSwapOption::empty(),
            catalogue: Mutex::new(catalogue),
            ledger,
        };
        rules.reload(None).await?;
        Ok(rules)
    }

    /// The snapshot in force.
    #[must_use]
    pub fn current(&self) -> Option<Arc<InForce>> {
        self.current.load_full()
    }

    /// The folder to watch, when the set is not the built-in one.
    #[must_use]
    pub fn dir(&self) -> Option<&PathBuf> {
        self.options.dir.as_ref()
    }

    /// Loads the set again, for the present catalogue or a new one. Both a change and a refusal
    /// are in the ledger when this returns; a refused set leaves the old one in force.
    ///
    /// # Errors
    /// Why the set was not taken.
    pub async fn reload(&self, catalogue: Option<Arc<Catalogue>>) -> Result<(), RulesError> {
        let mut kept = self.catalogue.lock().await;
        let candidate = catalogue.unwrap_or_else(|| Arc::clone(&kept));
        match self.load(&candidate).await {
            Ok(loaded) => {
                record::policies_loaded(&self.ledger, &loaded).await.map_err(RulesError::Ledger)?;
                tracing::info!(
                    policy_set = %loaded.rulebook.digest(),
                    proof = loaded.proof.word(),
                    tools = candidate.tools().count(),
                    "policies in force"
                );
                tell_what_rules_cannot_see(&loaded.rulebook);
                *kept = candidate;
                self.current.store(Some(Arc::new(loaded)));
                Ok(())
            }
            Err(fault) => {
                let kept = self.current().map(|now| now.rulebook.digest().to_string());
                record::policies_refused(&self.ledger, kept, &fault.whole_story())
                    .await
                    .map_err(RulesError::Ledger)?;
                Err(fault)
            }
        }
    }

    async fn load(&self, catalogue: &Arc<Catalogue>) -> Result<InForce, RulesError> {
        let sources = self.sources()?;
        let shadow = self.options.shadow.as_deref().map(read_dir).transpose()?;
        let specs = catalogue.specs();
        let (sources, rulebook) = tokio::task::spawn_blocking(move || {
            let rulebook = Rulebook::load(&sources, &specs)?;
            let rulebook = match shadow {
                None => rulebook,
                Some(shadow) => rulebook.with_shadow(Arc::new(Rulebook::load(&shadow, &specs)?)),
            };
            Ok::<_, RuleErrors>((sources, rulebook))
        })
        .await
        .map_err(|fault| RulesError::Ledger(fault.to_string()))??;
        let proof = self.prove(&rulebook, &sources).await?;
        if let Proof::Unproved { why } = &proof {
            if self.options.require_proof {
                return Err(RulesError::Unproved(why.clone()));
            }
            tracing::warn!(%why, "THE POLICY SET IS NOT PROVED: nobody has shown that it keeps its invariants");
        }
        Ok(InForce::new(Arc::clone(catalogue), rulebook, proof))
    }

    fn sources(&self) -> Result<RuleSources, RulesError> {
        match &self.options.dir {
            None => Ok(RuleSources::embedded()),
            Some(dir) => read_dir(dir),
        }
    }

    async fn prove(&self, rulebook: &Rulebook, sources: &RuleSources) -> Result<Proof, RulesError> {
        if let Some(receipt) = self.receipt()
            && receipt.covers(rulebook)
        {
            return Ok(Proof::Receipt { solver: receipt.solver });
        }
        let Some(solver) = self.options.solver.as_deref().map_or_else(Solver::find, Solver::at)
        else {
            return Ok(Proof::Unproved { why: "no solver found".to_owned() });
        };
        match prove(rulebook, sources, &solver).await {
            Ok(report) => {
                let receipt = report.holds()?;
                Ok(Proof::Proved { solver: receipt.solver.clone() })
            }
            // A solver that is there and gives no answer is no reason to believe the set.
            Err(fault) => Err(RulesError::Undecided(fault.to_string())),
        }
    }

    fn receipt(&self) -> Option<ProofReceipt> {
        let path = self.options.receipt.as_ref()?;
        let read = std::fs::read(path).map_err(|fault| fault.to_string());
        let parsed = read
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|fault| fault.to_string()));
        parsed
            .inspect_err(|fault| tracing::warn!(%fault, path = %path.display(), "proof receipt not readable"))
            .ok()
    }
}

/// An argument that has no Cedar type is there for the tool but not for the rules.
fn tell_what_rules_cannot_see(rulebook: &Rulebook) {
    let named = named(rulebook.untypable());
    if let Some(first) = named.clone().next() {
        tracing::warn!(
            arguments = named.count(),
            tool = %first.tool,
            path = %first.path,
            "rules cannot see some arguments; `portcullis policy check` names all of them"
        );
    }
}

/// That a schema is open is so common that a warning of it would be read by nobody.
fn named(unseen: &[UntypableArgument]) -> impl Iterator<Item = &UntypableArgument> + Clone {
    unseen.iter().filter(|argument| !argument.open)
}

fn read_dir(dir: &Path) -> Result<RuleSources, RulesError> {
    RuleSources::read_dir(dir).map_err(|source| RulesError::Read { dir: dir.to_owned(), source })
}

/// How long files must be quiet before a changed set is loaded: editors write in several steps.
pub const QUIET: Duration = Duration::from_millis(150);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_named_as_an_open_end_is_still_warned_of() {
        let unseen = |path: &str, open| UntypableArgument {
            tool: "app/tool".parse().unwrap(),
            path: path.to_owned(),
            why: String::new(),
            open,
        };
        let unseen = [unseen("$.*", true), unseen("$.x.*", false), unseen("$.*", false)];
        let told: Vec<_> = named(&unseen).map(|of| of.path.as_str()).collect();
        assert_eq!(told, ["$.x.*", "$.*"]);
    }
}
