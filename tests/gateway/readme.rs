//! What the README tells to type ...

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use harness::{Deployment, Upstream, Witness, json};
use rustix::process::{Pid, Signal};

/// The demo without `--exit`: the lines that it prints are run as they stand, by a shell.
#[test]
fn about_the_demo_works_until_it_is_ended() {
    let demo =
        Command::new(harness::binary("portcullis")).arg("demo").stdout(Stdio::piped()).spawn();
    let mut demo = Ended(demo.unwrap());
    let mut said = String::new();
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let curl: Vec<String> = (lines.by_ref())
        .inspect(|line| said.push_str(&format!("{line}\n")))
        .filter(|line| line.starts_with("curl "))
        .take(3)
        .collect();
    let answers: Vec<String> = curl.iter().map(|line| run(line)).collect();
    rustix::process::kill_process(Pid::from_child(&demo.0), Signal::INT).unwrap();
    let ended = demo.0.wait().unwrap();
    assert_eq!(curl.len(), 3, "{said}");
    for (answer, shows) in answers.iter().zip(["note_id", "confirmation_required", "imp_u_"]) {
        assert!(answer.contains(shows), "{shows} is not in {answer}\n{said}");
    }
    assert_eq!(ended.code(), Some(0), "{said}");
    assert!(said.contains("FORGED"), "{said}");
}

/// A process that does not outlive the test, however that ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn run(line: &str) -> String {
    let output = Command::new("sh").args(["-c", &format!("{line} -m 60")]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn about_the_configuration_works() {
    let gate = Deployment::builder().start().await;
    let said = gate.must(&["check"]);
    assert!(said.contains("portcullis-data"), "{said}");
    let schema: harness::Value = serde_json::from_str(&gate.must(&["check", "--schema"])).unwrap();
    assert!(schema["properties"]["server"].is_object(), "{schema}");
}

#[tokio::test]
async fn about_who_is_asking_works() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let listed = gate.must(&["key", "signing", "list"]);
    assert!(listed.contains("signing") && listed.contains("MAY GO ON"), "{listed}");
    let asked = gate.call("ana", "notes", "delete_note", json!({ "note_id": "note-1" })).await;
    let id = asked.confirmation();
    let token = gate.token("ana").await;
    let confirm = |more: &[&str]| {
        let mut command = Command::new(harness::binary("portcullis"));
        command.args(["confirm", "--gateway", gate.url()]).args(more);
        let output = command.env("PORTCULLIS_TOKEN", &token).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (well, said) = confirm(&[]);
    assert!(well && said.contains(&id) && said.contains("notes/delete_note"), "{said}");
    // Nobody is at the terminal: it shows what would run and answers nothing.
    let (well, said) = confirm(&[&id]);
    assert!(!well && said.contains("note_id = \"note-1\"") && said.contains("--yes"), "{said}");
    assert_eq!(upstream.seen().len(), 0);
    let (well, said) = confirm(&[&id, "--yes"]);
    assert!(well && said.contains("carried out, once"), "{said}");
    assert_eq!(upstream.seen().len(), 1);
    let (well, said) = confirm(&[&id, "--yes"]);
    assert!(!well && said.contains("CONFIRMATION_USED"), "{said}");
    let (well, said) = confirm(&["imp_c_none", "--no"]);
    assert!(!well && said.contains("CONFIRMATION_UNKNOWN"), "{said}");
}

#[tokio::test]
async fn about_the_ledger_works() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let path = "/v1/extensions/notes/call";
    let call = gate.signed("ana", reqwest::Method::POST, path).await;
    let call = call.header("x-portcullis-promise", "1");
    let body = json!({ "function": "list_notes", "params": {} });
    let answer = gate.send(call.json(&body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    std::fs::write(gate.dir().join("promise"), answer.header("x-portcullis-promise")).unwrap();
    let stranger = gate.request(reqwest::Method::POST, path).header("x-portcullis-promise", "1");
    let refused = gate.send(stranger.json(&body)).await;
    assert_eq!((refused.status, refused.header("x-portcullis-promise")), (401, ""), "{refused:?}");
    let denied = gate.signed("ben", reqwest::Method::POST, path).await;
    let denied = denied.header("x-portcullis-promise", "1");
    let create = json!({ "function": "create_note", "params": { "title": "x" } });
    let denied = gate.send(denied.json(&create)).await;
    assert_eq!(denied.status, 403, "{denied:?}");
    assert_ne!(denied.header("x-portcullis-promise"), "", "refusals are promised too");
    let plain = gate.call("ana", "notes", "list_notes", json!({})).await;
    assert_eq!(plain.header("x-portcullis-promise"), "", "only who asks gets one");
    std::fs::write(gate.dir().join("auditor.policy"), gate.must(&["ledger", "policy"])).unwrap();
    gate.must(&["ledger", "export", "--to", "export/"]);
    gate.must(&["ledger", "proof", "0", "--log", "deployment", "--to", "0.tlog-proof"]);
    let verify = |args: &[&str]| {
        let verify = Command::new(harness::binary("portcullis-verify"))
            .current_dir(gate.dir())
            .args(["--policy", "auditor.policy"])
            .args(args)
            .output();
        let output = verify.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (whole, said) = verify(&["export/"]);
    assert!(whole && said.contains("whole") && said.contains("witnessed by nobody"), "{said}");
    let (whole, said) = verify(&["--promise", "promise", "export/"]);
    assert!(whole && said.contains("whole"), "{said}");
    let (whole, said) = verify(&["--proof", "0.tlog-proof"]);
    assert!(whole && said.starts_with("whole: record 0 of"), "{said}");
}

#[tokio::test]
async fn about_the_rules_works() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    for command in ["check", "test", "prove"] {
        // As in the README: without a configuration, on the rules that the binary carries.
        let said = Command::new(harness::binary("portcullis"))
            .current_dir(gate.dir())
            .args(["policy", command])
            .output()
            .unwrap();
        assert!(said.status.success(), "policy {command}: {said:?}");
    }
    let call = gate.call("ana", "notes", "list_notes", json!({})).await;
    gate.settled(&call.op(), 2).await;
    let why = gate.must(&["policy", "explain", "--op", &call.op()]);
    assert!(why.contains("rbac/scopes-held"), "{why}");
}

#[tokio::test]
async fn about_witnesses_works() {
    let mut gate = Deployment::builder().start().await;
    let key = gate.must(&["ledger", "key"]);
    let witness = Witness::of_deployment("portcullis", key.trim_end());
    assert!(gate.stop().success());
    let file = gate.dir().join("portcullis.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let section = format!(
        "[ledger.witness]\npolicy = \"required\"\nmax_lag = \"10s\"\n\
         witnesses = [{{ name = \"w1\", url = \"{}\", key = \"{}\" }}]\n",
        witness.url, witness.vkey
    );
    std::fs::write(&file, config + &section).unwrap();
    gate.restart().await;
    for _ in 0..200 {
        if gate.get("/readyz").await.status == 200 {
            let shown = gate.data().join("ledger.sqlite.published/deployment/checkpoint");
            let shown = std::fs::read_to_string(shown).unwrap();
            let name = witness.vkey.split('+').next().unwrap();
            assert!(shown.contains(&format!("\u{2014} {name} ")), "{shown}");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it never became ready: {}", gate.log());
}
