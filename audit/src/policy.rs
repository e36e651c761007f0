//! Whom an auditor believes (c2sp.org/tlog-policy): which logs, which witnesses, how many of them.
//!
//! ```text
//! log <vkey> [<url>]
//! witness <name> <vkey> [<url>]
//! group <name> all|any|<k> <name>...
//! quorum <name>|none
//! ```
//!
//! No I/O, no clock. Log keys are of type 0x01, witness keys of type 0x04.

mod parse;

use std::collections::BTreeMap;
use std::fmt;

use crate::chain;
use crate::entry::DEPLOYMENT;
use crate::note::{BadNote, Checkpoint, CosignerKey, SignedNote, VerifierKey};

pub use parse::{BadPolicy, MAX_LINES_OF_A_KIND, MAX_POLICY_BYTES, PolicyFault};

/// A trust policy whose names are all defined, and defined once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<String>,
}

/// A log whose heads are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Its key; the key's name is the origin.
    pub key: VerifierKey,
    /// Where it can be asked.
    pub url: Option<String>,
}

/// A witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its name within the policy.
    pub name: String,
    /// Its key, which has a name of its own.
    pub key: CosignerKey,
    /// Its submission prefix.
    pub url: Option<String>,
}

/// Witnesses and groups of which enough must have cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name within the policy.
    pub name: String,
    /// How many members are enough, 1 to all.
    pub threshold: usize,
    /// Names of witnesses and of groups defined before this one.
    pub members: Vec<String>,
}

/// What a policy makes of a checkpoint that one of its logs signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The head.
    pub checkpoint: Checkpoint,
    /// The log's key that signed it.
    pub log: VerifierKey,
    /// The witnesses that cosigned it, in the order of the policy.
    pub cosignatures: Vec<Cosigned>,
    /// Whether enough of them did. Without this the head must not be relied on.
    pub quorum: bool,
}

/// A cosignature that fits the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The witness's name within the policy.
    pub witness: String,
    /// When it cosigned, in seconds since 1970.
    pub unix_seconds: u64,
    /// Later than the reader's clock: it does not count.
    pub in_the_future: bool,
}

/// Why a note is not even a head of a log of the policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTrusted {
    /// Not a note, or no checkpoint.
    #[error("{0}")]
    Note(#[from] BadNote),
    /// No log of the policy signed it under its own origin.
    #[error("no log of the policy signed it")]
    Unsigned,
    /// A key of the policy is said to have signed it, and did not.
    #[error("the signature of `{0}` does not fit the text")]
    Signature(String),
}

impl Policy {
    /// A policy that believes these logs without a witness.
    #[must_use]
    pub fn of_logs(keys: impl IntoIterator<Item = VerifierKey>) -> Self {
        let logs = keys.into_iter().map(|key| Log { key, url: None }).collect();
        Self { logs, witnesses: Vec::new(), groups: Vec::new(), quorum: None }
    }

    /// The policy for one log alone: that of its own lines or, as one key signs all logs of a
    /// deployment and a policy names no key twice, that of the deployment's own log, whose keys are
    /// then believed under the origin of this one. `None` when the policy knows neither.
    #[must_use]
    pub fn for_log(&self, origin: &str) -> Option<Self> {
        let (deployment, within) = origin.split_once('/')?;
        let of = |name: &str| {
            let logs = self.logs.iter().filter(|log| log.key.name() == name);
            logs.cloned().collect::<Vec<Log>>()
        };
        let mut logs = of(origin);
        let of_deployment = chain::tenant_of(deployment, origin).is_some() || within == "export";
        if logs.is_empty() && of_deployment {
            logs = of(&chain::origin(deployment, DEPLOYMENT));
            for log in &mut logs {
                log.key = VerifierKey::of_public(origin, *log.key.public()).ok()?;
            }
        }
        (!logs.is_empty()).then(|| Self { logs, ..self.clone() })
    }

    /// The same, where this key of a log is believed too.
    pub(crate) fn believing(mut self, key: VerifierKey) -> Self {
        self.logs.push(Log { key, url: None });
        self
    }

    /// The same with the logs of `other`: whom to believe is theirs, what witnesses must say stays.
    pub(crate) fn with_logs_of(&self, other: &Self) -> Self {
        Self { logs: other.logs.clone(), ..self.clone() }
    }

    /// The same, where `quorum` of these witnesses must have cosigned. Their names and keys have to
    /// differ; without a witness nothing changes.
    #[must_use]
    pub fn watched_by(mut self, witnesses: &[Witness], quorum: usize) -> Self {
        if witnesses.is_empty() {
            return self;
        }
        let mut name = "enough".to_owned();
        while witnesses.iter().any(|witness| witness.name == name) {
            name.push('-');
        }
        let members: Vec<String> = witnesses.iter().map(|witness| witness.name.clone()).collect();
        let threshold = quorum.clamp(1, members.len());
        self.witnesses = witnesses.to_vec();
        self.groups = vec![Group { name: name.clone(), threshold, members }];
        self.quorum = Some(name);
        self
    }

    /// The logs.
    #[must_use]
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The witnesses.
    #[must_use]
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// The groups, each after its members.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The witness or group that must have cosigned; `None` when no cosignature is needed.
    #[must_use]
    pub fn quorum(&self) -> Option<&str> {
        self.quorum.as_deref()
    }

    /// Which log signed the checkpoint, which witnesses cosigned it, and whether these are enough.
    /// Cosignatures of a time after `now` (seconds since 1970) do not count; what has no clock
    /// says `u64::MAX`.
    ///
    /// # Errors
    /// [`NotTrusted`]: a wrong signature of a key of the policy makes the whole note worthless
    /// (signed-note, "Signatures"); those of other keys are ignored.
    pub fn evaluate(&self, note: &str, now: u64) -> Result<Evaluation, NotTrusted> {
        let note = SignedNote::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        let log = self.signer(&note, &checkpoint.origin)?.clone();
        let cosignatures = self.cosignatures(&note, now)?;
        let quorum = self.is_met(&cosignatures);
        Ok(Evaluation { checkpoint, log, cosignatures, quorum })
    }

    fn signer(&self, note: &SignedNote<'_>, origin: &str) -> Result<&VerifierKey, NotTrusted> {
        let mut signer = None;
        for log in self.logs.iter().filter(|log| log.key.name() == origin) {
            match log.key.verify(note) {
                Ok(()) => signer = signer.or(Some(&log.key)),
                Err(BadNote::Unsigned) => {}
                Err(_) => return Err(NotTrusted::Signature(log.key.to_string())),
            }
        }
        signer.ok_or(NotTrusted::Unsigned)
    }

    fn cosignatures(&self, note: &SignedNote<'_>, now: u64) -> Result<Vec<Cosigned>, NotTrusted> {
        let mut cosigned = Vec::new();
        for Witness { name, key, .. } in &self.witnesses {
            match key.verify(note) {
                Ok(unix_seconds) => cosigned.push(Cosigned {
                    witness: name.clone(),
                    unix_seconds,
                    in_the_future: unix_seconds > now,
                }),
                Err(BadNote::Unsigned) => {}
                Err(_) => return Err(NotTrusted::Signature(key.to_string())),
            }
        }
        Ok(cosigned)
    }

    fn is_met(&self, cosigned: &[Cosigned]) -> bool {
        let Some(quorum) = self.quorum.as_deref() else { return true };
        let counted = cosigned.iter().filter(|one| !one.in_the_future);
        let mut met: BTreeMap<&str, bool> =
            counted.map(|one| (one.witness.as_str(), true)).collect();
        // Members are defined before their group, so one pass is enough.
        for group in &self.groups {
            let members = group.members.iter();
            let count = members.filter(|name| met.get(name.as_str()) == Some(&true)).count();
            met.insert(&group.name, count >= group.threshold);
        }
        met.get(quorum) == Some(&true)
    }
}

/// The policy file, which [`Policy::parse`] reads back to the same policy.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = |url: &Option<String>| url.iter().fold(String::new(), |_, url| format!(" {url}"));
        for log in &self.logs {
            writeln!(f, "log {}{}", log.key, url(&log.url))?;
        }
        for witness in &self.witnesses {
            writeln!(f, "witness {} {}{}", witness.name, witness.key, url(&witness.url))?;
        }
        for group in &self.groups {
            writeln!(f, "group {} {} {}", group.name, group.threshold, group.members.join(" "))?;
        }
        writeln!(f, "quorum {}", self.quorum.as_deref().unwrap_or(parse::NONE))
    }
}

#[cfg(test)]
#[path = "policy/policy_tests.rs"]
mod tests;
