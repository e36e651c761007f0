//! Secrets of apps are ... lent to their own code only, and every use is written down.

use harness::{Answer, Deployment, Upstream, Value, json};
use reqwest::Method;

use crate::parts::python;

const VALUE: &str = "planted-value-of-a-secret";

async fn gate() -> Deployment {
    let upstream = Upstream::start();
    Deployment::builder().notes(&upstream).vaulty(&upstream).start().await
}

/// A token by which an app's code acts for somebody.
fn token(gate: &Deployment, app: &str, name: &str) -> String {
    gate.extension_token(app, name)
}

async fn by(gate: &Deployment, token: &str, method: Method, path: &str) -> Answer {
    gate.send(gate.request(method, path).bearer_auth(token)).await
}

async fn set(gate: &Deployment, token: &str, name: &str, value: &str) -> Answer {
    let path = format!("/v1/secrets/vaulty/{name}");
    let request = gate.request(Method::PUT, &path).bearer_auth(token);
    gate.send(request.json(&json!({ "value": value }))).await
}

#[tokio::test]
async fn work_with_the_unmodified_sdk() {
    let gate = gate().await;
    let (ext, other) = (token(&gate, "vaulty", "sue"), token(&gate, "notes", "sue"));
    let (sue, ana) = (gate.user_id("sue"), gate.user_id("ana"));
    let args = ["clients/secrets_checks.py", gate.url(), &ext, &sue, &ana, &other];
    let said = python(&args, "").await;
    let checks: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [a5, a6, rules] = checks.as_slice() else { panic!("three checks: {said}") };
    assert_eq!(
        (&a5["before"], &a5["nothing"], &a5["value"]),
        (&json!(false), &Value::Null, &json!(true))
    );
    assert_eq!(a5["deleted"], json!([true, false]));
    let listed = &a5["listed"]["api_key"];
    assert!(listed[0] == json!(true) && listed[1].is_i64(), "{a5}");
    for (who, text) in a6.as_object().unwrap().iter().filter(|(who, _)| *who != "check") {
        assert!(text.as_str().unwrap().contains("status 403"), "{who}: {text}");
    }
    for (what, status) in [
        ("undeclared", "403"),
        ("pin", "403"),
        ("pin_delete", "403"),
        ("too_large", "413"),
        ("shared", "403"),
    ] {
        let text = rules[what].as_str().unwrap();
        assert!(text.contains(&format!("status {status}")), "{what}: {text}");
    }
    assert_eq!(rules["shared_get"], "returned None");
}

#[tokio::test]
async fn are_written_down_with_name_version_and_purpose_before_their_value_is_lent() {
    let gate = gate().await;
    let ext = token(&gate, "vaulty", "sue");
    assert_eq!(set(&gate, &ext, "api_key", VALUE).await.status, 200);
    assert_eq!(set(&gate, &ext, "api_key", VALUE).await.body["version"], 2);
    let got = by(&gate, &ext, Method::GET, "/v1/secrets/vaulty/api_key").await;
    assert_eq!(got.body, json!({ "value": VALUE }));
    let op = got.header("x-portcullis-op").to_owned();
    let of_call = gate.settled(&op, 3).await;
    let kinds: Vec<&str> = of_call.iter().filter_map(|r| r["kind"].as_str()).collect();
    assert_eq!(kinds, ["intent", "secret_use", "outcome"], "{of_call:?}");
    let used = &of_call[1];
    assert_eq!(used["ref"], of_call[0]["seq"]);
    assert_eq!(used["ret"], "hold");
    let sec = &used["sec"][0];
    assert_eq!(
        (&sec["name"], &sec["version"], &sec["purpose"]),
        (&json!("api_key"), &json!("2"), &json!("extension"))
    );
    assert_eq!(used["who"]["extension"], "vaulty");
    let whole: String = gate.records().iter().map(ToString::to_string).collect();
    assert!(!whole.contains(VALUE));
}

#[tokio::test]
async fn are_never_lent_to_a_person_an_api_key_or_another_app() {
    let gate = gate().await;
    let ext = token(&gate, "vaulty", "max");
    set(&gate, &ext, "api_key", VALUE).await;
    let person = gate.token("max").await;
    let key = gate.api_key("max", &["*"]);
    let path = "/v1/secrets/vaulty/api_key";
    let by_key = gate.send(gate.request(Method::GET, path).header("x-api-key", key)).await;
    let answers = [
        by(&gate, &person, Method::GET, path).await,
        by_key,
        by(&gate, &token(&gate, "notes", "max"), Method::GET, path).await,
    ];
    for answer in answers {
        assert_eq!((answer.status, answer.code()), (403, "PERMISSION_DENIED"), "{answer:?}");
        assert!(
            answer.body["rules"].to_string().contains("secrets/value-for-its-app-only"),
            "{answer:?}"
        );
        assert!(!answer.text().contains(VALUE));
    }
    assert!(gate.records().iter().all(|r| r["kind"] != "secret_use"), "nothing was opened");
}

#[tokio::test]
async fn belong_to_one_user_each_and_those_of_the_app_to_its_admins() {
    let gate = gate().await;
    let (sue, ana) = (token(&gate, "vaulty", "sue"), token(&gate, "vaulty", "ana"));
    set(&gate, &sue, "api_key", "of sue").await;
    let path = "/v1/secrets/vaulty/api_key";
    assert_eq!(by(&gate, &ana, Method::GET, path).await.code(), "SECRET_NOT_SET");
    let (person, admin) = (gate.token("sue").await, gate.token("max").await);
    assert_eq!(set(&gate, &person, "shared_key", "x").await.status, 403);
    assert_eq!(set(&gate, &admin, "shared_key", "of all").await.status, 200);
    for ext in [&sue, &ana] {
        let got = by(&gate, ext, Method::GET, "/v1/secrets/vaulty/shared_key").await;
        assert_eq!(got.body, json!({ "value": "of all" }), "{got:?}");
    }
    let gil = token(&gate, "vaulty", "gil");
    let other_tenant = by(&gate, &gil, Method::GET, "/v1/secrets/vaulty/shared_key").await;
    assert_eq!(other_tenant.code(), "SECRET_NOT_SET", "{other_tenant:?}");
    let names = |answer: Answer| -> Vec<String> {
        let list = answer.body.as_array().unwrap().clone();
        list.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let seen = names(by(&gate, &person, Method::GET, "/v1/secrets/vaulty").await);
    assert_eq!(seen, ["api_key", "pin", "robot_token"]);
    let seen = names(by(&gate, &admin, Method::GET, "/v1/secrets/vaulty").await);
    assert_eq!(seen, ["api_key", "pin", "robot_token", "shared_key"]);
}

#[tokio::test]
async fn obey_their_declaration_whoever_asks() {
    let gate = gate().await;
    let ext = token(&gate, "vaulty", "sue");
    let person = gate.token("sue").await;
    let refused = [
        (set(&gate, &ext, "pin", "1").await, 403, "PERMISSION_DENIED"),
        (set(&gate, &person, "robot_token", "1").await, 403, "PERMISSION_DENIED"),
        (set(&gate, &ext, "nope", "1").await, 403, "SECRET_NOT_DECLARED"),
        (set(&gate, &ext, "api_key", &"é".repeat(33)).await, 413, "SECRET_TOO_LARGE"),
        (by(&gate, &ext, Method::GET, "/v1/secrets/nowhere/x").await, 403, "SECRET_NOT_DECLARED"),
        (by(&gate, &ext, Method::GET, "/v1/secrets/vaulty/pin").await, 404, "SECRET_NOT_SET"),
    ];
    for (answer, status, code) in refused {
        assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
    }
    assert_eq!(set(&gate, &ext, "api_key", &"é".repeat(32)).await.status, 200);
    assert_eq!(set(&gate, &person, "pin", "1234").await.status, 200);
    let body = gate.request(Method::PUT, "/v1/secrets/vaulty/api_key").bearer_auth(&ext);
    let odd = gate.send(body.body(format!("{{\"value\":[\"{VALUE}\"]}}"))).await;
    assert_eq!((odd.status, odd.code()), (400, "MALFORMED_BODY"));
    assert!(!odd.text().contains(VALUE), "the value is never echoed: {odd:?}");
}

#[tokio::test]
async fn do_not_open_for_hints_that_name_somebody_else() {
    let gate = gate().await;
    let ext = token(&gate, "vaulty", "sue");
    let path = "/v1/secrets/vaulty/api_key";
    for (hint, value) in [
        ("x-ext-id", "notes".to_owned()),
        ("x-extension-id", "notes".to_owned()),
        ("x-acting-user", gate.user_id("ana")),
        ("x-tenant-id", "imp_t_globex".to_owned()),
    ] {
        let request = gate.request(Method::GET, path).bearer_auth(&ext).header(hint, &value);
        let answer = gate.send(request).await;
        assert_eq!((answer.status, answer.code()), (403, "IDENTITY_MISMATCH"), "{hint}");
    }
    let person = gate.token("sue").await;
    let request = gate.request(Method::GET, path).bearer_auth(&person).header("x-ext-id", "vaulty");
    assert_eq!(gate.send(request).await.code(), "IDENTITY_MISMATCH", "a person is no extension");
}

#[tokio::test]
async fn are_the_only_thing_that_an_extension_token_opens() {
    let gate = gate().await;
    let ext = token(&gate, "vaulty", "max");
    let call = gate.request(Method::POST, "/v1/extensions/notes/call").bearer_auth(&ext);
    let call = gate.send(call.json(&json!({ "function": "list_notes", "params": {} }))).await;
    assert_eq!((call.status, call.code()), (403, "PERMISSION_DENIED"), "{call:?}");
    let asked = gate.call("max", "notes", "delete_note", json!({ "note_id": "note-1" })).await;
    let id = asked.body["confirmation_id"].as_str().unwrap().to_owned();
    let confirm = format!("/v1/confirmations/{id}/confirm");
    assert_eq!(by(&gate, &ext, Method::POST, &confirm).await.status, 403);
    let listed = gate.request(Method::POST, "/v1/extensions/secrets/call").bearer_auth(&ext);
    let listed = gate.send(listed.json(&json!({ "function": "get", "params": {} }))).await;
    assert_eq!(listed.status, 404, "the gateway's own app is no app to call: {listed:?}");
}

#[tokio::test]
async fn end_with_their_user() {
    let gate = gate().await;
    let ext = token(&gate, "vaulty", "sue");
    set(&gate, &ext, "api_key", VALUE).await;
    let id = gate.user_id("sue");
    gate.change(&["user", "deactivate", &id]).await;
    let refused = by(&gate, &ext, Method::GET, "/v1/secrets/vaulty/api_key").await;
    assert_eq!(refused.status, 401, "{refused:?}");
}

#[tokio::test]
async fn can_be_managed_from_the_command_line_without_showing_a_value() {
    let gate = gate().await;
    let (ext, id) = (token(&gate, "vaulty", "sue"), gate.user_id("sue"));
    let set = ["secret", "set", "vaulty", "pin", "--user", &id, "--stdin", "--json"];
    let out = gate.portcullis_with_input(&set, &format!("{VALUE}\n"));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(!String::from_utf8_lossy(&out.stdout).contains(VALUE));
    let got = by(&gate, &ext, Method::GET, "/v1/secrets/vaulty/pin").await;
    assert_eq!(got.body, json!({ "value": VALUE }), "{got:?}");
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let list = gate.must(&["secret", "list", "vaulty", "--user", &id, "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        (&list[0]["name"], &list[0]["is_set"], &list[0]["last_used_by"]),
        (&json!("pin"), &json!(true), &json!("vaulty"))
    );
    assert!(!list.to_string().contains(VALUE));
    gate.must(&["secret", "delete", "vaulty", "pin", "--user", &id]);
    let gone = by(&gate, &ext, Method::GET, "/v1/secrets/vaulty/pin").await;
    assert_eq!(gone.code(), "SECRET_NOT_SET");
    let wrong = gate.portcullis_with_input(
        &["secret", "set", "vaulty", "nope", "--user", &id, "--stdin"],
        VALUE,
    );
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        !wrong.status.success() && said.contains("api_key"),
        "it names what is declared: {said}"
    );
    let both = gate.portcullis(&["secret", "list", "vaulty", "--user", &id, "--shared"]);
    assert_eq!(both.status.code(), Some(2), "whose value is meant must be clear");
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    let actions: Vec<Value> = gate.records().iter().map(|r| r["note"]["action"].clone()).collect();
    assert!(actions.contains(&json!("secret.set")) && actions.contains(&json!("secret.delete")));
}

#[tokio::test]
async fn survive_new_keys_while_calls_go_on_and_end_with_destroyed_ones() {
    let gate = gate().await;
    let ext = token(&gate, "vaulty", "sue");
    set(&gate, &ext, "api_key", VALUE).await;
    let path = "/v1/secrets/vaulty/api_key";
    for verb in [&["vault", "rotate", "--json"][..], &["vault", "rotate-scopes", "--json"][..]] {
        gate.must(verb);
        let got = by(&gate, &ext, Method::GET, path).await;
        assert_eq!(got.body, json!({ "value": VALUE }), "{verb:?}: {got:?}");
    }
    let status: Value = serde_json::from_str(&gate.must(&["vault", "status", "--json"])).unwrap();
    assert_eq!(status["current"], 2, "{status}");
    let old = status["versions"].as_array().unwrap().iter().find(|v| v["version"] == 1).unwrap();
    assert_eq!(old["scope_keys"], 0, "{status}");
    let early = gate.portcullis(&["vault", "destroy-version", "1"]);
    assert!(!early.status.success(), "a version is retired before it is destroyed");
    let id = gate.user_id("sue");
    let unsure = gate.portcullis(&["vault", "erase", "--user", &id]);
    assert!(String::from_utf8_lossy(&unsure.stderr).contains("--yes"));
    let kept = gate.dir().join("certificate.json");
    std::fs::write(&kept, "an older one").unwrap();
    let kept = kept.to_str().unwrap();
    let no_room =
        gate.portcullis(&["vault", "erase", "--user", &id, "--yes", "--certificate", kept]);
    assert!(!no_room.status.success());
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "an older one");
    let still = by(&gate, &ext, Method::GET, path).await;
    assert_eq!(still.body, json!({ "value": VALUE }), "nothing is destroyed without a certificate");
    let said = gate.must(&["vault", "erase", "--user", &id, "--yes", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["certificate"]["secrets_forgotten"], 1, "{said}");
    assert!(!said["certificate"]["keys"].as_array().unwrap().is_empty(), "{said}");
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    let gone = by(&gate, &ext, Method::GET, path).await;
    assert_eq!(gone.code(), "SECRET_NOT_SET", "{gone:?}");
    let records = gate.records();
    let erased = records.iter().find(|r| r["kind"] == "erase").expect("an erase record");
    assert_eq!(erased["note"]["field_certificate"], said["sha256"]);
    gate.must(&["ledger", "export", "--to", "export"]);
    let verify = std::process::Command::new(harness::binary("portcullis-verify"))
        .current_dir(gate.dir())
        .args(["--json", "export"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&verify.stdout).unwrap();
    assert_eq!(report["verdict"], "whole", "an erasure leaves the ledger whole: {report}");
    let erased =
        report["logs"].as_array().unwrap().iter().map(|log| log["erased"].as_u64().unwrap());
    assert_eq!(erased.sum::<u64>(), 1, "{report}");
}

#[tokio::test]
async fn one_damaged_value_keeps_no_other_one_under_its_old_key() {
    let gate = gate().await;
    let (sue, own) = (token(&gate, "vaulty", "sue"), gate.user_id("ana"));
    set(&gate, &sue, "api_key", VALUE).await;
    let args = ["secret", "set", "vaulty", "api_key", "--user", &own, "--stdin"];
    assert!(gate.portcullis_with_input(&args, VALUE).status.success());
    let directory = rusqlite::Connection::open(gate.data().join("directory.sqlite")).unwrap();
    let damage = "UPDATE secrets SET sealed = substr(sealed, 1, length(sealed) - 8) || 'aaaaaaaa' WHERE owner = ?1";
    assert_eq!(directory.execute(damage, [&own]).unwrap(), 1);
    let sealed = || {
        let select = "SELECT sealed FROM secrets WHERE owner <> ?1";
        directory.query_row(select, [&own], |row| row.get::<_, String>(0)).unwrap()
    };
    let before = sealed();
    let done = gate.portcullis(&["vault", "rotate-scopes", "--json"]);
    assert_eq!(done.status.code(), Some(1), "a script hears that one was left");
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&said["resealed"], &said["secrets"]), (&json!(1), &json!(2)), "{said}");
    assert_eq!(said["failed"].as_array().unwrap().len(), 1, "{said}");
    assert!(said["failed"][0].as_str().unwrap().contains("vaulty/api_key"), "{said}");
    assert_ne!(sealed(), before, "the other one is under the new key");
    let got = by(&gate, &sue, Method::GET, "/v1/secrets/vaulty/api_key").await;
    assert_eq!(got.body, json!({ "value": VALUE }));
}
