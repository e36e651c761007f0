//! The questions that are put to the solver, sliced by action as decisions are.

use std::collections::{BTreeMap, HashSet};

use cedar_policy::{EntityUid, Policy, PolicySet, RequestEnv, Schema};
use cedar_policy_core::ast::{self, PolicyID};
use cedar_policy_symcc::err::Error;
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{
    CedarSymCompiler, CompiledPolicy, CompiledPolicySet, CompiledSchema, Env,
};

use super::finding::Counterexample;
use super::{Finding, ProveError, Solver};
use crate::rulebook::{Reach, Rule, RuleErrorKind, Rulebook, representatives, set_of};
use crate::schema::{ActionShape, schema_text};
use crate::vocabulary::{ActionType, TenantId};

/// Runs all questions; the count is of questions, not of solver calls.
pub(super) async fn run(
    rulebook: &Rulebook,
    solver: &Solver,
) -> Result<(usize, Vec<Finding>), ProveError> {
    let mut prover = Prover {
        rulebook,
        solver,
        process: solver.start()?,
        queries: 0,
        findings: Vec::new(),
        failing: HashSet::new(),
        broken: HashSet::new(),
    };
    let mut tenants: Vec<Option<&TenantId>> = vec![None];
    for tenant in rulebook.rules.iter().filter_map(|r| r.tenant.as_ref()) {
        if !tenants.contains(&Some(tenant)) {
            tenants.push(Some(tenant));
        }
    }
    for tenant in tenants {
        match prover.layer(tenant).await {
            Ok(()) => {}
            // What was found already is worse than what could not be found out.
            Err(_) if !prover.findings.is_empty() => break,
            Err(fault) => return Err(fault),
        }
    }
    Ok((prover.queries, prover.findings))
}

struct Prover<'r> {
    rulebook: &'r Rulebook,
    solver: &'r Solver,
    process: CedarSymCompiler<LocalSolver>,
    queries: usize,
    findings: Vec<Finding>,
    /// Rules and invariants that have a finding: one counterexample each is enough.
    failing: HashSet<&'r str>,
    broken: HashSet<&'r str>,
}

/// One kind of request: a type of principal and an action, with the symbols for it.
struct Kind<'k> {
    schema: &'k CompiledSchema,
    env: RequestEnv,
    action: &'k str,
}

impl<'r> Prover<'r> {
    /// Proves the platform's rules, or these with one tenant's on top.
    async fn layer(&mut self, tenant: Option<&TenantId>) -> Result<(), ProveError> {
        let ours = |r: &&Rule| r.tenant.is_none() || r.tenant.as_ref() == tenant;
        let rules: Vec<&'r Rule> = self.rulebook.rules.iter().filter(ours).collect();
        let invariants: Vec<&'r Rule> = self.rulebook.invariants.iter().collect();
        let all: Vec<_> = rules.iter().chain(&invariants).copied().collect();
        let actions = representatives(&all, &self.rulebook.actions);
        let schema = compile_schema(&actions)?;
        for (action, shape) in &actions {
            let rules = reaching(&rules, action, shape.group);
            let invariants = reaching(&invariants, action, shape.group);
            for principal in ["User", "Service"] {
                let kind = Kind { schema: &schema, env: request_env(principal, action)?, action };
                self.never_fails(&kind, &rules, tenant).await?;
                self.invariants_hold(&kind, &rules, &invariants).await?;
            }
        }
        Ok(())
    }

    async fn never_fails(
        &mut self,
        kind: &Kind<'_>,
        rules: &[&'r Rule],
        tenant: Option<&TenantId>,
    ) -> Result<(), ProveError> {
        // The platform's rules were proved with the platform's layer.
        for rule in rules.iter().filter(|r| r.tenant.as_ref() == tenant) {
            if self.failing.contains(rule.id.as_str()) {
                continue;
            }
            self.queries += 1;
            let policy = kind.policy(&rule.policy)?;
            let asked = self.process.check_never_errors_with_counterexample_opt(&policy);
            if let Some(found) = settle(asked, self.solver, &rule.id, kind.action).await? {
                self.failing.insert(&rule.id);
                let message =
                    format!("`{}` can fail, and a rule that fails refuses the call", rule.id);
                let help = "bound each number before arithmetic (`a <= 1000 && a * b > limit`), and test with `has` what may be absent";
                let error = rule.error(RuleErrorKind::CanError, message, help);
                let counterexample = Counterexample::of(&rule.id, &found)?;
                self.findings.push(Finding { error, counterexample });
            }
        }
        Ok(())
    }

    async fn invariants_hold(
        &mut self,
        kind: &Kind<'_>,
        rules: &[&'r Rule],
        invariants: &[&'r Rule],
    ) -> Result<(), ProveError> {
        let live = || rules.iter().filter(|r| !r.shadow).map(|r| r.policy.clone());
        let alone = kind.set(live())?;
        // All at once first: where everything holds, that is one question instead of many.
        if self.implied(kind, &alone, live(), invariants).await?.is_none() {
            return Ok(());
        }
        for invariant in invariants {
            if self.broken.contains(invariant.id.as_str()) {
                continue;
            }
            if let Some(found) = self.implied(kind, &alone, live(), &[*invariant]).await? {
                self.broken.insert(&invariant.id);
                self.findings.push(self.broken_invariant(invariant, rules, &found)?);
            }
        }
        Ok(())
    }

    /// A request that the rules allow and that the same rules with the invariants do not.
    async fn implied(
        &mut self,
        kind: &Kind<'_>,
        alone: &CompiledPolicySet,
        live: impl Iterator<Item = ast::Policy>,
        invariants: &[&Rule],
    ) -> Result<Option<Env>, ProveError> {
        self.queries += 1;
        // A space is in no id, so an invariant never takes the id of a rule.
        let renamed =
            |i: &&Rule| i.policy.new_id(PolicyID::from_string(format!("invariant {}", i.id)));
        let bound = kind.set(live.chain(invariants.iter().map(renamed)))?;
        let asked = self.process.check_implies_with_counterexample_opt(alone, &bound);
        settle(asked, self.solver, "invariants", kind.action).await
    }

    fn broken_invariant(
        &self,
        invariant: &Rule,
        rules: &[&Rule],
        found: &Env,
    ) -> Result<Finding, ProveError> {
        let live = rules.iter().filter(|r| !r.shadow).map(|r| r.policy.clone());
        let set = set_of(live).map_err(ProveError::Encoding)?;
        let request = found.request.as_ref().clone();
        let ruling = self.rulebook.engine.ask(&set, request, found.entities.as_ref());
        let message = format!(
            "the rules allow what `{}` says must never be allowed; it is permitted by {}",
            invariant.id,
            ruling.determining().join(", "),
        );
        let help = "narrow that permit, or add a forbid that the case file of the counterexample then passes";
        let error = invariant.error(RuleErrorKind::BrokenInvariant, message, help);
        Ok(Finding { error, counterexample: Counterexample::of(&invariant.id, found)? })
    }
}

impl Kind<'_> {
    fn policy(&self, policy: &ast::Policy) -> Result<CompiledPolicy, ProveError> {
        let symbols = self.schema.sym_env(&self.env).map_err(|e| encoding(&e))?;
        CompiledPolicy::compile_with_custom_symenv(
            &Policy::from(policy.clone()),
            &self.env,
            self.schema.schema(),
            symbols,
        )
        .map_err(|e| encoding(&e))
    }

    fn set(
        &self,
        policies: impl Iterator<Item = ast::Policy>,
    ) -> Result<CompiledPolicySet, ProveError> {
        let set = PolicySet::from(set_of(policies).map_err(ProveError::Encoding)?);
        let symbols = self.schema.sym_env(&self.env).map_err(|e| encoding(&e))?;
        let schema = self.schema.schema();
        CompiledPolicySet::compile_with_custom_symenv(&set, &self.env, schema, symbols)
            .map_err(|e| encoding(&e))
    }
}

/// Waits for an answer with a limit that also holds when the solver ignores its own.
async fn settle(
    asked: impl Future<Output = Result<Option<Env>, Error>>,
    solver: &Solver,
    rule: &str,
    action: &str,
) -> Result<Option<Env>, ProveError> {
    let undecided = || ProveError::Undecided {
        rule: rule.to_owned(),
        action: action.to_owned(),
        limit: solver.limit(),
    };
    match tokio::time::timeout(solver.limit() * 2, asked).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(Error::SolverUnknown)) | Err(_) => Err(undecided()),
        Ok(Err(Error::SolverError(e))) => Err(ProveError::Solver(e.to_string())),
        Ok(Err(e)) => Err(encoding(&e)),
    }
}

fn compile_schema(actions: &BTreeMap<String, ActionShape>) -> Result<CompiledSchema, ProveError> {
    let text = schema_text(actions.iter().map(|(id, shape)| (id.as_str(), shape)));
    let (schema, _) =
        Schema::from_cedarschema_str(&text).map_err(|e| ProveError::Encoding(e.to_string()))?;
    CompiledSchema::new(&schema).map_err(|e| encoding(&e))
}

fn reaching<'r>(rules: &[&'r Rule], action: &str, group: ActionType) -> Vec<&'r Rule> {
    let reaches = |rule: &&&Rule| {
        let reach = Reach::of(&rule.policy);
        reach.groups.contains(&group) || reach.named.contains(action)
    };
    rules.iter().filter(reaches).copied().collect()
}

fn request_env(principal: &str, action: &str) -> Result<RequestEnv, ProveError> {
    let type_name = |name: &str| format!("Portcullis::{name}").parse().map_err(parsing);
    let action =
        EntityUid::from_type_name_and_id(type_name("Action")?, cedar_policy::EntityId::new(action));
    Ok(RequestEnv::new(type_name(principal)?, action, type_name("Target")?))
}

fn parsing(e: cedar_policy::ParseErrors) -> ProveError {
    ProveError::Encoding(e.to_string())
}

fn encoding(e: &Error) -> ProveError {
    ProveError::Encoding(e.to_string())
}
