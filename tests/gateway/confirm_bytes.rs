//! What reaches the app is what the person was shown ...

use harness::{Answer, Deployment, Upstream, Value, json};
use reqwest::Method;

/// An app whose one function takes anything and is always asked about.
const PAY: &str = r#"{
  "manifest_schema_version": 3, "sdk_version": "6.3.7", "app_id": "pay", "version": "1.0.0", "name": "Pay",
  "description": "Pays.", "author": "portcullis", "license": "Apache-2.0", "actions_explicit": true,
  "tools": [{
    "name": "pay", "description": "Pays somebody.", "action_type": "destructive",
    "params_schema": { "type": "object", "properties": { "amount": { "type": "number" } } }
  }]
}"#;

async fn start() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    let gate = Deployment::builder().file("pay.json", PAY);
    let app = format!("[apps.pay]\nmanifest = \"pay.json\"\nurl = \"{}/pay\"", upstream.url());
    (gate.app(&app).start().await, upstream)
}

async fn pay(gate: &Deployment, params: &str) -> Answer {
    let body = format!(r#"{{"function":"pay","params":{params}}}"#);
    gate.call_with_body("ada", "pay", body).await
}

#[tokio::test]
async fn byte_for_byte_however_it_is_spelled() {
    let (gate, upstream) = start().await;
    for spelled in [
        r#"{"amount":100}"#,
        r#"{"amount":1e2}"#,
        r#"{"amount":1.00E+2}"#,
        r#"{"amount":9007199254740993}"#,
        r#"{"amount":18446744073709551615}"#,
        r#"{"amount":-0}"#,
        r#"{"amount":1,"b":1,"a":2}"#,
        r#"{"a":2,"b":1,"amount":1}"#,
        "{ \"amount\" :\t1 ,\r\n \"to\": \"x  \"   }",
        r#"{"to":"\u0041\u00e9\ud83d\ude42","amount":1}"#,
        r#"{"to":"Aé🙂","amount":1}"#,
        r#"{"to":"a\/b\\\"","amount":1}"#,
    ] {
        let asked = pay(&gate, spelled).await;
        assert_eq!(asked.status, 202, "{spelled}: {asked:?}");
        assert_eq!(asked.body["arguments_text"], spelled);
        let path = format!("/v1/confirmations/{}", asked.confirmation());
        assert_eq!(gate.get_as("ada", &path).await.body["arguments_text"], spelled);
        let done = gate.decide("ada", &asked.confirmation(), "confirm").await;
        assert_eq!(done.status, 200, "{spelled}: {done:?}");
        let seen = upstream.of_op(&done.op());
        assert_eq!(seen.len(), 1, "{spelled}");
        assert_eq!(String::from_utf8_lossy(&seen[0].body), spelled);
    }
}

#[tokio::test]
async fn with_a_hash_of_its_own_for_each_spelling() {
    let (gate, _upstream) = start().await;
    let mut hashes = std::collections::BTreeSet::new();
    let spelled = [
        r#"{"amount":100}"#,
        r#"{"amount":1e2}"#,
        r#"{"amount":100 }"#,
        r#"{"amount":100.0}"#,
        r#"{"\u0061mount":100}"#,
    ];
    for one in spelled {
        let asked = pay(&gate, one).await;
        assert_eq!(asked.status, 202, "{one}: {asked:?}");
        hashes.insert(asked.body["hash"].as_str().unwrap().to_owned());
    }
    assert_eq!(hashes.len(), spelled.len());
}

#[tokio::test]
async fn and_what_has_two_meanings_is_not_even_asked() {
    let (gate, upstream) = start().await;
    for spelled in [
        r#"{"amount":1,"amount":2}"#,
        r#"{"amount":1,"\u0061mount":2}"#,
        r#"{"amount":1,"to":{"x":1,"x":2}}"#,
        r#"{"amount":123456789012345678901234567890}"#,
        r#"{"amount":0.12345678901234567890123}"#,
        r#"{"amount":1e999}"#,
        r#"{"to":"\ud800","amount":1}"#,
        r#"{"amount":01}"#,
    ] {
        let refused = pay(&gate, spelled).await;
        assert_eq!((refused.status, refused.code()), (400, "MALFORMED_BODY"), "{spelled}");
    }
    let active = gate.get_as("ada", "/v1/confirmations/active").await;
    assert_eq!(active.body, json!([]));
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn over_mcp_too_where_the_door_writes_the_bytes() {
    let (gate, upstream) = start().await;
    let call = |arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"pay__pay","arguments":{arguments}}}}}"#
        )
    };
    let send = async |arguments: &str| {
        let request = gate.signed("ada", Method::POST, "/mcp").await;
        let request = request.header("accept", "application/json, text/event-stream");
        let request = request.header("content-type", "application/json");
        gate.send(request.body(call(arguments))).await
    };
    for arguments in [r#"{"amount":9007199254740993}"#, r#"{ "b": 1, "amount": 1e2 }"#] {
        let answer = send(arguments).await;
        let asked = &answer.body["result"]["structuredContent"];
        assert_eq!(asked["status"], "confirmation_required", "{answer:?}");
        let shown = asked["arguments_text"].as_str().unwrap();
        let same: [Value; 2] = [arguments, shown].map(|text| serde_json::from_str(text).unwrap());
        assert_eq!(same[0], same[1], "no value changes on the way");
        let id = asked["confirmation_id"].as_str().unwrap();
        let done = gate.decide("ada", id, "confirm").await;
        assert_eq!(String::from_utf8_lossy(&upstream.of_op(&done.op())[0].body), shown);
    }
    assert_eq!(send(r#"{"amount":1,"amount":2}"#).await.code(), "MALFORMED_BODY");
    assert_eq!(upstream.seen().len(), 2);
}
