//! Live, the confirmations ...

use std::time::{Duration, Instant};

use harness::{Answer, Deployment, Upstream, json, text};
use reqwest::Method;

use crate::confirm_races::Pair;
use crate::sse::Sse;

const EVENTS: &str = "/v1/confirmations/events";

async fn start(ttl: &str) -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    let ttl = format!("[confirmation]\nttl = \"{ttl}\"");
    (Deployment::builder().notes(&upstream).settings(&ttl).start().await, upstream)
}

async fn ask(gate: &Deployment, user: &str, note: &str) -> Answer {
    let answer = gate.call(user, "notes", "delete_note", json!({ "note_id": note })).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer
}

async fn watch(gate: &Deployment, user: &str) -> Sse {
    let stream = Sse::new(gate.signed(user, Method::GET, EVENTS).await.send().await.unwrap());
    assert!(stream.is_stream());
    stream
}

/// Opens streams until one is refused.
async fn watch_all(gate: &Deployment, user: &str) -> (Vec<Sse>, Answer) {
    let mut streams = Vec::new();
    loop {
        let response = gate.signed(user, Method::GET, EVENTS).await.send().await.unwrap();
        if response.status() != 200 {
            return (streams, gate.get_as(user, EVENTS).await);
        }
        streams.push(Sse::new(response));
        assert!(streams.len() < 100, "there is no bound");
    }
}

#[tokio::test]
async fn of_a_person_are_told_with_what_becomes_of_them() {
    let (gate, _upstream) = start("10m").await;
    let first = ask(&gate, "ana", "note-1").await;
    let mut stream = watch(&gate, "ana").await;
    let snapshot = stream.named("snapshot").await;
    let waiting = snapshot["confirmations"].as_array().unwrap();
    assert_eq!(waiting.len(), 1, "{snapshot}");
    assert_eq!(waiting[0], first.body, "what waits is shown as it was asked");

    let second = ask(&gate, "ana", "note-2").await;
    let (_, asked) = stream.of(&second.confirmation(), &["asked"]).await;
    assert_eq!(asked, second.body);
    let (first, second) = (first.confirmation(), second.confirmation());
    assert_eq!(gate.decide("ana", &first, "confirm").await.status, 200);
    let (_, ran) = stream.of(&first, &["executed"]).await;
    assert_eq!(text(&ran, "/state"), "executed", "{ran}");
    assert_eq!(gate.decide("ana", &second, "cancel").await.status, 200);
    let (_, ended) = stream.of(&second, &["decided"]).await;
    assert_eq!(text(&ended, "/state"), "cancelled", "{ended}");
    let last = ask(&gate, "ana", "note-3").await;
    assert_eq!(stream.event().await.unwrap(), ("asked".to_owned(), last.body), "each once");
}

#[tokio::test]
async fn of_a_person_are_told_when_their_time_is_over() {
    let (gate, _upstream) = start("2s").await;
    let mut stream = watch(&gate, "ana").await;
    let id = ask(&gate, "ana", "note-1").await.confirmation();
    let (_, over) = stream.of(&id, &["expired"]).await;
    assert_eq!(text(&over, "/state"), "expired", "{over}");
}

#[tokio::test]
async fn of_a_person_are_told_whichever_replica_has_them() {
    let pair = Pair::start().await;
    let [one, two] = &pair.gates[..] else { panic!("two replicas") };
    let mut stream = watch(two, "ana").await;
    stream.named("snapshot").await;
    let asked = ask(one, "ana", "note-1").await;
    let began = Instant::now();
    let id = asked.confirmation();
    // Each replica knows itself by its own address here: nobody said how people call them.
    let (mut told, mut body) = (stream.of(&id, &["asked"]).await.1, asked.body);
    let pages = [&mut told, &mut body].map(|asked| asked.as_object_mut().unwrap().remove("page"));
    assert!(pages.iter().all(Option::is_some), "{pages:?}");
    assert_eq!(told, body);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(one.decide("ana", &id, "confirm").await.status, 200);
    stream.of(&id, &["executed"]).await;
}

#[tokio::test]
async fn of_nobody_else() {
    let (gate, _upstream) = start("10m").await;
    let of_ana = ask(&gate, "ana", "note-1").await.confirmation();
    // One of the same tenant with the same rights, one who may do everything, one of another tenant.
    let mut others = Vec::new();
    for name in ["amy", "ada", "gil"] {
        let mut stream = watch(&gate, name).await;
        assert_eq!(stream.named("snapshot").await, json!({ "confirmations": [] }), "{name}");
        others.push((name, stream));
    }
    ask(&gate, "ana", "note-2").await;
    assert_eq!(gate.decide("ana", &of_ana, "confirm").await.status, 200);
    for (name, mut stream) in others {
        let own = ask(&gate, name, "note-3").await;
        let (event, data) = stream.event().await.unwrap();
        assert_eq!((event.as_str(), &data), ("asked", &own.body), "{name}");
    }
    let key = gate.api_key("ana", &["notes:read", "notes:destructive"]);
    let refused = gate.send(gate.request(Method::GET, EVENTS).header("x-api-key", key)).await;
    assert_eq!((refused.status, refused.code()), (403, "CONFIRMATION_FOREIGN"), "{refused:?}");
    let in_query = gate.get(&format!("{EVENTS}?access_token={}", gate.token("ana").await)).await;
    assert_eq!(in_query.status, 400, "a token in an address is none: {in_query:?}");
}

#[tokio::test]
async fn end_with_the_standing_of_who_looks() {
    let (gate, _upstream) = start("10m").await;
    let mut stream = watch(&gate, "ana").await;
    stream.named("snapshot").await;
    let mut other = watch(&gate, "amy").await;
    other.named("snapshot").await;
    gate.must(&["user", "deactivate", &gate.user_id("ana")]);
    let began = Instant::now();
    assert!(stream.event().await.is_none(), "it ends");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let own = ask(&gate, "amy", "note-1").await;
    assert_eq!(other.event().await.unwrap().1, own.body, "nobody else's ends");
}

#[tokio::test]
async fn are_told_by_few_streams_of_a_user_and_by_none_when_the_gateway_stops() {
    let (mut gate, _upstream) = start("10m").await;
    gate.token("amy").await;
    let (mut streams, refused) = watch_all(&gate, "ana").await;
    assert_eq!((refused.status, refused.code()), (429, "RATE_LIMITED"), "{refused:?}");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(streams.len(), 4);
    let mut of_another = watch(&gate, "amy").await;
    of_another.named("snapshot").await;
    // Who leaves makes room.
    streams.pop();
    let began = Instant::now();
    loop {
        let request = gate.signed("ana", Method::GET, EVENTS).await;
        let response = request.send().await.unwrap();
        if response.status() == 200 {
            streams.push(Sse::new(response));
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the place stays taken");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let began = Instant::now();
    let stop = tokio::task::spawn_blocking(move || gate.stop().success());
    assert!(of_another.event().await.is_none(), "it ends");
    assert!(stop.await.unwrap());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
