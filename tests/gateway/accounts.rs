//! A person with an account of their own ...

use harness::{Answer, Deployment, Value, json, person};
use reqwest::Method;

const OPEN: &str = "[identity]\nregistration = [\"default\"]\n";

async fn post(gate: &Deployment, path: &str, body: Value) -> Answer {
    gate.send(gate.request(Method::POST, path).json(&body)).await
}

fn zoe() -> Value {
    json!({ "email": "Zoe@example.org", "password": "planted-password-of-zoe" })
}

#[tokio::test]
async fn registers_where_the_operator_opened_a_tenant_and_nowhere_else() {
    let gate = Deployment::builder().settings(OPEN).start().await;
    gate.must(&["tenant", "create", "Default", "--id", "default"]);
    let made = post(&gate, "/v1/auth/register", zoe()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let token = made.body["access_token"].as_str().unwrap();
    let request = gate.request(Method::GET, "/v1/auth/me").bearer_auth(token);
    let me = gate.send(request).await;
    assert_eq!((&me.body["email"], &me.body["role"]), (&json!("zoe@example.org"), &json!("user")));
    assert_eq!(post(&gate, "/v1/auth/register", zoe()).await.code(), "CONFLICT");
    gate.user_id("ana");
    for tenant in ["imp_t_acme", "imp_t_none", "x/y", ""] {
        let body = json!({ "email": "a@b.example", "password": "12345678", "tenant_id": tenant });
        let refused = post(&gate, "/v1/auth/register", body).await;
        assert_eq!((refused.status, refused.code()), (403, "REGISTRATION_CLOSED"), "{tenant}");
    }
    let short = json!({ "email": "a@b.example", "password": "1234567" });
    assert_eq!(post(&gate, "/v1/auth/register", short).await.status, 422);
    let closed = Deployment::builder().start().await;
    assert_eq!(post(&closed, "/v1/auth/register", zoe()).await.code(), "REGISTRATION_CLOSED");
}

#[tokio::test]
async fn makes_no_more_accounts_from_one_address_than_the_limit_allows() {
    let limit = "register = { count = 3, per = \"1h\" }";
    let gate = Deployment::builder().settings(OPEN).limits(limit).start().await;
    gate.must(&["tenant", "create", "Default", "--id", "default"]);
    let made = async |n: u32| {
        let body = json!({ "email": format!("p{n}@example.org"), "password": "12345678" });
        post(&gate, "/v1/auth/register", body).await
    };
    for n in 0..3 {
        assert_eq!(made(n).await.status, 201);
    }
    let refused = made(3).await;
    assert_eq!((refused.status, refused.code()), (429, "RATE_LIMITED"), "{refused:?}");
    assert!(!refused.header("retry-after").is_empty());
}

#[tokio::test]
async fn signs_out_and_the_session_is_over() {
    let gate = Deployment::builder().start().await;
    gate.user_id("ana");
    let session = gate.log_in(&person("ana"), &person("ana").password()).await;
    let refresh = json!({ "refresh_token": session.body["refresh_token"] });
    for _ in 0..2 {
        assert_eq!(post(&gate, "/v1/auth/logout", refresh.clone()).await.status, 200);
    }
    assert_eq!(post(&gate, "/v1/auth/refresh", refresh).await.status, 401);
}

#[tokio::test]
async fn changes_the_password_and_every_session_ends() {
    let gate = Deployment::builder().start().await;
    gate.user_id("ana");
    let session = gate.log_in(&person("ana"), &person("ana").password()).await;
    let change = async |current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        let request = gate.signed("ana", Method::POST, "/v1/auth/me/change-password").await;
        gate.send(request.json(&body)).await
    };
    let wrong = change("planted-password-of-ben", "planted-password-new").await;
    assert_eq!((wrong.status, wrong.code()), (403, "WRONG_PASSWORD"), "{wrong:?}");
    assert_eq!(change(&person("ana").password(), "short").await.status, 422);
    assert_eq!(change(&person("ana").password(), "planted-password-new").await.status, 200);
    let refresh = json!({ "refresh_token": session.body["refresh_token"] });
    assert_eq!(post(&gate, "/v1/auth/refresh", refresh).await.status, 401);
    assert_eq!(gate.log_in(&person("ana"), &person("ana").password()).await.status, 401);
    assert_eq!(gate.log_in(&person("ana"), "planted-password-new").await.status, 200);
    let key = gate.api_key("ben", &["*"]);
    let body =
        json!({ "current_password": person("ben").password(), "new_password": "planted-new" });
    let request = gate.request(Method::POST, "/v1/auth/me/change-password");
    let refused = gate.send(request.header("x-api-key", key).json(&body)).await;
    assert_eq!((refused.status, refused.code()), (403, "WRONG_PASSWORD"), "no key changes it");
}
