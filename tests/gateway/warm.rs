//! A warm call of the gateway ...

use std::time::{Duration, Instant};

use harness::{Deployment, Upstream, json};
use reqwest::{Method, RequestBuilder};

/// Calls that asked nothing, of which so many are wanted: one could be luck.
const WANTED: u32 = 5;

async fn questions(gate: &Deployment) -> u64 {
    let text = gate.get("/metrics").await.text();
    let row = "portcullis_directory_questions_total ";
    let count = text.lines().find_map(|line| line.strip_prefix(row));
    count.unwrap_or_else(|| panic!("no {row}in {text}")).parse().unwrap()
}

/// Waits for calls during which the directory's database was asked nothing. What the gateway asks now and then by itself
/// only adds to that, so a call that asked something itself never passes for one that did not.
pub(crate) async fn asks_the_directory_nothing(
    gate: &Deployment,
    credential: impl Fn(RequestBuilder) -> RequestBuilder,
) {
    let began = Instant::now();
    let mut quiet = 0;
    while quiet < WANTED {
        assert!(began.elapsed() < Duration::from_secs(60), "every call asks the directory");
        let before = questions(gate).await;
        let call = gate.request(Method::POST, "/v1/extensions/notes/call");
        let call = call.json(&json!({ "function": "list_notes", "params": {} }));
        let answer = gate.send(credential(call)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        quiet += u32::from(questions(gate).await == before);
    }
}

#[tokio::test]
async fn asks_the_directory_nothing_for_a_token_a_key_or_a_service() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let token = gate.token("ana").await;
    asks_the_directory_nothing(&gate, |call| call.bearer_auth(&token)).await;
    let key = gate.api_key("ana", &["notes:*"]);
    asks_the_directory_nothing(&gate, |call| call.header("x-api-key", &key)).await;
    let body = json!({ "app": "panel", "purpose": "system", "scopes": ["notes:*"] });
    let made = gate.post_as("max", "/v1/service-tokens", &body).await;
    let service = made.body["token"].as_str().unwrap_or_else(|| panic!("{made:?}"));
    let ana = gate.user_id("ana");
    let acting = |call: RequestBuilder| call.header("x-acting-user", &ana);
    asks_the_directory_nothing(&gate, |call| acting(call.header("x-service-token", service))).await;
}
