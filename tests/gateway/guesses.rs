//! Guesses of passwords, and what programs ask for before anybody has signed them in ...

use harness::{Answer, Deployment, RedisServer, json, people::person};
use reqwest::Method;

const FEW: &str = "[identity]\nlogin_attempts = 3\nlogin_window = \"1h\"";

/// A replica that shares nothing but a Redis; who asks is what the header says.
async fn replica(redis: &RedisServer) -> Deployment {
    let shared = format!("[redis]\nurl = \"{}\"", redis.url());
    let gate = Deployment::builder().server("trusted_proxies = [\"127.0.0.0/8\"]");
    let gate = gate.settings(FEW).settings(&shared).start().await;
    gate.user_id("ana");
    gate
}

async fn guess(gate: &Deployment, from: &str, name: &str, password: &str) -> Answer {
    let person = person(name);
    let body = json!({ "email": person.email(), "password": password, "tenant_id": person.tenant });
    let request = gate.request(Method::POST, "/v1/auth/login").header("x-forwarded-for", from);
    gate.send(request.json(&body)).await
}

/// How many of these guesses are looked at.
async fn looked_at(gates: &[&Deployment], name: &str, from: impl Iterator<Item = String>) -> u32 {
    let mut through = 0;
    for (n, from) in from.enumerate() {
        let answer = guess(gates[n % gates.len()], &from, name, "wrong-password").await;
        match answer.status {
            401 => through += 1,
            429 => assert!(!answer.header("retry-after").is_empty(), "{answer:?}"),
            _ => panic!("{answer:?}"),
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
async fn spread_over_replicas_are_bounded_as_one_and_by_each_while_redis_is_away() {
    let mut redis = RedisServer::start();
    let (one, two) = (replica(&redis).await, replica(&redis).await);
    let both = [&one, &two];
    let same = |count: usize| std::iter::repeat_n("203.0.113.1".to_owned(), count);
    let each = |from: u8, count: u8| (from..from + count).map(|n| format!("203.0.113.{n}"));
    assert_eq!(looked_at(&both, "ana", same(8)).await, 3, "one address");
    assert_eq!(looked_at(&both, "ana", each(2, 20)).await, 3 * 4 - 3, "one account");
    // Not even the right password is looked at any more, from wherever; other accounts are let in.
    let right = guess(&two, "203.0.113.99", "ana", &person("ana").password()).await;
    assert_eq!((right.status, right.code()), (429, "RATE_LIMITED"), "{right:?}");
    one.user_id("ben");
    let other = guess(&one, "203.0.113.99", "ben", &person("ben").password()).await;
    assert_eq!(other.status, 200, "{other:?}");
    // Who signs in uses nothing up, at any replica.
    for _ in 0..10 {
        let again = guess(&one, "203.0.113.99", "ben", &person("ben").password()).await;
        assert_eq!(again.status, 200, "{again:?}");
    }
    let refused = "portcullis_guesses_refused_total{what=\"sign-in\"}";
    assert!(metric(&one, refused).await > 0);

    redis.kill();
    let alone = "portcullis_guesses_local_total{what=\"sign-in\"}";
    let before = metric(&one, alone).await;
    for gate in both {
        let same = std::iter::repeat_n("203.0.113.200".to_owned(), 6);
        assert_eq!(looked_at(&[gate], "amy", same).await, 3, "each by itself, and never unlimited");
    }
    assert!(metric(&one, alone).await > before, "{}", one.log());
    assert!(one.log().contains("Redis does not answer"), "{}", one.log());
    // An empty Redis opens nothing that a replica has seen closed.
    redis.restart();
    let same = std::iter::repeat_n("203.0.113.200".to_owned(), 6);
    assert_eq!(looked_at(&both, "amy", same).await, 0);
}

#[tokio::test]
async fn of_programs_that_register_or_ask_for_a_device_code_are_bounded_over_replicas() {
    let redis = RedisServer::start();
    let (one, two) = (replica(&redis).await, replica(&redis).await);
    let ask = async |gate: &Deployment, path: &str, from: &str| {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let body = json!({
            "redirect_uris": ["http://127.0.0.1/cb"], "client_name": "x",
            "code_challenge": challenge, "code_challenge_method": "S256",
        });
        let request = gate.request(Method::POST, path).header("x-forwarded-for", from);
        gate.send(request.json(&body)).await.status
    };
    let (register, device) = ("/v1/oauth/register", "/v1/auth/cli/device/authorize");
    for n in 0..15 {
        assert_eq!(ask(&one, register, "203.0.113.1").await, 201, "{n}");
        assert_eq!(ask(&two, device, "203.0.113.1").await, 200, "{n}");
    }
    for gate in [&one, &two] {
        for path in [register, device] {
            assert_eq!(ask(gate, path, "203.0.113.1").await, 429, "{path}");
        }
    }
    assert_eq!(ask(&one, register, "203.0.113.2").await, 201, "another address");
}
