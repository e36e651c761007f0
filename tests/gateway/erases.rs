//! An erasure is ...

use std::time::Duration;

use harness::{Deployment, Upstream, Value, json, text};

use crate::clocks::moved;

const BOUND: &str = "[key_provider]\nfinal_erasure = \"30d\"";
const DAY: i64 = 86_400;

async fn start() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    (Deployment::builder().notes(&upstream).settings(BOUND).start().await, upstream)
}

async fn list(gate: &Deployment, name: &str) -> String {
    let done = gate.call(name, "notes", "list_notes", json!({})).await;
    assert_eq!(done.status, 200, "{done:?}");
    gate.settled(&done.op(), 2).await;
    done.op()
}

/// What `vault status` says once a version is in this state; `None` when there is no such version.
async fn until(gate: &Deployment, version: u64, state: &str, env: &[(&str, &str)]) -> Value {
    loop {
        let status = gate.portcullis_with_env(&["vault", "status", "--json"], env);
        let status: Value = serde_json::from_slice(&status.stdout).unwrap();
        let found = status["versions"].as_array().unwrap().iter().find(|v| v["version"] == version);
        if let Some(found) = found.filter(|found| found["state"] == state) {
            return found.clone();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Whether the keys of a record's fields can still be had.
fn discloses(gate: &Deployment, op: &str, to: &str) -> bool {
    let args =
        ["ledger", "export", "--to", to, "--disclose", op, "--fields", "in,capsule", "--json"];
    let said = gate.portcullis(&args);
    let said: Value = serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
    let closed = said["disclosed"]["closed"].as_array().unwrap_or_else(|| panic!("{said}"));
    assert!(closed.iter().all(|one| text(one, "/why").contains("its key was erased")), "{said}");
    closed.is_empty()
}

fn seconds(time: &Value) -> i64 {
    let any = rusqlite::Connection::open_in_memory().unwrap();
    any.query_row("SELECT unixepoch(?1)", [time.as_str().unwrap()], |row| row.get(0)).unwrap()
}

/// Attack 28 of the design, as an operator meets it.
#[tokio::test]
async fn undone_by_no_restored_backup_and_final_by_the_time_that_its_certificate_states() {
    let (mut gate, _upstream) = start().await;
    let (of_ana, of_ben) = (list(&gate, "ana").await, list(&gate, "ben").await);
    until(&gate, 1, "active", &[]).await;
    gate.must(&["vault", "backup", "--to", "backup"]);
    let id = gate.user_id("ana");
    let said = gate.must(&["vault", "erase", "--user", &id, "--yes", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    let certificate = &said["certificate"];
    let (live, last) = (seconds(&certificate["live_by"]), seconds(&certificate["final_by"]));
    let at = seconds(&certificate["destroyed_at"]);
    assert!((at + 300..=at + 360).contains(&live), "{certificate}");
    assert!(last > at + 29 * DAY && last <= at + 30 * DAY, "{certificate}");
    let records = gate.wait_for_admin("vault.erase", &id).await;
    assert_eq!(records["kind"], "erase");
    let stated = text(&records, "/note/field_final_by").to_owned();
    assert!(stated.contains(certificate["final_by"].as_str().unwrap()), "{stated}");
    assert!(gate.stop().success());
    assert!(!discloses(&gate, &of_ana, "live") && discloses(&gate, &of_ben, "live-other"));

    // As `vault backup` says how to restore.
    let (keys, backup) = (gate.data().join("keys"), gate.dir().join("backup"));
    for end in ["-wal", "-shm"] {
        std::fs::remove_file(keys.join(format!("scope-keys.db{end}"))).ok();
    }
    std::fs::copy(backup.join("scope-keys.db"), keys.join("scope-keys.db")).unwrap();
    assert!(!discloses(&gate, &of_ana, "restored"), "a restored backup brings nobody back");
    assert!(discloses(&gate, &of_ben, "restored-other"));

    // One term later the next version wraps and the one before is retired; one more, and it is gone.
    // Each stop comes between a step and its note, and waits for the note.
    gate.set_env("FAILPOINTS", "vault_epoch_before_note=sleep(3000)");
    let (mut before, steps) =
        (0, [("+14d", "retired", "vault.retire"), ("+28d", "destroyed", "vault.destroy_version")]);
    for (by, state, step) in steps {
        let env = moved(by);
        for (name, value) in env {
            gate.set_env(name, value);
        }
        gate.restart().await;
        until(&gate, 1, state, &env).await;
        before +=
            usize::from(!gate.records().iter().any(|record| record["note"]["action"] == step));
        assert!(gate.stop().success());
    }
    assert!(before > 0, "no stop came between a step and its note");
    assert!(!keys.join("kek").exists(), "the key that opens the backup is nowhere");
    assert!(discloses(&gate, &of_ben, "later"), "what is left opens");
    let done = gate.records();
    let steps = [
        ("vault.rotate", "version 2"),
        ("vault.retire", "version 1"),
        ("vault.destroy_version", "version 1"),
    ];
    for (action, target) in steps {
        let found = done.iter().find(|record| record["note"]["action"] == action);
        let found = found.unwrap_or_else(|| panic!("{action} is in the ledger"));
        assert!(text(found, "/note/target").ends_with(target), "{found}");
        assert_eq!(found["note"]["actor"], "gateway");
    }
    assert!(gate.verify().whole);
}

#[tokio::test]
async fn refused_and_written_down_while_somebody_wants_it_kept() {
    let (gate, _upstream) = start().await;
    let op = list(&gate, "ana").await;
    let (ana, tenant) = (gate.user_id("ana"), "imp_t_acme");
    let empty = gate.portcullis(&["vault", "hold", "--user", &ana, "--reason", " "]);
    assert!(!empty.status.success(), "a hold has a reason");
    gate.must(&["vault", "hold", "--user", &ana, "--reason", "case 12"]);
    let twice = gate.portcullis(&["vault", "hold", "--user", &ana, "--reason", "case 13"]);
    assert!(String::from_utf8_lossy(&twice.stderr).contains("hold"), "{twice:?}");
    assert!(gate.must(&["vault", "holds"]).contains("case 12"));
    for whose in [["--user", ana.as_str()], ["--tenant", tenant]] {
        let refused = gate.portcullis(&[&["vault", "erase", "--yes"][..], &whose].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("case 12"), "{whose:?}: {said}");
    }
    gate.wait_for_admin("vault.erase_refused", &ana).await;
    let log = gate.records().iter().map(ToString::to_string).collect::<String>();
    assert!(!log.contains("case 12"), "a reason may name somebody, and records stay");
    gate.must(&["vault", "lift", "--user", &ana]);
    let nothing = gate.portcullis(&["vault", "lift", "--user", &ana]);
    assert!(!nothing.status.success(), "there is nothing to lift");
    gate.must(&["vault", "hold", "--tenant", tenant, "--reason", "all of them"]);
    let refused = gate.portcullis(&["vault", "erase", "--yes", "--user", &ana]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("all of them"), "{refused:?}");
    assert!(discloses(&gate, &op, "held"));
    gate.must(&["vault", "lift", "--tenant", tenant]);
    gate.must(&["vault", "erase", "--yes", "--user", &ana]);
    assert!(!discloses(&gate, &op, "erased"));
}

#[tokio::test]
async fn done_is_not_called_refused_for_a_hold_that_came_too_late() {
    let (gate, _upstream) = start().await;
    let op = list(&gate, "ana").await;
    let ana = gate.user_id("ana");
    let erase = ["vault", "erase", "--yes", "--user", &ana];
    let pause = [("FAILPOINTS", "vault_erase_destroyed=sleep(8000)")];
    std::thread::scope(|scope| {
        let erasing = scope.spawn(|| gate.portcullis_with_env(&erase, &pause));
        let gone = (0..100).any(|try_| !discloses(&gate, &op, &format!("gone-{try_}")));
        assert!(gone, "the key is destroyed");
        assert!(!erasing.is_finished(), "values are not forgotten for the second time yet");
        gate.must(&["vault", "hold", "--user", &ana, "--reason", "too late"]);
        assert!(!erasing.is_finished(), "the hold came in between");
        let done = erasing.join().unwrap();
        assert!(done.status.success(), "{done:?}");
    });
    let erased = gate.wait_for_admin("vault.erase", &ana).await;
    assert!(!text(&erased, "/note/field_held_too_late_by").is_empty(), "{erased}");
    let refused = |record: &Value| record["note"]["action"] == "vault.erase_refused";
    assert!(!gate.records().iter().any(refused), "what was done was not refused");
}
