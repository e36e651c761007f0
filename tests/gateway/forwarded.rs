//! Behind a load balancer, the gateway takes as the address of the client ...

use harness::{Answer, Deployment, Upstream, json, people::person, text};
use reqwest::{Method, RequestBuilder};

/// The load balancer of these tests is this machine; behind it is another of the operator's.
const TRUSTING: &str = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";

async fn start(server: &str, more: &str) -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    let gate = Deployment::builder().bank(&upstream, "planted-bank-credential");
    let gate = gate.limits("login = { count = 3, per = \"1h\" }");
    let gate = gate.server(server).settings(more);
    (gate.start().await, upstream)
}

fn with(mut request: RequestBuilder, lines: &[&str]) -> RequestBuilder {
    for line in lines {
        request = request.header("x-forwarded-for", *line);
    }
    request
}

/// The address that the record of a stranger's refusal names, which the limits count as well.
async fn recorded(gate: &Deployment, lines: &[&str]) -> String {
    recorded_for(gate, with(call(gate), lines)).await
}

/// A call that nobody has signed.
fn call(gate: &Deployment) -> RequestBuilder {
    let call = gate.request(Method::POST, "/v1/extensions/bank/call");
    call.json(&json!({ "function": "list_invoices", "params": {} }))
}

async fn recorded_for(gate: &Deployment, request: RequestBuilder) -> String {
    let refused = gate.send(request).await;
    assert_eq!(refused.status, 401, "{refused:?}");
    let records = gate.records_of(&refused.op());
    text(&records[0], "/note/peer").to_owned()
}

async fn log_in(gate: &Deployment, lines: &[&str], password: &str) -> Answer {
    let person = person("ana");
    let body = json!({
        "email": person.email(), "password": password, "tenant_id": person.tenant,
    });
    gate.send(with(gate.request(Method::POST, "/v1/auth/login"), lines).json(&body)).await
}

#[tokio::test]
async fn nothing_that_a_stranger_says() {
    // Nobody is trusted, or somebody else is.
    for server in ["", "trusted_proxies = [\"10.0.0.0/8\", \"127.0.0.2\"]"] {
        let (gate, upstream) = start(server, "").await;
        assert_eq!(recorded(&gate, &["203.0.113.5"]).await, "127.0.0.1");
        gate.user_id("ana");
        // Another address each time is the same guesser all the same.
        for n in 1..=3 {
            let refused = log_in(&gate, &[&format!("203.0.113.{n}")], "wrong-password").await;
            assert_eq!(refused.status, 401, "{refused:?}");
        }
        let refused = log_in(&gate, &["203.0.113.9"], "wrong-password").await;
        assert_eq!((refused.status, refused.code()), (429, "RATE_LIMITED"), "{refused:?}");
        let key = gate.api_key("ben", &["bank:read"]);
        let read = gate.request(Method::GET, "/proxy/bank/invoices").header("x-api-key", key);
        assert_eq!(gate.send(with(read, &["203.0.113.5"])).await.status, 200);
        assert_eq!(upstream.seen()[0].header("x-forwarded-for"), "127.0.0.1");
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_adds_and_nothing_left_of_it() {
    let (gate, upstream) = start(TRUSTING, "").await;
    gate.user_id("ana");
    assert_eq!(recorded(&gate, &[]).await, "127.0.0.1");
    assert_eq!(recorded(&gate, &["203.0.113.5"]).await, "203.0.113.5");
    assert_eq!(recorded(&gate, &["198.51.100.9, 203.0.113.5, 10.1.2.3"]).await, "203.0.113.5");
    assert_eq!(recorded(&gate, &["198.51.100.9", "2001:db8::5", "10.1.2.3"]).await, "2001:db8::5");
    // Each client has limits of its own, whatever it wrote before the proxy added its address.
    for n in 1..=3 {
        let lines = [format!("198.51.100.{n}, 203.0.113.5")];
        assert_eq!(log_in(&gate, &[&lines[0]], "wrong-password").await.status, 401);
    }
    let line = "198.51.100.77, 203.0.113.5";
    assert_eq!(log_in(&gate, &[line], "wrong-password").await.status, 429);
    assert_eq!(log_in(&gate, &["203.0.113.6"], &person("ana").password()).await.status, 200);
    let key = gate.api_key("ben", &["bank:read"]);
    let read = gate.request(Method::GET, "/proxy/bank/invoices").header("x-api-key", key);
    assert_eq!(gate.send(with(read, &[line])).await.status, 200);
    assert_eq!(upstream.seen()[0].header("x-forwarded-for"), "203.0.113.5", "and only that");
}

#[tokio::test]
async fn the_last_that_can_be_read_and_bounded_work_for_the_rest() {
    let (gate, _upstream) = start(TRUSTING, "").await;
    for garbage in ["unknown", "", ",", "203.0.113.5,", "for=203.0.113.5", "203.0.113.5 10.1.1.1"] {
        assert_eq!(recorded(&gate, &["203.0.113.5", garbage]).await, "127.0.0.1", "{garbage}");
        let passed_on = ["203.0.113.5", garbage, "10.1.2.3"];
        assert_eq!(recorded(&gate, &passed_on).await, "10.1.2.3", "{garbage}");
    }
    // Another header of the same meaning counts for nothing.
    let other = call(&gate).header("forwarded", "for=203.0.113.5");
    let other = other.header("x-real-ip", "203.0.113.5");
    assert_eq!(recorded_for(&gate, other).await, "127.0.0.1");
    let lines = vec!["10.1.2.3"; 60];
    assert_eq!(recorded(&gate, &[&["203.0.113.5"], &lines[..]].concat()).await, "10.1.2.3");
    let long = "203.0.113.5,".repeat(1_000) + "203.0.113.6";
    assert_eq!(recorded(&gate, &[&long]).await, "203.0.113.6");
    let too_long = "203.0.113.5,".repeat(4_000);
    let request = with(call(&gate), &[&too_long]);
    assert_eq!(gate.send(request).await.status, 431);
}

#[tokio::test]
async fn the_client_of_a_trusted_proxy_for_guesses_too() {
    let identity = "[identity]\nlogin_attempts = 2\nlogin_window = \"1h\"";
    let (gate, _upstream) = start(TRUSTING, identity).await;
    gate.user_id("ana");
    for _ in 0..2 {
        assert_eq!(log_in(&gate, &["203.0.113.5"], "wrong-password").await.status, 401);
    }
    let refused = log_in(&gate, &["203.0.113.5"], &person("ana").password()).await;
    assert_eq!((refused.status, refused.code()), (429, "RATE_LIMITED"), "{refused:?}");
    assert_eq!(refused.header("ratelimit-policy"), "", "not the limit of requests: {refused:?}");
    // Somebody else behind the same proxy signs in all the same.
    assert_eq!(log_in(&gate, &["203.0.113.6"], &person("ana").password()).await.status, 200);
}
