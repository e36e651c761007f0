//! Reads a policy file, line by line; what it refuses it names by line.

use std::collections::BTreeSet;

use super::{Group, Log, Policy, Witness};
use crate::note::{CosignerKey, VerifierKey};

/// Largest policy file that is read.
pub const MAX_POLICY_BYTES: usize = 256 * 1024;

/// Most logs, witnesses or groups of a policy; the specification asks for at least 32.
pub const MAX_LINES_OF_A_KIND: usize = 256;

/// The quorum that needs no cosignature; no witness or group can have this name.
pub(super) const NONE: &str = "none";

/// Why a policy is refused, and at which line (the first is 1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct BadPolicy {
    /// Number of the line.
    pub line: usize,
    /// What is wrong with it.
    pub fault: PolicyFault,
}

/// What is wrong with a line of a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// The file is larger than [`MAX_POLICY_BYTES`].
    #[error("the policy is larger than {MAX_POLICY_BYTES} bytes")]
    TooLarge,
    /// A control character other than tab and newline.
    #[error("there is a control character")]
    ControlCharacter,
    /// A line begins with another word than the four that there are.
    #[error("unknown keyword `{0}`")]
    Keyword(String),
    /// Too few or too many items.
    #[error("it is not in the form `{0}`")]
    Items(&'static str),
    /// The key of a log is not an Ed25519 verifier key of type 0x01.
    #[error("the key of the log is not a verifier key of type 0x01")]
    LogKey,
    /// The key of a witness is not an Ed25519 verifier key of type 0x04.
    #[error("the key of the witness is not a verifier key of type 0x04")]
    WitnessKey,
    /// A public key that another line of the same kind has.
    #[error("a line before this one has the same public key")]
    DuplicateKey,
    /// A name that another line defines, or `none`.
    #[error("the name `{0}` is taken")]
    DuplicateName(String),
    /// A name that no line before this one defines.
    #[error("no line before this one defines `{0}`")]
    UnknownName(String),
    /// A name that is a member already, of this group or of another.
    #[error("`{0}` is a member of a group already")]
    MemberTwice(String),
    /// The threshold of a group is not a number from 1 to that of its members.
    #[error("the threshold is not `any`, `all` or a number from 1 to that of the members")]
    Threshold,
    /// A second quorum.
    #[error("there is a second quorum")]
    SecondQuorum,
    /// No quorum to the end of the file.
    #[error("there is no quorum")]
    NoQuorum,
    /// More logs, witnesses or groups than [`MAX_LINES_OF_A_KIND`].
    #[error("there are more than {MAX_LINES_OF_A_KIND} lines of this kind")]
    TooMany,
}

impl Policy {
    /// Reads a policy file. Of the octets that the specification allows, only those that are
    /// UTF-8 are read, as it recommends.
    ///
    /// # Errors
    /// [`BadPolicy`].
    pub fn parse(text: &str) -> Result<Self, BadPolicy> {
        let mut reader = Reader::default();
        let mut last = 1;
        if text.len() > MAX_POLICY_BYTES {
            return Err(BadPolicy { line: last, fault: PolicyFault::TooLarge });
        }
        for (number, line) in (1..).zip(text.split_terminator('\n')) {
            reader.take(line).map_err(|fault| BadPolicy { line: number, fault })?;
            last = number;
        }
        let quorum = reader.quorum.ok_or(BadPolicy { line: last, fault: PolicyFault::NoQuorum })?;
        let Reader { logs, witnesses, groups, .. } = reader;
        Ok(Self { logs, witnesses, groups, quorum })
    }
}

#[derive(Default)]
struct Reader {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    /// Some after the quorum line; its quorum may be none.
    quorum: Option<Option<String>>,
    /// Witnesses and groups defined so far.
    names: BTreeSet<String>,
    /// Names that are in a group, each of which can help the quorum in one way only.
    members: BTreeSet<String>,
}

impl Reader {
    fn take(&mut self, line: &str) -> Result<(), PolicyFault> {
        if line.bytes().any(|byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f) {
            return Err(PolicyFault::ControlCharacter);
        }
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words.split_first() {
            None => Ok(()),
            Some((keyword, _)) if keyword.starts_with('#') => Ok(()),
            Some((&"log", items)) => self.log(items),
            Some((&"witness", items)) => self.witness(items),
            Some((&"group", items)) => self.group(items),
            Some((&"quorum", items)) => self.quorum(items),
            Some((keyword, _)) => Err(PolicyFault::Keyword((*keyword).to_owned())),
        }
    }

    fn log(&mut self, items: &[&str]) -> Result<(), PolicyFault> {
        let (vkey, url) = match items {
            [vkey] => (vkey, None),
            [vkey, url] => (vkey, Some((*url).to_owned())),
            _ => return Err(PolicyFault::Items("log <vkey> [<url>]")),
        };
        let key = VerifierKey::parse(vkey).map_err(|_| PolicyFault::LogKey)?;
        if self.logs.iter().any(|log| log.key.public() == key.public()) {
            return Err(PolicyFault::DuplicateKey);
        }
        push(&mut self.logs, Log { key, url })
    }

    fn witness(&mut self, items: &[&str]) -> Result<(), PolicyFault> {
        let (name, vkey, url) = match items {
            [name, vkey] => (name, vkey, None),
            [name, vkey, url] => (name, vkey, Some((*url).to_owned())),
            _ => return Err(PolicyFault::Items("witness <name> <vkey> [<url>]")),
        };
        let key = CosignerKey::parse(vkey).map_err(|_| PolicyFault::WitnessKey)?;
        if self.witnesses.iter().any(|witness| witness.key.public() == key.public()) {
            return Err(PolicyFault::DuplicateKey);
        }
        let name = self.define(name)?;
        push(&mut self.witnesses, Witness { name, key, url })
    }

    fn group(&mut self, items: &[&str]) -> Result<(), PolicyFault> {
        let [name, threshold, members @ ..] = items else {
            return Err(PolicyFault::Items(GROUP));
        };
        if members.is_empty() {
            return Err(PolicyFault::Items(GROUP));
        }
        let threshold = Self::threshold(threshold, members.len())?;
        for member in members {
            self.join(member)?;
        }
        // After the members, so that a group can't be its own.
        let name = self.define(name)?;
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        push(&mut self.groups, Group { name, threshold, members })
    }

    fn threshold(text: &str, members: usize) -> Result<usize, PolicyFault> {
        let threshold = match text {
            "any" => Some(1),
            "all" => Some(members),
            number => number.parse().ok().filter(|k: &usize| k.to_string() == number),
        };
        threshold.filter(|k| (1..=members).contains(k)).ok_or(PolicyFault::Threshold)
    }

    fn join(&mut self, member: &str) -> Result<(), PolicyFault> {
        if !self.names.contains(member) {
            return Err(PolicyFault::UnknownName(member.to_owned()));
        }
        if !self.members.insert(member.to_owned()) {
            return Err(PolicyFault::MemberTwice(member.to_owned()));
        }
        Ok(())
    }

    fn quorum(&mut self, items: &[&str]) -> Result<(), PolicyFault> {
        let [name] = items else { return Err(PolicyFault::Items("quorum <name>|none")) };
        if self.quorum.is_some() {
            return Err(PolicyFault::SecondQuorum);
        }
        if *name != NONE && !self.names.contains(*name) {
            return Err(PolicyFault::UnknownName((*name).to_owned()));
        }
        self.quorum = Some((*name != NONE).then(|| (*name).to_owned()));
        Ok(())
    }

    fn define(&mut self, name: &str) -> Result<String, PolicyFault> {
        if name == NONE || !self.names.insert(name.to_owned()) {
            return Err(PolicyFault::DuplicateName(name.to_owned()));
        }
        Ok(name.to_owned())
    }
}

const GROUP: &str = "group <name> all|any|<k> <name>...";

fn push<T>(lines: &mut Vec<T>, line: T) -> Result<(), PolicyFault> {
    if lines.len() >= MAX_LINES_OF_A_KIND {
        return Err(PolicyFault::TooMany);
    }
    lines.push(line);
    Ok(())
}
