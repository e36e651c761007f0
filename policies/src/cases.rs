//! Cases: decisions with their expected answer, in files that Cedar's own `cedar run-tests` reads too.
//!
//! A file is an array of cases: `name`, `request` (`principal`, `action`, `resource`, `context`), `entities`, `decision`
//! (`allow` or `deny`), `reason` (ids of the rules that decide), `num_errors`. Our own keys stand beside them:
//!
//! - `verdict`: `permit`, `ask_first`, `ask_other` or `refuse`. Cedar allows when a forbid fails; we refuse: only this key says so.
//! - `call`: the same request in our words, from which `request` and `entities` were made ([`CaseCall`]).
//! - `rules`: further rules for this case alone, to show what a rule like this does.
//!
//! An empty `reason` is not checked; any other has to name all rules that decide. No case at all is a failure.

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::capsule::{Capsule, RecordedSet};
use crate::engine::ENGINE;
use crate::rulebook::{RuleFile, RuleSources, Rulebook};
use crate::verdict::{Confirmation, Question, RequestFacts, VerdictKind};
use crate::vocabulary::{Channel, Principal, TenantId, ToolName};

/// The tools for which the cases that come with the binary were written: a JSON array of [`crate::ToolSpec`].
pub const EXAMPLE_TOOLS: &str = include_str!("../tools/example.json");

/// One file of cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseFile {
    /// The path as shown in results.
    pub path: String,
    /// JSON: an array of cases.
    pub text: String,
}

impl CaseFile {
    /// The cases that come with the binary.
    pub fn embedded() -> Vec<Self> {
        let file = |path: &str, text: &str| Self { path: path.to_owned(), text: text.to_owned() };
        vec![
            file("policies/cases/cache.json", include_str!("../cases/cache.json")),
            file("policies/cases/directory.json", include_str!("../cases/directory.json")),
            file("policies/cases/gates.json", include_str!("../cases/gates.json")),
            file("policies/cases/overflow.json", include_str!("../cases/overflow.json")),
            file("policies/cases/secrets.json", include_str!("../cases/secrets.json")),
            file("policies/cases/approvals.json", include_str!("../cases/approvals.json")),
            file("policies/cases/apps.json", include_str!("../cases/apps.json")),
            file("policies/cases/sign_in.json", include_str!("../cases/sign_in.json")),
        ]
    }

    /// Reads `dir/*.json` in the order of their names.
    ///
    /// # Errors
    /// When the folder or a file cannot be read or is not UTF-8.
    pub fn read_dir(dir: &Path) -> io::Result<Vec<Self>> {
        let entries = std::fs::read_dir(dir)?.map(|e| e.map(|e| e.path()));
        let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
        paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
        paths.sort();
        let file = |path: std::path::PathBuf| {
            Ok(Self { text: std::fs::read_to_string(&path)?, path: path.display().to_string() })
        };
        paths.into_iter().map(file).collect()
    }
}

/// A call in our words, as a case may state it beside `request`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaseCall {
    /// Who asks.
    pub principal: Principal,
    /// What is called; it has to be in the catalogue.
    pub tool: ToolName,
    /// On whose things; the caller's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_tenant: Option<TenantId>,
    /// The thing itself, if one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_id: Option<String>,
    /// The person whose the thing is, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_owner: Option<String>,
    /// The arguments.
    #[serde(default)]
    pub input: Json,
    /// What was confirmed.
    #[serde(default)]
    pub confirmation: Confirmation,
}

impl CaseCall {
    /// The call as `request` and `entities` of a case, at a fixed time from a fixed address; `None` when it cannot be asked.
    pub fn expand(&self, rulebook: &Rulebook) -> Option<(Json, Json)> {
        let principal = rulebook.prepare(&self.principal);
        let capsule = rulebook.capsule(&Question {
            op: uuid::Uuid::nil(),
            call_digest: [0; 32],
            principal: &principal,
            tool: &self.tool,
            target_tenant: self.target_tenant.as_ref().unwrap_or(&self.principal.tenant),
            target_id: self.target_id.as_deref(),
            target_owner: self.target_owner.as_deref(),
            input: &self.input,
            request: example_request(),
            confirmation: &self.confirmation,
        })?;
        let request = serde_json::json!({
            "principal": capsule.principal, "action": capsule.action,
            "resource": capsule.resource, "context": capsule.context,
        });
        Some((request, capsule.entities))
    }
}

/// Noon of 1 January 2026, from a documentation address, by the operator's command.
pub(crate) fn example_request() -> RequestFacts {
    let source = std::net::IpAddr::from([192, 0, 2, 1]);
    RequestFacts { time_ms: 1_767_268_800_000, source, channel: Channel::Cli }
}

/// How all cases went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseReport {
    /// Every case in the order of its file.
    pub results: Vec<CaseResult>,
}

/// How one case went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseResult {
    /// The file that it stands in.
    pub file: String,
    /// Its name, or its number in the file.
    pub name: String,
    /// What differs from what is expected; empty when it passed.
    pub differences: Vec<String>,
}

impl CaseReport {
    /// True when there is a case and every one passed.
    pub fn passed(&self) -> bool {
        !self.results.is_empty() && self.results.iter().all(|r| r.differences.is_empty())
    }

    /// `{passed, results: [{file, name, differences}]}`.
    pub fn to_json(&self) -> Json {
        serde_json::json!({"passed": self.passed(), "results": self.results})
    }
}

impl fmt::Display for CaseReport {
    /// One line a case, what differs below it, and the sums.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for r in &self.results {
            let word = if r.differences.is_empty() { "ok    " } else { "FAILED" };
            writeln!(f, "{word}  {}: {}", r.file, r.name)?;
            for difference in &r.differences {
                writeln!(f, "        {difference}")?;
            }
        }
        let failed = self.results.iter().filter(|r| !r.differences.is_empty()).count();
        match self.results.len() {
            0 => writeln!(
                f,
                "there is no case; add one to policies/cases/, since no case proves nothing"
            ),
            n => writeln!(f, "{} of {n} cases passed", n - failed),
        }
    }
}

/// Runs cases on the whole set of a rulebook. A case that cannot be read is one that failed.
pub fn run_cases(rulebook: &Rulebook, files: &[CaseFile]) -> CaseReport {
    let mut results = Vec::new();
    for file in files {
        match serde_json::from_str::<Vec<Json>>(&file.text) {
            Ok(cases) => results.extend(cases.iter().enumerate().map(|(at, case)| {
                let name = case.get("name").and_then(Json::as_str);
                let name = name.map_or_else(|| format!("case {}", at + 1), str::to_owned);
                CaseResult { file: file.path.clone(), name, differences: run_case(rulebook, case) }
            })),
            Err(e) => results.push(CaseResult {
                file: file.path.clone(),
                name: "the file".to_owned(),
                differences: vec![format!("is not a JSON array of cases: {e}")],
            }),
        }
    }
    CaseReport { results }
}

/// A case as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default, rename = "name")]
    _name: String,
    request: CaseRequest,
    entities: Json,
    decision: String,
    reason: Vec<String>,
    num_errors: usize,
    #[serde(default)]
    verdict: Option<VerdictKind>,
    #[serde(default)]
    call: Option<CaseCall>,
    #[serde(default)]
    rules: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseRequest {
    principal: String,
    action: String,
    resource: String,
    context: Json,
}

fn run_case(rulebook: &Rulebook, case: &Json) -> Vec<String> {
    let expected: Case = match serde_json::from_value(case.clone()) {
        Ok(expected) => expected,
        Err(e) => return vec![format!("the case cannot be read: {e}")],
    };
    let mut differences = match answer(rulebook, &expected) {
        Ok(differences) => differences,
        Err(why) => vec![why],
    };
    let known = expected.call.as_ref().and_then(|call| call.expand(rulebook));
    if known.is_some_and(|(request, entities)| {
        case.get("request") != Some(&request) || !same_entities(&expected.entities, &entities)
    }) {
        differences
            .push("`call` and `request` are not the same; write the request anew".to_owned());
    }
    differences
}

fn answer(rulebook: &Rulebook, expected: &Case) -> Result<Vec<String>, String> {
    let set = match &expected.rules {
        Some(text) => extended(rulebook, text)?,
        None => rulebook.recorded().map_err(|e| e.to_string())?,
    };
    let capsule = Capsule {
        version: 1,
        engine: ENGINE.to_owned(),
        policy_set: set.digest().to_owned(),
        principal: expected.request.principal.clone(),
        action: expected.request.action.clone(),
        resource: expected.request.resource.clone(),
        context: expected.request.context.clone(),
        entities: expected.entities.clone(),
    };
    let (ruling, verdict) = set.rule(&capsule).map_err(|e| e.to_string())?;
    let mut differences = Vec::new();
    let mut differ = |what: &str, expected: &dyn fmt::Display, got: &dyn fmt::Display| {
        differences.push(format!("expected {what} {expected}, got {got}"));
    };
    let allows = ruling.forbids.is_empty() && !ruling.permits.is_empty();
    let decision = if allows { "allow" } else { "deny" };
    if expected.decision != decision {
        differ("decision", &expected.decision, &decision);
    }
    let mut reason = expected.reason.clone();
    reason.sort();
    if !reason.is_empty() && reason != ruling.determining() {
        differ("reason", &reason.join(", "), &ruling.determining().join(", "));
    }
    if expected.num_errors != ruling.errors.len() {
        differ("num_errors", &expected.num_errors, &ruling.errors.len());
    }
    if let Some(wanted) = expected.verdict.filter(|v| *v != verdict) {
        differ("verdict", &wanted, &verdict);
    }
    Ok(differences)
}

/// The rulebook's set with further rules on top.
fn extended(rulebook: &Rulebook, text: &str) -> Result<RecordedSet, String> {
    let mut sources: RuleSources =
        serde_json::from_slice(rulebook.policy_texts()).map_err(|e| e.to_string())?;
    sources.platform.push(RuleFile { path: "rules of the case".to_owned(), text: text.to_owned() });
    let texts = serde_json::to_vec(&sources).map_err(|e| e.to_string())?;
    RecordedSet::from_texts(&texts).map_err(|e| match e {
        crate::ReplayError::Rules(errors) => format!("the rules of the case: {errors:?}"),
        e => e.to_string(),
    })
}

/// Entities are a set, and so are their scopes: order does not count.
fn same_entities(a: &Json, b: &Json) -> bool {
    let read = |j: &Json| cedar_policy::Entities::from_json_value(j.clone(), None).ok();
    matches!((read(a), read(b)), (Some(a), Some(b)) if a.deep_eq(&b))
}
