//! As the authorization server of MCP clients, the gateway ...

mod attacks;
mod browser;
mod client;
mod elicits;
mod fresh;
mod limits;
mod races;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::people::person;
use harness::{Answer, Deployment, Upstream, Value, json, text};
use reqwest::Method;
use sha2::{Digest as _, Sha256};

use crate::parts::python;
use crate::walker::{Walker, encoded, filled, hidden};
use client::{CALLBACK, Client, VERIFIER, challenge};

async fn gate() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    (Deployment::builder().notes(&upstream).start().await, upstream)
}

/// A tool call at `/mcp` with an access token.
async fn create_note(gate: &Deployment, token: &str) -> Answer {
    call_tool(gate, token, "notes__create_note", json!({ "title": "milk" })).await
}

async fn call_tool(gate: &Deployment, token: &str, tool: &str, arguments: Value) -> Answer {
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": tool, "arguments": arguments },
    });
    let request = gate.request(Method::POST, "/mcp").bearer_auth(token);
    gate.send(request.header("accept", "application/json, text/event-stream").json(&body)).await
}

fn is_done(answer: &Answer) -> bool {
    answer.status == 200 && answer.body["result"]["isError"] != json!(true)
}

#[tokio::test]
async fn takes_a_real_client_from_nothing_but_an_address_to_an_authorised_call() {
    let (gate, upstream) = gate().await;
    gate.user_id("ana");
    let plan = |decision: &str| {
        let ana = person("ana");
        json!({
            "url": format!("{}/mcp", gate.url()), "tenant": ana.tenant, "email": ana.email(),
            "password": ana.password(), "decision": decision,
            "tool": "notes__create_note", "arguments": { "title": "milk" },
        })
    };
    let said = python(&["clients/mcp_oauth.py"], &plan("approve").to_string()).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["fault"], Value::Null, "{said}");
    let tools = ["notes__create_note", "notes__delete_note", "notes__list_notes"];
    let mut seen: Vec<&str> =
        said["tools"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, tools);
    for done in ["done", "again"] {
        assert_eq!(said[done]["isError"], json!(false), "{said}");
    }
    assert_eq!(upstream.seen().len(), 2);
    assert_eq!((&said["renewed"], &said["asked_again"]), (&json!(true), &json!(false)), "{said}");
    assert_eq!(said["iss"], json!([gate.url()]));
    assert_eq!(said["tokens"]["scope"], "notes:destructive notes:read notes:write");
    let consent = said["consent"].as_str().unwrap();
    for wanted in [
        "Test &lt;b&gt;client&lt;/b&gt;",
        "127.0.0.1:33418",
        "notes:destructive",
        "ana@acme.example",
    ] {
        assert!(consent.contains(wanted), "{wanted}: {consent}");
    }
    let said = python(&["clients/mcp_oauth.py"], &plan("deny").to_string()).await;
    assert!(said.contains("access_denied"), "{said}");
    assert_eq!(upstream.seen().len(), 2);
}

#[tokio::test]
async fn says_what_it_is_and_never_what_the_request_says() {
    let (gate, _upstream) = gate().await;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    for (token, error) in [("", ""), ("x", "error=\"invalid_token\", ")] {
        let mut request =
            gate.request(Method::POST, "/mcp").header("host", "evil.example").json(&body);
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        let refused = gate.send(request).await;
        let wanted = format!(
            "Bearer {error}resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"",
            gate.url()
        );
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, wanted.as_str()));
    }
    for (path, member, wanted) in [
        ("/.well-known/oauth-protected-resource", "resource", gate.url().to_owned()),
        ("/.well-known/oauth-protected-resource/mcp", "resource", format!("{}/mcp", gate.url())),
        ("/.well-known/oauth-authorization-server", "issuer", gate.url().to_owned()),
    ] {
        let request = gate.request(Method::GET, path).header("host", "evil.example");
        let request = request.header("x-forwarded-host", "evil.example");
        let answer = gate.send(request).await;
        assert_eq!((answer.status, &answer.body[member]), (200, &json!(wanted)), "{answer:?}");
        assert!(!answer.text().contains("evil"), "{answer:?}");
        if member == "issuer" {
            assert_eq!(answer.body["code_challenge_methods_supported"], json!(["S256"]));
            for endpoint in ["authorization", "token", "registration", "revocation"] {
                let at = answer.body[format!("{endpoint}_endpoint")].as_str().unwrap();
                assert!(at.starts_with(&wanted), "{at}");
            }
        } else {
            assert_eq!(answer.body["authorization_servers"], json!([gate.url()]));
        }
    }
}

#[tokio::test]
async fn gives_a_token_of_exactly_what_the_person_saw_and_holds() {
    let (gate, upstream) = gate().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let client = Client::register(&gate).await;
    // More is asked for than she holds, and less than she holds.
    let page = client.ask(&ana, &[("scope", "notes:write mail:send directory:write")]).await;
    let text = page.text();
    assert!(text.contains("<code>notes:write</code>"), "{text}");
    assert!(!text.contains("mail:send</code>") && !text.contains("<code>directory"), "{text}");
    let tokens = client.tokens(&client.approved(&ana, &page).await).await;
    assert_eq!(tokens.body["scope"], "notes:write", "{tokens:?}");
    assert_eq!(tokens.body["token_type"], "Bearer");
    let token = tokens.body["access_token"].as_str().unwrap();
    let claims = token.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["aud"], json!(format!("{}/mcp", gate.url())), "{claims}");
    assert_eq!(claims["role"], json!(""), "a program has no role: {claims}");
    // Services that trust our keys take the person's own token, and never the program's for it.
    for (token, accepted) in [(token, false), (gate.token("ana").await.as_str(), true)] {
        let said = python(&["clients/imperal_verifies.py", gate.url(), token], "").await;
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["accepted"], json!(accepted), "{said}");
        assert!(accepted || said.to_string().contains("udience"), "{said}");
    }
    assert_eq!(
        (&claims["scopes"], &claims["sub"]),
        (&json!(["notes:write"]), &json!(gate.user_id("ana")))
    );
    assert!(is_done(&create_note(&gate, token).await));
    // What she holds and did not consent to, its client is told to ask her for.
    let read = call_tool(&gate, token, "notes__list_notes", json!({})).await;
    assert_eq!((read.status, read.code()), (403, "insufficient_scope"), "{read:?}");
    let wanted = format!(
        "Bearer error=\"insufficient_scope\", scope=\"notes:read notes:write\", \
         resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"",
        gate.url()
    );
    assert_eq!(read.header("www-authenticate"), wanted);
    assert_eq!(upstream.seen().len(), 1);
    // What the person loses, the program loses with the next call; what was not consented to never comes.
    let id = gate.user_id("ana");
    gate.must(&["role", "create", "--tenant", "imp_t_acme", "lesser", "--scope", "notes:read"]);
    gate.change(&["user", "set-role", &id, "lesser"]).await;
    let write = create_note(&gate, token).await;
    let rules = &write.body["result"]["structuredContent"]["rules"];
    assert_eq!(*rules, json!(["rbac/scope-missing"]), "she may not write any more: {write:?}");
    let read = call_tool(&gate, token, "notes__list_notes", json!({})).await;
    assert!(!is_done(&read), "and never consented to reading: {read:?}");
}

#[tokio::test]
async fn lets_a_program_do_nothing_that_only_its_person_may() {
    let (gate, _upstream) = gate().await;
    let max = Walker::sign_in(&gate, "max").await;
    let client = Client::register(&gate).await;
    let page = client.ask(&max, &[("scope", "*")]).await;
    assert!(page.text().contains("everything that you can do"), "{}", page.text());
    let tokens = client.tokens(&client.approved(&max, &page).await).await;
    let token = tokens.body["access_token"].as_str().unwrap();
    let as_program = async |method: Method, path: &str, body: Value| {
        gate.send(gate.request(method, path).bearer_auth(token).json(&body)).await
    };
    // A key or another password would outlive the grant, and a key has all that its owner has.
    let key = as_program(Method::POST, "/v1/keys", json!({ "name": "x" })).await;
    assert_eq!((key.status, key.rules()), (403, vec!["account/programs-keep-out"]), "{key:?}");
    let change =
        json!({ "current_password": person("max").password(), "new_password": "12345678" });
    let change = as_program(Method::POST, "/v1/auth/me/change-password", change).await;
    assert_eq!(change.status, 403, "{change:?}");
    // It opens no page, so that it consents to nothing and approves nobody's sign-in.
    let cookie = format!("portcullis_session={token}");
    for path in ["/device", "/v1/oauth/authorize?x=y", "/ext/notes/secrets"] {
        let page = gate.request(Method::GET, path).header("cookie", &cookie);
        assert_ne!(gate.send(page).await.status, 200, "{path}");
    }
    let asked = client.ask_with(&cookie, &[]).await;
    assert_eq!(asked.status, 303, "to the sign-in: {asked:?}");
    // It asks first where its person would be asked, and does not answer itself.
    let note = call_tool(&gate, token, "notes__delete_note", json!({ "note_id": "note-1" })).await;
    let asked = &note.body["result"]["structuredContent"];
    assert_eq!(asked["status"], "confirmation_required", "{note:?}");
    let path = format!("/v1/confirmations/{}/confirm", asked["confirmation_id"].as_str().unwrap());
    let confirmed = as_program(Method::POST, &path, json!({})).await;
    assert_eq!((confirmed.status, confirmed.code()), (403, "CONFIRMATION_FOREIGN"));
    // Its refresh token is no session's.
    let refresh = json!({ "refresh_token": tokens.body["refresh_token"] });
    let session = gate.send(gate.request(Method::POST, "/v1/auth/refresh").json(&refresh)).await;
    assert_eq!(session.status, 401, "{session:?}");
}

#[tokio::test]
async fn rotates_refresh_tokens_and_ends_the_grant_when_one_comes_twice() {
    let (gate, _upstream) = gate().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let (client, other) = (Client::register(&gate).await, Client::register(&gate).await);
    let first = client.granted(&ana).await;
    let spend = async |client: &Client<'_>, token: &Value| {
        client
            .token(&[("grant_type", "refresh_token"), ("refresh_token", token.as_str().unwrap())])
            .await
    };
    let stolen = spend(&other, &first["refresh_token"]).await;
    assert_eq!((stolen.status, stolen.code()), (400, "invalid_grant"), "{stolen:?}");
    let second = spend(&client, &first["refresh_token"]).await;
    assert_eq!(second.status, 200, "another program's try spends nothing: {second:?}");
    assert_eq!(second.header("cache-control"), "no-store");
    let token = second.body["access_token"].as_str().unwrap();
    assert!(is_done(&create_note(&gate, token).await));
    let more = [("grant_type", "refresh_token"), ("scope", "notes:read mail:send")];
    let refresh = second.body["refresh_token"].as_str().unwrap();
    let more = client.token(&[more[0], more[1], ("refresh_token", refresh)]).await;
    assert_eq!((more.status, more.code()), (400, "invalid_scope"), "{more:?}");

    let again = spend(&client, &first["refresh_token"]).await;
    assert_eq!((again.status, again.code()), (400, "invalid_grant"), "{again:?}");
    assert_eq!(spend(&client, &second.body["refresh_token"]).await.code(), "invalid_grant");
    assert_eq!(create_note(&gate, token).await.status, 401, "all of it has ended");
    let why = ended(&gate, &client.id).await;
    assert_eq!(why, "refresh_token_reused");
}

/// Why the grant of a client ended, once it is on record.
async fn ended(gate: &Deployment, client: &str) -> String {
    let found = |records: &[Value]| {
        let is_it = |r: &&Value| {
            text(r, "/note/action") == "grant.end" && text(r, "/note/field_client") == client
        };
        records.iter().find(is_it).map(|r| text(r, "/note/field_why").to_owned())
    };
    let began = std::time::Instant::now();
    loop {
        if let Some(why) = found(&gate.records()) {
            return why;
        }
        assert!(began.elapsed().as_secs() < 20, "no record of the end of a grant of {client}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn ends_a_grant_that_its_program_gives_back() {
    let (gate, _upstream) = gate().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let (client, other) = (Client::register(&gate).await, Client::register(&gate).await);
    for member in ["refresh_token", "access_token"] {
        let tokens = client.granted(&ana).await;
        let (token, shown) =
            (tokens["access_token"].as_str().unwrap(), tokens[member].as_str().unwrap());
        let revoke = async |client: &str, token: &str| {
            let fields = [("client_id", client), ("token", token)];
            gate.send(filled(gate.request(Method::POST, "/v1/oauth/revoke"), &fields)).await.status
        };
        assert_eq!(revoke(&other.id, shown).await, 200, "it learns nothing");
        assert_eq!(revoke(&client.id, "nonsense").await, 200);
        assert!(is_done(&create_note(&gate, token).await), "another program ends nothing");
        assert_eq!(revoke(&client.id, shown).await, 200);
        assert_eq!(create_note(&gate, token).await.status, 401, "{member}");
    }
    assert_eq!(ended(&gate, &client.id).await, "revoked_by_client");
    // A new password ends what programs were given, too.
    let tokens = client.granted(&ana).await;
    let change =
        json!({ "current_password": person("ana").password(), "new_password": "another-password" });
    let request = gate.signed("ana", Method::POST, "/v1/auth/me/change-password").await;
    assert_eq!(gate.send(request.json(&change)).await.status, 200);
    assert_eq!(create_note(&gate, tokens["access_token"].as_str().unwrap()).await.status, 401);
}

#[tokio::test]
async fn shows_a_person_what_programs_may_do_and_takes_it_back() {
    let (gate, _upstream) = gate().await;
    let (ana, ben) = (Walker::sign_in(&gate, "ana").await, Walker::sign_in(&gate, "ben").await);
    let client = Client::register(&gate).await;
    let (tokens, others) = (client.granted(&ana).await, client.granted(&ben).await);
    let token = tokens["access_token"].as_str().unwrap();
    // A consent whose code nobody redeemed is none.
    client.approved(&ana, &client.ask(&ana, &[]).await).await;
    let list = gate.get_as("ana", "/v1/me/grants").await;
    let [grant] = list.body.as_array().unwrap().as_slice() else { panic!("{list:?}") };
    assert_eq!((&grant["client_id"], &grant["client_name"]), (&json!(client.id), &json!("Tester")));
    assert_eq!(grant["scopes"], json!(["notes:destructive", "notes:read", "notes:write"]));
    let path = format!("/v1/me/grants/{}", grant["id"].as_str().unwrap());
    let revoke = async |who: &str| gate.send(gate.signed(who, Method::DELETE, &path).await).await;
    let program = gate.request(Method::GET, "/v1/me/grants").bearer_auth(token);
    assert_eq!(gate.send(program).await.rules(), ["account/programs-keep-out"]);
    assert_eq!(revoke("ben").await.status, 404, "it is not his");
    assert_eq!(revoke("gil").await.status, 404);
    assert!(is_done(&create_note(&gate, token).await));
    let revoked = revoke("ana").await;
    assert_eq!((revoked.status, &revoked.body["revoked"]), (200, &json!(true)), "{revoked:?}");
    assert_eq!(create_note(&gate, token).await.status, 401);
    assert_eq!(revoke("ana").await.status, 404, "once");
    assert_eq!(gate.get_as("ana", "/v1/me/grants").await.body, json!([]));
    assert_eq!(ended(&gate, &client.id).await, "revoked_by_person");
    let kept =
        call_tool(&gate, others["access_token"].as_str().unwrap(), "notes__list_notes", json!({}));
    assert!(is_done(&kept.await), "what another person granted stays");
}

#[tokio::test]
async fn records_consent_and_calls_under_the_grant() {
    let (gate, _upstream) = gate().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let client = Client::register(&gate).await;
    let tokens = client.granted(&ana).await;
    let registered = gate.wait_for_admin("client.register", &client.id).await;
    assert_eq!(text(&registered, "/note/field_redirect_uris"), CALLBACK);
    let of = |records: &[Value], action: &str| -> Value {
        let found = records.iter().find(|r| text(r, "/note/action") == action);
        found.unwrap_or_else(|| panic!("no {action}")).clone()
    };
    crate::parts::wait_until("the grant is on record", || {
        gate.records().iter().any(|record| text(record, "/note/action") == "grant.begin")
    });
    let records = gate.records();
    let (consent, begin) = (of(&records, "grant.consent"), of(&records, "grant.begin"));
    assert_eq!(text(&consent, "/note/target"), text(&begin, "/note/target"));
    assert_eq!(text(&consent, "/note/actor"), format!("user:{}", gate.user_id("ana")));
    assert_eq!(text(&consent, "/note/field_scopes"), "notes:destructive notes:read notes:write");
    let done = create_note(&gate, tokens["access_token"].as_str().unwrap()).await;
    assert!(is_done(&done), "{done:?}");
    let everything = format!("{:?}{}", gate.records(), gate.log());
    for secret in ["access_token", "refresh_token"] {
        assert!(!everything.contains(tokens[secret].as_str().unwrap()), "{secret} is written down");
    }
    assert!(!everything.contains(VERIFIER), "the verifier is written down");
    assert!(gate.verify().whole);
}

fn sha(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

fn query(fields: &[(&str, &str)]) -> String {
    format!("/v1/oauth/authorize?{}", encoded(fields))
}

fn form_of(page: &Answer) -> [String; 3] {
    ["csrf", "request", "scopes"].map(|name| hidden(page, name))
}

fn challenge_of(verifier: &str) -> String {
    if verifier == VERIFIER { challenge() } else { sha(verifier) }
}
