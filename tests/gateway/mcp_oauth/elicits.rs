//! A program with a grant, whose person is asked.

use super::client::Client;
use super::*;
use crate::elicits::Raw;

#[tokio::test]
async fn a_program_with_a_grant_answers_no_question_for_its_person() {
    let (gate, upstream) = gate().await;
    let ana = Walker::with(&gate, &gate.token("ana").await);
    let granted = Client::register(&gate).await.granted(&ana).await;
    let bearer = ("authorization", format!("Bearer {}", text(&granted, "/access_token")));
    let note = json!({ "note_id": "note-1" });
    let waiting = async || {
        let active = gate.get_as("ana", "/v1/confirmations/active").await;
        active.body.as_array().unwrap().len()
    };
    // It has forms: it is not asked by one.
    let forms = Raw::begin_with(&gate, bearer.clone(), json!({ "form": {} })).await;
    let told = forms.call("notes__delete_note", &note).await.next().await;
    assert_eq!(told["result"]["structuredContent"]["status"], "confirmation_required", "{told}");
    assert_eq!(waiting().await, 1);
    // It can open a page: its person decides there, whatever it says.
    let both = Raw::begin_with(&gate, bearer, json!({ "form": {}, "url": {} })).await;
    let mut stream = both.call("notes__delete_note", &note).await;
    let question = stream.next().await;
    assert_eq!(question["params"]["mode"], "url", "{question}");
    let no = json!({ "action": "decline" });
    assert_eq!(both.answer(&question["id"], no).await.status, 202);
    let told = stream.next().await;
    assert_eq!(told["result"]["structuredContent"]["status"], "confirmation_required", "{told}");
    assert_eq!(waiting().await, 2, "its no cancels nothing");
    let mut stream = both.call("notes__delete_note", &note).await;
    let question = stream.next().await;
    let yes = json!({ "action": "accept", "content": { "confirm": true } });
    assert_eq!(both.answer(&question["id"], yes).await.status, 202);
    // Nor at the API.
    let id = text(&question, "/params/elicitationId");
    for verb in ["confirm", "cancel"] {
        let path = format!("/v1/confirmations/{id}/{verb}");
        let request =
            gate.request(Method::POST, &path).bearer_auth(text(&granted, "/access_token"));
        let refused = gate.send(request.json(&json!({}))).await;
        assert!([401, 403].contains(&refused.status), "{refused:?}");
    }
    assert_eq!(upstream.seen().len(), 0);
    assert_eq!(gate.decide("ana", id, "confirm").await.status, 200);
    let complete = stream.next().await;
    assert_eq!(complete["method"], "notifications/elicitation/complete", "{complete}");
    let told = stream.next().await;
    assert_eq!(told["result"]["structuredContent"]["state"], "executed", "{told}");
    assert_eq!(upstream.seen().len(), 1);
}
