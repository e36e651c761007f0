//! Whoever looks after people, roles and tenants over the API ...

use harness::people::person;
use harness::{Answer, Deployment, Upstream, Value, json};
use reqwest::Method;

use crate::parts::{python, python_of};

async fn send(gate: &Deployment, who: &str, method: Method, path: &str, body: Value) -> Answer {
    let request = gate.signed(who, method, path).await;
    gate.send(if body.is_null() { request } else { request.json(&body) }).await
}

async fn post(gate: &Deployment, who: &str, path: &str, body: Value) -> Answer {
    send(gate, who, Method::POST, path, body).await
}

async fn patch(gate: &Deployment, who: &str, path: &str, body: Value) -> Answer {
    send(gate, who, Method::PATCH, path, body).await
}

async fn delete(gate: &Deployment, who: &str, path: &str) -> Answer {
    send(gate, who, Method::DELETE, path, Value::Null).await
}

fn id(answer: &Answer) -> String {
    answer.body["id"].as_str().unwrap_or_else(|| panic!("no id: {answer:?}")).to_owned()
}

/// A service token of the app `panel` for a person.
async fn service_token(gate: &Deployment, who: &str, scopes: Value) -> String {
    let body = json!({ "app": "panel", "user_id": gate.user_id(who), "scopes": scopes });
    let made = post(gate, "max", "/v1/service-tokens", body).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.body["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn works_with_the_unmodified_sdk_and_a_service_token() {
    let gate = Deployment::builder().start().await;
    let people = json!({
        "admin": { "id": gate.user_id("max"), "token": service_token(&gate, "max", json!(["*"])).await },
        "other": { "id": gate.user_id("ben"), "token": service_token(&gate, "ben", json!(["*"])).await },
        "user": gate.user_id("nil"),
    });
    let args = ["clients/rbac_checks.py", gate.url(), "imp_t_acme"];
    let said = python(&args, &people.to_string()).await;
    let checks: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [roles, users, others] = checks.as_slice() else { panic!("three checks: {said}") };
    assert!(roles["listed"].as_array().unwrap().contains(&json!("clerk")), "{roles}");
    assert_eq!(roles["kept"], json!(["notes:read"]), "who holds the role keeps its scopes");
    assert_eq!(roles["given"], json!(["mail:send", "notes:read"]), "and gets new ones by cascade");
    assert!(roles["held"].as_str().unwrap().contains("somebody holds it"), "{roles}");
    assert_eq!((&roles["gone"]["deleted"], &roles["again"]), (&json!(true), &json!("not found")));
    assert_eq!(users["names"], json!(["cases:read"]));
    assert_eq!(users["email"], "zoe@acme.example");
    assert_eq!(
        (&users["found"], &users["hidden"], &users["shown"]),
        (&json!(1), &json!(0), &json!(1))
    );
    assert_eq!((&users["actions"]["write"], &users["rounds"]), (&json!(true), &json!(7)));
    for name in ["create_role", "list_users", "update", "effective", "somebody_else"] {
        assert_eq!(others[name], "AuthError", "{name}: {others}");
    }
    let verified = gate.verify();
    assert!(verified.whole, "{}", verified.said);
}

#[tokio::test]
async fn works_with_what_the_oldest_sdk_can_ask() {
    let gate = Deployment::builder().start().await;
    let nil = person("nil");
    let people = json!({
        "admin": { "id": gate.user_id("max"), "token": service_token(&gate, "max", json!(["*"])).await },
        "other": { "id": gate.user_id("ben"), "token": service_token(&gate, "ben", json!(["*"])).await },
        "user": gate.user_id("nil"), "email": nil.email(), "password": nil.password(),
    });
    let args = ["clients/rbac_checks_sdk_5.py", gate.url(), "imp_t_acme"];
    let said = python_of("venv-sdk-5", &args, &people.to_string()).await;
    let checks: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [lacks, roles, others] = checks.as_slice() else { panic!("three checks: {said}") };
    // 5.0.1 came before the namespaces: when a later one brings them, the checks of 6.3.7 are to run with it.
    assert_eq!(lacks["namespaces"], json!(["rbac", "users"]));
    assert!(roles["listed"].as_array().unwrap().contains(&json!("clerk")), "{roles}");
    assert_eq!(roles["kept"], json!([false, false]), "who holds the role keeps its scopes");
    assert_eq!(roles["given"], json!([true, true]), "and gets new ones by cascade");
    assert_eq!(roles["effective"], json!(["mail:send", "notes:read"]));
    assert_eq!((&roles["held"], &roles["gone"]), (&json!(409), &json!(200)), "{roles}");
    for name in ["create_role", "list_users", "update", "effective", "somebody_else"] {
        assert_eq!(others[name], 403, "what its AuthError stands for; {name}: {others}");
    }
}

#[tokio::test]
async fn nobody_grants_more_than_they_hold() {
    let gate = Deployment::builder().start().await;
    let (max, ben) = (gate.user_id("max"), gate.user_id("ben"));
    let scopes = json!({ "scopes": ["directory:read", "directory:write", "notes:read"] });
    let given = patch(&gate, "max", &format!("/v1/users/{ben}"), scopes).await;
    assert_eq!(given.status, 200, "{given:?}");
    let nil = gate.user_id("nil");
    let made =
        post(&gate, "ben", "/v1/roles", json!({ "name": "low", "default_scopes": ["notes:read"] }));
    let role = id(&made.await);
    for (path, body) in [
        (format!("/v1/users/{ben}"), json!({ "scopes": ["*"] })),
        (format!("/v1/users/{nil}"), json!({ "scopes": ["notes:write"] })),
        (format!("/v1/users/{nil}"), json!({ "role": "admin" })),
        (format!("/v1/roles/{role}?cascade=true"), json!({ "default_scopes": ["*"] })),
    ] {
        let refused = patch(&gate, "ben", &path, body).await;
        assert_eq!(refused.status, 403, "{path}: {refused:?}");
        assert_eq!(refused.rules(), ["directory/no-more-than-held"], "{path}");
    }
    for (path, body) in [
        ("/v1/users", json!({ "email": "n@acme.example", "role": "admin" })),
        ("/v1/users", json!({ "email": "n@acme.example", "scopes": ["notes:write"] })),
        ("/v1/roles", json!({ "name": "high", "default_scopes": ["notes:*"] })),
        ("/v1/service-tokens", json!({ "app": "panel", "purpose": "system", "scopes": ["*"] })),
    ] {
        let refused = post(&gate, "ben", path, body).await;
        assert_eq!(refused.rules(), ["directory/no-more-than-held"], "{path}: {refused:?}");
    }
    let above = "directory/above-the-caller";
    for body in [json!({ "is_active": false }), json!({ "role": "user" })] {
        let refused = patch(&gate, "ben", &format!("/v1/users/{max}"), body).await;
        assert_eq!(refused.rules(), [above], "{refused:?}");
    }
    let body = json!({ "app": "panel", "user_id": max });
    assert_eq!(post(&gate, "ben", "/v1/service-tokens", body).await.rules(), [above]);
    let body = json!({ "app": "panel", "purpose": "system", "scopes": ["*"] });
    let system = id(&post(&gate, "max", "/v1/service-tokens", body).await);
    let path = format!("/v1/service-tokens/{system}");
    assert_eq!(delete(&gate, "ben", &path).await.rules(), [above]);
}

#[tokio::test]
async fn another_tenants_people_are_out_of_reach() {
    let gate = Deployment::builder().start().await;
    let gil = gate.user_id("gil");
    let path = format!("/v1/users/{gil}");
    for (method, path, body) in [
        (Method::GET, path.clone(), Value::Null),
        (Method::PATCH, path.clone(), json!({ "is_active": false })),
        (Method::DELETE, format!("{path}?permanent=true"), Value::Null),
        (Method::GET, format!("/v1/scopes/effective/{gil}"), Value::Null),
        (
            Method::PATCH,
            format!("/v1/internal/users/{gil}/settings"),
            json!({ "max_tool_rounds": 1 }),
        ),
        (Method::GET, "/v1/tenants".to_owned(), Value::Null),
        (Method::GET, "/v1/tenants/imp_t_globex".to_owned(), Value::Null),
        (
            Method::POST,
            "/v1/tenants".to_owned(),
            json!({ "tenant_id": "imp_t_new", "name": "New" }),
        ),
        (Method::POST, "/v1/service-tokens".to_owned(), json!({ "app": "panel", "user_id": gil })),
    ] {
        let refused = send(&gate, "max", method.clone(), &path, body.clone()).await;
        let record = gate.records_of(&refused.op()).pop().unwrap();
        assert!(
            record["pol"].to_string().contains("tenant/other-tenant"),
            "{method} {path}: {record}"
        );
        if path.starts_with("/v1/tenants") {
            assert_eq!((refused.status, refused.code()), (403, "TENANT_SCOPE_VIOLATION"), "{path}");
            continue;
        }
        // What is not there at all is told in the very same words.
        let other = |text: &str| text.replace(&gil, "imp_u_nobody");
        let body = serde_json::from_str(&other(&body.to_string())).unwrap();
        let absent = send(&gate, "max", method.clone(), &other(&path), body).await;
        assert_eq!(absent.code(), "NOT_FOUND", "{method} {path}");
        let told = |answer: &Answer| {
            let rules = answer.header("x-portcullis-rules").to_owned();
            (answer.status, answer.text(), rules, answer.header("x-portcullis-decision").to_owned())
        };
        assert_eq!(told(&refused), told(&absent), "{method} {path}");
    }
    let token = service_token(&gate, "max", json!(["*"])).await;
    for (header, value) in [
        ("x-acting-user", gil.as_str()),
        ("x-tenant-id", "imp_t_globex"),
        ("x-extension-id", "notes"),
    ] {
        let request = gate.request(Method::GET, "/v1/roles");
        let request = request.header("x-service-token", &token).header(header, value);
        let refused = gate.send(request).await;
        assert_eq!((refused.status, refused.code()), (403, "IDENTITY_MISMATCH"), "{header}");
    }
    let listed = gate.get_as("max", "/v1/users?limit=200").await;
    assert!(!String::from_utf8_lossy(&listed.bytes).contains("globex"), "{listed:?}");
}

#[tokio::test]
async fn a_service_of_the_platform_acts_for_people_of_its_tenant_only() {
    let gate = Deployment::builder().start().await;
    let body = json!({ "app": "panel", "purpose": "system", "scopes": ["directory:read"] });
    let made = post(&gate, "max", "/v1/service-tokens", body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let token = made.body["token"].as_str().unwrap().to_owned();
    let (ben, gil) = (gate.user_id("ben"), gate.user_id("gil"));
    let ask = async |method: Method, path: &str, acting: &str, bearer: bool| {
        let request = gate.request(method, path);
        let request = if bearer {
            request.bearer_auth(&token)
        } else {
            request.header("x-service-token", &token)
        };
        let named = !acting.is_empty();
        gate.send(if named { request.header("x-acting-user", acting) } else { request }).await
    };
    for bearer in [true, false] {
        for acting in ["", ben.as_str()] {
            let listed = ask(Method::GET, "/v1/users", acting, bearer).await;
            assert_eq!(listed.status, 200, "{acting}: {listed:?}");
        }
        for acting in [gil.as_str(), "imp_u_none", "__system__"] {
            let refused = ask(Method::GET, "/v1/users", acting, bearer).await;
            assert_eq!((refused.status, refused.code()), (403, "IDENTITY_MISMATCH"), "{acting}");
        }
    }
    let me = ask(Method::GET, "/v1/auth/me", "", false).await;
    assert_eq!((me.status, &me.body["imperal_id"]), (200, &json!("__system__")), "{me:?}");
    assert_eq!(
        (&me.body["role"], &me.body["scopes"]),
        (&json!("service"), &json!(["directory:read"]))
    );
    let me = ask(Method::GET, "/v1/auth/me", &ben, false).await;
    assert_eq!((me.status, &me.body["imperal_id"]), (200, &json!(ben)), "{me:?}");
    let path = format!("/v1/users/{ben}");
    let refused = ask(Method::DELETE, &path, &gate.user_id("max"), false).await;
    // Whomever it acts for: what it may do is what its own token says.
    assert_eq!(refused.rules(), ["directory/above-the-caller", "rbac/scope-missing"]);
    let revoked = delete(&gate, "max", &format!("/v1/service-tokens/{}", id(&made))).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert_eq!(ask(Method::GET, "/v1/users", "", false).await.status, 401);
}

#[tokio::test]
async fn a_service_token_ends_on_its_day_and_reaches_no_secret() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().vaulty(&upstream).start().await;
    let short = json!({ "app": "panel", "user_id": gate.user_id("ben"), "expires_in": 1 });
    let made = post(&gate, "max", "/v1/service-tokens", short).await;
    let ask = async |token: &str, path: &str| {
        gate.send(gate.request(Method::GET, path).header("x-service-token", token)).await
    };
    let token = made.body["token"].as_str().unwrap().to_owned();
    let began = std::time::Instant::now();
    while ask(&token, "/v1/roles").await.status != 401 {
        assert!(began.elapsed().as_secs() < 20, "it outlives its day");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let body = json!({ "app": "vaulty", "user_id": gate.user_id("sue"), "scopes": ["*"] });
    let made = post(&gate, "max", "/v1/service-tokens", body).await;
    let token = made.body["token"].as_str().unwrap().to_owned();
    let refused = ask(&token, "/v1/secrets/vaulty/api_key").await;
    assert_eq!(refused.rules(), ["secrets/value-for-its-app-only"], "{refused:?}");
}

#[tokio::test]
async fn a_tenant_that_is_named_along_must_be_ones_own() {
    let gate = Deployment::builder().start().await;
    let max = gate.user_id("max");
    let path = |tenant: &str| format!("/v1/internal/users/{max}/settings?tenant_id={tenant}");
    for tenant in ["imp_t_acme", "default"] {
        assert_eq!(gate.get_as("max", &path(tenant)).await.status, 200, "{tenant}");
    }
    let refused = gate.get_as("max", &path("imp_t_globex")).await;
    assert_eq!((refused.status, refused.code()), (403, "IDENTITY_MISMATCH"), "{refused:?}");
    let scope = json!({ "resource": "a", "action": "b", "tenant_id": "imp_t_globex" });
    assert_eq!(post(&gate, "max", "/v1/scopes", scope).await.code(), "IDENTITY_MISMATCH");
}

#[tokio::test]
async fn what_does_not_fit_leaves_nothing_behind() {
    let gate = Deployment::builder().start().await;
    let zoe = |more: Value| {
        let mut body = json!({ "email": "zoe@acme.example" });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        body
    };
    for more in [json!({ "agency_id": "imp_a_none" }), json!({ "password": 12345678 })] {
        let refused = post(&gate, "max", "/v1/users", zoe(more.clone())).await;
        assert!((400..500).contains(&refused.status), "{more}: {refused:?}");
    }
    let role = json!({ "name": "clerk", "default_attributes": { "floor": 3 } });
    assert_eq!(post(&gate, "max", "/v1/roles", role).await.status, 201);
    let made = post(&gate, "max", "/v1/users", zoe(json!({ "role": "clerk" }))).await;
    assert_eq!((made.status, &made.body["attributes"]), (201, &json!({ "floor": 3 })), "{made:?}");
    let password = json!({ "password": "planted-password-of-zoe" });
    let refused = patch(&gate, "max", &format!("/v1/users/{}", id(&made)), password).await;
    assert_eq!(refused.status, 422, "a member that is not known is not dropped: {refused:?}");
    let odd = delete(&gate, "max", &format!("/v1/users/{}?permanent=yes", id(&made))).await;
    assert_eq!(odd.status, 400, "{odd:?}");
    assert_eq!(
        gate.get_as("max", &format!("/v1/users/{}", id(&made))).await.body["is_active"],
        true
    );
    let settings = json!({ "smtp": { "password": "planted-password-of-smtp" } });
    let agency = post(&gate, "max", "/v1/agencies", json!({ "name": "a" })).await;
    let path = format!("/v1/agencies/{}/settings", id(&agency));
    let refused = send(&gate, "max", Method::PUT, &path, settings).await;
    assert_eq!(refused.code(), "VALIDATION_TYPE_ERROR", "{refused:?}");
    assert_eq!(refused.rules(), [""; 0], "it came to no decision, so nothing of it was kept");
}

#[tokio::test]
async fn tells_what_is_not_there_what_is_taken_and_what_does_not_fit() {
    let gate = Deployment::builder().start().await;
    gate.user_id("ana");
    let zoe = json!({ "email": "zoe@acme.example", "password": "planted-password-of-zoe" });
    assert_eq!(post(&gate, "max", "/v1/users", zoe.clone()).await.status, 201);
    let again = post(&gate, "max", "/v1/users", zoe).await;
    assert_eq!((again.status, again.code()), (409, "CONFLICT"), "a retry makes no second user");
    for (method, path, body, wanted) in [
        (Method::GET, "/v1/users/imp_u_none", Value::Null, (404, "NOT_FOUND")),
        (Method::GET, "/v1/users/..%2Fx", Value::Null, (400, "MALFORMED_REQUEST")),
        (Method::GET, "/v1/users/a'b", Value::Null, (404, "NOT_FOUND")),
        (Method::GET, "/v1/users?limt=3", Value::Null, (422, "VALIDATION_TYPE_ERROR")),
        (Method::POST, "/v1/users", json!({ "role": "user" }), (422, "VALIDATION_MISSING_FIELD")),
        (Method::POST, "/v1/users", json!({ "email": "no" }), (422, "VALIDATION_TYPE_ERROR")),
        (
            Method::POST,
            "/v1/users",
            json!({ "email": "x@y.example", "admin": true }),
            (422, "VALIDATION_TYPE_ERROR"),
        ),
        (
            Method::POST,
            "/v1/users",
            json!({ "email": "x@y.example", "role": "none" }),
            (404, "NOT_FOUND"),
        ),
        (
            Method::POST,
            "/v1/users",
            json!({ "email": "x@y.example", "password": "short" }),
            (422, "VALIDATION_TYPE_ERROR"),
        ),
        (Method::POST, "/v1/users", json!([]), (400, "MALFORMED_BODY")),
        (Method::POST, "/v1/roles", json!({ "name": "editor" }), (409, "CONFLICT")),
        (Method::POST, "/v1/roles", json!({ "name": "New Role" }), (422, "VALIDATION_TYPE_ERROR")),
        (
            Method::POST,
            "/v1/scopes",
            json!({ "resource": "a", "action": "b c" }),
            (422, "VALIDATION_TYPE_ERROR"),
        ),
        (
            Method::POST,
            "/v1/agencies",
            json!({ "name": "a", "settings": { "token": "x" } }),
            (422, "VALIDATION_TYPE_ERROR"),
        ),
    ] {
        let refused = send(&gate, "max", method.clone(), path, body.clone()).await;
        assert_eq!((refused.status, refused.code()), wanted, "{method} {path} {body}: {refused:?}");
    }
    assert!(!gate.log().contains("planted-password"), "a password is in the log");
}

#[tokio::test]
async fn a_person_who_is_switched_off_is_out_at_once_and_one_who_is_removed_for_good_asks_first() {
    let gate = Deployment::builder().start().await;
    let (amy, key) = (gate.user_id("amy"), gate.api_key("amy", &["*"]));
    let service = service_token(&gate, "amy", json!(["*"])).await;
    assert_eq!(gate.get_as("amy", "/v1/auth/me").await.status, 200);
    assert_eq!(delete(&gate, "max", &format!("/v1/users/{amy}")).await.status, 200);
    assert_eq!(gate.get_as("amy", "/v1/auth/me").await.status, 401);
    for (header, value) in [("x-api-key", &key), ("x-service-token", &service)] {
        let request = gate.request(Method::GET, "/v1/auth/me").header(header, value);
        assert_eq!(gate.send(request).await.status, 401, "{header}");
    }
    let asked = delete(&gate, "max", &format!("/v1/users/{amy}?permanent=true")).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let confirm = format!("/v1/confirmations/{}/confirm", asked.confirmation());
    let done = post(&gate, "max", &confirm, Value::Null).await;
    assert_eq!(done.status, 200, "{done:?}");
    let found = gate.get_as("max", "/v1/users?include_inactive=true&search=amy").await;
    assert_eq!(found.body["users"], json!([]), "nothing of the person is left to be found");
    for body in [json!({ "is_active": true }), json!({ "role": "admin" })] {
        let gone = patch(&gate, "max", &format!("/v1/users/{amy}"), body).await;
        assert_eq!((gone.status, gone.code()), (404, "NOT_FOUND"), "nobody comes back: {gone:?}");
    }
    let back = gate.portcullis(&["user", "activate", &amy]);
    assert!(!back.status.success(), "not by the command either: {back:?}");
    let max = gate.user_id("max");
    let refused = delete(&gate, "max", &format!("/v1/users/{max}?permanent=true")).await;
    assert!(refused.rules().contains(&"directory/not-oneself"), "{refused:?}");
}

#[tokio::test]
async fn everybody_looks_after_their_own_account_and_no_program_does() {
    let gate = Deployment::builder().start().await;
    let made =
        post(&gate, "nil", "/v1/keys", json!({ "name": "laptop", "scopes": "notes:read" })).await;
    assert_eq!(made.status, 201, "{made:?}");
    let key = made.body["key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("imp_live_") && key.len() == 41, "{key}");
    let request = || gate.request(Method::GET, "/v1/keys").header("x-api-key", &key);
    let refused = gate.send(request()).await;
    assert_eq!(refused.rules(), ["account/programs-keep-out"], "{refused:?}");
    let listed = gate.get_as("nil", "/v1/keys").await;
    assert_eq!(listed.body[0]["name"], "laptop");
    assert_eq!(listed.body[0]["scopes"], "notes:read");
    assert!(!String::from_utf8_lossy(&listed.bytes).contains(&key), "its text is shown once");
    let foreign = delete(&gate, "ben", &format!("/v1/keys/{}", id(&made))).await;
    assert_eq!((foreign.status, foreign.code()), (404, "NOT_FOUND"), "somebody else's key");
    assert_eq!(delete(&gate, "nil", &format!("/v1/keys/{}", id(&made))).await.status, 200);
    assert_eq!(gate.send(request()).await.status, 401, "a revoked key");

    let named =
        send(&gate, "nil", Method::PUT, "/v1/me/nickname", json!({ "nickname": "Nilly" })).await;
    assert_eq!(named.body, json!({ "nickname": "Nilly" }), "{named:?}");
    assert_eq!(gate.get_as("nil", "/v1/me/nickname").await.body["nickname"], "Nilly");
    let own = gate.get_as("nil", &format!("/v1/scopes/effective/{}", gate.user_id("nil"))).await;
    assert_eq!((own.status, &own.body["scopes"]), (200, &json!([])), "{own:?}");
    let other = gate.get_as("nil", &format!("/v1/scopes/effective/{}", gate.user_id("ana"))).await;
    assert_eq!(other.rules(), ["rbac/scope-missing"], "{other:?}");
    assert!(gate.get_as("nil", "/v1/roles").await.body.is_array());
}

#[tokio::test]
async fn careful_people_confirm_changes_of_the_directory_too() {
    let gate = Deployment::builder().start().await;
    let on = json!({ "confirmation_enabled": true });
    assert_eq!(patch(&gate, "max", "/v1/me/settings", on).await.status, 200);
    let asked = post(&gate, "max", "/v1/roles", json!({ "name": "clerk" })).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    assert!(!gate.get_as("max", "/v1/roles").await.body.to_string().contains("clerk"));
    let confirm = format!("/v1/confirmations/{}/confirm", asked.confirmation());
    assert_eq!(post(&gate, "max", &confirm, Value::Null).await.status, 200);
    assert!(gate.get_as("max", "/v1/roles").await.body.to_string().contains("clerk"));
    let body = json!({ "email": "zoe@acme.example", "password": "planted-password-of-zoe" });
    let refused = post(&gate, "max", "/v1/users", body).await;
    assert_eq!((refused.status, refused.code()), (403, "NOT_CONFIRMABLE"), "{refused:?}");
}

#[tokio::test]
async fn every_change_is_in_the_ledger_with_who_made_it() {
    let gate = Deployment::builder().start().await;
    let made = post(&gate, "max", "/v1/roles", json!({ "name": "clerk" })).await;
    let records = gate.settled(&made.op(), 2).await;
    assert_eq!(records[0]["tool"]["name"], "create_role", "{records:?}");
    let admin = gate.wait_for_admin("role.create", &id(&made)).await;
    assert_eq!(admin["note"]["actor"], json!(format!("user:{}", gate.user_id("max"))), "{admin}");
    let refused = post(&gate, "ben", "/v1/roles", json!({ "name": "high" })).await;
    let records = gate.settled(&refused.op(), 1).await;
    assert_eq!(records[0]["res"]["status"], "refused", "{records:?}");
}

#[tokio::test]
async fn an_app_that_is_switched_off_does_nothing_in_the_persons_name() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let list = || gate.call("ana", "notes", "list_notes", json!({}));
    assert_eq!(list().await.status, 200);
    let off = json!({ "app_id": "notes" });
    let done = post(&gate, "ana", "/v1/me/extensions/disable", off.clone()).await;
    assert_eq!((done.status, &done.body["enabled"]), (200, &json!(false)), "{done:?}");
    let key = gate.api_key("ana", &["notes:read"]);
    let by_key = gate.request(Method::POST, "/v1/extensions/notes/call").header("x-api-key", &key);
    let by_key = gate.send(by_key.json(&json!({ "function": "list_notes", "params": {} }))).await;
    for refused in [list().await, by_key] {
        assert_eq!(
            (refused.status, refused.rules()),
            (403, vec!["apps/switched-off"]),
            "{refused:?}"
        );
    }
    let shown = gate.get_as("ana", "/v1/me/extensions").await;
    let notes = json!({ "app_id": "notes", "name": shown.body[0]["name"], "enabled": false });
    assert_eq!(shown.body, json!([notes]), "{shown:?}");
    assert_eq!(
        gate.call("amy", "notes", "list_notes", json!({})).await.status,
        200,
        "others go on"
    );
    let on = delete(&gate, "ana", "/v1/me/extensions/disable/notes").await;
    assert_eq!(on.status, 200, "{on:?}");
    assert_eq!(list().await.status, 200);

    let ana = gate.user_id("ana");
    let by_admin = format!("/v1/users/{ana}/extensions/disable");
    assert_eq!(post(&gate, "ben", &by_admin, off.clone()).await.status, 403);
    assert_eq!(post(&gate, "gil", &by_admin, off.clone()).await.code(), "NOT_FOUND");
    assert_eq!(post(&gate, "max", &by_admin, off).await.status, 200);
    assert_eq!(list().await.rules(), ["apps/switched-off"]);
    gate.wait_for_admin("user.app_off", &ana).await;
    let own = post(&gate, "ana", "/v1/me/extensions/disable", json!({ "app_id": "account" })).await;
    assert_eq!((own.status, own.code()), (409, "CONFLICT"), "{own:?}");
}
