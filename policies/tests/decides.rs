//! What the embedded rules decide, and what no rule can make them decide.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod support;

use portcullis_policies::*;
use serde_json::json;
use support::*;

fn list() -> Call {
    Call::new(user(&["notes:read"]), "notes/list_notes", json!({}))
}

fn delete() -> Call {
    Call::new(user(&["notes:*"]), "notes/delete_note", json!({"id": "n1"}))
}

fn pay(amount: i64, count: i64) -> Call {
    Call::new(user(&["bank:write"]), "bank/pay_invoice", json!({"amount": amount, "count": count}))
}

#[test]
fn permits_a_read_with_the_scope_and_the_permit_names_the_call() {
    let decision = list().decide(&load(&RuleSources::embedded()));
    assert_eq!(decision.explanation.rules, ["rbac/scopes-held"]);
    match decision.verdict {
        Verdict::Permit(p) => assert_eq!((p.op().as_u128(), p.call_digest()), (7, &[9; 32])),
        other => panic!("{other:?}"),
    }
}

#[test]
fn refuses_a_missing_scope_with_id_and_reason() {
    let call = Call { principal: user(&["notes:write", "mail:*"]), ..list() };
    let refusal = refusal(call.decide(&load(&RuleSources::embedded())));
    assert_eq!(refusal.rules, ["rbac/scope-missing"]);
    assert_eq!(refusal.reasons, ["the caller does not hold the scopes that this tool needs"]);
    assert!(!refusal.errored);
}

#[test]
fn declared_scopes_are_all_needed_and_fallbacks_do_not_help() {
    let mut tools = catalogue();
    tools[0].scopes = vec!["notes:list".to_owned(), "audit.view".to_owned()];
    let book = Rulebook::load(&RuleSources::embedded(), &tools).unwrap();
    for (scopes, kind) in [
        (vec!["notes:list", "audit.view"], VerdictKind::Permit),
        (vec!["notes.*", "audit:*"], VerdictKind::Permit),
        (vec!["*"], VerdictKind::Permit),
        (vec!["notes:list"], VerdictKind::Refuse),
        (vec!["notes:read", "extensions:read"], VerdictKind::Refuse),
        (vec![], VerdictKind::Refuse),
    ] {
        let call = Call { principal: user(&scopes), ..list() };
        assert_eq!(call.kind(&book), kind, "{scopes:?}");
    }
}

#[test]
fn refuses_across_tenants_whatever_the_scopes_and_confirmations() {
    let book = load(&RuleSources::embedded());
    for call in [list(), delete().confirmed(true, true)] {
        let call = Call { principal: user(&["*"]), ..call }.at("imp_t_two");
        let rules = refusal(call.decide(&book)).rules;
        assert_eq!(rules, ["tenant/other-tenant"]);
    }
}

#[test]
fn destructive_asks_first_and_runs_once_confirmed() {
    let book = load(&RuleSources::embedded());
    match delete().decide(&book).verdict {
        Verdict::AskFirst(ask) => {
            assert_eq!(ask.wants, Wants::Confirmation);
            assert_eq!(ask.rules, ["action-type/destructive-unconfirmed"]);
            assert_eq!(ask.reasons, ["a destructive action needs a confirmation"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(delete().confirmed(true, false).kind(&book), VerdictKind::Permit);
}

#[test]
fn write_asks_first_only_for_those_who_want_to_be_asked() {
    let book = load(&RuleSources::embedded());
    assert_eq!(pay(1, 1).kind(&book), VerdictKind::Permit);
    let careful = Principal { confirm_writes: true, ..user(&["bank:write", "notes:read"]) };
    assert_eq!(Call { principal: careful.clone(), ..pay(1, 1) }.kind(&book), VerdictKind::AskFirst);
    assert_eq!(Call { principal: careful, ..list() }.kind(&book), VerdictKind::Permit);
}

#[test]
fn confirmation_by_another_without_any_is_refused() {
    let call = delete().confirmed(false, true);
    assert_eq!(call.kind(&load(&RuleSources::embedded())), VerdictKind::AskFirst);
    let call = list().confirmed(false, true);
    assert_ne!(call.kind(&load(&RuleSources::embedded())), VerdictKind::Permit);
}

const CAP: &str = r#"@id("bank/cap") @reason("over 10000 somebody else has to confirm")
forbid (principal, action == Portcullis::Action::"bank/pay_invoice", resource)
when { context.input.amount > 10000 } unless { context.confirmation.byOther };"#;

#[test]
fn rule_over_real_arguments_asks_for_somebody_else() {
    let book = load(&with_rules(&[CAP]));
    assert_eq!(pay(10_000, 1).kind(&book), VerdictKind::Permit);
    assert_eq!(pay(10_001, 1).kind(&book), VerdictKind::AskOther);
    assert_eq!(pay(10_001, 1).confirmed(true, false).kind(&book), VerdictKind::AskOther);
    assert_eq!(pay(10_001, 1).confirmed(true, true).kind(&book), VerdictKind::Permit);
}

const TWO_PEOPLE: &str = r#"@id("bank/two-people") @reason("over 10000 one of finance and one of security")
forbid (principal, action == Portcullis::Action::"bank/pay_invoice", resource)
when { context.input.amount > 10000 }
unless { context.confirmation.approvedAs.containsAll(["finance", "security"]) };"#;

#[test]
fn rule_names_the_roles_that_others_have_to_approve_as() {
    let book = load(&with_rules(&[TWO_PEOPLE, &CAP.replace("10000", "500")]));
    let wanted = |amount| match pay(amount, 1).decide(&book).verdict {
        Verdict::AskFirst(ask) => (ask.wants, ask.approvals),
        other => panic!("{other:?}"),
    };
    assert_eq!(wanted(501), (Wants::ConfirmationByOther, vec![]));
    let both = vec!["finance".to_owned(), "security".to_owned()];
    assert_eq!(wanted(10_001), (Wants::ConfirmationByOther, both));
    let approved = |roles: &[&str]| pay(10_001, 1).approved(true, roles).kind(&book);
    assert_eq!(approved(&["finance"]), VerdictKind::AskOther);
    assert_eq!(approved(&["finance", "sales"]), VerdictKind::AskOther);
    assert_eq!(approved(&["security", "finance"]), VerdictKind::Permit);
    // Roles as which nobody else approved are made up: they do not stand for a word of the asker's own.
    let made_up = Call { ..pay(10_001, 1).approved(false, &["finance", "security"]) };
    assert_eq!(made_up.kind(&book), VerdictKind::AskOther);
}

const TRAP: &str = r#"@id("bank/product-cap") @reason("over 10000 in all")
forbid (principal, action == Portcullis::Action::"bank/pay_invoice", resource)
when { context.input.amount * context.input.count > 10000 };"#;

/// Cedar alone answers Allow here: it skips a policy that fails, a `forbid` too.
#[test]
fn refuses_when_a_forbid_rule_errors() {
    let book = load(&with_rules(&[TRAP]));
    assert_eq!(pay(4, 4).kind(&book), VerdictKind::Permit);
    let decision = pay(4_000_000_000_000_000_000, 4).decide(&book);
    let errors = decision.explanation.errors.clone();
    assert!(errors.iter().any(|e| e.starts_with("bank/product-cap: ")), "{errors:?}");
    let refusal = refusal(decision);
    assert!(refusal.errored);
    assert_eq!(refusal.reasons, ["a rule could not be evaluated for this call"]);
}

#[test]
fn refuses_when_a_rule_errors_even_when_confirmed() {
    let book = load(&with_rules(&[TRAP]));
    let call = pay(i64::MAX, 2).confirmed(true, true);
    assert!(refusal(call.decide(&book)).errored);
}

#[test]
fn refuses_what_cannot_be_asked() {
    let book = load(&RuleSources::embedded());
    let unknown = Call { tool: "notes/unknown", ..list() };
    assert!(refusal(unknown.decide(&book)).errored);
    let beyond = Call { input: json!({"amount": u64::MAX, "count": 1}), ..pay(1, 1) };
    assert!(refusal(beyond.decide(&book)).errored);
    let missing = Call { input: json!({"amount": 1}), ..pay(1, 1) };
    assert!(refusal(missing.decide(&book)).errored);
}

const OPEN_DOOR: &str =
    r#"@id("open") @reason("everybody may do everything") permit (principal, action, resource);"#;

#[test]
fn tenant_permit_cannot_undo_a_platform_gate() {
    let book = load(&with_tenant_rules("imp_t_one", OPEN_DOOR));
    let nobody = user(&[]);
    assert_eq!(Call { principal: nobody, ..list() }.kind(&book), VerdictKind::Refuse);
    assert_eq!(delete().kind(&book), VerdictKind::AskFirst);
    assert_eq!(list().at("imp_t_two").kind(&book), VerdictKind::Refuse);
}

const CLOSED: &str =
    r#"@id("closed") @reason("this tenant is closed") forbid (principal, action, resource);"#;

#[test]
fn tenant_rule_binds_only_its_own_tenant() {
    let book = load(&with_tenant_rules("imp_t_two", CLOSED));
    assert_eq!(list().kind(&book), VerdictKind::Permit);
    let two = Principal { tenant: "imp_t_two".parse().unwrap(), ..user(&["notes:read"]) };
    let call = Call { principal: two, ..list() }.at("imp_t_two");
    assert_eq!(refusal(call.decide(&book)).rules, ["imp_t_two/closed"]);
}

#[test]
fn shadow_rule_is_recorded_and_never_decides() {
    let shadow = CLOSED.replace("forbid", "@shadow forbid");
    let decision = list().decide(&load(&with_rules(&[&shadow])));
    assert_eq!(decision.verdict.kind(), VerdictKind::Permit);
    let flip = ShadowFlip { policy: "closed".to_owned(), would: "refuse" };
    assert_eq!(decision.explanation.shadow, [flip]);
}

#[test]
fn shadow_rule_that_changes_nothing_is_no_flip() {
    let shadow = OPEN_DOOR.replace("permit (", "@shadow permit (");
    assert!(list().decide(&load(&with_rules(&[&shadow]))).explanation.shadow.is_empty());
}

#[test]
fn shadow_set_is_recorded_and_never_decides() {
    let candidate = std::sync::Arc::new(load(&with_rules(&[CAP])));
    let name = format!("set:{}", candidate.digest());
    let book = load(&RuleSources::embedded()).with_shadow(candidate);
    let decision = pay(10_001, 1).decide(&book);
    assert_eq!(decision.verdict.kind(), VerdictKind::Permit);
    assert_eq!(decision.explanation.shadow, [ShadowFlip { policy: name, would: "ask_other" }]);
    assert!(list().decide(&book).explanation.shadow.is_empty());
}

fn may_ever(book: &Rulebook, call: &Call) -> bool {
    call.ask(book, |q| book.may_ever(q.principal, q.tool, q.target_tenant))
}

#[test]
fn list_shows_what_some_input_allows_and_hides_the_rest() {
    let book = load(&with_rules(&[CAP, TRAP]));
    assert!(may_ever(&book, &list()) && may_ever(&book, &delete()) && may_ever(&book, &pay(1, 1)));
    assert!(!may_ever(&book, &Call { principal: user(&["mail:*"]), ..list() }));
    assert!(!may_ever(&book, &list().at("imp_t_two")));
    assert!(!may_ever(&book, &Call { tool: "notes/unknown", ..list() }));
    let closed = load(&with_rules(&[CLOSED]));
    assert!(!may_ever(&closed, &list()));
}

#[test]
fn prepared_by_an_older_rulebook_never_gains_a_scope() {
    let old = Rulebook::load(&RuleSources::embedded(), &catalogue()[..1]).unwrap();
    let new = load(&RuleSources::embedded());
    let call = Call { principal: user(&["mail:*"]), ..list() };
    let kind = call.ask(&old, |q| new.decide(q).verdict.kind());
    assert_eq!(kind, VerdictKind::Refuse);
}

#[test]
fn explains_why_each_rule_did_or_did_not_decide() {
    let book = load(&with_rules(&[CAP]));
    let account = delete().ask(&book, |q| book.explain(q));
    let part = |id: &str| account.rules.iter().find(|r| r.id == id).unwrap().part.clone();
    assert_eq!(part("action-type/destructive-unconfirmed"), Part::Decided);
    assert_eq!(part("rbac/scopes-held"), Part::Overruled);
    assert_eq!(part("rbac/scope-missing"), Part::ConditionFalse);
    assert_eq!(part("confirmation/write-unconfirmed"), Part::NotApplicable);
    assert_eq!(part("bank/cap"), Part::NotApplicable);
    let trap = load(&with_rules(&[TRAP]));
    let account = pay(i64::MAX, 2).ask(&trap, |q| trap.explain(q));
    let failed = account.rules.iter().find(|r| r.id == "bank/product-cap").unwrap();
    assert!(matches!(failed.part, Part::Failed(_)));
}
