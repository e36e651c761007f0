//! An export discloses ...

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use harness::{Answer, Deployment, Upstream, Value, json, text};
use reqwest::Method;

const SECRET_TITLE: &str = "only-for-the-auditor";
const ANSWER: &str = r#"{"status":"success","data":{"note_id":"note-77"}}"#;

async fn start() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    upstream.answers("/notes/create_note", 200, ANSWER);
    (Deployment::builder().notes(&upstream).start().await, upstream)
}

async fn create(gate: &Deployment, title: &str) -> Answer {
    let done = gate.call("ana", "notes", "create_note", json!({ "title": title })).await;
    assert_eq!(done.status, 200, "{done:?}");
    done
}

/// Verdict and words of the auditor's verifier.
fn verify(gate: &Deployment, args: &[&str]) -> (Option<i32>, String) {
    let verify = Command::new(harness::binary("portcullis-verify"))
        .current_dir(gate.dir())
        .args(args)
        .output()
        .unwrap();
    let said = [verify.stdout, verify.stderr].concat();
    (verify.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

/// Tenant and place of an operation's record of this kind.
fn place(gate: &Deployment, op: &str, kind: &str) -> (String, String) {
    let records = gate.records_of(op);
    let record = records.iter().find(|record| text(record, "/kind") == kind);
    let record = record.unwrap_or_else(|| panic!("{records:?}"));
    (text(record, "/who/tenant").to_owned(), text(record, "/seq").to_owned())
}

/// The file of what is disclosed of a record.
fn file((tenant, seq): &(String, String)) -> String {
    format!("bodies/t/{tenant}/{seq}.json")
}

#[tokio::test]
async fn the_named_records_alone_and_each_field_fits_what_was_committed_to() {
    let (mut gate, _upstream) = start().await;
    let (shown, hidden) = (create(&gate, SECRET_TITLE).await, create(&gate, "hidden").await);
    assert!(gate.stop().success());
    gate.must(&["ledger", "export", "--to", "plain"]);
    let args = ["ledger", "export", "--to", "case", "--disclose", &shown.op()];
    let said = gate.must(&[&args[..], &["--fields", "in,out,capsule"]].concat());
    assert!(said.contains("3 fields of 2 records are disclosed in case/bodies"), "{said}");

    // But for what was named, it is the export that it always was.
    let (plain, mut case) = (files(&gate.dir().join("plain")), files(&gate.dir().join("case")));
    let (intent, outcome) =
        (place(&gate, &shown.op(), "intent"), place(&gate, &shown.op(), "outcome"));
    let bodies: Vec<String> =
        case.keys().filter(|name| name.starts_with("bodies")).cloned().collect();
    assert_eq!(bodies, ["bodies/README".to_owned(), file(&intent), file(&outcome)]);
    let of_intent: Value = serde_json::from_slice(&case[&file(&intent)]).unwrap();
    case.retain(|name, _| !name.starts_with("bodies"));
    assert_eq!(case, plain);

    let (code, said) = verify(&gate, &["case"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 fields of 2 records disclosed, all fit"), "{said}");
    assert!(said.contains("of 2 fields only the key is here"), "{said}");
    let arguments = json!({ "title": SECRET_TITLE }).to_string();
    std::fs::write(gate.dir().join("arguments"), &arguments).unwrap();
    std::fs::write(gate.dir().join("answer"), ANSWER).unwrap();
    let ((tenant, intent), (_, outcome)) = (intent, outcome);
    let (of_in, of_out) =
        (format!("{tenant}:{intent}:in=arguments"), format!("{tenant}:{outcome}:out=answer"));
    let (code, said) = verify(&gate, &["--payload", &of_in, "--payload", &of_out, "case"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("3 fields of 2 records disclosed, all fit"), "{said}");
    let (code, said) =
        verify(&gate, &["--payload", &of_in.replace("=arguments", "=answer"), "case"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&format!("record {intent} of log")) && said.contains("bad_disclosure"),
        "{said}"
    );
    let (_, of_hidden) = place(&gate, &hidden.op(), "intent");
    let of_hidden = format!("{tenant}:{of_hidden}:in=arguments");
    assert_eq!(verify(&gate, &["--payload", &of_hidden, "case"]).0, Some(6));

    // What the rules were asked is in it, as it was.
    let capsule = of_intent["fields"].as_array().unwrap();
    let capsule = capsule.iter().find(|one| one["field"] == "capsule").unwrap();
    let capsule: Value = serde_json::from_str(capsule["payload"].as_str().unwrap()).unwrap();
    assert_eq!(capsule.pointer("/context/input/title"), Some(&json!(SECRET_TITLE)), "{capsule}");
}

#[tokio::test]
async fn only_the_fields_that_were_asked_for_and_says_so_in_the_ledger() {
    let (mut gate, _upstream) = start().await;
    let shown = create(&gate, SECRET_TITLE).await;
    let (tenant, intent) = place(&gate, &shown.op(), "intent");
    let named = format!("{tenant}:{intent}");
    let args = ["ledger", "export", "--to", "case", "--log", &tenant, "--json"];
    let said = gate.must(&[&args[..], &["--disclose", &named, "--fields", "in"]].concat());
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["disclosed"]["records"], &said["disclosed"]["fields"]),
        (&json!(1), &json!(1))
    );
    let case = files(&gate.dir().join("case"));
    let all = case.values().flat_map(|bytes| bytes.iter().copied()).collect::<Vec<u8>>();
    assert!(memchr::memmem::find(&all, SECRET_TITLE.as_bytes()).is_none(), "no capsule was named");
    let noted = gate.wait_for_admin("ledger.disclose", "records").await;
    assert_eq!(text(&noted, "/note/field_named"), named);
    assert_eq!(text(&noted, "/note/field_fields"), "in");
    assert_eq!(verify(&gate, &["case"]).0, Some(0));

    // A capsule has the arguments in clear, so it is never disclosed unless it is named.
    let keys = gate.must(&["ledger", "export", "--to", "keys", "--disclose", &shown.op()]);
    assert!(keys.contains("2 fields of 2 records are disclosed"), "{keys}");
    let keys = files(&gate.dir().join("keys"));
    let all = keys.values().flat_map(|bytes| bytes.iter().copied()).collect::<Vec<u8>>();
    assert!(memchr::memmem::find(&all, SECRET_TITLE.as_bytes()).is_none(), "by default");
    let warned = String::from_utf8_lossy(&keys["bodies/README"]).into_owned();
    assert!(warned.contains("holds in clear: the values of the arguments"), "{warned}");

    let unknown =
        gate.portcullis(&["ledger", "export", "--to", "other", "--disclose", "something"]);
    assert!(!unknown.status.success());
    assert!(gate.stop().success());
    let nowhere = format!("{tenant}:999999");
    let nothing = gate.must(&["ledger", "export", "--to", "none", "--disclose", &nowhere]);
    assert!(
        nothing.contains("nothing of ") && nothing.contains("999999 can be disclosed"),
        "{nothing}"
    );
}

#[tokio::test]
async fn nothing_of_a_person_whose_keys_were_erased_and_says_what_stays_closed() {
    let (mut gate, _upstream) = start().await;
    create(&gate, SECRET_TITLE).await;
    let of_ben = gate.call("ben", "notes", "list_notes", json!({})).await;
    gate.settled(&of_ben.op(), 2).await;
    let id = gate.user_id("ana");
    gate.must(&["vault", "erase", "--user", &id, "--yes"]);
    assert!(gate.stop().success());
    let args = ["ledger", "export", "--to", "case", "--disclose-all", "--json"];
    let said = gate.must(&[&args[..], &["--fields", "in,out,capsule"]].concat());
    let said: Value = serde_json::from_str(&said).unwrap();
    let closed = said["disclosed"]["closed"].as_array().unwrap();
    assert!(closed.len() >= 2, "intent and outcome of the person: {said}");
    let case = files(&gate.dir().join("case"));
    let all = case.values().flat_map(|bytes| bytes.iter().copied()).collect::<Vec<u8>>();
    assert!(memchr::memmem::find(&all, SECRET_TITLE.as_bytes()).is_none());
    for closed in closed {
        assert!(text(closed, "/why").contains("its key was erased"), "{closed}");
        let tenant = closed["log"].as_str().unwrap().rsplit('/').next().unwrap();
        let name = file(&(tenant.to_owned(), closed["seq"].to_string()));
        assert!(!case.contains_key(&name), "{name}");
    }
    let of_ben = file(&place(&gate, &of_ben.op(), "intent"));
    assert!(case.contains_key(&of_ben), "others' are not: {said}");
    let (code, said) = verify(&gate, &["case"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("all fit"), "{said}");
}

/// A call of the app `panel` by a service token, and the token's id.
async fn by_service(gate: &Deployment, body: Value) -> (Answer, String) {
    let made = gate.post_as("max", "/v1/service-tokens", &body).await;
    let token = made.body["token"].as_str().unwrap_or_else(|| panic!("{made:?}")).to_owned();
    let call = gate.request(Method::POST, "/v1/extensions/notes/call");
    let call = call.header("x-service-token", &token);
    let body = json!({ "function": "create_note", "params": { "title": "by a service" } });
    let done = gate.send(call.json(&body)).await;
    (done, text(&made.body, "/id").to_owned())
}

#[tokio::test]
async fn what_a_revoked_service_token_did_for_a_user_and_says_when_no_owner_is_known() {
    let (mut gate, _upstream) = start().await;
    let of_max = json!({ "app": "panel", "user_id": gate.user_id("max"), "scopes": ["notes:*"] });
    let (for_max, id) = by_service(&gate, of_max).await;
    assert_eq!(for_max.status, 200, "{for_max:?}");
    let revoked = gate.signed("max", Method::DELETE, &format!("/v1/service-tokens/{id}")).await;
    let revoked = gate.send(revoked).await;
    assert!(revoked.status < 300, "{revoked:?}");
    let system = json!({ "app": "panel", "purpose": "system", "scopes": ["notes:*"] });
    let (for_nobody, _) = by_service(&gate, system).await;
    assert!(gate.stop().success());
    let export = |to: &str, op: &str| {
        gate.must(&["ledger", "export", "--to", to, "--disclose", op, "--fields", "in,capsule"])
    };
    let said = export("max", &for_max.op());
    assert!(!said.contains("stay closed") && !said.contains("nothing of"), "{said}");
    assert_eq!(verify(&gate, &["max"]).0, Some(0), "{said}");
    let said = export("nobody", &for_nobody.op());
    assert!(said.contains("stay closed") && said.contains("its owner is not known"), "{said}");
}

#[tokio::test]
async fn no_export_that_takes_a_damaged_body_for_an_erased_one() {
    let (mut gate, _upstream) = start().await;
    let shown = create(&gate, SECRET_TITLE).await;
    assert!(gate.stop().success());
    let ledger = rusqlite::Connection::open(gate.data().join("ledger.sqlite")).unwrap();
    let bodies: Vec<(i64, Vec<u8>)> = {
        let mut rows = ledger.prepare("SELECT pos, body FROM bodies").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    assert!(!bodies.is_empty());
    for (pos, mut body) in bodies {
        *body.last_mut().unwrap() ^= 1;
        ledger.execute("UPDATE bodies SET body = ?1 WHERE pos = ?2", (body, pos)).unwrap();
    }
    drop(ledger);
    let failed = gate.portcullis(&["ledger", "export", "--to", "case", "--disclose", &shown.op()]);
    assert!(!failed.status.success(), "{failed:?}");
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("altered") && said.contains(&shown.op()), "{said}");
}
