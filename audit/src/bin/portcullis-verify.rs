//! `portcullis-verify`: checks a ledger export, or the proof of one record, offline.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use portcullis_audit::keys::{Followed, follow};
use portcullis_audit::note::VerifierKey;
use portcullis_audit::policy::Policy;
use portcullis_audit::printable;
use portcullis_audit::promise::Promise;
use portcullis_audit::tlog_proof::{MAX_PROOF_BYTES, Proved, TlogProof};
use portcullis_audit::verify::{Brought, Effort, KeptFile, Report, Trust, Verdict, verify_with};
use serde_json::json;

/// Checks that a ledger export is as it was written, without trusting whoever made it.
///
/// Recomputes every leaf hash from the record bytes, follows the chain from each log's first
/// record, rebuilds the Merkle trees, and compares them with the signed heads and with what the
/// deployment's own log noted of the others. Names the first record that is not as it was logged,
/// what was done to it, and what somebody would have to explain.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Arguments {
    /// The folder that `portcullis ledger export` wrote.
    #[arg(required_unless_present = "proof", conflicts_with = "proof")]
    folder: Option<PathBuf>,

    /// Check one record by its proof alone (a `.tlog-proof` file of `portcullis ledger proof`).
    #[arg(long, value_name = "FILE", requires = "trust")]
    proof: Option<PathBuf>,

    /// The record's bytes, for a proof that does not carry them.
    #[arg(long, value_name = "FILE", requires = "proof")]
    record: Option<PathBuf>,

    /// The proof of a `key` record of the same log (`proofs/` of an export has them), for a proof that
    /// was made after the log changed its key: you believe the new key when you believe the one that it
    /// replaces. Needed when you believe more than one key of the log, since one of them was replaced.
    /// Repeat it for more.
    #[arg(long = "key-record", value_name = "FILE", requires = "proof")]
    key_records: Vec<PathBuf>,

    /// Logs and witnesses that you believe, from elsewhere (c2sp.org/tlog-policy).
    #[arg(long, value_name = "FILE", group = "trust")]
    policy: Option<PathBuf>,

    /// Verifier key that you have from elsewhere (`name+id+key`): that of the deployment's own log
    /// stands for all of its logs. Repeat it for more.
    /// Without one the keys in the folder are taken, which shows only that it hangs together.
    #[arg(long = "vkey", value_parser = parse_key, group = "trust")]
    keys: Vec<VerifierKey>,

    /// A checkpoint of one of the logs that you have from before: what it says must be the begin of
    /// what is here. Repeat it for more.
    #[arg(long = "seen", value_name = "FILE", conflicts_with = "proof")]
    seen: Vec<PathBuf>,

    /// A promise that a caller kept (the header `x-portcullis-promise`): its record must be here.
    /// Repeat it for more.
    #[arg(long = "promise", value_name = "FILE", conflicts_with = "proof")]
    promises: Vec<PathBuf>,

    /// All that a caller kept of its answers: their headers `x-portcullis-promise` and
    /// `x-portcullis-session-seq`, one to a line. What was promised must be here; a bare number that is
    /// not is named and proves nothing to others, since nobody signed it. Also names what is here of the
    /// same sessions and the caller kept no answer of. Repeat it for more.
    #[arg(long = "kept", value_name = "FILE", conflicts_with = "proof")]
    kept: Vec<PathBuf>,

    /// The payload of a field that the export discloses the key of, from whoever has it: `in` (the
    /// arguments), `out` (the answer). Must be what the record commits to. Repeat it for more.
    #[arg(long = "payload", value_name = "TENANT:SEQ:FIELD=FILE", conflicts_with = "proof")]
    payloads: Vec<String>,

    /// Threads that hash and read records [default: one for each core].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,

    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Exit status:
  0  whole: every record is as it was logged (with --proof: the record is in the log)
  1  forged: a record, head or tile was changed; the first one is named
  2  the command line is wrong, or a file named there can't be used
  3  torn: a file is missing or ends in the middle
  4  absent: there is nothing to verify
  5  empty: there is a ledger without a record
  6  unreadable: a file could not be read

Examples:
  portcullis ledger export --to /tmp/export && portcullis-verify /tmp/export
  portcullis-verify --json /tmp/export | jq .fault
  portcullis-verify --policy from-last-year.policy --seen last-years/checkpoint /tmp/export
  portcullis-verify --payload acme:17:in=arguments.json /tmp/export
  grep -i '^x-portcullis-' headers-of-my-calls > kept && portcullis-verify --kept kept /tmp/export
  portcullis-verify --proof 17.tlog-proof --policy from-last-year.policy";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let trust = match trust(&arguments) {
        Ok(trust) => trust,
        Err(why) => return usage(&why),
    };
    match (&arguments.proof, &arguments.folder) {
        (Some(proof), _) => one_record(&arguments, proof, &trust),
        (None, Some(folder)) => whole_folder(&arguments, folder, &trust),
        (None, None) => usage("name a folder, or a proof by --proof"),
    }
}

/// What the auditor believes: the policy file, or the keys of the command line.
fn trust(arguments: &Arguments) -> Result<Trust, String> {
    let mut seen = Vec::new();
    for path in &arguments.seen {
        seen.push((path.display().to_string(), read_bounded(path)?));
    }
    let mut promises = Vec::new();
    for path in &arguments.promises {
        let note = Promise::note_from(&read_bounded(path)?);
        let note = note.ok_or_else(|| at(path, &"it is not a promise"))?;
        promises.push((path.display().to_string(), note));
    }
    let mut answers = Vec::new();
    for path in &arguments.kept {
        let text = std::fs::read_to_string(path).map_err(|why| at(path, &why))?;
        let kept = KeptFile::parse(&path.display().to_string(), &text)?;
        promises.extend(kept.promises);
        answers.extend(kept.numbers);
    }
    let keeps_all = !arguments.kept.is_empty();
    let payloads = arguments.payloads.iter().map(|text| brought(text)).collect::<Result<_, _>>()?;
    Ok(Trust { seen, promises, answers, keeps_all, payloads, ..believed(arguments)? })
}

/// `TENANT:SEQ:FIELD=FILE`
fn brought(text: &str) -> Result<Brought, String> {
    let bad = || format!("`{text}` is not of the form TENANT:SEQ:FIELD=FILE");
    let (place, file) = text.split_once('=').ok_or_else(bad)?;
    let parts: Vec<&str> = place.split(':').collect();
    let [tenant, seq, field] = parts.as_slice() else { return Err(bad()) };
    let bytes = std::fs::read(file).map_err(|why| at(Path::new(file), &why))?;
    Ok(Brought {
        name: file.to_owned(),
        tenant: (*tenant).to_owned(),
        seq: seq.parse().map_err(|_| bad())?,
        field: (*field).to_owned(),
        bytes,
    })
}

fn believed(arguments: &Arguments) -> Result<Trust, String> {
    if let Some(path) = &arguments.policy {
        let text = std::fs::read_to_string(path).map_err(|why| at(path, &why))?;
        let policy = Policy::parse(&text).map_err(|why| at(path, &why))?;
        return Ok(Trust { policy: Some(policy), ..Trust::default() });
    }
    let keys = &arguments.keys;
    Ok(if keys.is_empty() { Trust::default() } else { Trust::in_keys(keys.iter().cloned()) })
}

fn whole_folder(arguments: &Arguments, folder: &Path, trust: &Trust) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.map_or(cores, usize::from);
    let mut bar = Bar::default();
    let effort = Effort { threads, progress: &mut |done, all| bar.show(done, all) };
    let report = verify_with(folder, trust, effort);
    bar.clear();
    let text = if arguments.json {
        format!("{}\n", report.to_json())
    } else {
        coloured(&report, std::io::stdout().is_terminal())
    };
    say(&text, report.verdict.exit_code())
}

fn one_record(arguments: &Arguments, path: &Path, trust: &Trust) -> ExitCode {
    let read = || -> Result<(TlogProof, Vec<u8>), String> {
        let text = read_bounded(path)?;
        let proof = TlogProof::parse(&text).map_err(|why| at(path, &why))?;
        let record = match &arguments.record {
            Some(record) => std::fs::read(record).map_err(|why| at(record, &why))?,
            None => proof.extra().map(<[u8]>::to_vec).ok_or_else(|| {
                at(path, &"it does not carry the record; give its bytes by --record")
            })?,
        };
        Ok((proof, record))
    };
    let (proof, record) = match read() {
        Ok(read) => read,
        Err(why) => return usage(&why),
    };
    let Some(policy) = &trust.policy else {
        return usage("a proof is checked against keys that you have: --policy or --vkey");
    };
    // A policy that does not know the log believes nothing of it, which `verify` says.
    let origin = proof.checkpoint().split('\n').next().unwrap_or_default();
    let (policy, followed) = match followed(arguments, policy, origin) {
        Ok(followed) => followed,
        Err(why) => return usage(&why),
    };
    let proved = proof.verify(&record, &policy, u64::MAX).map_err(|why| why.to_string());
    let proved = proved.and_then(|proved| match &followed {
        Some(followed) => {
            followed.was_in_force(&proved.head).map(|()| proved).map_err(|why| why.to_string())
        }
        None => Ok(proved),
    });
    match proved {
        Ok(proved) => say(&whole(&proved, &record, arguments.json), 0),
        Err(why) if arguments.json => {
            say(&format!("{}\n", json!({ "verdict": "forged", "why": why })), 1)
        }
        Err(why) => say(&format!("FORGED: {why}\n"), 1),
    }
}

fn whole(proved: &Proved, record: &[u8], as_json: bool) -> String {
    let (head, signer) = (&proved.head.checkpoint, &proved.head.log);
    let witnesses: Vec<_> =
        proved.head.cosignatures.iter().map(|one| one.witness.as_str()).collect();
    let log = &head.origin;
    if as_json {
        let record: serde_json::Value = serde_json::from_slice(record).unwrap_or_default();
        return format!(
            "{}\n",
            json!({ "verdict": "whole", "log": log, "seq": proved.index, "size": head.size,
                    "signed_by": signer.to_string(), "witnessed_by": witnesses, "record": record })
        );
    }
    let by = if witnesses.is_empty() { "nobody".into() } else { witnesses.join(", ") };
    let record = printable(&String::from_utf8_lossy(record));
    format!(
        "whole: record {} of {log} is under its head of {} records, signed by key {}, witnessed by \
         {by}\n{record}\n",
        proved.index,
        head.size,
        signer.id()
    )
}

/// What the policy believes of a log, the keys that were handed over to included. Of several keys all but
/// one must be known to be replaced: one proof alone does not say which of them was in force.
fn followed(
    arguments: &Arguments,
    policy: &Policy,
    origin: &str,
) -> Result<(Policy, Option<Followed>), String> {
    let mut proofs = Vec::new();
    for path in &arguments.key_records {
        proofs.push(TlogProof::parse(&read_bounded(path)?).map_err(|why| at(path, &why))?);
    }
    if proofs.is_empty() && policy.for_log(origin).is_none() {
        return Ok((policy.clone(), None));
    }
    let followed =
        follow(policy, origin, &proofs).map_err(|why| format!("`--key-record`: {why}"))?;
    let keys: Vec<String> = followed.not_replaced().map(VerifierKey::id).collect();
    if keys.len() > 1 {
        return Err(format!(
            "you believe the keys {} of log `{origin}`: whoever has one that was replaced can sign with it \
             for ever, and this proof does not say which one was in force. Hand over the proofs of the \
             log's `key` records (--key-record; `proofs/` of an export has them), or believe the newest \
             key alone",
            keys.join(" and ")
        ));
    }
    Ok((followed.policy().clone(), Some(followed)))
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|why| at(path, &why))?.len();
    if length > MAX_PROOF_BYTES as u64 {
        return Err(at(path, &"it is larger than any proof or checkpoint"));
    }
    std::fs::read_to_string(path).map_err(|why| at(path, &why))
}

fn at(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("`{}`: {why}", path.display())
}

fn usage(why: &str) -> ExitCode {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "error: {why}");
    ExitCode::from(2)
}

fn say(text: &str, code: u8) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(code),
        // The answer did not arrive, so no script may take it for "whole".
        Err(_) => ExitCode::from(6),
    }
}

/// A line about the progress, on a terminal only.
#[derive(Default)]
struct Bar {
    shown: Option<u64>,
}

impl Bar {
    fn show(&mut self, done: u64, all: u64) {
        let percent = done.saturating_mul(100) / all.max(1);
        if self.shown != Some(percent) && std::io::stderr().is_terminal() {
            self.shown = Some(percent);
            let _ = write!(std::io::stderr(), "\r{done} of {all} records ({percent} %)");
        }
    }

    fn clear(&self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}

fn coloured(report: &Report, terminal: bool) -> String {
    let text = report.to_text();
    let Some((first, rest)) = text.split_once('\n').filter(|_| terminal) else { return text };
    let colour = if report.verdict == Verdict::Whole { 32 } else { 31 };
    format!("\u{1b}[1;{colour}m{first}\u{1b}[0m\n{rest}")
}

fn parse_key(text: &str) -> Result<VerifierKey, String> {
    VerifierKey::parse(text.trim()).map_err(|_| {
        "not a verifier key; it looks like `name+01234567+AQID...`, see `policy` in an export"
            .to_owned()
    })
}
