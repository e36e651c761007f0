//! `[ledger.witness]`: whose cosignatures count, and how many are enough.

use std::time::Duration;

use portcullis_audit::note::CosignerKey;

use super::super::checker::Checker;
use super::super::document::At;
use super::super::mistakes::Kind;
use super::super::settings::{WitnessPolicy, WitnessSettings, Witnessing};
use super::super::written::witness::{self as written, WitnessForm, WitnessPolicyForm};

/// Shorter than this, a checkpoint a second and a round trip do not fit in; longer, nobody notices.
const LAGS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(3)..=Duration::from_secs(24 * 3600);

/// A name that a policy file gives another meaning.
const NONE: &str = "none";

pub(super) fn witnessing(
    c: &mut Checker<'_>,
    at: &At,
    written: written::Witnessing,
) -> Option<Witnessing> {
    let default = Witnessing::default();
    let policy = match written.policy.unwrap_or_default() {
        WitnessPolicyForm::None => WitnessPolicy::None,
        WitnessPolicyForm::BestEffort => WitnessPolicy::BestEffort,
        WitnessPolicyForm::Required => WitnessPolicy::Required,
    };
    let max_lag = c.duration(&at.key("max_lag"), written.max_lag.as_ref(), default.max_lag, LAGS);
    let at_list = at.key("witnesses");
    let given = written.witnesses.unwrap_or_default();
    let count = given.len();
    if policy == WitnessPolicy::None && count > 0 {
        let message = "witnesses are named, but `policy` is `none`, so nobody is asked".to_owned();
        c.warn(&at_list, message, "set `policy` to `best_effort` or `required`");
    }
    if policy != WitnessPolicy::None {
        let help = "start one elsewhere with `portcullis ledger witness`, and name it here";
        c.required(&at_list, (count > 0).then_some(()), help);
    }
    let witnesses = witnesses(c, &at_list, given);
    let quorum = quorum(c, &at.key("quorum"), written.quorum, count);
    Some(Witnessing { policy, witnesses: witnesses?, quorum: quorum?, max_lag: max_lag? })
}

fn quorum(c: &mut Checker<'_>, at: &At, written: Option<u32>, count: usize) -> Option<usize> {
    let quorum = written.map_or(count, |quorum| quorum as usize);
    if quorum > count {
        let message = format!("`{at}` is {quorum}, but there are {count} witnesses");
        c.wrong(Kind::Value, at, message, "leave it out: then all of them must have cosigned");
        return None;
    }
    Some(quorum)
}

fn witnesses(
    c: &mut Checker<'_>,
    at: &At,
    given: Vec<WitnessForm>,
) -> Option<Vec<WitnessSettings>> {
    let (mut made, count) = (Vec::<WitnessSettings>::new(), given.len());
    for (index, form) in given.into_iter().enumerate() {
        let at = at.item(index);
        let Some(witness) = witness(c, &at, form) else { continue };
        if made.iter().any(|other| other.name == witness.name) {
            let message = format!("there is another witness `{}`", witness.name);
            c.wrong(Kind::Conflict, &at.key("name"), message, "names tell witnesses apart");
        } else if made.iter().any(|other| other.key.public() == witness.key.public()) {
            let message = format!("`{}` has the key of another witness", witness.name);
            c.wrong(Kind::Conflict, &at.key("key"), message, "one witness counts once");
        } else {
            made.push(witness);
        }
    }
    (made.len() == count).then_some(made)
}

fn witness(c: &mut Checker<'_>, at: &At, form: WitnessForm) -> Option<WitnessSettings> {
    let name = c.required(&at.key("name"), form.name, "give it a short name, such as `w1`");
    let name = name.and_then(|name| named(c, &at.key("name"), name));
    let help = "write where it listens, such as `http://witness.example:7380`";
    let url = c.required(&at.key("url"), form.url, help);
    let url = url.filter(|text| c.url(&at.key("url"), text).is_some());
    let help = "`portcullis ledger witness --folder DIR --vkey` prints it";
    let key = c.required(&at.key("key"), form.key, help);
    let key = key.and_then(|text| match CosignerKey::parse(&text) {
        Ok(key) => Some(key),
        Err(_) => {
            let message = format!("`{}` is not the verifier key of a witness", at.key("key"));
            c.wrong(Kind::Value, &at.key("key"), message, help);
            None
        }
    });
    Some(WitnessSettings { name: name?, url: url?.trim_end_matches('/').to_owned(), key: key? })
}

fn named(c: &mut Checker<'_>, at: &At, name: String) -> Option<String> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if name == NONE || !(1..=64).contains(&name.len()) || !name.chars().all(allowed) {
        let message = format!("`{at}` cannot be the name of a witness");
        c.wrong(
            Kind::Value,
            at,
            message,
            "use 1 to 64 letters, digits, `.`, `_` or `-`, not `none`",
        );
        return None;
    }
    Some(name)
}
