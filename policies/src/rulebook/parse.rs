//! From rule files to rules: syntax, ids, annotations, and the tenant that a rule binds.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy_core::ast::{
    Effect, Expr, ExprKind, Policy, PolicyID, PolicySet, StaticPolicy, Template, Var,
};
use cedar_policy_core::parser::parse_policyset;
use miette::{Diagnostic, SourceSpan};

use super::error::{RuleError, RuleErrorKind};
use super::sources::{RuleFile, RuleSources};
use crate::vocabulary::TenantId;

/// The only annotations: an unknown one is refused, so that a typo cannot drop a duty.
const ANNOTATIONS: [&str; 5] = ["id", "reason", "control", "owner", "shadow"];
/// The longest id in bytes.
const ID_MAX: usize = 128;

/// One rule, named by its `@id` and bound to its layer.
#[derive(Clone)]
pub(crate) struct Rule {
    /// `@id`, with the tenant and a `/` before it in a tenant's layer.
    pub(crate) id: String,
    /// `@reason`.
    pub(crate) reason: String,
    /// `@shadow` is there: recorded, never deciding.
    pub(crate) shadow: bool,
    /// The tenant that it binds; `None` binds everybody.
    pub(crate) tenant: Option<TenantId>,
    /// The policy under its id, already bound to the tenant.
    pub(crate) policy: Policy,
    /// What the condition reads.
    pub(crate) reads: Reads,
    pub(crate) file: Arc<RuleFile>,
    pub(crate) span: Option<SourceSpan>,
}

/// What a rule's condition reads of a call, beyond who asks and which tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reads {
    /// The arguments (or the context as a whole).
    pub(crate) input: bool,
    /// Anything that is known only when a call comes: arguments, request, the single target.
    pub(crate) call: bool,
}

impl Rule {
    pub(crate) fn forbids(&self) -> bool {
        self.policy.effect() == Effect::Forbid
    }

    /// The policy without its conditions.
    pub(crate) fn scope_only(&self) -> Result<Policy, String> {
        let template = self.policy.template();
        rebuild(template, self.policy.id().clone(), template.resource_constraint().clone(), None)
    }

    /// A mistake at this rule.
    pub(crate) fn error(&self, kind: RuleErrorKind, message: String, help: &str) -> RuleError {
        RuleError::new(kind, &self.file, message, help).at(self.span)
    }
}

/// Reads all layers; the second list holds the invariants.
pub(crate) fn parse(sources: &RuleSources) -> (Vec<Rule>, Vec<Rule>, Vec<RuleError>) {
    let mut errors = Vec::new();
    let mut rules = layer(&sources.platform, None, &mut errors);
    if rules.is_empty() && errors.is_empty() {
        let file = RuleFile { path: "policies/rules".to_owned(), text: String::new() };
        let help = "add the platform's rules; without one nothing is permitted";
        errors.push(RuleError::new(RuleErrorKind::Io, &file, "the policy set holds no rule", help));
    }
    for (tenant, files) in &sources.tenants {
        rules.extend(layer(files, Some(tenant), &mut errors));
    }
    let mut invariants = layer(&sources.invariants, None, &mut errors);
    refuse_duplicates(&rules, &mut errors);
    refuse_duplicates(&invariants, &mut errors);
    for invariant in &mut invariants {
        if !invariant.forbids() {
            let message = format!("the invariant `{}` is a permit", invariant.id);
            let help = "write what must never be allowed as a `forbid`";
            errors.push(invariant.error(RuleErrorKind::BrokenInvariant, message, help));
        }
    }
    (rules, invariants, errors)
}

fn layer(files: &[RuleFile], tenant: Option<&TenantId>, errors: &mut Vec<RuleError>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for file in files {
        match parse_policyset(&file.text) {
            Ok(set) => read_file(&Arc::new(file.clone()), &set, tenant, &mut rules, errors),
            Err(e) => errors.extend(syntax_errors(file, &e)),
        }
    }
    rules
}

fn read_file(
    file: &Arc<RuleFile>,
    set: &PolicySet,
    tenant: Option<&TenantId>,
    rules: &mut Vec<Rule>,
    errors: &mut Vec<RuleError>,
) {
    for template in set.templates() {
        let help =
            "write a policy for each case; state tenancy by attributes, as in `principal.tenant`";
        let error =
            RuleError::new(RuleErrorKind::Template, file, "a template cannot be proved", help);
        errors.push(error.at(template.loc().map(|l| l.span)));
    }
    let mut policies: Vec<_> = set.static_policies().collect();
    policies.sort_by_key(|p| p.loc().map_or(0, |l| l.span.offset()));
    for policy in policies {
        match read_rule(file, policy, tenant) {
            Ok(rule) => rules.push(rule),
            Err(found) => errors.extend(found),
        }
    }
}

fn read_rule(
    file: &Arc<RuleFile>,
    policy: &Policy,
    tenant: Option<&TenantId>,
) -> Result<Rule, Vec<RuleError>> {
    let span = policy.loc().map(|l| l.span);
    let notes = annotations(file, policy, span)?;
    let note = |key: &str| notes.get(key).cloned().unwrap_or_default();
    let id = match tenant {
        Some(tenant) => format!("{tenant}/{}", note("id")),
        None => note("id"),
    };
    let policy = bind(policy, &id, tenant).map_err(|e| {
        vec![RuleError::new(RuleErrorKind::Template, file, e, "write it without slots").at(span)]
    })?;
    Ok(Rule {
        reason: note("reason"),
        shadow: notes.contains_key("shadow"),
        tenant: tenant.cloned(),
        reads: reads(&policy),
        file: Arc::clone(file),
        id,
        policy,
        span,
    })
}

/// Checks the annotations of one policy against the closed list.
fn annotations(
    file: &RuleFile,
    policy: &Policy,
    span: Option<SourceSpan>,
) -> Result<HashMap<String, String>, Vec<RuleError>> {
    let mut errors = Vec::new();
    let mut notes = HashMap::new();
    for (key, value) in policy.annotations() {
        if !ANNOTATIONS.contains(&key.as_ref()) {
            let message = format!("unknown annotation `@{key}`");
            let help = "use @id, @reason, @control, @owner or @shadow";
            let error = RuleError::new(RuleErrorKind::Annotation, file, message, help);
            errors.push(error.at(value.loc.as_ref().map(|l| l.span).or(span)));
        }
        notes.insert(key.as_ref().to_owned(), value.val.to_string());
    }
    let mut missing = |message: &str, help: &str| {
        errors.push(RuleError::new(RuleErrorKind::Annotation, file, message, help).at(span));
    };
    if !notes.get("id").is_some_and(|id| is_id(id)) {
        missing(
            "the policy has no usable @id",
            "add @id(\"subject/what-it-says\"): 1 to 128 of A-Z, a-z, 0-9, `_`, `.`, `:`, `/`, `-`",
        );
    }
    if notes.get("reason").is_none_or(|r| r.trim().is_empty()) {
        missing(
            "the policy has no @reason",
            "add @reason(\"...\"): the sentence that a refused caller reads",
        );
    }
    if errors.is_empty() { Ok(notes) } else { Err(errors) }
}

fn is_id(text: &str) -> bool {
    let letters = |b: u8| b.is_ascii_alphanumeric() || b"_.:/-".contains(&b);
    (1..=ID_MAX).contains(&text.len()) && text.bytes().all(letters)
}

/// The policy under its id; in a tenant's layer with `resource.tenant == "<tenant>"` before its own condition.
///
/// So a tenant's rule binds only calls on that tenant's things by construction, and cannot even fail for others:
/// `&&` stops at its left side.
fn bind(policy: &Policy, id: &str, tenant: Option<&TenantId>) -> Result<Policy, String> {
    let id = PolicyID::from_string(id);
    let Some(tenant) = tenant else { return Ok(policy.new_id(id)) };
    let template = policy.template();
    let owner = Expr::get_attr(Expr::var(Var::Resource), "tenant".into());
    let ours = Expr::is_eq(owner, Expr::val(tenant.as_str()));
    let condition = match template.non_scope_constraints() {
        Some(own) => Expr::and(ours, own.clone()),
        None => ours,
    };
    rebuild(template, id, template.resource_constraint().clone(), Some(condition))
}

/// The policy with its condition and the constraint to one resource left out: a permit that allows at least as much.
pub(crate) fn widened(policy: &Policy) -> Result<Policy, String> {
    let any = cedar_policy_core::ast::ResourceConstraint::any();
    rebuild(policy.template(), policy.id().clone(), any, None)
}

fn rebuild(
    template: &Template,
    id: PolicyID,
    resource: cedar_policy_core::ast::ResourceConstraint,
    condition: Option<Expr>,
) -> Result<Policy, String> {
    let policy = StaticPolicy::new(
        id,
        template.loc().cloned(),
        template.annotations().map(|(k, v)| (k.clone(), v.clone())).collect(),
        template.effect(),
        template.principal_constraint().clone(),
        template.action_constraint().clone(),
        resource,
        condition,
    );
    Ok(Template::link_static_policy(policy.map_err(|e| e.to_string())?).1)
}

/// What the condition reads. Whatever is not plainly harmless counts as read.
fn reads(policy: &Policy) -> Reads {
    let condition = policy.condition();
    let attribute_of = |var: Var, attributes: &[&str]| {
        condition.subexpressions().filter(|e| is_attribute_of(e, var, attributes)).count()
    };
    let mentions = |var: Var| {
        condition.subexpressions().filter(|e| *e.expr_kind() == ExprKind::Var(var)).count()
    };
    let context = mentions(Var::Context);
    let settled = attribute_of(Var::Context, &["tool", "confirmation"]);
    let facts = attribute_of(Var::Context, &["request"]);
    let target = mentions(Var::Resource) > attribute_of(Var::Resource, &["tenant"]);
    let whole_target =
        policy.resource_constraint() != cedar_policy_core::ast::ResourceConstraint::any();
    Reads { input: context > settled + facts, call: context > settled || target || whole_target }
}

fn is_attribute_of(e: &Expr, var: Var, attributes: &[&str]) -> bool {
    match e.expr_kind() {
        ExprKind::GetAttr { expr, attr } => {
            *expr.expr_kind() == ExprKind::Var(var) && attributes.contains(&attr.as_str())
        }
        _ => false,
    }
}

fn refuse_duplicates(rules: &[Rule], errors: &mut Vec<RuleError>) {
    let mut seen: HashMap<&str, &Rule> = HashMap::new();
    for rule in rules {
        if let Some(first) = seen.insert(&rule.id, rule) {
            let message =
                format!("the id `{}` is used twice; first in {}", rule.id, first.file.path);
            let help = "give every policy an @id of its own: the ledger knows rules by it";
            errors.push(rule.error(RuleErrorKind::DuplicateId, message, help));
        }
    }
}

fn syntax_errors(file: &RuleFile, error: &dyn Diagnostic) -> Vec<RuleError> {
    let related = error.related().map(|r| r.collect::<Vec<_>>()).unwrap_or_default();
    let mut all = vec![error];
    all.extend(related);
    all.into_iter().map(|e| from_diagnostic(RuleErrorKind::Syntax, file, e)).collect()
}

/// One of Cedar's own findings as ours.
pub(crate) fn from_diagnostic(
    kind: RuleErrorKind,
    file: &RuleFile,
    found: &dyn Diagnostic,
) -> RuleError {
    let help = found.help().map_or_else(
        || "correct the text at the caret; `portcullis policy check` shows all mistakes".to_owned(),
        |h| h.to_string(),
    );
    let label = found.labels().and_then(|mut l| l.next());
    RuleError::new(kind, file, found.to_string(), help)
        .at(label.as_ref().map(|l| *l.inner()))
        .labelled(label.and_then(|l| l.label().map(str::to_owned)))
}
