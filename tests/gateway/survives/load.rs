//! Clients that call until the gateway dies, and remember every answer that they got.

use harness::{Answer, Deployment, Value, json};
use reqwest::Method;

/// How many clients call at once: several records share a commit, so a kill hits more than one.
const CLIENTS: usize = 4;
/// No place is passed so often without a kill that a client gets this far.
const MOST_CALLS: usize = 2_000;

/// One answer that a client got, and what it promises about the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    /// The operation.
    pub(crate) op: String,
    /// What was answered.
    pub(crate) what: What,
}

/// What an answer promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// A read was carried out: its intent is there.
    Read,
    /// Something else was carried out: its intent and its outcome are there.
    Done,
    /// Refused or asked about: that is there.
    Decided,
}

/// Calls from all sides until nobody answers any more.
pub(crate) async fn until_it_dies(gate: &Deployment) -> Vec<Acknowledged> {
    let clients = (0..CLIENTS).map(|client| one_client(gate, client));
    futures_util::future::join_all(clients).await.into_iter().flatten().collect()
}

async fn one_client(gate: &Deployment, client: usize) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for turn in client..client + MOST_CALLS {
        let Some(mut answers) = one_call(gate, turn).await else { return acknowledged };
        acknowledged.append(&mut answers);
    }
    panic!("the gateway did not die; is it built with the feature `failpoints`?")
}

/// One call of the mixture; `None` when the gateway is gone.
async fn one_call(gate: &Deployment, turn: usize) -> Option<Vec<Acknowledged>> {
    let title = json!({ "title": turn.to_string() });
    let note = json!({ "note_id": format!("note-{turn}") });
    match turn % 4 {
        0 => call(gate, "ana", "list_notes", json!({}), What::Read).await,
        1 => call(gate, "ana", "create_note", title, What::Done).await,
        2 => call(gate, "ben", "create_note", title, What::Decided).await,
        _ => {
            let asked = answer(gate, "ana", CALL, &body("delete_note", note)).await?;
            let mut all = promised(&asked, What::Decided);
            if let Some(id) = asked.body["confirmation_id"].as_str() {
                let confirm = format!("/v1/confirmations/{id}/confirm");
                // What was asked stays promised when the gateway dies at the confirmation.
                let Some(done) = answer(gate, "ana", &confirm, &json!({})).await else {
                    return Some(all);
                };
                all.extend(promised(&done, What::Done));
            }
            Some(all)
        }
    }
}

const CALL: &str = "/v1/extensions/notes/call";

async fn call(
    gate: &Deployment,
    user: &str,
    function: &str,
    params: Value,
    what: What,
) -> Option<Vec<Acknowledged>> {
    Some(promised(&answer(gate, user, CALL, &body(function, params)).await?, what))
}

async fn answer(gate: &Deployment, user: &str, path: &str, body: &Value) -> Option<Answer> {
    let request = gate.signed(user, Method::POST, path).await.json(body);
    gate.try_send(request).await.ok()
}

fn body(function: &str, params: Value) -> Value {
    json!({ "function": function, "params": params })
}

/// An answer of 5xx says that something could not be done or recorded: it promises nothing.
fn promised(answer: &Answer, what: What) -> Vec<Acknowledged> {
    if answer.status >= 500 {
        return Vec::new();
    }
    vec![Acknowledged { op: answer.op(), what }]
}
