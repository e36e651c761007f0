//! On the gateway's own pages, ...

mod browser;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use harness::people::person;
use harness::{Answer, Deployment, Upstream, json, text};
use reqwest::Method;

/// A value that looks different in every encoding.
const CANARY: &str = "planted<&\"'>value+of é/a=secret";
const COOKIE: &str = "portcullis_session";
const PAGE: &str = "/ext/vaulty/secrets";
const KEY: &str = "/ext/vaulty/secrets/api_key";

async fn gate() -> Deployment {
    let upstream = Upstream::start();
    let builder = Deployment::builder().notes(&upstream).vaulty(&upstream);
    builder.env("RUST_LOG", "trace").start().await
}

/// Every byte but letters and digits escaped, as a form may be.
fn escaped(text: &str) -> String {
    let byte = |b: u8| match b {
        b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// The canary as it could come back.
fn disguises() -> Vec<String> {
    let html = CANARY.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let plus = escaped(CANARY).replace("%20", "+");
    // The middle of base64 at each of the three alignments.
    let base64 = (0..3).map(|shift| {
        let shifted = format!("{}{CANARY}", "x".repeat(shift));
        let encoded = BASE64.encode(shifted);
        encoded.get(4..encoded.len() - 4).unwrap().to_owned()
    });
    let texts = [CANARY.to_owned(), html.replace('"', "&quot;"), html, escaped(CANARY), plus];
    let more = [escaped(CANARY).to_lowercase(), json!(CANARY).to_string(), hex::encode(CANARY)];
    texts.into_iter().chain(more).chain(base64).collect()
}

fn hides_the_canary(text: &str) -> bool {
    disguises().iter().all(|disguise| !text.contains(disguise.as_str()))
        && !text.contains("planted<") // or a part of it
        && !text.contains("planted&lt;")
}

fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    pairs.join("&")
}

/// A person with a cookie and, once a page was shown, its form token.
struct Session<'a> {
    gate: &'a Deployment,
    cookie: String,
    token: String,
}

impl<'a> Session<'a> {
    async fn begin(gate: &'a Deployment, name: &str) -> Self {
        gate.user_id(name);
        let answer = sign_in(gate, name, PAGE).await;
        assert_eq!((answer.status, answer.header("location")), (303, PAGE), "{answer:?}");
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        let mut session = Self { gate, cookie, token: String::new() };
        session.token = session.get(PAGE).await.text();
        let token = session.token.split("name=\"csrf\" value=\"").nth(1).unwrap_or_default();
        session.token = token.split('"').next().unwrap().to_owned();
        session
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.gate.request(method, path).header("cookie", &self.cookie)
    }

    async fn get(&self, path: &str) -> Answer {
        self.gate.send(self.request(Method::GET, path)).await
    }

    fn post(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let kind = "application/x-www-form-urlencoded";
        self.request(Method::POST, path).header("content-type", kind).body(form(fields))
    }

    async fn store(&self, value: &str) -> Answer {
        let fields = [("csrf", self.token.as_str()), ("action", "store"), ("value", value)];
        self.gate.send(self.post(KEY, &fields)).await
    }

    async fn is_set(&self) -> bool {
        let card = self.get(PAGE).await.text();
        let card = card.split("id=\"api_key\"").nth(1).unwrap();
        card.split("</section>").next().unwrap().contains(">set<")
    }
}

async fn sign_in(gate: &Deployment, name: &str, next: &str) -> Answer {
    let (person, password) = (person(name), person(name).password());
    let email = person.email();
    let fields =
        [("tenant", person.tenant), ("email", &email), ("password", &password), ("next", next)];
    let request = gate.request(Method::POST, "/signin");
    let kind = "application/x-www-form-urlencoded";
    gate.send(request.header("content-type", kind).body(form(&fields))).await
}

#[tokio::test]
async fn a_session_is_a_cookie_that_scripts_and_other_sites_cannot_use() {
    let gate = gate().await;
    gate.user_id("sue");
    let answer = sign_in(&gate, "sue", PAGE).await;
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with(&format!("{COOKIE}=ey")), "{cookie}");
    let terms = cookie.split_once(';').unwrap().1;
    assert_eq!(terms, " HttpOnly; SameSite=Strict; Path=/; Max-Age=900");
    // Records of the directory's changes may come after it.
    let of_page = |r: &harness::Value| text(r, "/note/channel") == "page";
    let records = gate.records();
    let signed_in = records.iter().find(|record| of_page(record)).unwrap();
    assert_eq!(text(signed_in, "/res/status"), "signed_in");

    let session = Session::begin(&gate, "sue").await;
    let out = gate.send(session.post("/signout", &[])).await;
    assert_eq!((out.status, out.header("location")), (303, "/signin?said=signed-out"));
    assert!(out.header("set-cookie").starts_with(&format!("{COOKIE}=; ")), "{out:?}");
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{out:?}");
    let records = gate.records();
    let signed_out = records.iter().rev().find(|record| of_page(record)).unwrap();
    assert_eq!(text(signed_out, "/res/status"), "signed_out");
}

#[tokio::test]
async fn every_answer_forbids_scripts_frames_caches_and_referrers() {
    let gate = gate().await;
    let session = Session::begin(&gate, "sue").await;
    let answers = [
        gate.get("/signin").await,
        gate.get("/signin?next=//evil").await,
        gate.get(PAGE).await,
        session.get(PAGE).await,
        session.get("/ext/nowhere/secrets").await,
        session.store("x").await,
        sign_in(&gate, "nil", PAGE).await,
    ];
    for answer in &answers {
        let policy = answer.header("content-security-policy");
        let (before, after) = policy.split_once("style-src 'sha256-").expect("a style's digest");
        assert_eq!(before, "default-src 'none'; ");
        let after = after.split_once('\'').unwrap().1;
        assert_eq!(after, "; form-action 'self'; frame-ancestors 'none'; base-uri 'none'");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!answer.text().contains("<script"));
    }
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 400, 303, 200, 404, 303, 401]);
}

#[tokio::test]
async fn the_cookie_opens_pages_only() {
    let upstream = Upstream::start();
    let builder = Deployment::builder().vaulty(&upstream).bank(&upstream, "x");
    let gate = builder.start().await;
    let session = Session::begin(&gate, "max").await;
    for (method, path) in [
        (Method::GET, "/v1/auth/me"),
        (Method::GET, "/v1/secrets/vaulty"),
        (Method::DELETE, "/v1/secrets/vaulty/api_key"),
        (Method::POST, "/v1/extensions/vaulty/call"),
        (Method::GET, "/v1/confirmations/active"),
        (Method::POST, "/mcp"),
        (Method::GET, "/proxy/bank/invoices"),
    ] {
        let request = session.request(method, path).json(&json!({ "function": "weather" }));
        assert_eq!(gate.send(request).await.status, 401, "{path}");
    }
    assert!(upstream.seen().is_empty(), "nothing reached an app");
    // The other way round: what opens the API opens no page.
    let bearer = gate.get_as("max", PAGE).await;
    assert_eq!(bearer.status, 303, "{bearer:?}");
}

#[tokio::test]
async fn no_program_acts_through_the_cookie() {
    let gate = gate().await;
    let sue = gate.token("sue").await;
    let (ext, key) = (gate.extension_token("vaulty", "sue"), gate.api_key("sue", &["*"]));
    for credential in [ext.as_str(), &key, "", "x", "a b"] {
        let cookie = format!("{COOKIE}={credential}");
        let request = gate.request(Method::GET, PAGE).header("cookie", cookie);
        let answer = gate.send(request).await;
        assert_eq!((answer.status, answer.header("location")), (303, SIGN_IN), "{credential}");
    }
    let twice = format!("{COOKIE}={sue}; {COOKIE}={sue}");
    let twice = gate.send(gate.request(Method::GET, PAGE).header("cookie", twice)).await;
    assert_eq!(twice.status, 400, "{twice:?}");
    let both = gate.request(Method::GET, PAGE).header("cookie", format!("{COOKIE}={sue}"));
    assert_eq!(gate.send(both.header("x-api-key", key)).await.status, 400);
}

const SIGN_IN: &str = "/signin?next=%2Fext%2Fvaulty%2Fsecrets";

#[tokio::test]
async fn a_form_of_another_site_or_session_is_refused() {
    let gate = gate().await;
    let session = Session::begin(&gate, "sue").await;
    let other = Session::begin(&gate, "sue").await;
    assert_ne!(session.token, other.token);
    let ours = [("csrf", session.token.as_str()), ("action", "store"), ("value", CANARY)];
    for (header, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        let answer = gate.send(session.post(KEY, &ours).header(header, value)).await;
        foreign(&answer);
        let answer = gate.send(session.post("/signout", &[]).header(header, value)).await;
        foreign(&answer);
        assert_eq!(answer.header("set-cookie"), "");
        let answer = gate.send(session.post("/signin", &ours).header(header, value)).await;
        foreign(&answer);
    }
    for token in ["", "00", &other.token, session.token.get(1..).unwrap()] {
        let fields = [("csrf", token), ("action", "store"), ("value", CANARY)];
        foreign(&gate.send(session.post(KEY, &fields)).await);
    }
    foreign(&gate.send(session.post(KEY, &[("action", "store"), ("value", CANARY)])).await);
    let json = session.request(Method::POST, KEY).json(&json!({ "value": CANARY }));
    let json = gate.send(json).await;
    assert!(json.status == 400 && hides_the_canary(&json.text()), "{json:?}");
    assert!(!session.is_set().await, "nothing was stored");
    assert_eq!(
        session.store(CANARY).await.header("location"),
        "/ext/vaulty/secrets?stored=api_key"
    );
    assert!(session.is_set().await);
}

fn foreign(answer: &Answer) {
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(answer.text().contains("FOREIGN_FORM") || answer.text().contains("own page"));
    assert!(hides_the_canary(&answer.text()), "{answer:?}");
}

#[tokio::test]
async fn signing_in_leads_to_this_gateway_only() {
    let gate = gate().await;
    gate.user_id("sue");
    for evil in ["//evil", "/\\evil", "https://evil", "/%5cevil", "/%2f%2fevil", "evil"] {
        let answer = sign_in(&gate, "sue", evil).await;
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{evil}");
        assert_eq!(answer.header("set-cookie"), "", "{evil}");
        assert!(!answer.text().contains("evil"), "{answer:?}");
        let shown = gate.get(&format!("/signin?next={}", escaped(evil))).await;
        assert!(shown.status == 400 && !shown.text().contains("evil"), "{evil}: {shown:?}");
    }
    let wrong = sign_in(&gate, "nil", PAGE).await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, ""));
    assert!(wrong.text().contains("Tenant, email or password is wrong."), "{wrong:?}");
    assert!(!wrong.text().contains("planted"), "what was typed is not shown again: {wrong:?}");
}

#[tokio::test]
async fn who_is_deactivated_is_signed_out() {
    let gate = gate().await;
    let session = Session::begin(&gate, "sue").await;
    gate.change(&["user", "deactivate", &gate.user_id("sue")]).await;
    for answer in [session.get(PAGE).await, session.store(CANARY).await] {
        assert_eq!((answer.status, answer.header("location")), (303, SIGN_IN), "{answer:?}");
    }
    let again = sign_in(&gate, "sue", PAGE).await;
    assert_eq!((again.status, again.header("set-cookie")), (401, ""), "{again:?}");
}

#[tokio::test]
async fn a_refused_change_says_why_in_our_own_words() {
    let gate = gate().await;
    let session = Session::begin(&gate, "sue").await;
    let token = session.token.as_str();
    let store = |value| vec![("csrf", token), ("action", "store"), ("value", value)];
    let forget = vec![("csrf", token), ("action", "forget")];
    let long = CANARY.repeat(10);
    for (path, fields, code) in [
        (KEY, store(&long), "SECRET_TOO_LARGE"),
        (KEY, store(""), "EMPTY"),
        (KEY, forget, "NOT_SURE"),
        (KEY, vec![("csrf", token), ("action", "show")], "MALFORMED_BODY"),
        ("/ext/vaulty/secrets/nope", store(CANARY), "SECRET_NOT_DECLARED"),
        ("/ext/vaulty/secrets/robot_token", store(CANARY), "PERMISSION_DENIED"),
        ("/ext/vaulty/secrets/shared_key", store(CANARY), "PERMISSION_DENIED"),
    ] {
        let answer = gate.send(session.post(path, &fields)).await;
        let to = answer.header("location");
        assert_eq!((answer.status, to), (303, format!("{PAGE}?refused={code}").as_str()));
        let page = session.get(to).await.text();
        assert!(page.contains("role=\"alert\"") && !page.contains(code), "{page}");
    }
    let huge = "x".repeat(3 * 65_536 + 1_024);
    let answer = gate.send(session.post(KEY, &store(&huge))).await;
    assert_eq!(answer.status, 413, "{:?}", answer.headers);
    assert!(!session.is_set().await);
    let made_up = session.get(&format!("{PAGE}?stored=%3Cb%3Ecall%20me")).await.text();
    assert!(!made_up.contains("call me"), "{made_up}");
    let page = session.get(PAGE).await.text();
    assert!(!page.contains("shared_key"), "a secret of the whole app is not shown to its users");
    assert!(page.contains("robot_token") && !page.contains("secrets/robot_token"), "{page}");
}

#[tokio::test]
async fn a_person_who_confirms_every_write_confirms_by_typing() {
    let gate = gate().await;
    let session = Session::begin(&gate, "sue").await;
    confirm_every_write(&gate).await;
    let stored = session.store(CANARY).await;
    assert_eq!(stored.header("location"), "/ext/vaulty/secrets?stored=api_key");
    let token = session.token.as_str();
    let forget = [("csrf", token), ("action", "forget"), ("sure", "yes")];
    let forgot = gate.send(session.post(KEY, &forget)).await;
    assert_eq!(forgot.header("location"), "/ext/vaulty/secrets?forgot=api_key");
    assert!(!session.is_set().await);
}

#[tokio::test]
async fn the_api_cannot_claim_that_a_form_was_filled_in() {
    let gate = gate().await;
    let session = Session::begin(&gate, "sue").await;
    let bearer = session.cookie.split_once('=').unwrap().1;
    confirm_every_write(&gate).await;
    let csrf = &session.token;
    let path = format!("/v1/secrets/vaulty/api_key?csrf={csrf}&form={csrf}");
    let knock = |method| {
        let request = session.request(method, &path).bearer_auth(bearer);
        request.header("sec-fetch-site", "same-origin").header("x-csrf-token", csrf)
    };
    let body = json!({
        "value": CANARY, "csrf": csrf, "form": csrf, "channel": "page", "confirmation": { "given": true },
    });
    for request in [knock(Method::PUT).json(&body), knock(Method::DELETE).json(&body)] {
        let answer = gate.send(request).await;
        assert_eq!((answer.status, answer.code()), (403, "CONFIRM_ON_PAGE"), "{answer:?}");
    }
    assert!(!session.is_set().await);
}

async fn confirm_every_write(gate: &Deployment) {
    let tenant = person("sue").tenant;
    let always = ["--confirmation", "always_on"];
    gate.change(&["role", "set", "--tenant", tenant, "keeper", always[0], always[1]]).await;
}

#[tokio::test]
async fn a_typed_value_is_in_no_record_log_or_file() {
    let gate = gate().await;
    let session = Session::begin(&gate, "sue").await;
    session.store(CANARY).await;
    session.store(&CANARY.repeat(10)).await;
    gate.send(session.post(KEY, &[("action", "store"), ("value", CANARY)])).await;
    let ext = gate.extension_token("vaulty", "sue");
    let lent = gate.request(Method::GET, "/v1/secrets/vaulty/api_key").bearer_auth(ext);
    assert_eq!(gate.send(lent).await.body, json!({ "value": CANARY }), "it is what was typed");
    let ledger: String = gate.records().iter().map(ToString::to_string).collect();
    assert!(ledger.contains("\"channel\":\"page\"") && hides_the_canary(&ledger));
    assert!(gate.log().len() > 10_000, "the log is not at its loudest");
    for line in gate.log().lines() {
        assert!(hides_the_canary(line), "in the log: {line}");
        assert!(!line.contains(session.cookie.rsplit('.').next().unwrap()), "the cookie: {line}");
    }
    for entry in std::fs::read_dir(gate.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            assert!(hides_the_canary(&text), "in {}", path.display());
        }
    }
}
