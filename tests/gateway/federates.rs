//! People whom another provider vouches for ... (the real npm `oidc-provider`).

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::{Answer, Deployment, Upstream, Value, json, text};
use reqwest::Method;
use sha2::{Digest as _, Sha256};

use crate::parts::{browser, ours, part};
use crate::walker::filled;

const SECRET: &str = "planted-client-secret-of-the-gateway";

/// A provider and a gateway that trusts it under the name `corp`.
struct Federation {
    gate: Deployment,
    provider: Child,
    upstream: Upstream,
}

impl Drop for Federation {
    fn drop(&mut self) {
        let _ = self.provider.kill();
        let _ = self.provider.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start_provider(port: u16, gate: u16) -> Child {
    let client = |id: &str| {
        json!({
            "client_id": id, "client_secret": SECRET, "require_auth_time": true,
            "redirect_uris": [format!("http://127.0.0.1:{gate}/v1/auth/callback/corp")],
            "id_token_signed_response_alg": "ES256",
        })
    };
    let plan = json!({
        "entry": part("npm/node_modules/oidc-provider/lib/index.js"),
        "issuer": format!("http://127.0.0.1:{port}"), "port": port,
        "clients": [client("gate"), client("another")],
    });
    let mut child = Command::new("node")
        .arg(ours("clients/oidc_provider.mjs"))
        .arg(plan.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("node is installed");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let listens = lines.any(|line| line.is_ok_and(|line| line == "listening"));
    assert!(listens, "the provider did not begin to listen");
    // It goes on writing; nobody has to read.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

async fn start(more: &str) -> Federation {
    let upstream = Upstream::start();
    let (port, gate) = (free_port(), free_port());
    let provider = start_provider(port, gate);
    let issuer = format!(
        "[identity.issuers.corp]\nurl = \"http://127.0.0.1:{port}\"\nalgorithms = [\"ES256\"]\n\
         tenant = \"imp_t_acme\"\nclient_id = \"gate\"\nclient_secret = {{ file = \"client-secret\" }}\n\
         {more}\n[identity.issuers.other]\nurl = \"http://127.0.0.1:9\"\nalgorithms = [\"ES256\"]\n\
         tenant = \"imp_t_acme\"\nclient_id = \"gate\"\n"
    );
    let map = "[[map]]\nclaim = \"groups\"\nvalue = \"bosses\"\nrole = \"admin\"\n";
    let builder = Deployment::builder().notes(&upstream).published_at(gate);
    let builder = builder.file("client-secret", SECRET).file("corp.toml", map).settings(&issuer);
    let gate = builder.start().await;
    Federation { gate, provider, upstream }
}

/// A browser without a screen: cookies, no redirect followed by itself.
#[derive(Default)]
struct Walker {
    cookies: BTreeMap<String, String>,
}

impl Walker {
    async fn send(&mut self, gate: &Deployment, request: reqwest::RequestBuilder) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.header("cookie", cookies.join("; "));
        let answer = gate.send(request).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    /// Begins at the gateway; gives the address at the provider.
    async fn begin(&mut self, gate: &Deployment, query: &str) -> String {
        let request = gate.request(Method::GET, &format!("/v1/auth/login/corp{query}"));
        let begun = self.send(gate, request).await;
        assert_eq!(begun.status, 302, "{begun:?}");
        begun.header("location").to_owned()
    }

    /// Walks the provider's forms as `login`, up to the address of the gateway to which it leads back.
    async fn walk(&mut self, gate: &Deployment, from: &str, login: &str) -> String {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let http = http.no_proxy().build().unwrap();
        let mut request = http.get(from);
        let mut at = from.to_owned();
        for _ in 0..20 {
            let answer = self.send(gate, request).await;
            if (300..400).contains(&answer.status) {
                let to = answer.header("location");
                at = reqwest::Url::parse(&at).unwrap().join(to).unwrap().to_string();
                if at.starts_with(gate.url()) {
                    return at;
                }
                request = http.get(&at);
                continue;
            }
            let page = answer.text();
            let action = page.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
            let action = action.unwrap_or_else(|| panic!("no form: {answer:?}"));
            at = reqwest::Url::parse(&at).unwrap().join(action).unwrap().to_string();
            let prompt = if page.contains("value=\"login\"") { "login" } else { "consent" };
            let form = format!("prompt={prompt}&login={login}&password=any");
            let kind = "application/x-www-form-urlencoded";
            request = http.post(&at).header("content-type", kind).body(form);
        }
        panic!("the provider leads nowhere");
    }

    async fn come_back(&mut self, gate: &Deployment, to: &str) -> Answer {
        let path = to.strip_prefix(gate.url()).unwrap_or(to);
        let request = gate.request(Method::GET, path);
        self.send(gate, request).await
    }
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn refused(answer: &Answer) {
    assert_eq!((answer.status, answer.code()), (401, "INVALID_CREDENTIAL"), "{answer:?}");
}

#[tokio::test]
async fn sign_in_without_a_browser_as_the_user_to_whom_an_operator_linked_them() {
    let Federation { ref gate, .. } = start("").await;
    let ana = gate.user_id("ana");
    let mut walker = Walker::default();
    let from = walker.begin(gate, "?max_age=3600").await;
    assert!(from.contains("code_challenge_method=S256") && from.contains("&nonce="), "{from}");
    let back = walker.walk(gate, &from, "ana-at-corp").await;
    let unlinked = walker.come_back(gate, &back).await;
    refused(&unlinked);
    gate.must(&["user", "link", &ana, "--issuer", "corp", "--subject", "ana-at-corp"]);
    let shown = gate.must(&["user", "identities", &ana, "--json"]);
    assert!(shown.contains("ana-at-corp"), "{shown}");

    let from = walker.begin(gate, "").await;
    let back = walker.walk(gate, &from, "ana-at-corp").await;
    let signed_in = walker.come_back(gate, &back).await;
    assert_eq!(signed_in.status, 200, "{signed_in:?}");
    let token = signed_in.body["access_token"].as_str().unwrap();
    let said = claims(token);
    let now = said["iat"].as_i64().unwrap();
    assert!((now - said["auth_time"].as_i64().unwrap()).abs() < 120, "{said}");
    assert_eq!(said["sub"], json!(ana));
    let me = gate.send(gate.request(Method::GET, "/v1/auth/me").bearer_auth(token)).await;
    assert_eq!(me.body["imperal_id"], json!(ana), "{me:?}");
    let refresh = json!({ "refresh_token": signed_in.body["refresh_token"] });
    let refreshed = gate.request(Method::POST, "/v1/auth/refresh").json(&refresh);
    let refreshed = gate.send(refreshed).await;
    let again = claims(refreshed.body["access_token"].as_str().unwrap());
    assert_eq!(again["auth_time"], said["auth_time"], "a refresh makes nothing fresher");
    assert!(!gate.log().contains(SECRET));
    gate.wait_for_admin("user.link", &ana).await;
    gate.must(&["user", "unlink", &ana, "--issuer", "corp"]);
    let refresh = json!({ "refresh_token": refreshed.body["refresh_token"] });
    let ended = gate.send(gate.request(Method::POST, "/v1/auth/refresh").json(&refresh)).await;
    assert_eq!(ended.status, 401, "who is unlinked has no session any more: {ended:?}");
}

#[tokio::test]
async fn are_made_at_first_sight_where_the_operator_says_so_and_get_the_role_of_their_claims() {
    let more = "provision = \"user\"\nmapping = \"corp.toml\"";
    let Federation { ref gate, .. } = start(more).await;
    gate.user_id("max");
    for (login, role) in [("staff-1", "user"), ("boss-1", "admin")] {
        let mut walker = Walker::default();
        for _ in 0..2 {
            let from = walker.begin(gate, "").await;
            let back = walker.walk(gate, &from, login).await;
            let signed_in = walker.come_back(gate, &back).await;
            assert_eq!(signed_in.status, 200, "{signed_in:?}");
            let said = claims(signed_in.body["access_token"].as_str().unwrap());
            assert_eq!(said["role"], json!(role));
            assert_eq!(said["email"], json!(format!("{login}@corp.example")));
            assert_eq!(said["tenant_id"], json!("imp_t_acme"));
        }
    }
}

#[tokio::test]
async fn a_callback_is_believed_once_in_its_own_browser_and_of_its_own_provider() {
    let Federation { ref gate, .. } = start("").await;
    let ana = gate.user_id("ana");
    gate.must(&["user", "link", &ana, "--issuer", "corp", "--subject", "ana-at-corp"]);
    let mut walker = Walker::default();
    let fresh = async |walker: &mut Walker| {
        let from = walker.begin(gate, "").await;
        walker.walk(gate, &from, "ana-at-corp").await
    };
    // Replayed, with the cookie of then.
    let back = fresh(&mut walker).await;
    let kept = walker.cookies.clone();
    assert_eq!(walker.come_back(gate, &back).await.status, 200);
    walker.cookies = kept;
    refused(&walker.come_back(gate, &back).await);
    // In a browser that began nothing (a victim who is sent a link), and afterwards in the right one.
    let back = fresh(&mut walker).await;
    refused(&Walker::default().come_back(gate, &back).await);
    refused(&walker.come_back(gate, &back).await);
    // In a browser that began another one.
    let back = fresh(&mut walker).await;
    let mut other = Walker::default();
    other.begin(gate, "").await;
    refused(&other.come_back(gate, &back).await);
    // At the callback of another provider.
    let back = fresh(&mut walker).await.replace("/callback/corp", "/callback/other");
    refused(&walker.come_back(gate, &back).await);
    // RFC 9207: said to be of another provider, or of nobody although this one always says.
    for forge in [|iss: &str| iss.replace("http", "https"), |_: &str| String::new()] {
        let mut back = reqwest::Url::parse(&fresh(&mut walker).await).unwrap();
        let pairs: Vec<(String, String)> = back.query_pairs().into_owned().collect();
        assert!(pairs.iter().any(|(name, _)| name == "iss"), "{back}");
        back.query_pairs_mut().clear().extend_pairs(pairs.into_iter().filter_map(
            |(name, value)| {
                let value = if name == "iss" { forge(&value) } else { value };
                (!value.is_empty()).then_some((name, value))
            },
        ));
        refused(&walker.come_back(gate, back.as_str()).await);
    }
    // The code of one sign-in in the state of another: its PKCE verifier is another.
    let code_of = |back: &str| {
        let back = reqwest::Url::parse(back).unwrap();
        let pairs: BTreeMap<String, String> = back.query_pairs().into_owned().collect();
        pairs["code"].clone()
    };
    let stolen = fresh(&mut Walker::default()).await;
    let mine = fresh(&mut walker).await;
    let mixed = mine.replace(&code_of(&mine), &code_of(&stolen));
    refused(&walker.come_back(gate, &mixed).await);
    // The code of another client of the same provider.
    let from = walker.begin(gate, "").await.replace("client_id=gate", "client_id=another");
    let back = walker.walk(gate, &from, "ana-at-corp").await;
    refused(&walker.come_back(gate, &back).await);
    // Twice the same parameter, or none.
    let back = fresh(&mut walker).await;
    refused(&walker.come_back(gate, &format!("{back}&state=x")).await);
    refused(&walker.come_back(gate, "/v1/auth/callback/corp").await);
}

/// An ID token of the provider for the gateway, as a program of the company has it.
async fn id_token(gate: &Deployment, login: &str) -> String {
    let mut walker = Walker::default();
    let begun = reqwest::Url::parse(&walker.begin(gate, "").await).unwrap();
    let verifier = "a-verifier-of-the-test-that-is-long-enough-for-anybody";
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    let mut from = begun.clone();
    from.query_pairs_mut().clear().extend_pairs(begun.query_pairs().map(|(name, value)| {
        let value = if name == "code_challenge" { challenge.clone() } else { value.into_owned() };
        (name.into_owned(), value)
    }));
    let back = walker.walk(gate, from.as_str(), login).await;
    let back = reqwest::Url::parse(&back).unwrap();
    let code = back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let here = format!("{}{}", gate.url(), back.path());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let token = begun.join("/token").unwrap();
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", &here),
        ("code_verifier", verifier),
    ];
    let request = filled(http.post(token).basic_auth("gate", Some(SECRET)), &fields);
    let answer = gate.send(request).await;
    let token = answer.body["id_token"].as_str();
    token.unwrap_or_else(|| panic!("no ID token: {answer:?}")).to_owned()
}

#[tokio::test]
async fn call_with_a_token_of_their_provider_and_are_named_by_no_name_of_it() {
    let Federation { ref gate, ref upstream, .. } = start("audiences = [\"gate\"]").await;
    let ana = gate.user_id("ana");
    let subject = "ana-7c1f-at-corp";
    let token = id_token(gate, subject).await;
    let call = async |token: &str| {
        let call = gate.request(Method::POST, "/v1/extensions/notes/call").bearer_auth(token);
        let body = json!({ "function": "create_note", "params": { "title": "milk" } });
        gate.send(call.json(&body)).await
    };
    let unlinked = call(&token).await;
    refused(&unlinked);
    gate.must(&["user", "link", &ana, "--issuer", "corp", "--subject", subject]);
    gate.wait_for_admin("user.link", &ana).await;
    let made = call(&token).await;
    assert_eq!(made.status, 200, "{made:?}");
    assert_eq!(upstream.seen().len(), 1);
    // To the ledger they are the same person as by a sign-in of the gateway's own.
    let own = gate.call("ana", "notes", "list_notes", json!({})).await;
    let of = |answer: &Answer| text(&gate.records_of(&answer.op())[0], "/who/subject").to_owned();
    assert_eq!(of(&made), of(&own));
    assert!(!of(&made).is_empty());
    let credential = |call: reqwest::RequestBuilder| call.bearer_auth(&token);
    crate::warm::asks_the_directory_nothing(gate, credential).await;
    // What is not theirs to do, no token of any provider lets them do.
    let others = call(&format!("{token}x")).await;
    refused(&others);
    gate.must(&["user", "deactivate", &ana]);
    let began = std::time::Instant::now();
    while call(&token).await.status != 401 {
        assert!(began.elapsed().as_millis() < 1_000, "switched off, and still let in");
    }
    // The name that the provider gives them stands in no record and no log.
    let told = format!("{:?}{}", gate.records(), gate.log());
    assert!(!told.contains(subject), "the subject is written down");
    let verified = gate.verify();
    assert!(verified.whole, "{}", verified.said);
}

/// Nothing in such a token says whether its person holds it or a program.
#[tokio::test]
async fn answer_no_question_with_a_token_of_their_provider() {
    let Federation { ref gate, ref upstream, .. } = start("audiences = [\"gate\"]").await;
    let (ana, subject) = (gate.user_id("ana"), "ana-at-corp");
    gate.must(&["user", "link", &ana, "--issuer", "corp", "--subject", subject]);
    let token = id_token(gate, subject).await;
    let send = async |method, path: &str, body: Value| {
        gate.send(gate.request(method, path).bearer_auth(&token).json(&body)).await
    };
    let wanted = json!({ "function": "delete_note", "params": { "note_id": "note-1" } });
    let asked = send(Method::POST, "/v1/extensions/notes/call", wanted).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let one = format!("/v1/confirmations/{}", asked.confirmation());
    for verb in ["confirm", "cancel", "approve", "decline"] {
        let body = json!({ "hash": asked.body["hash"] });
        let refused = send(Method::POST, &format!("{one}/{verb}"), body).await;
        assert_eq!((refused.status, refused.code()), (403, "CONFIRMATION_FOREIGN"), "{verb}");
    }
    let listed = send(Method::GET, "/v1/confirmations/active", Value::Null).await;
    assert_eq!((listed.status, listed.code()), (403, "CONFIRMATION_FOREIGN"), "{listed:?}");
    assert_eq!(upstream.seen().len(), 0);
    // Signed in here, the same person answers it.
    assert_eq!(gate.decide("ana", &asked.confirmation(), "confirm").await.status, 200);
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn are_led_to_the_provider_and_to_pages_of_this_gateway_and_nowhere_else() {
    let Federation { ref gate, .. } = start("").await;
    for evil in ["//evil.example", "https://evil.example", "/\\evil.example", "%2F%2Fevil.example"]
    {
        let begun = gate.get(&format!("/v1/auth/login/corp?next={evil}")).await;
        assert_eq!((begun.status, begun.header("location")), (400, ""), "{evil}: {begun:?}");
    }
    let request = gate.request(Method::GET, "/v1/auth/login/corp").header("host", "evil.example");
    let begun = gate.send(request).await;
    assert!(!begun.header("location").contains("evil"), "{begun:?}");
    assert_eq!(gate.get("/v1/auth/login/nobody").await.status, 404);
    let other = gate.get("/v1/auth/login/other").await;
    assert_eq!((other.status, other.code()), (503, "UNAVAILABLE"), "{other:?}");
}

#[tokio::test]
async fn sign_in_with_a_real_browser_and_come_to_a_page_of_the_gateway() {
    let Federation { ref gate, .. } = start("provision = \"user\"").await;
    gate.user_id("max");
    let profile = tempfile::tempdir().unwrap();
    let plan = json!({
        "module": part("npm/node_modules/playwright-core/package.json"),
        "profile": profile.path(), "url": gate.url(), "login": "staff-2",
        "begin": "/v1/auth/login/corp?next=/ext/notes/secrets",
    });
    let seen = browser("clients/oidc_sign_in.mjs", &plan).await;
    assert!(seen["between"]["text"].as_str().unwrap().contains("You are signed in"), "{seen}");
    // The session is the person's: the page is not the sign-in.
    let url = seen["url"].as_str().unwrap();
    assert!(url.ends_with("/ext/notes/secrets"), "{seen}");
    assert!(!seen["text"].as_str().unwrap().contains("Password"), "{seen}");
    let cookies = seen["cookies"].as_array().unwrap();
    let session = cookies.iter().find(|c| c["name"] == "portcullis_session").expect("a session");
    assert_eq!((&session["httpOnly"], &session["sameSite"]), (&json!(true), &json!("Strict")));
    assert!(!cookies.iter().any(|c| c["name"] == "portcullis_signin"), "taken back: {seen}");
}
