//! A decision against the bare engine: the same request, the same answer, with ever more rules and tools around it.
//!
//! `cargo bench -p portcullis-policies`. Three lines for each size:
//!
//! - `decide`: [`Rulebook::decide`], the request built from JSON arguments included;
//! - `bare action`: `cedar_policy::Authorizer::is_authorized` on the policies of that action alone, request and entities made before;
//! - `bare whole`: the same on the whole set, as an engine without an index does it (only while it takes no whole minute).
#![allow(
    missing_docs,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may fail loudly"
)]

use std::hint::black_box;
use std::str::FromStr;
use std::time::Duration;

use cedar_policy::{Authorizer, Context, Entities, PolicySet, Request};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis_policies::*;
use serde_json::{Value, json};

/// The least are the embedded rules, of which there are 26, and `OWN`.
const POLICIES: [usize; 3] = [30, 200, 2_000];
const TOOLS: [usize; 3] = [10, 1_000, 10_000];
/// Rules that name the measured tool, besides the platform's gates.
const OWN: usize = 4;

fn sizes(c: &mut Criterion) {
    for policies in POLICIES {
        for tools in TOOLS {
            one_size(c, policies, tools);
        }
    }
}

fn one_size(c: &mut Criterion, policies: usize, tools: usize) {
    let sources = sources(policies, tools);
    let started = std::time::Instant::now();
    let book = Rulebook::load(&sources, &catalogue(tools)).unwrap();
    eprintln!("loaded {policies} policies over {tools} tools in {:.2?}", started.elapsed());
    let size = format!("{policies} policies, {tools} tools");
    let mut group = c.benchmark_group("decision");
    group.sample_size(40).warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_millis(1_500));
    ask(&book, |q| {
        assert_eq!(book.decide(q).verdict.kind(), VerdictKind::Permit);
        group.bench_with_input(BenchmarkId::new("decide", &size), q, |b, q| {
            b.iter(|| black_box(book.decide(black_box(q))));
        });
        let capsule = book.capsule(q).unwrap();
        let (request, entities) = bare_request(&capsule);
        let mut bare = |name: &str, set: PolicySet| {
            let authorizer = Authorizer::new();
            let allowed = authorizer.is_authorized(&request, &set, &entities).decision();
            assert_eq!(allowed, cedar_policy::Decision::Allow);
            group.bench_function(BenchmarkId::new(name, &size), |b| {
                b.iter(|| {
                    black_box(authorizer.is_authorized(black_box(&request), &set, &entities))
                });
            });
        };
        bare("bare action", policy_set(&sources, |text| text.contains("\"app/tool0\"")));
        bare("bare whole", policy_set(&sources, |_| true));
    });
    group.finish();
}

/// The beside: what a list of tools and a sign-in cost.
fn beside(c: &mut Criterion) {
    let book = Rulebook::load(&sources(200, 1_000), &catalogue(1_000)).unwrap();
    ask(&book, |q| {
        c.bench_function("may_ever, one tool", |b| {
            b.iter(|| black_box(book.may_ever(q.principal, q.tool, q.target_tenant)));
        });
        c.bench_function("prepare, 1,000 tools, a wildcard", |b| {
            b.iter(|| black_box(book.prepare(q.principal.principal())));
        });
    });
}

fn catalogue(tools: usize) -> Vec<ToolSpec> {
    let schema = json!({"type": "object", "required": ["amount", "count", "to"], "properties": {
        "amount": {"type": "integer"}, "count": {"type": "integer"}, "to": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "note": {"type": "object", "properties": {"text": {"type": "string"}}}}});
    let types = [ActionType::Write, ActionType::Read, ActionType::Destructive];
    let tool = |at: usize| ToolSpec {
        name: format!("app/tool{at}").parse().unwrap(),
        description: String::new(),
        action_type: types[at % 3],
        scopes: Vec::new(),
        input_schema: schema.clone(),
    };
    (0..tools).map(tool).collect()
}

/// The embedded gates, `OWN` rules on the measured tool, and the rest spread over the other tools.
fn sources(policies: usize, tools: usize) -> RuleSources {
    let mut sources = RuleSources::embedded();
    let gates: usize = sources.platform.iter().map(|f| f.text.matches("@id").count()).sum();
    for at in 0..policies - gates {
        let tool = if at < OWN { 0 } else { 1 + at % (tools - 1) };
        let text = format!(
            "@id(\"cap/{at}\") @reason(\"too much\")\n\
             forbid (principal, action == Portcullis::Action::\"app/tool{tool}\", resource)\n\
             when {{ context.input.amount > {} && context.input.to != \"a{at}\" }}\n\
             unless {{ context.confirmation.byOther }};\n",
            1_000 + at
        );
        sources.platform.push(RuleFile { path: format!("cap{at}.cedar"), text });
    }
    sources
}

fn policy_set(sources: &RuleSources, keep: impl Fn(&str) -> bool) -> PolicySet {
    let gate = |path: &str| path.starts_with("policies/rules");
    let files = sources.platform.iter().filter(|f| gate(&f.path) || keep(&f.text));
    PolicySet::from_str(&files.map(|f| f.text.as_str()).collect::<String>()).unwrap()
}

fn ask(book: &Rulebook, with: impl FnOnce(&Question<'_>)) {
    let principal = book.prepare(&Principal {
        kind: PrincipalKind::User,
        id: "u1".to_owned(),
        tenant: "imp_t_one".parse().unwrap(),
        roles: vec!["member".to_owned()],
        scopes: vec!["app:write".to_owned(), "mail:read".to_owned()],
        confirm_writes: false,
        confirm_tools: Vec::new(),
        unconfirmed_tools: Vec::new(),
        unattended: false,
        person: None,
        strength: Strength::default(),
        agency: None,
        disabled_apps: Vec::new(),
        extension: None,
    });
    let input: Value = json!({"amount": 12, "count": 3, "to": "somebody", "tags": ["a", "b"], "note": {"text": "thanks"}});
    with(&Question {
        op: uuid::Uuid::nil(),
        call_digest: [0; 32],
        principal: &principal,
        tool: &"app/tool0".parse().unwrap(),
        target_tenant: &"imp_t_one".parse().unwrap(),
        target_id: None,
        target_owner: None,
        input: &input,
        request: RequestFacts {
            time_ms: 1_795_254_668_123,
            source: "192.0.2.7".parse().unwrap(),
            channel: Channel::Http,
        },
        confirmation: Confirmation::none(),
    });
}

fn bare_request(capsule: &Capsule) -> (Request, Entities) {
    let context = Context::from_json_value(capsule.context.clone(), None).unwrap();
    let [principal, action, resource] =
        [&capsule.principal, &capsule.action, &capsule.resource].map(|uid| uid.parse().unwrap());
    let request = Request::new(principal, action, resource, context, None).unwrap();
    (request, Entities::from_json_value(capsule.entities.clone(), None).unwrap())
}

criterion_group!(benches, sizes, beside);
criterion_main!(benches);
