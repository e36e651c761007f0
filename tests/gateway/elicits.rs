//! Inside an MCP client, while a call waits for its person's word, the gateway takes ...

use std::time::{Duration, Instant};

use harness::{Answer, Deployment, Upstream, Value, json, text};
use reqwest::{Method, RequestBuilder};

use crate::parts::python;
use crate::sse::Sse;

const DELETE: &str = "notes__delete_note";

async fn start(settings: &str) -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    (Deployment::builder().notes(&upstream).settings(settings).start().await, upstream)
}

/// One call by the client of PyPI `mcp`, whose person gives these answers when asked.
async fn real_client(gate: &Deployment, more: Value) -> Value {
    let mut plan = json!({
        "url": format!("{}/mcp", gate.url()), "calls": [[DELETE, { "note_id": "note-1" }]],
    });
    let members = more.as_object().unwrap().clone();
    plan.as_object_mut().unwrap().extend(members);
    if plan.get("key").is_none() {
        plan["token"] = json!(gate.token("ana").await);
    }
    serde_json::from_str(&python(&["clients/mcp_elicits.py"], &plan.to_string()).await).unwrap()
}

/// What the model reads of the first call.
fn told(said: &Value) -> &Value {
    said.pointer("/ended/0/result/structuredContent").unwrap_or(&Value::Null)
}

fn still_waits(said: &Value) -> String {
    assert_eq!(told(said)["status"], "confirmation_required", "{said}");
    assert_eq!(said["ended"][0]["result"]["isError"], true, "{said}");
    text(told(said), "/confirmation_id").to_owned()
}

async fn active(gate: &Deployment) -> Vec<Value> {
    let active = gate.get_as("ana", "/v1/confirmations/active").await;
    active.body.as_array().unwrap().clone()
}

#[tokio::test]
async fn a_yes_and_gives_what_the_tool_gave_as_the_answer_of_the_same_call() {
    let (gate, upstream) = start("").await;
    let yes = json!([{ "action": "accept", "content": { "confirm": true } }]);
    let said = real_client(&gate, json!({ "answers": yes })).await;
    let asked = &said["asked"][0];
    assert_eq!(asked["mode"], "form", "{said}");
    let message = text(asked, "/message");
    for shown in [
        "notes/delete_note (destructive)",
        "note_id:\n\n    | \"note-1\"\n",
        "action-type/destructive-unconfirmed",
        "Answer until: 20",
        "SHA-256 of the call: ",
    ] {
        assert!(message.contains(shown), "{shown}: {message}");
    }
    assert_eq!(asked["requestedSchema"]["required"], json!(["confirm"]));
    let result = &said["ended"][0]["result"];
    assert_eq!((&result["isError"], &told(&said)["status"]), (&json!(false), &json!("success")));
    let ran = upstream.seen();
    assert_eq!(ran.len(), 1, "once");
    assert_eq!(String::from_utf8_lossy(&ran[0].body), r#"{"note_id":"note-1"}"#);
    // One operation tells the whole story.
    let story = gate.settled(ran[0].header("x-portcullis-op"), 3).await;
    let kinds: Vec<_> =
        story.iter().map(|row| (text(row, "/kind"), text(row, "/res/status"))).collect();
    assert_eq!(kinds, [("decision", "asked"), ("intent", ""), ("outcome", "done")]);
    assert!(message.contains(text(&story[0], "/op")), "{message}");
    assert!(story.iter().all(|row| text(row, "/note/channel") == "mcp"), "{story:?}");
}

#[tokio::test]
async fn a_no_as_a_cancelled_call_and_silence_as_neither() {
    let (gate, upstream) = start("").await;
    for no in [
        json!({ "action": "decline" }),
        json!({ "action": "accept", "content": { "confirm": false } }),
    ] {
        let said = real_client(&gate, json!({ "answers": [no] })).await;
        assert_eq!(told(&said)["status"], "cancelled", "{said}");
        assert_eq!(said["ended"][0]["result"]["isError"], true, "{said}");
        let id = text(told(&said), "/confirmation_id");
        let records = gate.records();
        let of_it = |r: &&Value| text(r, "/note/confirmation") == id;
        let last = records.iter().rfind(of_it).unwrap();
        assert_eq!(text(last, "/res/status"), "cancelled");
        assert_eq!(gate.decide("ana", id, "confirm").await.code(), "CONFIRMATION_USED");
    }
    assert_eq!(active(&gate).await.len(), 0);
    // Put away, not shown, or not to be shown at all.
    let silent = json!({ "answers": [{ "action": "cancel" }] });
    let broken = json!({ "answers": [{ "action": "fail" }] });
    for (silence, asks) in [(silent, 1), (broken, 1), (json!({}), 0)] {
        let said = real_client(&gate, silence).await;
        assert_eq!(said["asked"].as_array().unwrap().len(), asks, "{said}");
        assert_eq!(said["session"].is_string(), asks == 1, "{said}");
        let id = still_waits(&said);
        assert!(active(&gate).await.iter().any(|one| text(one, "/confirmation_id") == id));
    }
    assert_eq!(upstream.seen().len(), 0);
    let id = text(&active(&gate).await[0], "/confirmation_id").to_owned();
    assert_eq!(gate.decide("ana", &id, "confirm").await.status, 200, "it went on waiting");
}

#[tokio::test]
async fn no_programs_word_for_its_persons_and_leads_to_the_page() {
    let (gate, upstream) = start("").await;
    let key = gate.api_key("ana", &["notes:read", "notes:destructive"]);
    let accepts = json!([{ "action": "accept", "content": { "confirm": true } }]);
    // A client that only has forms is not asked with a key.
    let form_only = json!({ "key": key, "answers": accepts, "modes": ["form"] });
    let said = real_client(&gate, form_only).await;
    assert_eq!(said["asked"], json!([]));
    let id = still_waits(&said);
    assert_eq!(gate.decide("ana", &id, "cancel").await.status, 200);

    let client = real_client(&gate, json!({ "key": key, "answers": accepts }));
    let person = async {
        let began = Instant::now();
        loop {
            if let Some(one) = active(&gate).await.first() {
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                assert_eq!(upstream.seen().len(), 0, "going to the page is not a yes");
                let id = text(one, "/confirmation_id").to_owned();
                assert_eq!(gate.decide("ana", &id, "confirm").await.status, 200);
                return id;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "nothing was asked");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (said, id) = tokio::join!(client, person);
    let asked = &said["asked"][0];
    assert_eq!((&asked["mode"], &asked["elicitationId"]), (&json!("url"), &json!(id)), "{said}");
    assert_eq!(asked["url"], json!(format!("{}/confirm/{id}", gate.url())));
    assert_eq!(
        (&told(&said)["status"], &told(&said)["state"]),
        (&json!("decided"), &json!("executed"))
    );
    assert_eq!(said["ended"][0]["result"]["isError"], false, "{said}");
    assert_eq!(upstream.seen().len(), 1);
}

/// A program that signed in by a device code holds its person's session, and is no more than a program here.
#[tokio::test]
async fn no_program_that_holds_a_session_either() {
    let (gate, upstream) = start("").await;
    let token = crate::device::session_of_a_program(&gate).await;
    let raw = Raw::begin(&gate, &token).await;
    let mut stream = raw.call(DELETE, &json!({ "note_id": "note-1" })).await;
    let question = stream.next().await;
    assert_eq!(question["params"]["mode"], "url", "the person is led to the page: {question}");
    let id = text(&active(&gate).await[0], "/confirmation_id").to_owned();
    assert_eq!(gate.decide("ana", &id, "confirm").await.status, 200);
    let mut end = stream.next().await;
    while end["id"] != 7 {
        end = stream.next().await;
    }
    assert_eq!(end["result"]["isError"], false, "{end}");
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn no_form_where_the_operator_turned_them_off() {
    let (gate, upstream) = start("[confirmation]\nelicitation = \"url\"\nttl = \"3s\"").await;
    let accepts = json!([{ "action": "accept", "content": { "confirm": true } }]);
    let said = real_client(&gate, json!({ "answers": accepts })).await;
    assert_eq!(said["asked"][0]["mode"], "url", "{said}");
    // Nobody decided on the page while the question could be answered.
    still_waits(&said);
    let (gate, _) = start("[confirmation]\nelicitation = \"off\"").await;
    let said = real_client(&gate, json!({ "answers": accepts })).await;
    assert_eq!((&said["asked"], &said["session"]), (&json!([]), &Value::Null), "{said}");
    still_waits(&said);
    assert_eq!(upstream.seen().len(), 0);
}

/// A client written by hand, as an attacker has it.
pub(crate) struct Raw<'a> {
    gate: &'a Deployment,
    credential: (&'static str, String),
    pub(crate) session: String,
}

impl<'a> Raw<'a> {
    pub(crate) async fn begin(gate: &'a Deployment, token: &str) -> Self {
        Self::begin_with(
            gate,
            ("authorization", format!("Bearer {token}")),
            json!({ "form": {}, "url": {} }),
        )
        .await
    }

    pub(crate) async fn begin_with(
        gate: &'a Deployment,
        credential: (&'static str, String),
        elicitation: Value,
    ) -> Self {
        let raw = Self { gate, credential, session: String::new() };
        let answer = gate.send(raw.post(&json!({
            "jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25", "capabilities": { "elicitation": elicitation },
                "clientInfo": { "name": "raw", "version": "1" },
            },
        })));
        let answer = answer.await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Self { session: answer.header("mcp-session-id").to_owned(), ..raw }
    }

    fn post(&self, message: &Value) -> RequestBuilder {
        let request = self.gate.request(Method::POST, "/mcp");
        let request = request.header(self.credential.0, &self.credential.1);
        let request = request.header("accept", "application/json, text/event-stream");
        let request = match self.session.as_str() {
            "" => request,
            session => request.header("mcp-session-id", session),
        };
        request.json(message)
    }

    pub(crate) async fn call(&self, tool: &str, arguments: &Value) -> Sse {
        let response = self.post(&json!({
            "jsonrpc": "2.0", "id": 7, "method": "tools/call",
            "params": { "name": tool, "arguments": arguments },
        }));
        Sse::new(response.send().await.unwrap())
    }

    /// Calls, and gives the id of the question that is asked.
    async fn asked(&self) -> (Sse, Value) {
        let mut stream = self.call(DELETE, &json!({ "note_id": "note-1" })).await;
        let question = stream.next().await;
        assert_eq!(question["method"], "elicitation/create", "{question}");
        (stream, question["id"].clone())
    }

    pub(crate) async fn answer(&self, id: &Value, result: Value) -> Answer {
        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
        self.gate.send(self.post(&answer)).await
    }
}

fn yes() -> Value {
    json!({ "action": "accept", "content": { "confirm": true } })
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
}

#[tokio::test]
async fn nobody_elses_answer() {
    let (gate, upstream) = start("").await;
    let (ana, amy) = (gate.token("ana").await, gate.token("amy").await);
    let key = gate.api_key("ana", &["notes:read", "notes:destructive"]);
    let asked = Raw::begin(&gate, &ana).await;
    let (mut stream, id) = asked.asked().await;
    let with = |credential: (&'static str, String), session: &str| Raw {
        gate: &gate,
        credential,
        session: session.to_owned(),
    };
    let bearer = |token: &str| ("authorization", format!("Bearer {token}"));
    let other_session = Raw::begin(&gate, &ana).await;
    assert_ne!(other_session.session, asked.session);
    for other in [
        other_session,
        Raw::begin(&gate, &amy).await,
        with(bearer(&amy), &asked.session),
        with(bearer(&ana), ""),
        with(bearer(&ana), &asked.session.replacen("fu.", "f.", 1)),
        with(("x-api-key", key), &asked.session),
    ] {
        refused(&other.answer(&id, yes()).await, 404, "CONFIRMATION_UNKNOWN");
    }
    for id in [json!("portcullis-0"), json!(7), json!(null)] {
        refused(&asked.answer(&id, yes()).await, 404, "CONFIRMATION_UNKNOWN");
    }
    let stranger = with(bearer("none"), &asked.session).answer(&id, yes()).await;
    assert_eq!(stranger.status, 401, "{stranger:?}");
    assert_eq!(upstream.seen().len(), 0);
    let told = gate.records();
    let unknown = |r: &&Value| text(r, "/res/error") == "confirmation_unknown";
    assert!(told.iter().filter(unknown).count() >= 9, "each attempt is on record");

    assert_eq!(asked.answer(&id, yes()).await.status, 202, "the attempts spoiled nothing");
    let end = stream.next().await;
    assert_eq!((&end["id"], &end["result"]["isError"]), (&json!(7), &json!(false)), "{end}");
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn no_second_answer() {
    let (gate, upstream) = start("").await;
    let raw = Raw::begin(&gate, &gate.token("ana").await).await;
    let (mut stream, id) = raw.asked().await;
    let no = || json!({ "action": "decline" });
    let answers = [raw.answer(&id, yes()), raw.answer(&id, no()), raw.answer(&id, yes())];
    let answers = futures_util::future::join_all(answers).await;
    let taken = answers.iter().filter(|answer| answer.status == 202).count();
    let late = answers.iter().filter(|answer| answer.code() == "CONFIRMATION_UNKNOWN").count();
    assert_eq!((taken, late), (1, 2), "{answers:?}");
    let end = stream.next().await;
    let ran = end["result"]["isError"] == json!(false);
    assert_eq!(upstream.seen().len(), usize::from(ran), "{end}");
    refused(&raw.answer(&id, yes()).await, 404, "CONFIRMATION_UNKNOWN");
    assert_eq!(upstream.seen().len(), usize::from(ran), "{end}");
}

#[tokio::test]
async fn no_answer_without_a_meaning() {
    let (gate, upstream) = start("").await;
    let raw = Raw::begin(&gate, &gate.token("ana").await).await;
    for unclear in [
        json!({ "action": "accept" }),
        json!({ "action": "accept", "content": {} }),
        json!({ "action": "accept", "content": { "confirm": "true" } }),
        json!({ "action": "accept", "content": [true] }),
        json!({ "action": "yes", "content": { "confirm": true } }),
        json!(true),
    ] {
        let (mut stream, id) = raw.asked().await;
        refused(&raw.answer(&id, unclear.clone()).await, 400, "MALFORMED_BODY");
        let end = stream.next().await;
        let told = &end["result"]["structuredContent"];
        assert_eq!(told["status"], "confirmation_required", "{unclear}: {end}");
        refused(&raw.answer(&id, yes()).await, 404, "CONFIRMATION_UNKNOWN");
    }
    assert_eq!((upstream.seen().len(), active(&gate).await.len()), (0, 6));
}

#[tokio::test]
async fn no_answer_that_is_too_late() {
    let (gate, upstream) = start("[confirmation]\nttl = \"1s\"").await;
    let raw = Raw::begin(&gate, &gate.token("ana").await).await;
    let (mut stream, id) = raw.asked().await;
    let end = stream.next().await;
    assert_eq!(end["result"]["structuredContent"]["status"], "confirmation_required", "{end}");
    refused(&raw.answer(&id, yes()).await, 404, "CONFIRMATION_UNKNOWN");
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn what_the_rules_forbid_meanwhile_is_not_run() {
    let (gate, upstream) = start("").await;
    let raw = Raw::begin(&gate, &gate.token("ana").await).await;
    let (mut stream, id) = raw.asked().await;
    gate.user_id("ben");
    gate.change(&["user", "set-role", &gate.user_id("ana"), "reader"]).await;
    assert_eq!(raw.answer(&id, yes()).await.status, 202);
    let end = stream.next().await;
    assert_eq!(end["result"]["structuredContent"]["error"], "PERMISSION_DENIED", "{end}");
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn an_answer_from_elsewhere_as_the_end_of_the_question() {
    let (gate, upstream) = start("").await;
    let raw = Raw::begin(&gate, &gate.token("ana").await).await;
    for (verb, state, is_error) in [("confirm", "executed", false), ("cancel", "cancelled", true)] {
        let (mut stream, id) = raw.asked().await;
        let waits = text(&active(&gate).await[0], "/confirmation_id").to_owned();
        assert_eq!(gate.decide("ana", &waits, verb).await.status, 200);
        let end = stream.next().await;
        assert_eq!(end["result"]["structuredContent"]["state"], state, "{end}");
        assert_eq!(end["result"]["isError"], is_error, "{end}");
        refused(&raw.answer(&id, yes()).await, 404, "CONFIRMATION_UNKNOWN");
    }
    assert_eq!(upstream.seen().len(), 1);
    // What was carried out and failed is told as what it is.
    upstream.answers("/notes/delete_note", 500, "no");
    let (mut stream, _) = raw.asked().await;
    let waits = text(&active(&gate).await[0], "/confirmation_id").to_owned();
    assert_eq!(gate.decide("ana", &waits, "confirm").await.code(), "BACKEND_5XX");
    let end = stream.next().await;
    let told = &end["result"]["structuredContent"];
    assert_eq!((&told["state"], &told["outcome"]), (&json!("executed"), &json!("failed")), "{end}");
    assert_eq!(end["result"]["isError"], true, "{end}");
    // A client that hangs up is asked no more, and its question goes on waiting.
    let (stream, id) = raw.asked().await;
    drop(stream);
    let began = Instant::now();
    loop {
        let answer = raw.answer(&json!("portcullis-0"), yes()).await;
        refused(&answer, 404, "CONFIRMATION_UNKNOWN");
        // Its place is free again when as many as may wait at once can.
        if waits_for(&raw, 8).await {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the place stays taken");
    }
    refused(&raw.answer(&id, yes()).await, 404, "CONFIRMATION_UNKNOWN");
    assert!(!active(&gate).await.is_empty());
}

/// Whether so many calls can wait at once, and not one more.
async fn waits_for(raw: &Raw<'_>, count: usize) -> bool {
    let mut held = Vec::new();
    for _ in 0..=count {
        held.push(raw.call(DELETE, &json!({ "note_id": "note-1" })).await);
    }
    let mut last = held.pop().unwrap();
    assert!(!last.is_stream(), "one more than may wait");
    assert_eq!(last.next().await["result"]["structuredContent"]["status"], "confirmation_required");
    held.iter().all(Sse::is_stream)
}

#[tokio::test]
async fn no_yes_to_what_it_could_not_show() {
    let (gate, upstream) = start("").await;
    let careful = json!({ "confirmation_enabled": true });
    let set = gate.signed("ana", Method::PATCH, "/v1/me/settings").await.json(&careful);
    assert_eq!(gate.send(set).await.status, 200);
    let long = json!({ "title": "long", "text": "x".repeat(3_000) });
    let bearer = ("authorization", format!("Bearer {}", gate.token("ana").await));
    let forms = Raw::begin_with(&gate, bearer.clone(), json!({})).await;
    let mut stream = forms.call("notes__create_note", &long).await;
    let told = stream.next().await;
    assert!(!stream.is_stream(), "it is not asked here");
    assert_eq!(told["result"]["structuredContent"]["status"], "confirmation_required");
    // Where the client can open the page, it is read there.
    let both = Raw::begin_with(&gate, bearer, json!({ "form": {}, "url": {} })).await;
    let mut stream = both.call("notes__create_note", &long).await;
    let question = stream.next().await;
    assert_eq!(question["params"]["mode"], "url", "{question}");
    assert_eq!(both.answer(&question["id"], yes()).await.status, 202);
    assert_eq!(upstream.seen().len(), 0);
}
