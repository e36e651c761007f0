//! An account of a decision, for people.

use portcullis_policies::{Account, Part, RuleAccount, VerdictKind};

use super::super::print;

/// Whether the call was made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tense {
    Past,
    Hypothetical,
}

/// The verdict and its reason in one sentence.
pub(super) fn sentence(account: &Account, tense: Tense) -> String {
    let (was, would) = match account.verdict {
        VerdictKind::Permit => ("was permitted", "would be permitted"),
        VerdictKind::AskFirst => ("asked first", "would ask first"),
        VerdictKind::AskOther => ("asked somebody else first", "would ask somebody else first"),
        VerdictKind::Refuse => ("was refused", "would be refused"),
    };
    let verb = if tense == Tense::Past { was } else { would };
    let approvals = match account.approvals.as_slice() {
        [] => String::new(),
        [role] => format!(" (one of {role})"),
        roles => format!(" (one each of {})", roles.join(", ")),
    };
    format!("{verb}{approvals}, because {}", because(account))
}

/// Why the verdict is what it is.
pub(super) fn because(account: &Account) -> String {
    if let Some(why) = &account.unasked {
        return format!("no rule could be asked: {why}");
    }
    let failed = account.rules.iter().find_map(|rule| match &rule.part {
        Part::Failed(why) => Some(format!("`{}` cannot be evaluated: {why}", rule.id)),
        _ => None,
    });
    if let Some(failed) = failed {
        return failed;
    }
    let decided = account.rules.iter().filter(|rule| rule.part == Part::Decided);
    let reasons: Vec<&str> = decided.map(|rule| rule.reason.as_str()).collect();
    if reasons.is_empty() { "no rule permits it".to_owned() } else { reasons.join("; ") }
}

/// One line for each rule, those that decided first.
pub(super) fn print_rules(account: &Account) {
    let mut rules: Vec<&RuleAccount> = account.rules.iter().collect();
    rules.sort_by_key(|rule| rank(&rule.part));
    let row = |rule: &&RuleAccount| {
        vec![
            rule.part.to_string(),
            rule.effect.to_owned(),
            rule.id.clone(),
            rule.reason.clone(),
            rule.file.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = rules.iter().map(row).collect();
    if !rows.is_empty() {
        print::line(print::table(&["PART", "EFFECT", "RULE", "REASON", "FILE"], &rows));
    }
    print::line(format_args!("\npolicy set {}", account.policy_set));
}

fn rank(part: &Part) -> u8 {
    match part {
        Part::Failed(_) => 0,
        Part::Decided => 1,
        Part::Overruled => 2,
        Part::ShadowApplies => 3,
        Part::ConditionFalse => 4,
        Part::NotApplicable => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(verdict: VerdictKind, parts: Vec<Part>) -> Account {
        let rule = |part| RuleAccount {
            id: "r".to_owned(),
            effect: "forbid",
            reason: "it is late".to_owned(),
            file: "f".to_owned(),
            part,
        };
        let rules = parts.into_iter().map(rule).collect();
        Account { verdict, policy_set: String::new(), approvals: vec![], unasked: None, rules }
    }

    #[test]
    fn a_sentence_says_what_happens_and_why() {
        for (verdict, parts, tense, said) in [
            (
                VerdictKind::AskFirst,
                vec![Part::Decided],
                Tense::Hypothetical,
                "would ask first, because it is late",
            ),
            (
                VerdictKind::Refuse,
                vec![Part::ConditionFalse],
                Tense::Past,
                "was refused, because no rule permits it",
            ),
            (
                VerdictKind::Refuse,
                vec![Part::Decided, Part::Failed("overflow".to_owned())],
                Tense::Hypothetical,
                "would be refused, because `r` cannot be evaluated: overflow",
            ),
        ] {
            assert_eq!(sentence(&account(verdict, parts), tense), said);
        }
    }
}
