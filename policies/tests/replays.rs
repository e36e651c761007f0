//! Decisions run again: a slice decides as the whole set does, and requests are what the schema says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod support;

use portcullis_policies::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::*;

/// Rules of every shape that the index tells apart: any action, a group, groups and names, one name; failing ones too.
const MIXED: &str = r#"
@id("m/any") @reason("r") forbid (principal == Portcullis::User::"u2", action, resource);
@id("m/role") @reason("r") permit (principal in Portcullis::Role::"admin", action, resource);
@id("m/service") @reason("r") forbid (principal is Portcullis::Service, action in Portcullis::Action::"destructive", resource)
    unless { principal.mfa };
@id("m/mixed") @reason("r")
forbid (principal, action in [Portcullis::Action::"read", Portcullis::Action::"bank/pay_invoice"], resource)
    when { context.request.channel == "mcp" };
@id("m/overflow") @reason("r") forbid (principal, action == Portcullis::Action::"bank/pay_invoice", resource)
    when { context.input.amount * context.input.count > 10000 } unless { context.confirmation.byOther };
@id("m/overflowing-permit") @reason("r") permit (principal, action == Portcullis::Action::"bank/pay_invoice", resource)
    when { context.input.amount + context.input.count > 5 };
@id("m/target") @reason("r") forbid (principal, action, resource == Portcullis::Target::"notes/n1");
@id("m/app") @reason("r") forbid (principal, action in Portcullis::Action::"write", resource in Portcullis::App::"notes")
    when { context.request.source.isInRange(ip("198.51.100.0/24")) };
@id("m/time") @reason("r") forbid (principal, action, resource) when { context.request.time > datetime("2030-01-01") };
@id("m/tag") @reason("r") forbid (principal, action == Portcullis::Action::"notes/list_notes", resource)
    when { context.input has tag && context.input.tag like "secret*" };
@id("m/approved") @reason("r") forbid (principal, action == Portcullis::Action::"notes/delete_note", resource)
    unless { context.confirmation.approvedAs.containsAll(["finance", "security"]) };
@id("m/approved-by-one") @reason("r") forbid (principal, action == Portcullis::Action::"notes/add_note", resource)
    unless { context.confirmation.approvedAs.containsAny(["finance", "sales"]) };
@id("m/shadow") @reason("r") @shadow forbid (principal, action, resource);
"#;

const OWN: &str = r#"
@id("own/cap") @reason("r") forbid (principal, action == Portcullis::Action::"bank/pay_invoice", resource)
    when { context.input.amount * 3 > 100 };
@id("own/approved") @reason("r") forbid (principal, action == Portcullis::Action::"notes/delete_note", resource)
    unless { context.confirmation.approvedAs.contains("sales") };
@id("own/open") @reason("r") permit (principal, action in Portcullis::Action::"read", resource);
"#;

fn sources() -> RuleSources {
    let mut sources = with_rules(&[MIXED]);
    for tenant in ["imp_t_one", "imp_t_two"] {
        sources.tenants.extend(with_tenant_rules(tenant, OWN).tenants);
    }
    sources
}

fn book() -> &'static (Rulebook, RecordedSet) {
    static BOOK: std::sync::LazyLock<(Rulebook, RecordedSet)> = std::sync::LazyLock::new(|| {
        let book = load(&sources());
        let recorded = RecordedSet::from_texts(book.policy_texts()).unwrap();
        (book, recorded)
    });
    &BOOK
}

fn schema() -> &'static cedar_policy::Schema {
    static SCHEMA: std::sync::LazyLock<cedar_policy::Schema> = std::sync::LazyLock::new(|| {
        cedar_policy::Schema::from_cedarschema_str(book().0.schema_text()).unwrap().0
    });
    &SCHEMA
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![Just(i64::MAX), Just(i64::MIN), Just(0), -20_000i64..20_000, any::<i64>()]
}

fn principal() -> impl Strategy<Value = Principal> {
    let scopes = prop::sample::subsequence(
        vec![
            "*",
            "notes:*",
            "notes:read",
            "notes.write",
            "bank:write",
            "extensions:read",
            "mail:x",
        ],
        0..4,
    );
    let tenant = prop::sample::select(vec!["imp_t_one", "imp_t_two", "default"]);
    let roles = prop::sample::subsequence(vec!["admin", "member"], 0..2);
    (
        any::<bool>(),
        prop::sample::select(vec!["u1", "u2"]),
        tenant,
        roles,
        scopes,
        any::<[bool; 2]>(),
    )
        .prop_map(|(service, id, tenant, roles, scopes, [confirm_writes, mfa])| Principal {
            kind: if service { PrincipalKind::Service } else { PrincipalKind::User },
            id: id.to_owned(),
            tenant: tenant.parse().unwrap(),
            roles: roles.into_iter().map(str::to_owned).collect(),
            scopes: scopes.into_iter().map(str::to_owned).collect(),
            confirm_writes,
            confirm_tools: if mfa { vec!["notes/list_notes".to_owned()] } else { vec![] },
            unconfirmed_tools: if service { vec![] } else { vec!["notes/add_note".to_owned()] },
            unattended: service && mfa,
            person: (!mfa).then(|| id.to_owned()),
            strength: if mfa && !service { signed_in() } else { Strength::default() },
            agency: None,
            disabled_apps: Vec::new(),
            extension: (service && mfa).then(|| "notes".parse().unwrap()),
        })
}

fn signed_in() -> Strength {
    Strength {
        amr: vec!["pwd".to_owned(), "otp".to_owned(), "mfa".to_owned()],
        acr: Some(ACR_MFA.to_owned()),
        auth_time: Some(1_795_250_000),
        device: false,
    }
}

fn input() -> impl Strategy<Value = Value> {
    let tag = prop::option::of("(secret)?[a-z\"\\\\\u{0}é]{0,4}");
    (number(), number(), tag, ".{0,6}").prop_map(|(amount, count, tag, text)| {
        json!({"amount": amount, "count": count, "tag": tag, "text": text, "id": text, "unknown": {"x": [1]}})
    })
}

prop_compose! {
    fn question()(
        principal in principal(), input in input(), confirmation in any::<[bool; 2]>(),
        approved_as in prop::collection::btree_set(prop::sample::select(vec!["finance", "security", "sales"]).prop_map(str::to_owned), 0..3),
        tool in prop::sample::select(vec!["notes/list_notes", "notes/add_note", "notes/delete_note", "bank/pay_invoice"]),
        tenant in prop::sample::select(vec!["imp_t_one", "imp_t_two", "default"]),
        target in prop::sample::select(vec![None, Some("n1"), Some("n2"), Some("a\"b")]),
        channel in prop::sample::select(vec![Channel::Http, Channel::Mcp]),
        source in prop::sample::select(vec!["192.0.2.1", "198.51.100.9", "2001:db8::1"]),
        time_ms in prop::sample::select(vec![0, 1_795_254_668_123, 4_102_444_800_000]),
    ) -> (Call, RequestFacts) {
        let (given, by_other) = (confirmation[0], confirmation[1]);
        let confirmation = Confirmation { given, by_other, approved_as };
        let facts = RequestFacts { time_ms, source: source.parse().unwrap(), channel };
        (Call { principal, tool, tenant, target, input, confirmation }, facts)
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        // 1,024, or four times PROPTEST_CASES.
        cases: ProptestConfig::default().cases * 4,
        ..ProptestConfig::default()
    })]

    /// The decision asks slices with values built by hand; the replay reads JSON and asks the whole set.
    #[test]
    fn sliced_and_whole_decisions_are_equal((call, facts) in question()) {
        let (book, whole) = book();
        call.ask(book, |q| {
            let q = Question { request: facts, ..*q };
            let decision = book.decide(&q);
            let capsule = book.capsule(&q).unwrap();
            let bytes = serde_json::to_vec(&capsule).unwrap();
            let replayed = whole.replay(&serde_json::from_slice(&bytes).unwrap()).unwrap();
            prop_assert_eq!(decision.verdict.kind(), replayed.verdict);
            prop_assert_eq!(&decision.explanation.rules, &replayed.rules);
            prop_assert_eq!(&decision.explanation.errors, &replayed.errors);
            prop_assert!(replayed.same_set && replayed.same_engine);
            Ok(())
        })?;
    }

    /// What is sealed is put together from parts that were written before; it must say what Cedar's own forms say.
    #[test]
    fn capsule_text_says_what_the_capsule_says((call, facts) in question()) {
        let (book, _) = book();
        call.ask(book, |q| {
            let q = Question { request: facts, ..*q };
            let (decision, text) = book.decide_recorded(&q);
            let sorted = |mut capsule: Capsule| {
                let entities = capsule.entities.as_array_mut().unwrap();
                entities.sort_by_key(|entity| entity["uid"].to_string());
                capsule
            };
            let read: Capsule = serde_json::from_str(text.unwrap().as_str()).unwrap();
            prop_assert!(sorted(read) == sorted(book.capsule(&q).unwrap()));
            prop_assert_eq!(decision.verdict.kind(), book.decide(&q).verdict.kind());
            Ok(())
        })?;
    }

    /// The engine is not asked to check requests against the schema on a call, because they are built after it.
    #[test]
    fn requests_are_what_the_schema_says((call, facts) in question()) {
        let (book, _) = book();
        let schema = schema();
        let capsule = call.ask(book, |q| book.capsule(&Question { request: facts, ..*q })).unwrap();
        let action = capsule.action.parse().unwrap();
        let context = cedar_policy::Context::from_json_value(capsule.context, Some((schema, &action))).unwrap();
        let [principal, resource] = [&capsule.principal, &capsule.resource].map(|uid| uid.parse().unwrap());
        cedar_policy::Request::new(principal, action, resource, context, Some(schema)).unwrap();
        cedar_policy::Entities::from_json_value(capsule.entities, Some(schema)).unwrap();
    }

    /// Who gets what is asked for is asked for nothing more, and one role less is not enough.
    #[test]
    fn what_is_asked_for_is_enough_and_no_more((call, facts) in question()) {
        let (book, _) = book();
        call.ask(book, |q| {
            let question = &Question { request: facts, ..*q };
            let Verdict::AskFirst(ask) = book.decide(question).verdict else { return Ok(()) };
            let roles: std::collections::BTreeSet<String> = ask.approvals.into_iter().collect();
            let by_other = ask.wants == Wants::ConfirmationByOther;
            let kind = |by_other, approved_as| {
                let confirmation = &Confirmation { given: true, by_other, approved_as };
                book.decide(&Question { confirmation, ..*question }).verdict.kind()
            };
            prop_assert_eq!(kind(by_other, roles.clone()), VerdictKind::Permit);
            for role in &roles {
                let mut fewer = roles.clone();
                fewer.remove(role);
                prop_assert_ne!(kind(true, fewer), VerdictKind::Permit);
            }
            if by_other {
                prop_assert_ne!(kind(false, Default::default()), VerdictKind::Permit);
            }
            Ok(())
        })?;
    }

    /// What the list hides is never allowed; so the list and the call follow the same rules.
    #[test]
    fn hidden_tools_are_never_allowed((call, facts) in question()) {
        let (book, _) = book();
        let (shown, kind) = call.ask(book, |q| {
            let kind = book.decide(&Question { request: facts, ..*q }).verdict.kind();
            (book.may_ever(q.principal, q.tool, q.target_tenant), kind)
        });
        prop_assert!(shown || kind == VerdictKind::Refuse, "hidden, but {kind}");
    }
}

fn capsule() -> Capsule {
    let call = Call::new(user(&["notes:read"]), "notes/list_notes", json!({"tag": "pin 1234"}));
    call.ask(&book().0, |q| book().0.capsule(q)).unwrap()
}

#[test]
fn candidate_set_says_which_past_decision_it_would_flip() {
    let capsule = capsule();
    assert_eq!(book().0.replay(&capsule).unwrap().verdict, VerdictKind::Permit);
    let closed = "@id(\"closed\") @reason(\"r\") forbid (principal, action, resource);";
    let candidate = load(&with_rules(&[closed])).replay(&capsule).unwrap();
    assert_eq!((candidate.verdict, candidate.same_set), (VerdictKind::Refuse, false));
}

#[test]
fn recorded_decision_is_explained_as_it_was() {
    let own = "@id(\"own\") @reason(\"r\") forbid (principal, action, resource);";
    let mut sources = with_tenant_rules("imp_t_one", own);
    sources.tenants.push(("imp_t_two".parse().unwrap(), sources.tenants[0].1.clone()));
    let book = load(&sources);
    for (tool, input) in
        [("notes/list_notes", json!({})), ("notes/delete_note", json!({"id": "n"}))]
    {
        let call = Call::new(user(&["notes:*"]), tool, input);
        let then = call.ask(&book, |q| book.explain(q));
        let capsule = call.ask(&book, |q| book.capsule(q)).unwrap();
        let set = RecordedSet::from_texts(book.policy_texts()).unwrap();
        let recorded = set.explain(&capsule).unwrap();
        let parts = |account: &Account| {
            account.rules.iter().map(|r| (r.id.clone(), r.part.clone())).collect::<Vec<_>>()
        };
        assert_eq!((recorded.verdict, parts(&recorded)), (then.verdict, parts(&then)));
        let part = |id: &str| then.rules.iter().find(|r| r.id == id).unwrap().part.clone();
        assert_eq!(part("imp_t_one/own"), Part::Decided);
        assert_eq!(part("imp_t_two/own"), Part::NotApplicable);
        assert_eq!(part("rbac/scopes-held"), Part::Overruled);
        assert_eq!(part("tenant/other-tenant"), Part::ConditionFalse);
    }
}

#[test]
fn damaged_capsule_is_an_error_and_never_a_verdict() {
    let good = capsule();
    for damaged in [
        Capsule { version: 2, ..good.clone() },
        Capsule { principal: "User::x".to_owned(), ..good.clone() },
        Capsule { context: json!([]), ..good.clone() },
        Capsule { entities: json!("x"), ..good.clone() },
    ] {
        assert!(book().1.replay(&damaged).is_err());
    }
}

#[test]
fn capsule_keeps_arguments_out_of_debug_output() {
    assert!(!format!("{:?}", capsule()).contains("1234"));
}

#[test]
fn what_could_not_be_asked_has_no_capsule() {
    let call = Call::new(user(&["*"]), "notes/unknown", json!({}));
    assert!(call.ask(&book().0, |q| book().0.capsule(q)).is_none());
}
