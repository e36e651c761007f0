//! What a rulebook refuses to load, and what it says then.
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

fn errors(rule: &str) -> Vec<RuleError> {
    let result = Rulebook::load(&with_rules(&[rule]), &catalogue());
    result.expect_err("the set should not load").iter().cloned().collect()
}

fn only(rule: &str) -> RuleError {
    let all = errors(rule);
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

#[test]
fn syntax_error_names_file_line_and_column() {
    let error =
        only("// first line\n@id(\"a\") @reason(\"b\")\nforbid (principal, action, resorce);");
    assert_eq!(error.kind, RuleErrorKind::Syntax);
    assert_eq!((error.file(), error.position().0), ("extra0.cedar", 3));
    assert!(!error.help_text().is_empty());
}

#[test]
fn error_shows_the_line_and_a_caret() {
    let error =
        errors("@id(\"a\") @reason(\"b\") @onwer(\"me\")\npermit (principal, action, resource);");
    let mut text = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none());
    handler.render_report(&mut text, &error[0]).unwrap();
    for part in [
        "unknown annotation `@onwer`",
        "extra0.cedar:1:23",
        "@onwer(\"me\")",
        "---",
        "help: use @id",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn unknown_annotation_is_refused_so_that_a_typo_cannot_drop_a_duty() {
    let rule = "@id(\"a\") @reason(\"b\") @shaddow permit (principal, action, resource);";
    assert_eq!(only(rule).kind, RuleErrorKind::Annotation);
}

#[test]
fn rule_without_id_or_reason_is_refused() {
    for rule in [
        "@reason(\"b\") permit (principal, action, resource);",
        "@id(\"a\") permit (principal, action, resource);",
        "@id(\"a b\") @reason(\"b\") permit (principal, action, resource);",
        "@id(\"a\") @reason(\" \") permit (principal, action, resource);",
    ] {
        assert_eq!(only(rule).kind, RuleErrorKind::Annotation, "{rule}");
    }
}

#[test]
fn id_used_twice_over_all_files_is_refused() {
    let error =
        only("@id(\"tenant/other-tenant\") @reason(\"b\") permit (principal, action, resource);");
    assert_eq!(error.kind, RuleErrorKind::DuplicateId);
    assert!(error.to_string().contains("policies/rules/tenant.cedar"), "{error}");
}

#[test]
fn tenant_cannot_take_an_id_of_the_platform() {
    let own = "@id(\"tenant/other-tenant\") @reason(\"b\") permit (principal, action, resource);";
    load(&with_tenant_rules("imp_t_one", own));
    let squat = "@id(\"imp_t_one/x\") @reason(\"b\") permit (principal, action, resource);";
    let mut sources = with_tenant_rules("imp_t_one", &squat.replace("imp_t_one/x", "x"));
    sources.platform.push(RuleFile { path: "p.cedar".to_owned(), text: squat.to_owned() });
    assert!(Rulebook::load(&sources, &catalogue()).is_err());
}

#[test]
fn template_is_refused() {
    let error =
        only("@id(\"a\") @reason(\"b\") permit (principal == ?principal, action, resource);");
    assert_eq!(error.kind, RuleErrorKind::Template);
}

#[test]
fn rule_on_an_argument_that_is_not_there_is_refused_with_its_place() {
    let rule = "@id(\"a\") @reason(\"b\")\nforbid (principal, action == Portcullis::Action::\"notes/add_note\", resource)\nwhen { context.input.txet == \"x\" };";
    let error = errors(rule).remove(0);
    assert_eq!(error.kind, RuleErrorKind::Validation);
    assert_eq!(error.position().0, 3);
}

#[test]
fn optional_argument_has_to_be_tested_with_has() {
    let rule = "@id(\"a\") @reason(\"b\") forbid (principal, action == Portcullis::Action::\"notes/list_notes\", resource) when { HAS context.input.tag == \"x\" };";
    assert_eq!(errors(&rule.replace("HAS", "")).remove(0).kind, RuleErrorKind::Validation);
    load(&with_rules(&[&rule.replace("HAS", "context.input has tag &&")]));
}

#[test]
fn rule_on_a_tool_that_is_not_there_is_refused() {
    let rule = "@id(\"a\") @reason(\"b\") forbid (principal, action == Portcullis::Action::\"notes/delte_note\", resource);";
    assert!(errors(rule).iter().all(|e| e.kind == RuleErrorKind::Validation));
}

/// Every other tool of the group lacks the argument, so the rule could fail there: one tool that has it must not hide that.
#[test]
fn rule_over_a_group_is_checked_against_every_kind_of_tool_in_it() {
    let rule = "@id(\"a\") @reason(\"b\") forbid (principal, action in Portcullis::Action::\"write\", resource) when { context.input.amount > 1 };";
    assert_eq!(errors(rule).remove(0).kind, RuleErrorKind::Validation);
    let hidden = "@id(\"a\") @reason(\"b\") forbid (principal, action in Portcullis::Action::\"write\", resource)
        when { action == Portcullis::Action::\"bank/pay_invoice\" || context.input.amount > 1 };";
    assert_eq!(errors(hidden).remove(0).kind, RuleErrorKind::Validation);
    let guarded = hidden.replace("||", "&&");
    load(&with_rules(&[&guarded]));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let two = "@id(\"a\") @reason(\"b\") @x permit (principal, action, resource);\n@id(\"c\") permit (principal, action, resource);";
    assert_eq!(errors(two).len(), 2);
}

#[test]
fn set_without_a_rule_is_refused_and_never_an_empty_set() {
    let sources = RuleSources { platform: Vec::new(), ..RuleSources::embedded() };
    assert!(Rulebook::load(&sources, &catalogue()).is_err());
}

#[test]
fn invariant_that_permits_is_refused() {
    let mut sources = RuleSources::embedded();
    let text = "@id(\"i\") @reason(\"r\") permit (principal, action, resource);".to_owned();
    sources.invariants.push(RuleFile { path: "i.cedar".to_owned(), text });
    assert!(Rulebook::load(&sources, &catalogue()).is_err());
}

#[test]
fn error_as_json_has_the_fields_that_scripts_read() {
    let json = only("@id(\"a\") permit (principal, action, resource);").to_json();
    assert_eq!(json["file"], "extra0.cedar");
    assert_eq!(
        (&json["line"], &json["column"], &json["kind"]),
        (&json!(1), &json!(1), &json!("annotation"))
    );
    assert!(json["message"].is_string() && json["help"].is_string());
}

#[test]
fn untypable_arguments_are_reported_by_tool_and_path() {
    let tools = [tool("shop/buy", ActionType::Write, json!({"price": {"type": "number"}}), &[])];
    let book = Rulebook::load(&RuleSources::embedded(), &tools).unwrap();
    let reported = book.untypable().iter().map(|of| (of.tool.to_string(), of.path.as_str()));
    let reported: Vec<_> = reported.filter(|(tool, _)| tool.starts_with("shop/")).collect();
    let buy = || "shop/buy".to_owned();
    // The schema is open by default, so what it does not name is one more thing that rules cannot see.
    assert_eq!(reported, [(buy(), "$.price"), (buy(), "$.*")]);
    assert_eq!(reported.len(), book.untypable().len(), "the gateway's own tools are closed");
}

#[test]
fn empty_catalogue_loads_and_permits_nothing() {
    let book = Rulebook::load(&RuleSources::embedded(), &[]).unwrap();
    let call = Call::new(user(&["*"]), "notes/list_notes", json!({}));
    assert_eq!(call.kind(&book), VerdictKind::Refuse);
}

#[test]
fn digest_is_that_of_the_texts_and_changes_with_any_of_them() {
    let book = load(&RuleSources::embedded());
    let recorded = RecordedSet::from_texts(book.policy_texts()).unwrap();
    assert_eq!(recorded.digest(), book.digest().to_string());
    let mut sources = RuleSources::embedded();
    sources.platform[0].text.push(' ');
    assert_ne!(load(&sources).digest(), book.digest());
}

#[test]
fn generated_schema_is_cedar_and_its_actions_are_in_one_group_each() {
    let book = load(&RuleSources::embedded());
    let (schema, _) = cedar_policy::Schema::from_cedarschema_str(book.schema_text()).unwrap();
    let entities = schema.action_entities().unwrap();
    for spec in catalogue() {
        let uid = format!("Portcullis::Action::\"{}\"", spec.name).parse().unwrap();
        let groups: Vec<_> = entities.ancestors(&uid).unwrap().map(ToString::to_string).collect();
        assert_eq!(groups, [format!("Portcullis::Action::\"{}\"", spec.action_type)]);
    }
}

#[test]
fn one_set_has_one_digest_wherever_its_folder_lies() {
    let here = RuleSources::read_dir(std::path::Path::new(".")).unwrap();
    assert_eq!(load(&here).digest(), load(&RuleSources::embedded()).digest());
    let mut renamed = here.clone();
    renamed.platform[0].path = "elsewhere/rules/other.cedar".to_owned();
    assert_ne!(load(&renamed).digest(), load(&here).digest());
}
