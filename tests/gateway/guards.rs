//! What a model typically gets wrong is caught before the rules are asked ...

use harness::{Answer, Deployment, Upstream, Value, json, text};
use reqwest::Method;

fn refused(answer: &Answer, code: &str) {
    assert_eq!((answer.status, answer.code()), (422, code), "{answer:?}");
}

async fn create(gate: &Deployment, params: Value) -> Answer {
    gate.call("ana", "notes", "create_note", params).await
}

#[tokio::test]
async fn nothing_reaches_the_app() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let unknown = create(&gate, json!({ "title": "<UNKNOWN>", "text": " <BODY_1> " })).await;
    refused(&unknown, "VALIDATION_MISSING_FIELD");
    assert_eq!(unknown.body["i18n_params"]["fields"], "title, text", "{unknown:?}");
    let invented = create(&gate, json!({ "title": "x", "message_id": "a-b-1" })).await;
    refused(&invented, "FABRICATED_ID_SHAPE");
    assert_eq!(invented.body["field"], "message_id");
    assert!(invented.body["hint"].as_str().unwrap().contains("lists or finds"), "{invented:?}");
    let missing = create(&gate, json!({})).await;
    refused(&missing, "VALIDATION_MISSING_FIELD");
    assert_eq!(missing.body["missing_fields"], json!(["title"]));
    let not_even_asked =
        gate.call("ana", "notes", "delete_note", json!({ "note_id": "<ID>" })).await;
    refused(&not_even_asked, "VALIDATION_MISSING_FIELD");
    assert_eq!(upstream.seen().len(), 0);
    let pending = gate.get_as("ana", "/v1/confirmations/active").await;
    assert!(!pending.text().contains("imp_c_"), "{pending:?}");
    for (answer, code) in
        [(&unknown, "validation_missing_field"), (&invented, "fabricated_id_shape")]
    {
        let records = gate.records_of(&answer.op());
        assert_eq!(records.len(), 1, "{records:?}");
        assert_eq!(text(&records[0], "/res/error"), code);
        assert_eq!(text(&records[0], "/pol/decision"), "", "the rules were not asked");
        assert!(!records[0].to_string().contains("UNKNOWN"), "no argument is in the ledger");
    }
}

#[tokio::test]
async fn attempts_of_a_model_are_counted_until_it_should_ask_the_person() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let mut left = Vec::new();
    for _ in 0..4 {
        let wrong = create(&gate, json!({ "title": 7 })).await;
        refused(&wrong, "VALIDATION_TYPE_ERROR");
        left.push(wrong.body["attempts_left"].as_u64().unwrap());
        let feedback = wrong.body["feedback"].as_str().unwrap();
        let (line, end) = (feedback.lines().nth(1).unwrap(), feedback.lines().last().unwrap());
        assert!(line.starts_with("- 'title': "), "{feedback}");
        assert_eq!(end.starts_with("Do not retry"), left.last() == Some(&0), "{feedback}");
    }
    assert_eq!(left, [2, 1, 0, 0]);
    assert_eq!(create(&gate, json!({ "title": "milk" })).await.status, 200);
    let again = create(&gate, json!({ "title": 7 })).await;
    assert_eq!(again.body["attempt"], 1, "{again:?}");
    let log = gate.log();
    assert!(log.contains("validation_retry_outcome") && log.contains("exhausted"), "{log}");
}

#[tokio::test]
async fn an_error_is_not_written_down_in_place_of_what_was_asked() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let report = json!({ "title": "BACKEND_5XX: The service failed." });
    assert_eq!(create(&gate, report.clone()).await.status, 200, "nothing failed before");
    upstream.answers("/notes/create_note", 500, "no");
    assert_eq!(create(&gate, json!({ "title": "milk" })).await.code(), "BACKEND_5XX");
    let seen = upstream.seen().len();
    refused(&create(&gate, report.clone()).await, "ERROR_IN_ARGUMENTS");
    assert_eq!(upstream.seen().len(), seen);
    let prose = json!({ "title": "internal: the backend failed" });
    assert_eq!(create(&gate, prose).await.code(), "BACKEND_5XX", "prose goes through");
    let by_another = gate.call("ada", "notes", "create_note", report).await;
    assert_eq!(
        by_another.code(),
        "BACKEND_5XX",
        "another session has seen no error: it goes through"
    );
}

#[tokio::test]
async fn what_failed_for_one_user_is_told_to_no_other_user_of_the_same_service() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let body = json!({ "app": "panel", "purpose": "system", "scopes": ["notes:*"] });
    let made = gate.post_as("max", "/v1/service-tokens", &body).await;
    let token = made.body["token"].as_str().unwrap_or_else(|| panic!("{made:?}")).to_owned();
    let (ana, amy) = (gate.user_id("ana"), gate.user_id("amy"));
    let create = async |acting: &str, params: Value| {
        let call = gate.request(Method::POST, "/v1/extensions/notes/call");
        let call = call.header("x-service-token", &token).header("x-acting-user", acting);
        let body = json!({ "function": "create_note", "params": params });
        gate.send(call.json(&body)).await
    };
    // How often a model tried is counted for each of them.
    for (acting, attempt) in [(&ana, 1), (&ana, 2), (&amy, 1), (&ana, 3), (&amy, 2)] {
        let wrong = create(acting, json!({ "title": 7 })).await;
        assert_eq!(wrong.body["attempt"], attempt, "{wrong:?}");
    }
    upstream.answers("/notes/create_note", 500, "no");
    assert_eq!(create(&ana, json!({ "title": "milk" })).await.code(), "BACKEND_5XX");
    // So the guard knows of an error that ana met, and of none that amy met.
    let report = json!({ "title": "BACKEND_5XX: The service failed." });
    refused(&create(&ana, report.clone()).await, "ERROR_IN_ARGUMENTS");
    assert_eq!(create(&amy, report).await.code(), "BACKEND_5XX", "it goes through");
}

#[tokio::test]
async fn an_unknown_function_is_marked_in_the_log_and_counted() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let unknown = gate.call("ana", "notes", "make_coffee", json!({})).await;
    assert_eq!(unknown.body["error_code"], "UNKNOWN_SUB_FUNCTION", "{unknown:?}");
    gate.call("ana", "nowhere", "make_coffee", json!({})).await;
    let log = gate.log();
    assert!(log.contains("UNKNOWN_FUNCTION(will-reject)"), "{log}");
    assert!(log.contains("notes/make_coffee") && log.contains("nowhere/make_coffee"), "{log}");
    let metrics = gate.get("/metrics").await.text();
    assert!(metrics.contains("portcullis_unknown_functions_total 2"), "{metrics}");
}
