//! To clients that nobody of Portcullis wrote (PyPI `mcp`, `imperal-sdk`, `imperal-mcp`), the gateway ...

use harness::{Answer, Deployment, Upstream, Value, json, text};
use reqwest::Method;

use crate::parts::{files_app, mcp, python, python_of};

#[tokio::test]
async fn lists_over_mcp_only_what_the_caller_could_be_allowed_to_call() {
    let upstream = Upstream::start();
    let builder = Deployment::builder().notes(&upstream);
    let app = files_app(builder.dir());
    let gate = builder.app(&app).start().await;
    let names = |results: &[Value]| -> Vec<String> {
        let tools = results[0]["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    let list = json!([{ "list": true }]);
    assert_eq!(names(&mcp(&gate, "ben", list.clone()).await), ["notes__list_notes"]);
    assert_eq!(names(&mcp(&gate, "nil", list.clone()).await), [""; 0]);
    let all = mcp(&gate, "ada", list).await;
    assert!(names(&all).contains(&"files__write_file".to_owned()), "{all:?}");
    let tools = all[0]["tools"].as_array().unwrap();
    let delete = tools.iter().find(|tool| tool["name"] == "notes__delete_note").unwrap();
    assert_eq!(delete["annotations"], json!({ "readOnlyHint": false, "destructiveHint": true }));
}

#[tokio::test]
async fn answers_401_with_a_challenge_to_an_mcp_client_without_a_token() {
    let gate = Deployment::builder().start().await;
    let request = gate.request(Method::POST, "/mcp").json(&json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/list",
    }));
    let answer = gate.send(request).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
}

#[tokio::test]
async fn tells_an_unknown_tool_as_a_protocol_error_and_a_refusal_as_a_readable_result() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let steps = json!([
        { "call": "notes__make_coffee" },
        { "call": "nowhere__x" },
        { "call": "no_such_name" },
        { "call": "notes__create_note", "arguments": { "title": "milk" } },
        { "call": "notes__create_note", "arguments": { "title": 7 } },
    ]);
    let results = mcp(&gate, "ben", steps).await;
    for unknown in &results[..3] {
        assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    }
    for (refused, code) in
        [(&results[3], "PERMISSION_DENIED"), (&results[4], "VALIDATION_TYPE_ERROR")]
    {
        assert_eq!(refused["result"]["isError"], true, "{refused}");
        assert_eq!(refused["result"]["structuredContent"]["error"], code, "{refused}");
        let words = refused["result"]["content"][0]["text"].as_str().unwrap();
        assert!(words.contains(code), "a model reads the text: {words}");
    }
    let rules = &results[3]["result"]["structuredContent"]["rules"];
    assert_eq!(*rules, json!(["rbac/scope-missing"]));
    assert!(upstream.seen().is_empty(), "nothing reached the app");
}

#[tokio::test]
async fn refuses_mcp_json_with_two_meanings() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":
        {"name":"notes__create_note","arguments":{"title":"shown","title":"run"}}}"#;
    let answer = raw_mcp(&gate, "ana", twice).await;
    assert_eq!((answer.status, answer.code()), (400, "MALFORMED_BODY"), "{answer:?}");
    assert!(upstream.seen().is_empty(), "nothing reached the app");
    let once = twice.replace(r#""title":"shown","#, "");
    assert_eq!(raw_mcp(&gate, "ana", &once).await.status, 200);
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn gives_tokens_that_the_unmodified_sdk_of_both_ages_verifies() {
    let gate = Deployment::builder().start().await;
    let (token, id) = (gate.token("ana").await, gate.user_id("ana"));
    for venv in ["venv", "venv-sdk-5"] {
        let said = python_of(venv, &["clients/identity_checks.py", gate.url(), &token], "").await;
        let checks: Vec<Value> =
            said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [a1, a2, forged] = checks.as_slice() else { panic!("three checks: {said}") };
        for me in [a1, a2] {
            assert_eq!((&me["imperal_id"], &me["tenant_id"]), (&json!(id), &json!("imp_t_acme")));
            assert_eq!(me["role"], "editor", "{venv}");
            assert!(me["scopes"].as_array().unwrap().contains(&json!("notes:read")), "{me}");
        }
        let header = (&a1["alg"], &a1["published"], &a1["aud"]);
        assert_eq!(header, (&json!("RS256"), &json!(true), &json!(false)), "{venv}");
        assert_eq!(a1["has"], json!([true, false]), "{venv}: its own matcher");
        for name in ["other signature", "no signature", "other claims"] {
            assert_eq!(a1["refused"][name], "AuthError", "{venv}, {name}: {a1}");
        }
        assert_eq!((&a2["active"], &forged["status"]), (&json!(true), &json!(401)), "{venv}");
    }
}

#[tokio::test]
async fn works_with_the_unmodified_imperal_packages() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let token = gate.token("ana").await;
    let args = ["clients/imperal_checks.py", gate.url(), &token];
    let said = python(&args, "").await;
    let checks: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [a24, operate] = checks.as_slice() else { panic!("two checks: {said}") };
    assert_eq!(a24["result"]["status"], "success", "{a24}");
    assert_eq!(operate["made"]["kind"], "tool_result", "{operate}");
    assert_eq!(operate["shaped"]["status"], "ok", "its own shaping takes it for a success");
    let card = &operate["card"];
    assert_eq!(card["kind"], "confirmation", "its claim of a bypass counts for nothing: {card}");
    assert!(card["confirmation_id"].as_str().unwrap().starts_with("imp_c_"), "{card}");
    assert_eq!(upstream.seen().len(), 2, "a read and a write");
}

/// Each step of `clients/imperal_confirms.py` by its name.
async fn confirm_checks(gate: &Deployment) -> impl Fn(&str) -> Value {
    let plan = json!({
        "url": gate.url(), "writer": gate.token("ana").await, "reader": gate.token("ben").await,
        "other": gate.token("amy").await,
    });
    let said = python(&["clients/imperal_confirms.py"], &plan.to_string()).await;
    let steps: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    move |name| {
        let found = steps.iter().find(|step| step["step"] == name);
        found.unwrap_or_else(|| panic!("no step {name}: {steps:?}")).clone()
    }
}

/// What the real package of the wire contract's checks A16, A17, A18 and A24 makes of the gateway.
#[tokio::test]
async fn passes_the_checks_a16_a17_a18_and_a24() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let step = confirm_checks(&gate).await;
    let refused = |name: &str, status: u64, code: &str| {
        let told = step(name);
        assert_eq!(told["status"], status, "{told}");
        assert!(told["said"].as_str().unwrap().contains(code), "{code}: {told}");
    };
    refused("A16 placeholder", 422, "VALIDATION_MISSING_FIELD");
    refused("A16 invented", 422, "FABRICATED_ID_SHAPE");
    refused("A16 missing", 422, "VALIDATION_MISSING_FIELD");
    refused("A17", 403, "PERMISSION_DENIED");
    let card = step("A18 asked")["value"].clone();
    let id = card["confirmation_id"].as_str().unwrap().to_owned();
    assert_eq!(card["status"], "confirmation_required", "{card}");
    let active = step("A18 active")["value"].clone();
    assert_eq!(active, json!([card]), "what waits is what was asked");
    refused("A18 by another", 403, "CONFIRMATION_FOREIGN");
    let ran = step("A18 confirmed")["value"].clone();
    assert_eq!(ran["status"], "success", "{ran}");
    refused("A18 again", 409, "CONFIRMATION_USED");
    assert_eq!(step("A24 read")["value"]["status"], "success");
    let made = step("A24 write")["value"].clone();
    assert_eq!(
        (&made["kind"], &made["content"]["status"]),
        (&json!("tool_result"), &json!("success"))
    );
    assert_eq!(step("A24 destructive")["value"]["kind"], "confirmation");
    // What the app saw: nothing of A16 and A17, A18 once, and A24 without what waits.
    let seen: Vec<String> = upstream.seen().into_iter().map(|seen| seen.target).collect();
    let wanted = ["/notes/delete_note", "/notes/list_notes", "/notes/create_note"];
    assert_eq!(seen, wanted);
    let records = gate.records();
    let denied =
        |r: &&Value| text(r, "/tool/name") == "create_note" && text(r, "/res/status") == "refused";
    let denied: Vec<&Value> = records.iter().filter(denied).collect();
    let by_the_rules = denied.iter().filter(|r| text(r, "/pol/decision") == "refuse").count();
    assert_eq!(by_the_rules, 1, "A17 is on record: {denied:?}");
    let of_it = records.iter().filter(|r| text(r, "/note/confirmation") == id);
    let story: Vec<_> = of_it.map(|r| (text(r, "/kind"), text(r, "/res/status"))).collect();
    let wanted = [
        ("decision", "asked"),
        ("decision", "refused"),
        ("intent", ""),
        ("outcome", "done"),
        ("decision", "refused"),
    ];
    assert_eq!(story, wanted);
}

async fn raw_mcp(gate: &Deployment, user: &str, body: &str) -> Answer {
    let request = gate.signed(user, Method::POST, "/mcp").await;
    let request = request
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(body.to_owned());
    gate.send(request).await
}
