//! Clocks: what expires with time is pruned in its order, and a clock that jumps changes nothing but itself.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use harness::{Deployment, Upstream, Witness, json, text};
use portcullis_audit::note::LogKey;

const SEED: &[u8; 32] = b"the seed of a log key of a test ";

/// A log key that is known before the first start, so that a witness can be told of it.
fn private_key(dir: &Path) {
    let data = dir.join("portcullis-data");
    std::fs::create_dir_all(data.join("keys")).unwrap();
    std::fs::write(data.join("keys/ledger-signing"), SEED).unwrap();
    for (name, mode) in [("keys/ledger-signing", 0o600), ("keys", 0o700), ("", 0o700)] {
        let private = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(data.join(name), private).unwrap();
    }
}

/// Debian's libfaketime, which moves the wall clock of one process and leaves its monotonic one.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

pub(crate) fn moved(by: &str) -> [(&'static str, &str); 3] {
    assert!(
        std::path::Path::new(LIBRARY).exists(),
        "missing: faketime\n  apt-get install faketime"
    );
    [("LD_PRELOAD", LIBRARY), ("FAKETIME", by), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]
}

async fn call(gate: &Deployment, key: &str) {
    let body = json!({ "function": "create_note", "params": { "title": "x" } });
    let request = gate.request(reqwest::Method::POST, "/v1/extensions/notes/call");
    let answer = gate.send(request.header("x-api-key", key).json(&body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn what_expired_is_pruned_in_its_order_and_the_gateway_goes_on() {
    let upstream = Upstream::start();
    let mut gate = Deployment::builder().notes(&upstream).start().await;
    for _ in 0..140 {
        let answer = gate.call("ana", "notes", "create_note", json!({ "title": "x" })).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let to = gate.dir().join("2033").display().to_string();
    gate.must(&["ledger", "export", "--to", &to]);
    let log = ["ledger", "prune", "--log", "imp_t_acme", "--export", &to];
    let approved = ["--approved-by", "ana", "--approved-by", "ben"];
    let whole = [log.as_slice(), &approved].concat();
    let said = |output: &std::process::Output| {
        let said = [output.stdout.clone(), output.stderr.clone()].concat();
        String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ")
    };

    // Not before its time, and not while somebody else writes the file.
    let early = gate.portcullis(&whole);
    assert!(!early.status.success(), "{early:?}");
    assert!(said(&early).contains("nothing to prune: record 0 is kept until"), "{}", said(&early));
    let later = moved("+8y");
    let in_use = gate.portcullis_with_env(&whole, &later);
    assert!(!in_use.status.success(), "{in_use:?}");
    let tried = gate.portcullis_with_env(&[log.as_slice(), &["--dry-run"]].concat(), &later);
    assert!(said(&tried).contains("256 records of imp_t_acme would go"), "{}", said(&tried));

    assert!(gate.stop().success());
    for approved in
        [["--approved-by", "ana"].as_slice(), &["--approved-by", "ana", "--approved-by", "ana"]]
    {
        let alone = gate.portcullis_with_env(&[log.as_slice(), approved].concat(), &later);
        assert!(said(&alone).contains("two different people must approve"), "{}", said(&alone));
    }
    gate.must(&["vault", "hold", "--tenant", "imp_t_acme", "--reason", "case 12"]);
    let held = gate.portcullis_with_env(&whole, &later);
    assert!(said(&held).contains("log imp_t_acme is held since"), "{}", said(&held));
    gate.must(&["vault", "lift", "--tenant", "imp_t_acme"]);
    let pruned = gate.portcullis_with_env(&whole, &later);
    assert!(pruned.status.success(), "{}", said(&pruned));
    assert!(said(&pruned).contains("256 records of imp_t_acme are gone"), "{}", said(&pruned));
    let again = gate.portcullis_with_env(&whole, &later);
    assert!(said(&again).contains("nothing to prune"), "{}", said(&again));

    gate.restart().await;
    let answer = gate.call("ana", "notes", "list_notes", json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    gate.settled(&answer.op(), 2).await;
    assert!(gate.must(&["ledger", "verify"]).starts_with("whole"));
    let verified = gate.verify();
    assert!(verified.whole, "{}", verified.said);
    assert!(verified.said.contains("256 pruned"), "{}", verified.said);
    let found = gate.portcullis(&["ledger", "explain", "3", "--log", "imp_t_acme"]);
    assert!(said(&found).contains("pruned"), "{}", said(&found));
}

/// Attack 13: one hour back, and ten years forward.
#[tokio::test]
async fn a_clock_that_jumps_changes_no_order_is_flagged_and_a_witness_contradicts_it() {
    let upstream = Upstream::start();
    let key = LogKey::from_seed(SEED).unwrap().vkey("portcullis/deployment");
    let witness = Witness::of_deployment("portcullis", &key);
    let builder = Deployment::builder().notes(&upstream);
    private_key(builder.dir());
    let mut gate = builder
        .settings(&format!(
            "[ledger.witness]\npolicy = \"best_effort\"\n\
             witnesses = [{{ name = \"w\", url = \"{}\", key = \"{}\" }}]",
            witness.url, witness.vkey
        ))
        .start()
        .await;
    let key = gate.api_key("ana", &["notes:*"]);
    call(&gate, &key).await;
    for by in ["-1h", "+10y"] {
        assert!(gate.stop().success());
        for (name, value) in moved(by) {
            gate.set_env(name, value);
        }
        gate.restart().await;
        call(&gate, &key).await;
    }
    // By then the witness, whose clock is right, has seen all of it.
    let flagged = "later than any witness saw it";
    let mut verified = gate.verify();
    for _ in 0..60 {
        if verified.said.contains(flagged) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        verified = gate.verify();
    }
    assert!(verified.whole, "{}", verified.said);
    assert!(verified.said.contains(flagged), "{}", verified.said);
    assert!(verified.said.contains("; the clock went back 1 times"), "{}", verified.said);

    let records = gate.records();
    let of_tenant = records.iter().filter(|record| text(record, "/log").ends_with("imp_t_acme"));
    let mut places: Vec<u64> =
        of_tenant.map(|record| text(record, "/seq").parse().unwrap()).collect();
    places.sort_unstable();
    assert_eq!(places, (0..places.len() as u64).collect::<Vec<_>>());

    // Nor can it make a record older than the witness saw the head that covers it.
    for attempt in 0..40 {
        let to = gate.dir().join(format!("export-{attempt}")).display().to_string();
        gate.must(&["ledger", "export", "--to", &to]);
        let prune = ["ledger", "prune", "--log", "deployment", "--export", &to, "--dry-run"];
        let early = gate.portcullis_with_env(&prune, &moved("+30y"));
        let said = String::from_utf8_lossy(&early.stderr).into_owned();
        if !said.contains("not_witnessed") {
            assert!(said.contains("nothing to prune: record 0 is kept until"), "{said}");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    panic!("no export had a head that was witnessed");
}
