//! A small catalogue and people for the tests of this crate.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: every test binary uses a part of it, and may fail loudly"
)]

use portcullis_policies::*;
use serde_json::{Value, json};

pub fn tool(name: &str, action_type: ActionType, properties: Value, required: &[&str]) -> ToolSpec {
    ToolSpec {
        name: name.parse().unwrap(),
        description: String::new(),
        action_type,
        scopes: Vec::new(),
        input_schema: json!({"type": "object", "properties": properties, "required": required}),
    }
}

pub fn catalogue() -> Vec<ToolSpec> {
    serde_json::from_str(EXAMPLE_TOOLS).unwrap()
}

pub fn user(scopes: &[&str]) -> Principal {
    Principal {
        kind: PrincipalKind::User,
        id: "u1".to_owned(),
        tenant: "imp_t_one".parse().unwrap(),
        roles: vec!["member".to_owned()],
        scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
        confirm_writes: false,
        confirm_tools: Vec::new(),
        unconfirmed_tools: Vec::new(),
        unattended: false,
        person: None,
        strength: Strength::default(),
        agency: None,
        disabled_apps: Vec::new(),
        extension: None,
    }
}

pub fn with_rules(platform: &[&str]) -> RuleSources {
    let mut sources = RuleSources::embedded();
    for (at, text) in platform.iter().enumerate() {
        sources
            .platform
            .push(RuleFile { path: format!("extra{at}.cedar"), text: (*text).to_owned() });
    }
    sources
}

pub fn with_tenant_rules(tenant: &str, text: &str) -> RuleSources {
    let mut sources = RuleSources::embedded();
    let file = RuleFile { path: format!("tenants/{tenant}/own.cedar"), text: text.to_owned() };
    sources.tenants.push((tenant.parse().unwrap(), vec![file]));
    sources
}

pub fn load(sources: &RuleSources) -> Rulebook {
    Rulebook::load(sources, &catalogue()).unwrap()
}

/// One call as the tests vary it.
#[derive(Debug)]
pub struct Call {
    pub principal: Principal,
    pub tool: &'static str,
    pub tenant: &'static str,
    pub target: Option<&'static str>,
    pub input: Value,
    pub confirmation: Confirmation,
}

impl Call {
    pub fn new(principal: Principal, tool: &'static str, input: Value) -> Self {
        let confirmation = Confirmation::default();
        Self { principal, tool, tenant: "imp_t_one", target: None, input, confirmation }
    }

    pub fn confirmed(self, given: bool, by_other: bool) -> Self {
        Self { confirmation: Confirmation { given, by_other, ..Confirmation::default() }, ..self }
    }

    pub fn approved(self, by_other: bool, roles: &[&str]) -> Self {
        let approved_as = roles.iter().map(|role| (*role).to_owned()).collect();
        Self { confirmation: Confirmation { given: true, by_other, approved_as }, ..self }
    }

    pub fn at(self, tenant: &'static str) -> Self {
        Self { tenant, ..self }
    }

    pub fn ask<T>(&self, book: &Rulebook, with: impl FnOnce(&Question<'_>) -> T) -> T {
        let question = Question {
            op: uuid::Uuid::from_u128(7),
            call_digest: [9; 32],
            principal: &book.prepare(&self.principal),
            tool: &self.tool.parse().unwrap(),
            target_tenant: &self.tenant.parse().unwrap(),
            target_id: self.target,
            target_owner: None,
            input: &self.input,
            request: RequestFacts {
                time_ms: 1_795_254_668_123,
                source: "192.0.2.7".parse().unwrap(),
                channel: Channel::Http,
            },
            confirmation: &self.confirmation,
        };
        with(&question)
    }

    pub fn decide(&self, book: &Rulebook) -> Decision {
        self.ask(book, |q| book.decide(q))
    }

    pub fn kind(&self, book: &Rulebook) -> VerdictKind {
        self.decide(book).verdict.kind()
    }
}

pub fn refusal(decision: Decision) -> Refusal {
    match decision.verdict {
        Verdict::Refusal(refusal) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}
