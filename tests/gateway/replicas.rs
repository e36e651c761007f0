//! Replicas that share a Redis ...

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use harness::{Deployment, RedisServer, Upstream, Value, json, text};
use reqwest::Method;

use crate::parts::ours;
use crate::postgres_ledger::server::Server;

/// The line of configuration that leads to a Redis.
fn shared(redis: &RedisServer) -> String {
    format!("[redis]\nurl = \"{}\"", redis.url())
}

/// How many of `tries` requests are let through.
async fn let_through(gate: &Deployment, tries: u32) -> u32 {
    let mut through = 0;
    for _ in 0..tries {
        match gate.get("/nowhere").await.status {
            404 => through += 1,
            429 => {}
            other => panic!("{other}: {}", gate.log()),
        }
    }
    through
}

async fn metric(gate: &Deployment, name: &str) -> u64 {
    let text = gate.get("/metrics").await.text();
    let row = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    row.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[tokio::test]
async fn count_a_limit_together_and_each_by_itself_while_redis_is_away() {
    let mut redis = RedisServer::start();
    let limit = "address = { count = 20, per = \"1h\" }";
    let start = || Deployment::builder().settings(&shared(&redis)).limits(limit).start();
    let (one, two) = (start().await, start().await);
    assert_eq!(let_through(&one, 12).await, 12);
    assert_eq!(let_through(&two, 30).await, 8, "the other replica spent the rest");
    assert_eq!(let_through(&one, 5).await, 0);
    assert_eq!(metric(&one, "portcullis_redis_up").await, 1);

    redis.kill();
    // What it let through itself is not forgotten, so that no replica gives more than the limit.
    for (gate, left) in [(&one, 20 - 12), (&two, 20 - 8)] {
        let (began, mut through) = (Instant::now(), 0);
        // For a second it still believes that Redis let nothing through.
        while through < left {
            assert!(began.elapsed() < Duration::from_secs(10), "only {through} of {left}");
            through += let_through(gate, 1).await;
        }
        assert_eq!((through, let_through(gate, 30).await), (left, 0));
        assert_eq!(metric(gate, "portcullis_redis_up").await, 0);
        assert!(metric(gate, "portcullis_rate_limit_local_total").await >= 30);
    }
    let lines = |what: &str| one.log().lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines("Redis does not answer"), 1, "{}", one.log());

    redis.restart();
    let began = Instant::now();
    while metric(&one, "portcullis_redis_up").await == 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", one.log());
        one.get("/nowhere").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(lines("Redis answers again"), 1, "{}", one.log());
    // An empty Redis gives what the limit gives after a long pause, once for all replicas.
    let through = let_through(&one, 30).await + let_through(&two, 30).await;
    assert!((1..=20).contains(&through), "{through}");
}

#[tokio::test]
async fn start_without_it_and_say_no_password_of_it() {
    let limit = "address = { count = 3, per = \"1h\" }";
    let secret = "redis://:planted-redis-password@127.0.0.1:9/";
    let gate = Deployment::builder().file("redis-address", secret);
    let gate = gate.settings("[redis]\nurl = { file = \"redis-address\" }");
    let gate = gate.limits(limit).start().await;
    assert_eq!(let_through(&gate, 10).await, 3);
    assert!(gate.log().contains("Redis does not answer"), "{}", gate.log());
    assert!(!gate.log().contains("planted-redis-password"), "{}", gate.log());
}

#[tokio::test]
async fn share_it_over_tls_with_whom_the_authorities_vouch_for_and_with_nobody_else() {
    let files = ours("../gateway/tests/edge");
    let redis = RedisServer::start_tls(&files.join("tls-chain.pem"), &files.join("tls-key.pem"));
    let limit = "address = { count = 6, per = \"1h\" }";
    let start = async |ca: &str| {
        let shared = format!("[redis]\nurl = \"{}\"\ntimeout = \"2s\"\n{ca}", redis.tls_url());
        Deployment::builder().settings(&shared).limits(limit).start().await
    };
    let ca = format!("ca_file = {:?}", files.join("tls-chain.pem").display().to_string());
    let (one, two) = (start(&ca).await, start(&ca).await);
    assert_eq!(let_through(&one, 4).await, 4);
    assert_eq!(let_through(&two, 10).await, 2, "they count as one: {}", two.log());
    assert_eq!(metric(&two, "portcullis_redis_up").await, 1);
    // The system's authorities know nothing of that certificate, so nothing is said to it.
    let stranger = start("").await;
    assert_eq!(let_through(&stranger, 10).await, 6, "each by itself");
    assert_eq!(metric(&stranger, "portcullis_redis_up").await, 0);
}

/// Replicas on one PostgreSQL, one Redis, and one folder with the keys.
pub(crate) struct Replicas {
    pub(crate) gates: Vec<Deployment>,
    // Dropped after them.
    _keys: tempfile::TempDir,
    _upstream: Upstream,
    redis: RedisServer,
    _postgres: Server,
}

impl Replicas {
    pub(crate) async fn start(limits: &str) -> Self {
        let (postgres, redis, upstream) =
            (Server::start(), RedisServer::start(), Upstream::start());
        let keys = tempfile::tempdir().unwrap();
        let mut gates = Vec::new();
        for number in 1..=3 {
            let gate = Deployment::builder()
                .replica(&format!("r{number}"))
                .notes(&upstream)
                .file("address", &postgres.url())
                .settings(&shared(&redis))
                .settings("[ledger]\npostgres = { file = \"address\" }")
                .settings("[directory]\npostgres = { file = \"address\" }")
                .settings(&format!("[data]\ndir = \"{}\"", keys.path().join("data").display()))
                .limits(limits);
            gates.push(gate.start().await);
        }
        Self { gates, _keys: keys, _upstream: upstream, redis, _postgres: postgres }
    }
}

async fn list_notes(gate: &Deployment, token: &str) -> u16 {
    let body = json!({ "function": "list_notes", "params": {} });
    let request = gate.request(Method::POST, "/v1/extensions/notes/call").bearer_auth(token);
    gate.send(request.json(&body)).await.status
}

/// Waits until every replica answers so; gives how long it took.
async fn everywhere(gates: &[Deployment], token: &str, status: u16) -> Duration {
    let began = Instant::now();
    for gate in gates {
        loop {
            let answered = list_notes(gate, token).await;
            if answered == status {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{answered}: {}", gate.log());
        }
    }
    began.elapsed()
}

#[tokio::test]
async fn refuse_a_deactivated_user_everywhere_within_a_second() {
    let mut replicas = Replicas::start("").await;
    let [one, two, three] = &replicas.gates[..] else { panic!("three replicas") };
    let (ana, max) = (one.token("ana").await, one.token("max").await);
    let id = one.user_id("ana");
    everywhere(&replicas.gates, &ana, 200).await;
    let switch = async |gate: &Deployment, active: bool| {
        let request = gate.request(Method::PATCH, &format!("/v1/users/{id}")).bearer_auth(&max);
        let answer = gate.send(request.json(&json!({ "is_active": active }))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    // By the API of one replica and of another, by the command, and with nobody to tell the news.
    switch(two, false).await;
    let took = everywhere(&replicas.gates, &ana, 401).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    switch(three, true).await;
    everywhere(&replicas.gates, &ana, 200).await;
    one.must(&["user", "deactivate", &id]);
    let took = everywhere(&replicas.gates, &ana, 401).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    switch(three, true).await;
    everywhere(&replicas.gates, &ana, 200).await;
    replicas.redis.kill();
    switch(&replicas.gates[0], false).await;
    let took = everywhere(&replicas.gates, &ana, 401).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    // Each change has one record, whichever replica carried it.
    let switched = |records: &[Value]| {
        let is_it = |r: &&Value| {
            let action = text(r, "/note/action");
            text(r, "/note/target") == id && ["user.update", "user.set_active"].contains(&action)
        };
        records.iter().filter(is_it).count()
    };
    let began = Instant::now();
    while switched(&replicas.gates[0].records()) < 5 {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", replicas.gates[0].records());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(switched(&replicas.gates[0].records()), 5);
    let verified = replicas.gates[0].verify();
    assert!(verified.whole, "{}", verified.said);
}

#[tokio::test]
async fn enforce_one_limit_as_one_under_load_while_redis_is_killed_and_started() {
    const COUNT: u32 = 60;
    let mut replicas = Replicas::start("user = { count = 60, per = \"6s\" }").await;
    let ana = replicas.gates[0].token("ana").await;
    let through = Arc::new(AtomicU32::new(0));
    // All three at once, for so long that ten times as many could come through.
    let load = async |gates: &[Deployment], time: Duration| {
        through.store(0, Ordering::SeqCst);
        let began = Instant::now();
        let callers = gates.iter().flat_map(|gate| [gate, gate]).map(async |gate| {
            while began.elapsed() < time {
                match list_notes(gate, &ana).await {
                    200 => through.fetch_add(1, Ordering::SeqCst),
                    429 => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        0
                    }
                    other => panic!("{other}: {}", gate.log()),
                };
            }
        });
        futures_util::future::join_all(callers).await;
        (through.load(Ordering::SeqCst), began.elapsed())
    };
    let most = |time: Duration| COUNT + u32::try_from(time.as_millis()).unwrap() / 100 + 1;
    let (with, took) = load(&replicas.gates, Duration::from_secs(3)).await;
    assert!(with <= most(took) && with >= COUNT, "{with} in {took:?}");

    replicas.redis.kill();
    let (without, took) = load(&replicas.gates, Duration::from_secs(3)).await;
    // Each replica by itself: three limits, and not one call more.
    assert!(without <= 3 * most(took), "{without} in {took:?}");

    replicas.redis.restart();
    let began = Instant::now();
    while metric(&replicas.gates[0], "portcullis_redis_up").await == 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", replicas.gates[0].log());
        list_notes(&replicas.gates[0], &ana).await;
    }
    // An empty Redis gives one burst again.
    load(&replicas.gates, Duration::from_secs(2)).await;
    let (again, took) = load(&replicas.gates, Duration::from_secs(3)).await;
    assert!(again <= most(took), "{again} in {took:?}");
    let verified = replicas.gates[0].verify();
    assert!(verified.whole, "{}", verified.said);
}
