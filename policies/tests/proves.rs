//! What the solver finds. Without cvc5 on the host these tests fail: a proof that was not run is no proof.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod support;

use std::time::Duration;

use portcullis_policies::*;
use support::*;

fn proved(sources: &RuleSources) -> ProofReport {
    let solver = Solver::find().expect("install cvc5 to run the proofs");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(prove(&load(sources), sources, &solver)).unwrap()
}

#[test]
fn embedded_rules_hold_and_the_receipt_covers_exactly_them() {
    let sources = RuleSources::embedded();
    let report = proved(&sources);
    let receipt = report.holds().unwrap();
    assert!(receipt.covers(&load(&sources)) && receipt.solver.contains("cvc5"), "{receipt:?}");
    assert!(report.queries > 10);
    let fewer_tools = Rulebook::load(&sources, &catalogue()[..2]).unwrap();
    assert!(!receipt.covers(&fewer_tools));
    let mut fewer_invariants = sources.clone();
    fewer_invariants.invariants.pop();
    assert!(!receipt.covers(&load(&fewer_invariants)));
}

const TRAP: &str = r#"@id("bank/product-cap") @reason("over 10000 in all")
forbid (principal, action == Portcullis::Action::"bank/pay_invoice", resource)
when { context.input.amount * context.input.count > 10000 };"#;

#[test]
fn cap_written_as_a_product_is_found_with_a_counterexample_that_overflows() {
    let sources = with_rules(&[TRAP]);
    let report = proved(&sources);
    assert!(report.receipt().is_none());
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert_eq!(finding.error.kind, RuleErrorKind::CanError);
    assert_eq!((finding.error.file(), finding.error.position()), ("extra0.cedar", (1, 1)));
    let case = finding.counterexample.to_json();
    let input = &case["case"]["request"]["context"]["input"];
    let (amount, count) = (input["amount"].as_i64().unwrap(), input["count"].as_i64().unwrap());
    assert!(amount.checked_mul(count).is_none(), "{amount} x {count} does not overflow");
}

#[test]
fn bounded_cap_cannot_fail() {
    let bounded = TRAP.replace(
        "context.input.amount * context.input.count > 10000",
        "context.input.amount > 10000 || context.input.amount < 0 || context.input.count > 10000
         || context.input.count < 0 || context.input.amount * context.input.count > 10000",
    );
    assert!(proved(&with_rules(&[&bounded])).receipt().is_some());
}

#[test]
fn broken_invariant_is_found_with_the_permit_that_breaks_it() {
    let mut sources = RuleSources::embedded();
    sources.platform.retain(|f| !f.path.ends_with("tenant.cedar"));
    let report = proved(&sources);
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert_eq!(finding.error.kind, RuleErrorKind::BrokenInvariant);
    let text = finding.error.to_string();
    assert!(
        text.contains("no-permit-across-tenants")
            && ["rbac/scopes-held", "account/own"].iter().any(|permit| text.contains(permit)),
        "{text}"
    );
    assert!(finding.counterexample.to_string().contains("principal"));
}

const TWO_PEOPLE: &str = r#"@id("bank/two-people") @reason("over 10000 one of finance and one of security")
forbid (principal, action == Portcullis::Action::"bank/pay_invoice", resource)
when { context.input.amount > 10000 }
unless { context.confirmation.approvedAs.containsAll(["finance", "security"]) };"#;

/// The author's own promise, in the words of a security officer.
const NEVER_ALONE: &str = r#"@id("invariant/never-alone") @reason("no large payment without finance and security")
forbid (principal, action == Portcullis::Action::"bank/pay_invoice", resource)
when { context.input.amount > 10000 }
unless { context.confirmation.approvedAs.contains("finance") && context.confirmation.approvedAs.contains("security") };"#;

#[test]
fn one_of_finance_and_one_of_security_is_proved_and_one_of_either_is_found() {
    let invariant = RuleFile { path: "invariants/alone.cedar".into(), text: NEVER_ALONE.into() };
    let mut sources = with_rules(&[TWO_PEOPLE]);
    sources.invariants.push(invariant.clone());
    assert!(proved(&sources).receipt().is_some());
    let mut either = with_rules(&[&TWO_PEOPLE.replace("containsAll", "containsAny")]);
    either.invariants.push(invariant);
    let report = proved(&either);
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert!(finding.error.to_string().contains("never-alone"), "{}", finding.error);
}

#[test]
fn rules_that_let_people_approve_their_own_are_found() {
    let mut sources = RuleSources::embedded();
    for file in &mut sources.platform {
        file.text = file.text.replace("when { context.input.self };", "when { false };");
    }
    let text = proved(&sources).findings.iter().map(|f| f.error.to_string()).collect::<String>();
    assert!(text.contains("nobody-approves-their-own"), "{text}");
}

#[test]
fn tenant_layer_is_proved_too() {
    let own = TRAP.replace("bank/product-cap", "own-cap");
    let report = proved(&with_tenant_rules("imp_t_two", &own));
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert!(finding.error.to_string().contains("imp_t_two/own-cap"));
}

#[test]
fn no_answer_in_time_is_never_a_proof() {
    let solver = Solver::find().unwrap().with_limit(Duration::from_nanos(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sources = with_rules(&[TRAP]);
    let outcome = runtime.block_on(prove(&load(&sources), &sources, &solver));
    assert!(outcome.is_err(), "{outcome:?}");
}

#[test]
fn other_sources_than_those_loaded_are_not_proved() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let book = load(&RuleSources::embedded());
    let outcome = runtime.block_on(prove(&book, &with_rules(&[TRAP]), &Solver::find().unwrap()));
    assert!(matches!(outcome, Err(ProveError::OtherSources)));
}
