//! While the gateway serves, its rules ...

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{Builder, Deployment, Upstream, Value, json, text};

use crate::parts::ours;

/// Closes the shop: nobody reads any more.
const CLOSED: &str = r#"@id("test/closed")
@reason("the shop is closed")
forbid (principal, action in Portcullis::Action::"read", resource);
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_for_the_next_call_without_a_dropped_request() {
    let upstream = Upstream::start();
    let (builder, rules) = with_rules(&upstream);
    let gate = Arc::new(builder.start().await);
    gate.token("ana").await;
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> =
        (0..8).map(|_| tokio::spawn(client(gate.clone(), done.clone()))).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let was = in_force(&gate).len();
    std::fs::write(rules.join("closed.cedar"), CLOSED).unwrap();
    until(|| in_force(&gate).len() > was, &gate).await;

    let next = gate.call("ana", "notes", "list_notes", json!({})).await;
    assert_eq!((next.status, next.rules()), (403, vec!["test/closed"]), "{next:?}");
    done.store(true, Ordering::Relaxed);
    let (mut permitted, mut refused) = (0, 0);
    for client in clients {
        let (yes, no) = client.await.unwrap();
        permitted += yes;
        refused += no;
    }
    assert!(permitted > 0 && refused > 0, "{permitted} permitted, {refused} refused");

    let sets = in_force(&gate);
    let [.., before, now] = sets.as_slice() else { panic!("two sets: {sets:?}") };
    assert_ne!(text(before, "/pol/bundle"), text(now, "/pol/bundle"));
    assert_eq!(text(now, "/note/proof"), "proved");
}

/// Calls until it is told to stop; each answer must be one of the two verdicts.
async fn client(gate: Arc<Deployment>, done: Arc<AtomicBool>) -> (u32, u32) {
    let (mut permitted, mut refused) = (0, 0);
    while !done.load(Ordering::Relaxed) {
        let answer = gate.call("ana", "notes", "list_notes", json!({})).await;
        match answer.status {
            200 => permitted += 1,
            403 if answer.rules() == ["test/closed"] => refused += 1,
            _ => panic!("neither permitted nor refused by the new rule: {answer:?}"),
        }
        assert!(refused == 0 || answer.status == 403, "an old set came back: {answer:?}");
    }
    (permitted, refused)
}

#[tokio::test]
async fn stay_as_they_are_when_the_new_set_does_not_parse() {
    let bad = "@id(\"test/bad\")\n@reason(\"x\")\nforbid (principal, action, resource)\nwhen { oops oops };\n";
    let log = is_refused(bad).await;
    assert!(log.contains("bad.cedar:4:"), "file and line:\n{log}");
}

#[tokio::test]
async fn stay_as_they_are_when_the_new_set_names_an_attribute_that_is_not_there() {
    let bad = "@id(\"test/bad\")\n@reason(\"x\")\nforbid (principal, action, resource)\nwhen { principal.shoeSize == 44 };\n";
    let log = is_refused(bad).await;
    assert!(log.contains("bad.cedar:") && log.contains("shoeSize"), "{log}");
}

#[tokio::test]
async fn stay_as_they_are_when_the_new_set_could_error() {
    let bad = "@id(\"test/bad\")\n@reason(\"x\")\nforbid (principal, action == Portcullis::Action::\"notes/list_notes\", resource)\n\
               when { context.input has limit && context.input.limit * context.input.limit > 100 };\n";
    let log = is_refused(bad).await;
    assert!(log.contains("bad.cedar:") && log.contains("test/bad"), "{log}");
    assert!(log.contains("overflow") || log.contains("error"), "{log}");
}

#[tokio::test]
async fn stay_as_they_are_when_the_new_set_breaks_an_invariant() {
    let bad = "@id(\"test/bad\")\n@reason(\"x\")\nforbid (principal, action, resource)\nwhen { false };\n";
    let log = refused_after(|rules| {
        std::fs::remove_file(rules.join("tenant.cedar")).unwrap();
        std::fs::write(rules.join("bad.cedar"), bad).unwrap();
    });
    let log = log.await;
    assert!(log.contains("no-permit-across-tenants"), "{log}");
}

#[tokio::test]
async fn load_as_unproved_with_a_loud_warning_where_there_is_no_solver() {
    let upstream = Upstream::start();
    let (builder, _) = with_rules(&upstream);
    let gate = builder.env("CVC5", "/nonexistent/cvc5").start().await;
    assert!(gate.log().contains("THE POLICY SET IS NOT PROVED"), "{}", gate.log());
    let sets = in_force(&gate);
    assert_eq!(text(&sets[0], "/note/proof"), "unproved", "{sets:?}");
    let call = gate.call("ana", "notes", "list_notes", json!({})).await;
    assert_eq!(call.status, 200, "{call:?}");
}

#[tokio::test]
async fn are_refused_unproved_where_a_proof_is_required_and_taken_with_a_receipt_of_it() {
    let upstream = Upstream::start();
    let builder = Deployment::builder().notes(&upstream);
    copy_rules(builder.dir());
    let builder = builder.settings("[policies]\ndir = \"policies\"\nrequire_proof = true");
    let mut gate = builder.start().await;
    assert_eq!(text(&in_force(&gate)[0], "/note/proof"), "proved");
    gate.set_env("CVC5", "/nonexistent/cvc5");
    gate.stop();
    assert!(!gate.fails_to_restart().success());
    assert!(gate.log().contains("`require_proof` is on"), "{}", gate.log());

    gate.must(&["policy", "prove", "--receipt", "receipt.json"]);
    let config = gate.dir().join("portcullis.toml");
    let with_receipt = "require_proof = true\nproof_receipt = \"receipt.json\"";
    let text_of = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text_of.replace("require_proof = true", with_receipt)).unwrap();
    gate.restart().await;
    let sets = in_force(&gate);
    let now = sets.last().unwrap();
    assert_eq!(text(now, "/note/proof"), "proved", "{now}");
    assert!(text(now, "/note/solver").contains("cvc5"), "{now}");
}

/// Adds one file to a good set; see [`refused_after`].
async fn is_refused(bad: &str) -> String {
    refused_after(|rules| std::fs::write(rules.join("bad.cedar"), bad).unwrap()).await
}

/// Changes the rules of a running gateway such that they must be refused: the set before stays in
/// force, the ledger says so, and so does the log, whose end is returned.
async fn refused_after(change: impl FnOnce(&Path)) -> String {
    let upstream = Upstream::start();
    let (builder, rules) = with_rules(&upstream);
    let gate = builder.start().await;
    let before = gate.call("ana", "notes", "list_notes", json!({})).await;
    let kept = text(&in_force(&gate)[0], "/pol/bundle").to_owned();
    change(&rules);
    until(|| gate.log().contains("the old ones stay in force"), &gate).await;

    let refused = noted(&gate, "policies_refused");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(text(&refused[0], "/pol/decision"), "kept");
    assert_eq!(text(&refused[0], "/pol/bundle"), kept);
    assert!(text(&refused[0], "/note/why").contains(".cedar:"), "file and line: {refused:?}");
    let after = gate.call("ana", "notes", "list_notes", json!({})).await;
    assert_eq!((before.status, after.status), (200, 200));
    assert_eq!(before.rules(), after.rules());
    let log = gate.log();
    log.split("the old ones stay in force").nth(1).unwrap_or_default().to_owned()
}

fn with_rules(upstream: &Upstream) -> (Builder, PathBuf) {
    let builder = Deployment::builder().notes(upstream);
    let rules = copy_rules(builder.dir());
    (builder.settings("[policies]\ndir = \"policies\""), rules)
}

/// Copies the set of this repository; gives the folder of its rules.
fn copy_rules(dir: &Path) -> PathBuf {
    for folder in ["rules", "invariants"] {
        let to = dir.join("policies").join(folder);
        std::fs::create_dir_all(&to).unwrap();
        for file in std::fs::read_dir(ours("../policies").join(folder)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    dir.join("policies/rules")
}

/// The records of sets that came into force, oldest first.
fn in_force(gate: &Deployment) -> Vec<Value> {
    noted(gate, "policies_loaded")
}

fn noted(gate: &Deployment, action: &str) -> Vec<Value> {
    let records = gate.records().into_iter();
    records.filter(|record| text(record, "/note/action") == action).collect()
}

async fn until(mut is_so: impl FnMut() -> bool, gate: &Deployment) {
    for _ in 0..300 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it did not come:\n{}", gate.log());
}
