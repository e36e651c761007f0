//! A checked policy set, immutable, indexed by action.

mod error;
mod index;
mod parse;
mod prepare;
mod sources;
mod targets;
mod validate;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use cedar_policy_core::ast::{Entity, EntityUID, Value};
use sha2::{Digest as _, Sha256};

use crate::capsule::{EntityText, json_of};
use crate::engine::{self, Engine};
use crate::own;
use crate::schema::{Actions, InputType, schema_text};
use crate::scope;
use crate::verdict::PolicySetDigest;
use crate::vocabulary::{ActionType, AppId, TenantId, ToolName, ToolSpec};

pub use error::{RuleError, RuleErrorKind, RuleErrors};
pub(crate) use index::{LayerIndex, Slice, set_of};
pub(crate) use parse::{Rule, parse};
pub use prepare::PreparedPrincipal;
pub use sources::{RuleFile, RuleSources};
pub(crate) use targets::{Target, Targets};
pub(crate) use validate::{Reach, representatives};

/// A policy set that was checked as a whole: immutable, shared in an `Arc`, swapped whole.
pub struct Rulebook {
    pub(crate) engine: Engine,
    pub(crate) rules: Vec<Rule>,
    pub(crate) invariants: Vec<Rule>,
    pub(crate) actions: Actions,
    by_id: HashMap<String, usize>,
    platform: LayerIndex,
    tenants: HashMap<TenantId, LayerIndex>,
    tools: HashMap<ToolName, ToolFacts>,
    universe: prepare::Universe,
    digest: PolicySetDigest,
    texts: Vec<u8>,
    schema: String,
    untypable: Vec<UntypableArgument>,
    shadow: Option<Arc<Rulebook>>,
}

/// What a call on one tool needs, made once.
pub(crate) struct ToolFacts {
    pub(crate) action: Arc<EntityUID>,
    pub(crate) action_entity: Arc<Entity>,
    pub(crate) group: ActionType,
    pub(crate) input: InputType,
    /// The record `{app, name, othersScope, scopes, fallbackScopes}`.
    pub(crate) facts: Value,
    /// The action and the record as they stand in capsules.
    pub(crate) action_text: Option<EntityText>,
    pub(crate) facts_text: Option<String>,
    /// Shared by the tools of an app.
    pub(crate) targets: Arc<Targets>,
}

/// An argument that Cedar cannot type, so that no rule can see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct UntypableArgument {
    /// The tool.
    pub tool: ToolName,
    /// JSON path within the arguments, `$.amount`; `$` is all of them, `$.*` those that the schema does not name.
    pub path: String,
    /// Why, in words for the tool's author.
    pub why: String,
    /// Whether `path` ends in a `.*` that stands for all that a schema lets in without naming it. Only this tells:
    /// servers choose names, and one may name an argument `*`.
    pub open: bool,
}

impl Rulebook {
    /// Checks a policy set as a whole against the schema made from the tools: syntax, unique ids, the closed list of
    /// annotations, no templates, strict validation. Proofs are [`crate::prove`]'s. The gateway's own tools
    /// ([`crate::own_tools`]) are always there, so that a rule about secrets can be written whatever apps there are.
    ///
    /// # Errors
    /// Every mistake at once, each with file, line, caret and remedy.
    pub fn load(sources: &RuleSources, tools: &[ToolSpec]) -> Result<Self, RuleErrors> {
        let tools = &own::with_own(tools).map_err(|e| defect(&e))?;
        let actions = Actions::of(tools).map_err(|e| defect(&e))?;
        let (rules, invariants, mut errors) = parse(sources);
        errors.extend(validate::validate(&rules, &actions));
        errors.extend(validate::validate(&invariants, &actions));
        RuleErrors::none_in(errors)?;
        Self::build(sources, tools, actions, rules, invariants).map_err(|e| defect(&e).into())
    }

    fn build(
        sources: &RuleSources,
        tools: &[ToolSpec],
        actions: Actions,
        rules: Vec<Rule>,
        invariants: Vec<Rule>,
    ) -> Result<Self, String> {
        let engine = Engine::new()?;
        let texts = policy_texts(sources)?;
        let untypable = actions.untyped.iter().map(|(tool, of)| UntypableArgument {
            tool: tool.clone(),
            path: of.path.clone(),
            why: of.why.clone(),
            open: of.open,
        });
        Ok(Self {
            platform: LayerIndex::build(&layer(&rules, None), &actions)?,
            tenants: tenant_indexes(&rules, &actions)?,
            tools: tool_facts(&engine, tools, &actions),
            universe: prepare::Universe::of(tools),
            by_id: rules.iter().enumerate().map(|(at, r)| (r.id.clone(), at)).collect(),
            digest: PolicySetDigest(Sha256::digest(&texts).into()),
            schema: schema_text(actions.shapes.iter().map(|(id, shape)| (id.as_str(), shape))),
            untypable: untypable.collect(),
            shadow: None,
            engine,
            rules,
            invariants,
            actions,
            texts,
        })
    }

    /// SHA-256 of [`Rulebook::policy_texts`].
    pub fn digest(&self) -> &PolicySetDigest {
        &self.digest
    }

    /// The Cedar schema made from the catalogue, as text.
    pub fn schema_text(&self) -> &str {
        &self.schema
    }

    /// SHA-256 of [`Rulebook::schema_text`], lowercase hex.
    pub fn schema_digest(&self) -> String {
        hex::encode(Sha256::digest(self.schema.as_bytes()))
    }

    /// SHA-256 of the invariants' ids and texts in their order, lowercase hex.
    pub fn invariants_digest(&self) -> String {
        invariants_digest(&self.invariants)
    }

    /// The exact bytes that the digest covers, a JSON form of the rule files (platform and tenants, no invariants);
    /// stored by digest, so that past decisions can be run again with [`crate::RecordedSet`].
    pub fn policy_texts(&self) -> &[u8] {
        &self.texts
    }

    /// True when these are the sources of this set and of its invariants.
    pub(crate) fn is_from(&self, sources: &RuleSources) -> bool {
        let (_, invariants, _) =
            parse(&RuleSources { platform: Vec::new(), tenants: Vec::new(), ..sources.clone() });
        policy_texts(sources).is_ok_and(|t| t == self.texts)
            && invariants_digest(&invariants) == self.invariants_digest()
    }

    /// How many rules it holds, all layers together.
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// How many invariants are proved of it.
    pub fn invariant_count(&self) -> usize {
        self.invariants.len()
    }

    /// How many tools it was made for.
    pub fn tool_count(&self) -> usize {
        self.tools.len()
    }

    /// Arguments that rules cannot see.
    pub fn untypable(&self) -> &[UntypableArgument] {
        &self.untypable
    }

    /// This set, with a whole other one in shadow: it is asked too, what it would have changed is recorded, and it never decides.
    #[must_use]
    pub fn with_shadow(self, candidate: Arc<Self>) -> Self {
        Self { shadow: Some(candidate), ..self }
    }

    /// The set in shadow.
    pub fn shadow(&self) -> Option<&Arc<Self>> {
        self.shadow.as_ref()
    }

    /// All tools in the order of their names.
    pub(crate) fn tools_by_name(&self) -> impl Iterator<Item = (&ToolName, &ToolFacts)> {
        let mut tools: Vec<_> = self.tools.iter().collect();
        tools.sort_by_key(|(name, _)| *name);
        tools.into_iter()
    }

    /// What is known of a tool.
    pub(crate) fn tool(&self, name: &ToolName) -> Option<&ToolFacts> {
        self.tools.get(name)
    }

    /// The slices that can apply: the platform's and, where there is one, the target tenant's.
    pub(crate) fn slices<'r>(
        &'r self,
        action: &str,
        group: ActionType,
        target_tenant: &TenantId,
    ) -> impl Iterator<Item = &'r Slice> + Clone + use<'r> {
        let own = self.tenants.get(target_tenant).and_then(|t| t.slice(action, group));
        let platform = self.platform.slice(action, group);
        platform.into_iter().chain(own).map(|s| &**s)
    }

    /// Roles that the platform's and the target tenant's rules may want approvals of.
    pub fn approver_roles(&self, target_tenant: &TenantId) -> Cow<'_, BTreeSet<String>> {
        let platform = &self.platform.approver_roles;
        match self.tenants.get(target_tenant).map(|own| &own.approver_roles) {
            Some(own) if !own.is_empty() => Cow::Owned(platform | own),
            _ => Cow::Borrowed(platform),
        }
    }

    /// The `@reason` texts of rules, in the same order.
    pub(crate) fn reasons(&self, ids: &[String]) -> Vec<String> {
        let rule = |id: &String| self.by_id.get(id).and_then(|at| self.rules.get(*at));
        ids.iter().filter_map(rule).map(|r| r.reason.clone()).collect()
    }
}

impl fmt::Debug for Rulebook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rulebook")
            .field("digest", &self.digest)
            .field("rules", &self.rules.len())
            .field("tools", &self.tools.len())
            .finish_non_exhaustive()
    }
}

/// The digest covers the rules that can decide, and nothing else: invariants have a digest of their own.
///
/// Files go by their place inside the policies folder, so that a proof made on one host is of the same set on another.
fn policy_texts(sources: &RuleSources) -> Result<Vec<u8>, String> {
    let inside = |files: &[RuleFile]| files.iter().map(RuleFile::inside).collect();
    let deciding = RuleSources {
        platform: inside(&sources.platform),
        tenants: sources.tenants.iter().map(|(of, files)| (of.clone(), inside(files))).collect(),
        invariants: Vec::new(),
    };
    serde_json::to_vec(&deciding).map_err(|e| e.to_string())
}

fn invariants_digest(invariants: &[Rule]) -> String {
    let mut hash = Sha256::new();
    for invariant in invariants {
        let text = invariant.policy.to_string();
        for part in [&invariant.id, &text] {
            // The length goes first, so that no two lists of parts have the same bytes.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hex::encode(hash.finalize())
}

fn layer<'r>(rules: &'r [Rule], tenant: Option<&TenantId>) -> Vec<&'r Rule> {
    rules.iter().filter(|r| r.tenant.as_ref() == tenant).collect()
}

fn tenant_indexes(
    rules: &[Rule],
    actions: &Actions,
) -> Result<HashMap<TenantId, LayerIndex>, String> {
    let mut by_tenant: HashMap<&TenantId, Vec<&Rule>> = HashMap::new();
    for rule in rules {
        if let Some(tenant) = &rule.tenant {
            by_tenant.entry(tenant).or_default().push(rule);
        }
    }
    let index = |(tenant, rules): (&TenantId, Vec<&Rule>)| {
        Ok((tenant.clone(), LayerIndex::build(&rules, actions)?))
    };
    by_tenant.into_iter().map(index).collect()
}

fn tool_facts(
    engine: &Engine,
    tools: &[ToolSpec],
    actions: &Actions,
) -> HashMap<ToolName, ToolFacts> {
    let mut targets: HashMap<AppId, Arc<Targets>> = HashMap::new();
    let facts = |spec: &ToolSpec| {
        let id = spec.name.to_string();
        let action = engine.action_uid(&id);
        let group = engine.action_uid(spec.action_type.as_str());
        let need = scope::required(spec);
        let entity = engine::entity(action.clone(), [], [group].into());
        let record = [
            ("app", Value::from(spec.name.app().as_str())),
            ("name", Value::from(id.as_str())),
            ("othersScope", Value::from(format!("{}:others", spec.name.app()))),
            ("scopes", engine::strings(need.all.iter().map(String::as_str))),
            ("fallbackScopes", engine::strings(need.fallback.iter().map(String::as_str))),
        ];
        let input = actions.shapes.get(&id).map_or_else(InputType::empty, |s| s.input.clone());
        let record = Value::record(record, None);
        let facts = ToolFacts {
            action_text: EntityText::of(&entity),
            facts_text: json_of(&record),
            action: Arc::new(action),
            action_entity: Arc::new(entity),
            group: spec.action_type,
            input,
            facts: record,
            targets: Arc::clone(targets.entry(spec.name.app().clone()).or_default()),
        };
        (spec.name.clone(), facts)
    };
    tools.iter().map(facts).collect()
}

fn defect(why: &str) -> RuleError {
    let file = RuleFile { path: "policy set".to_owned(), text: String::new() };
    RuleError::new(
        RuleErrorKind::Io,
        &file,
        why,
        "correct the catalogue, or report this as a defect",
    )
}
