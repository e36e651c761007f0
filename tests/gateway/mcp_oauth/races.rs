//! What counts once is asked for at several replicas at the same moment, by its owner and a thief as it were.

use futures_util::future::join_all;

use super::client::Client;
use super::*;
use crate::replicas::Replicas;

/// Rounds of each race: one alone may be won by luck.
const ROUNDS: usize = 4;

/// Exactly one of these answers gives something; gives its place among them.
fn exactly_one(answers: &[Answer], code: &str, member: &str) -> usize {
    at_most_one(answers, code, member).unwrap_or_else(|| panic!("nobody won: {answers:?}"))
}

/// No two of these answers give something, and the others are refused with this code.
fn at_most_one(answers: &[Answer], code: &str, member: &str) -> Option<usize> {
    let won = |answer: &Answer| answer.body[member].is_string();
    let winners: Vec<usize> = (0..answers.len()).filter(|n| won(&answers[*n])).collect();
    assert!(winners.len() <= 1, "{answers:?}");
    for (n, answer) in answers.iter().enumerate().filter(|(n, _)| !winners.contains(n)) {
        assert!([400, 401].contains(&answer.status), "{n}: {answer:?}");
        assert_eq!(answer.code(), code, "{n}: {answer:?}");
    }
    winners.first().copied()
}

/// The same program at each replica, twice.
fn everywhere<'a>(replicas: &'a Replicas, client: &Client<'_>) -> Vec<Client<'a>> {
    let gates = replicas.gates.iter().flat_map(|gate| [gate, gate]);
    gates.map(|gate| Client { gate, id: client.id.clone() }).collect()
}

async fn spend(gate: &Deployment, token: &Value) -> Answer {
    let refresh = json!({ "refresh_token": token });
    gate.send(gate.request(Method::POST, "/v1/auth/refresh").json(&refresh)).await
}

/// How many refresh tokens are on record as spent twice.
fn reuses(gate: &Deployment) -> usize {
    let reused = |record: &&Value| text(record, "/note/why") == "session_reused";
    gate.records().iter().filter(reused).count()
}

/// A refresh token that is spent twice at once was stolen: one gets the next, and then the whole family ends.
async fn refresh_races(gates: &[&Deployment]) {
    let person = person("ana");
    gates[0].user_id("ana");
    for _ in 0..ROUNDS {
        let session = gates[0].log_in(&person, &person.password()).await;
        let other = gates[0].log_in(&person, &person.password()).await;
        let token = &session.body["refresh_token"];
        let before = reuses(gates[0]);
        let answers = join_all(gates.iter().map(|gate| spend(gate, token))).await;
        let won = exactly_one(&answers, "INVALID_CREDENTIAL", "refresh_token");
        let next = spend(gates[0], &answers[won].body["refresh_token"]).await;
        assert_eq!((next.status, next.code()), (401, "INVALID_CREDENTIAL"), "{next:?}");
        // Whoever came second is on record as a thief; who came after that found a family that had ended.
        assert!(reuses(gates[0]) > before, "nothing of it is on record");
        // Another sign-in of the same person is another family.
        assert_eq!(spend(gates[0], &other.body["refresh_token"]).await.status, 200);
    }
}

#[tokio::test]
async fn one_process_gives_one_session_for_a_refresh_token() {
    let gate = Deployment::builder().start().await;
    refresh_races(&[&gate; 6]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_give_one_answer_to_what_counts_once() {
    let replicas = Replicas::start("").await;
    let gates: Vec<&Deployment> = replicas.gates.iter().flat_map(|gate| [gate, gate]).collect();
    refresh_races(&gates).await;
    let ana = Walker::sign_in(gates[0], "ana").await;
    let client = Client::register(gates[0]).await;
    for _ in 0..ROUNDS {
        codes(&replicas, &ana, &client).await;
        renewals(&replicas, &ana, &client).await;
        devices(&gates, &ana).await;
    }
    // Each code began one grant, whichever replica it was, and each of them has ended.
    for action in ["grant.begin", "grant.end"] {
        let count = || {
            let records = gates[0].records();
            records.iter().filter(|record| text(record, "/note/action") == action).count()
        };
        crate::parts::wait_until(action, || count() >= 2 * ROUNDS);
        assert_eq!(count(), 2 * ROUNDS, "{action}");
    }
    let verified = gates[0].verify();
    assert!(verified.whole, "{}", verified.said);
}

/// An authorization code gives one grant, and the second try ends it.
async fn codes(replicas: &Replicas, ana: &Walker<'_>, client: &Client<'_>) {
    let page = client.ask(ana, &[]).await;
    let code = client.approved(ana, &page).await;
    let clients = everywhere(replicas, client);
    let answers = join_all(clients.iter().map(|client| client.tokens(&code))).await;
    // Whoever comes second ends the grant, maybe before the first has its tokens.
    if let Some(won) = at_most_one(&answers, "invalid_grant", "access_token") {
        is_over(client, &answers[won]).await;
    }
}

/// A refresh token of a grant gives one pair, and the second try ends the grant.
async fn renewals(replicas: &Replicas, ana: &Walker<'_>, client: &Client<'_>) {
    let granted = client.granted(ana).await;
    let token = granted["refresh_token"].as_str().unwrap();
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
    let clients = everywhere(replicas, client);
    let answers = join_all(clients.iter().map(|client| client.token(&fields))).await;
    if let Some(won) = at_most_one(&answers, "invalid_grant", "access_token") {
        is_over(client, &answers[won]).await;
    }
}

/// What the winner got is worth nothing any more: nobody knows whether it was the thief.
async fn is_over(client: &Client<'_>, won: &Answer) {
    let token = won.body["refresh_token"].as_str().unwrap();
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
    let next = client.token(&fields).await;
    assert_eq!((next.status, next.code()), (400, "invalid_grant"), "{next:?}");
}

/// An approved device code gives one session.
async fn devices(gates: &[&Deployment], ana: &Walker<'_>) {
    let body = json!({ "code_challenge": client::challenge(), "code_challenge_method": "S256" });
    let ask = gates[0].request(Method::POST, "/v1/auth/cli/device/authorize").json(&body);
    let asked = gates[0].send(ask).await.body;
    let user_code = asked["user_code"].as_str().unwrap();
    let page = ana.get(&format!("/device?user_code={user_code}")).await;
    let csrf = hidden(&page, "csrf");
    let fields = [("csrf", csrf.as_str()), ("user_code", user_code), ("decision", "approve")];
    assert_eq!(ana.post("/device", &fields).await.status, 303);
    let poll = json!({ "device_code": asked["device_code"], "code_verifier": VERIFIER });
    let polls = gates
        .iter()
        .map(|gate| gate.send(gate.request(Method::POST, "/v1/auth/cli/device/token").json(&poll)));
    exactly_one(&join_all(polls).await, "invalid_grant", "access_token");
}
