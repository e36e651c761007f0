//! What a refused caller is told about signing in again, and that it is true.
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
use serde_json::json;
use support::*;

/// The time of [`Call`], in seconds.
const NOW: i64 = 1_795_254_668;

const EXAMPLE: &str = include_str!("../examples/sign-in.cedar");

fn forbid(id: &str, unless: &str) -> String {
    format!(
        "@id(\"{id}\")\n@reason(\"r\")\nforbid (principal, action == Portcullis::Action::\"notes/list_notes\", resource)\nunless {{ {unless} }};\n"
    )
}

fn signed_in(amr: &[&str], acr: Option<&str>, age: i64) -> Strength {
    Strength {
        amr: amr.iter().map(|m| (*m).to_owned()).collect(),
        acr: acr.map(str::to_owned),
        auth_time: Some(NOW - age),
        device: false,
    }
}

fn list(strength: Strength) -> Call {
    let principal = Principal { strength, ..user(&["notes:*"]) };
    Call::new(principal, "notes/list_notes", json!({}))
}

fn told(call: &Call, book: &Rulebook) -> Option<StepUp> {
    refusal(call.decide(book)).step_up
}

fn needs(acr: Option<&str>, max_age: Option<i64>) -> Option<StepUp> {
    Some(StepUp { acr: acr.map(str::to_owned), max_age })
}

#[test]
fn a_rule_that_wants_a_fresh_sign_in_says_how_fresh_to_the_second() {
    let book = load(&with_rules(&[&forbid(
        "x/fresh",
        "context.request has authAge && context.request.authAge <= 300",
    )]));
    assert_eq!(list(signed_in(&["pwd"], None, 300)).kind(&book), VerdictKind::Permit);
    assert_eq!(told(&list(signed_in(&["pwd"], None, 301)), &book), needs(None, Some(300)));
    assert_eq!(told(&list(signed_in(&["pwd"], None, 90_000)), &book), needs(None, Some(300)));
    assert_eq!(told(&list(Strength::default()), &book), needs(None, Some(300)));
}

#[test]
fn a_rule_that_wants_a_second_factor_says_so_and_asks_for_no_freshness() {
    let book = load(&with_rules(&[&forbid("x/mfa", "principal.mfa")]));
    let call = list(signed_in(&["pwd"], Some(ACR_PASSWORD), 90_000));
    assert_eq!(told(&call, &book), needs(Some(ACR_MFA), None));
    let strong = list(signed_in(&["pwd", "otp", "mfa"], Some(ACR_MFA), 90_000));
    assert_eq!(strong.kind(&book), VerdictKind::Permit);
}

#[test]
fn both_at_once_are_told_at_once() {
    let rules = [
        forbid("x/mfa", "principal.mfa"),
        forbid("x/fresh", "context.request has authAge && context.request.authAge < 60"),
    ];
    let book = load(&with_rules(&[&rules[0], &rules[1]]));
    let call = list(signed_in(&["pwd"], None, 90_000));
    assert_eq!(told(&call, &book), needs(Some(ACR_MFA), Some(59)));
}

#[test]
fn a_class_that_a_rule_names_is_what_is_told() {
    let silver = "principal has acr && [\"urn:example:silver\", \"urn:example:gold\"].contains(principal.acr)";
    let book = load(&with_rules(&[&forbid("x/acr", silver)]));
    let call = list(signed_in(&["pwd"], Some(ACR_MFA), 10));
    assert_eq!(told(&call, &book), needs(Some("urn:example:gold"), None));
    let gold = list(signed_in(&[], Some("urn:example:gold"), 10));
    assert_eq!(gold.kind(&book), VerdictKind::Permit);
}

#[test]
fn who_lacks_more_than_a_sign_in_is_told_nothing_of_it() {
    let book = load(&with_rules(&[&forbid("x/mfa", "principal.mfa")]));
    let principal = Principal { strength: signed_in(&["pwd"], None, 1), ..user(&[]) };
    let call = Call::new(principal, "notes/list_notes", json!({}));
    assert_eq!(told(&call, &book), None);
    assert_eq!(told(&list(signed_in(&["pwd"], None, 1)).at("imp_t_two"), &book), None);
}

#[test]
fn a_program_cannot_sign_in_and_is_told_nothing_of_it() {
    let book = load(&with_rules(&[&forbid("x/mfa", "principal.mfa")]));
    let mut call = list(Strength::default());
    call.principal.kind = PrincipalKind::Service;
    assert_eq!(told(&call, &book), None);
}

#[test]
fn a_rule_that_fails_is_no_reason_to_sign_in_again() {
    let rule = forbid("x/odd", "principal.mfa && context.request.authAge < 5");
    assert!(Rulebook::load(&with_rules(&[&rule]), &catalogue()).is_err(), "a `has` is missing");
    let rule = forbid(
        "x/far",
        "context.request has authAge && context.request.authAge + 9223372036854775807 > 0",
    );
    let book = load(&with_rules(&[&rule]));
    let refusal = refusal(list(signed_in(&["pwd"], None, 9)).decide(&book));
    assert!(refusal.errored && refusal.step_up.is_none(), "{refusal:?}");
}

#[test]
fn the_example_is_asked_beside_the_confirmation_and_before_it() {
    let book = load(&with_rules(&[EXAMPLE]));
    let delete = |age| {
        let principal =
            Principal { strength: signed_in(&["pwd"], None, age), ..user(&["notes:*"]) };
        Call::new(principal, "notes/delete_note", json!({"id": "n1"}))
    };
    assert_eq!(delete(300).kind(&book), VerdictKind::AskFirst);
    assert_eq!(told(&delete(301), &book), needs(None, Some(300)));
    assert_eq!(told(&delete(301).confirmed(true, false), &book), needs(None, Some(300)));
}

#[test]
fn a_clock_that_is_behind_makes_no_sign_in_older() {
    let book = load(&with_rules(&[&forbid(
        "x/fresh",
        "context.request has authAge && context.request.authAge == 0",
    )]));
    assert_eq!(list(signed_in(&["pwd"], None, -30)).kind(&book), VerdictKind::Permit);
}

proptest! {
    // Each case loads a rulebook.
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_sign_in_as_told_is_enough(
        limit in 0_i64..100_000, age in 0_i64..1_000_000, mfa: bool, acr: bool, has_mfa: bool,
    ) {
        let mut rules = vec![forbid("x/age", &format!("context.request has authAge && context.request.authAge <= {limit}"))];
        if mfa { rules.push(forbid("x/mfa", "principal.mfa")); }
        if acr { rules.push(forbid("x/acr", "principal has acr && principal.acr == \"gold\"")); }
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let book = load(&with_rules(&rules));
        let amr: &[&str] = if has_mfa { &["mfa"] } else { &["pwd"] };
        let call = list(signed_in(amr, None, age));
        if call.kind(&book) == VerdictKind::Permit { return Ok(()); }
        let told = told(&call, &book).expect("a sign-in helps here");
        let methods: &[&str] = if told.acr.is_some() { &["pwd", "otp", "mfa"] } else { amr };
        let again = signed_in(methods, told.acr.as_deref(), told.max_age.unwrap_or(age));
        prop_assert_eq!(list(again).kind(&book), VerdictKind::Permit);
    }
}
