//! The gateway throttles ..., by the limits of its configuration.

use harness::{Answer, Deployment, Upstream, json, people::person, text};
use reqwest::Method;

/// The answer says which limit was reached, in the words that clients know.
fn over(answer: &Answer, rule: &str) {
    assert_eq!((answer.status, answer.code()), (429, "RATE_LIMITED"), "{answer:?}");
    assert_eq!(answer.body["i18n_key"], "errors.rate_limited");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    let named = format!("\"{rule}\";");
    assert!(answer.header("ratelimit-policy").starts_with(&named), "{answer:?}");
    assert_eq!(answer.header("ratelimit"), format!("{named}r=0;t={wait}"));
}

#[tokio::test]
async fn sign_ins_of_an_address_at_either_door_before_a_password_is_looked_at() {
    let gate = Deployment::builder().limits("login = { count = 3, per = \"1h\" }").start().await;
    gate.user_id("ana");
    for _ in 0..3 {
        let body = person("ana");
        assert_eq!(gate.log_in(&body, &body.password()).await.status, 200);
    }
    over(&gate.log_in(&person("ana"), &person("ana").password()).await, "login");
    // A body that nobody can read costs the same.
    let junk = gate.request(Method::POST, "/v1/auth/login").body("{");
    over(&gate.send(junk).await, "login");
    let page = gate.request(Method::POST, "/signin").body("email=x");
    let page = gate.send(page).await;
    assert_eq!(page.status, 429, "{page:?}");
    assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
    // The form itself, and every other door, are still open.
    assert_eq!(gate.get("/signin").await.status, 200);
    assert_eq!(gate.get("/v1/auth/me").await.status, 401);
}

#[tokio::test]
async fn everything_of_an_address_but_what_machines_need_to_watch_and_to_verify() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream);
    // The harness itself looks at `/healthz`.
    let gate = gate.limits("address = { count = 4, per = \"1h\" }").start().await;
    gate.token("ana").await;
    let known = gate.call("ana", "notes", "list_notes", json!({})).await;
    assert_eq!(known.status, 200, "{known:?}");
    assert_eq!(gate.get("/nowhere").await.status, 404);
    assert_eq!(gate.get("/v1/auth/me").await.status, 401);
    // A good credential does not help: nobody looks at it.
    over(&gate.call("ana", "notes", "list_notes", json!({})).await, "address");
    for path in ["/nowhere", "/v1/auth/me", "/openapi.json", "/proxy/bank/invoices"] {
        over(&gate.get(path).await, "address");
    }
    over(&gate.send(gate.request(Method::POST, "/mcp")).await, "address");
    for path in ["/healthz", "/readyz", "/metrics", "/v1/auth/.well-known/jwks.json"] {
        for _ in 0..10 {
            assert_eq!(gate.get(path).await.status, 200, "{path}");
        }
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_user_however_many_credentials_and_not_the_next_one() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream);
    let gate = gate.limits("user = { count = 3, per = \"1h\" }").start().await;
    let key = gate.api_key("ana", &["notes:read"]);
    let (ana, amy) = (gate.token("ana").await, gate.token("amy").await);
    let body = json!({ "function": "list_notes" });
    let call = || gate.request(Method::POST, "/v1/extensions/notes/call").json(&body);
    for request in [call().bearer_auth(&ana), call().header("x-api-key", &key)] {
        let answer = gate.send(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // What only looks counts as well.
    assert_eq!(
        gate.send(gate.request(Method::GET, "/v1/auth/me").bearer_auth(&ana)).await.status,
        200
    );
    for request in [call().bearer_auth(&ana), call().header("x-api-key", &key)] {
        let answer = gate.send(request).await;
        over(&answer, "user");
        let records = gate.records_of(&answer.op());
        assert_eq!(text(&records[0], "/res/error"), "rate_limited");
        assert_eq!(text(&records[0], "/note/limit"), "user");
    }
    assert_eq!(gate.send(call().bearer_auth(&amy)).await.status, 200);
    assert_eq!(upstream.seen().len(), 3);
}

#[tokio::test]
async fn a_tool_of_a_tenant_and_neither_its_other_tools_nor_another_tenant() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream);
    let gate = gate.limits("tool = { count = 2, per = \"1h\" }").start().await;
    let list = async |user: &str| gate.call(user, "notes", "list_notes", json!({})).await;
    for user in ["ana", "ben"] {
        assert_eq!(list(user).await.status, 200);
    }
    over(&list("amy").await, "tool");
    assert_eq!(list("gil").await.status, 200);
    let other = gate.call("ana", "notes", "create_note", json!({ "title": "Milk" })).await;
    assert_eq!(other.status, 200, "{other:?}");
    assert_eq!(upstream.seen().len(), 4);
}

#[tokio::test]
async fn a_tenant_over_all_of_its_people() {
    let gate = Deployment::builder().limits("tenant = { count = 2, per = \"1h\" }").start().await;
    for user in ["ana", "ben"] {
        assert_eq!(gate.get_as(user, "/v1/auth/me").await.status, 200);
    }
    over(&gate.get_as("amy", "/v1/auth/me").await, "tenant");
    assert_eq!(gate.get_as("gil", "/v1/auth/me").await.status, 200);
}

#[tokio::test]
async fn keys_refreshes_and_looks_at_oneself_by_user() {
    let limits = "keys = { count = 1, per = \"1h\" }\nme = { count = 1, per = \"1h\" }\n\
                  refresh = { count = 1, per = \"1h\" }";
    let gate = Deployment::builder().limits(limits).start().await;
    for (path, rule) in [("/v1/keys", "keys"), ("/v1/auth/me", "me")] {
        assert_eq!(gate.get_as("ana", path).await.status, 200, "{path}");
        over(&gate.get_as("ana", path).await, rule);
        assert_eq!(gate.get_as("amy", path).await.status, 200, "{path}");
    }
    let pair = gate.log_in(&person("ana"), &person("ana").password()).await;
    let refresh = async |pair: &Answer| {
        let body = json!({ "refresh_token": pair.body["refresh_token"] });
        gate.send(gate.request(Method::POST, "/v1/auth/refresh").json(&body)).await
    };
    let second = refresh(&pair).await;
    assert_eq!(second.status, 200, "{second:?}");
    // Over the limit the token is not spent, so that the session is not lost: used twice, it would be 401.
    over(&refresh(&second).await, "refresh");
    over(&refresh(&second).await, "refresh");
}

#[tokio::test]
async fn mcp_messages_once_each_and_says_so_in_words_for_a_model() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream);
    let gate = gate.limits("user = { count = 2, per = \"1h\" }").start().await;
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "notes__list_notes", "arguments": {} },
    });
    let send = async || {
        let request = gate.signed("ana", Method::POST, "/mcp").await;
        let accept = "application/json, text/event-stream";
        gate.send(request.header("accept", accept).json(&message)).await
    };
    for _ in 0..2 {
        let answer = send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    over(&send().await, "user");
    assert_eq!(upstream.seen().len(), 2);
}

#[tokio::test]
async fn a_flood_is_counted_and_fills_no_ledger() {
    let gate = Deployment::builder().limits("address = { count = 1, per = \"1h\" }").start().await;
    assert_eq!(gate.get("/nowhere").await.status, 404);
    let began = std::time::Instant::now();
    for _ in 0..300 {
        over(&gate.get("/nowhere").await, "address");
    }
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 2;
    let records = gate.records();
    let limited = records.iter().filter(|r| text(r, "/res/error") == "rate_limited").count();
    assert!((1..=10 * seconds).contains(&limited), "{limited} records in {seconds} s");
    let metrics = gate.get("/metrics").await.text();
    let counted = "portcullis_rate_limited_total{rule=\"address\"} 300";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
}

#[tokio::test]
async fn a_tool_and_counts_no_call_that_the_rules_refuse() {
    let upstream = Upstream::start();
    let limits = "tool = { count = 2, per = \"1h\" }\napp = { count = 2, per = \"1h\" }";
    let gate = Deployment::builder().notes(&upstream).limits(limits).start().await;
    let create =
        async |who: &str| gate.call(who, "notes", "create_note", json!({ "title": "x" })).await;
    for _ in 0..6 {
        let refused = create("ben").await;
        assert_eq!((refused.status, refused.code()), (403, "PERMISSION_DENIED"), "{refused:?}");
    }
    for _ in 0..2 {
        assert_eq!(create("ana").await.status, 200, "her tenant's share is whole");
    }
    assert_eq!(create("ana").await.status, 429);
    // Who may not call it is told so still, and nothing of the limit.
    assert_eq!(create("ben").await.status, 403);
}
