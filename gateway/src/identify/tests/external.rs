//! Tokens of other issuers: whom they prove, and what an attacker sends instead.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize as RsaSize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::directory::ExternalSubject;
use crate::identify::{
    ExternalAlgorithm, ExternalClient, ExternalIssuer, Mapping, SignInReturned, SignInWish,
};

enum Key {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": text(pair.public_key().as_ref())})
            }
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": text(&point[1..33]), "y": text(&point[33..])})
            }
            Self::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "kid": kid, "n": text(&public.n), "e": text(&public.e)})
            }
        }
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                if algorithm == "PS256" {
                    pair.sign(&RSA_PSS_SHA256, &random, message, &mut signature).unwrap();
                } else {
                    pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                }
                signature
            }
        }
    }
}

/// An issuer on this machine, of which every question is counted.
struct Provider {
    url: String,
    key: Key,
    asked: Arc<AtomicUsize>,
    /// What the token endpoint gives.
    id_token: Arc<std::sync::Mutex<String>>,
}

impl Provider {
    async fn start(key: Key, kid: &str) -> Self {
        let keys = json!({ "keys": [key.jwk(kid)] });
        Self::serving(key, keys, None).await
    }

    async fn serving(key: Key, keys: Value, jwks_uri: Option<&str>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let jwks_uri = jwks_uri.map_or_else(|| format!("{url}/keys"), str::to_owned);
        let discovery = json!({
            "issuer": url, "jwks_uri": jwks_uri, "authorization_endpoint": format!("{url}/auth"),
            "token_endpoint": format!("{url}/token"),
        });
        let id_token = Arc::<std::sync::Mutex<String>>::default();
        let given = Arc::clone(&id_token);
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(async move || axum::Json(discovery)))
            .route(
                "/token",
                axum::routing::post(async move || {
                    axum::Json(json!({ "id_token": *given.lock().unwrap() }))
                }),
            )
            .route("/moved", get(async || Redirect::temporary("/keys")))
            .route(
                "/keys",
                get(async move || {
                    counted.fetch_add(1, Ordering::Relaxed);
                    axum::Json(keys)
                }),
            );
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, key, asked, id_token }
    }

    fn settings(&self, name: &str) -> ExternalIssuer {
        ExternalIssuer {
            name: name.to_owned(),
            url: self.url.clone(),
            audiences: vec!["gate".to_owned()],
            algorithms: ExternalAlgorithm::ALL.map(|(algorithm, _)| algorithm).into(),
            tenant: "imp_t_acme".parse().unwrap(),
            hosts: Vec::new(),
            provision: None,
            mapping: Mapping::default(),
            client: None,
        }
    }

    fn claims(&self) -> Value {
        let now = now_seconds();
        json!({
            "iss": self.url, "sub": "subject-1", "aud": "gate", "iat": now, "exp": now + 300,
            "email": "ann@example.org", "email_verified": true,
            "amr": ["pwd", "hwk", "mfa"], "acr": "urn:example:gold", "auth_time": now - 60,
        })
    }

    fn token(&self, algorithm: &str, kid: &str, claims: &Value) -> String {
        self.signed(&json!({ "alg": algorithm, "kid": kid }).to_string(), &claims.to_string())
    }

    fn signed(&self, header: &str, claims: &str) -> String {
        let algorithm = serde_json::from_str::<Value>(header).unwrap_or_default()["alg"].clone();
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(algorithm.as_str().unwrap_or_default(), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A deployment that trusts one provider, at which ann is `subject-1`.
async fn trusting(provider: &Provider) -> Fixture {
    let f = Fixture::trusting(vec![provider.settings("corp")]).await;
    let directory = f.identity.directory();
    directory.link_external(&f.user.id, corp(provider, "subject-1"), &by()).await.unwrap();
    f
}

/// Somebody at a provider that is configured as `corp`.
fn corp<'a>(provider: &'a Provider, subject: &'a str) -> ExternalSubject<'a> {
    ExternalSubject { issuer: "corp", url: &provider.url, subject }
}

async fn refused(f: &Fixture, token: &str) -> &'static str {
    code(f.bearer(token).await)
}

#[tokio::test]
async fn a_linked_subject_is_the_user_with_the_strength_that_the_provider_says() {
    let rsa = || Key::Rsa(RsaKeyPair::generate(RsaSize::Rsa2048).unwrap());
    let ec = Key::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
    for (algorithm, key) in
        [("EdDSA", Key::ed()), ("ES256", ec), ("RS256", rsa()), ("PS256", rsa())]
    {
        let provider = Provider::start(key, "k1").await;
        let f = trusting(&provider).await;
        let claims = provider.claims();
        let caller = f.bearer(&provider.token(algorithm, "k1", &claims)).await.unwrap();
        assert_eq!(caller.user_id(), f.user.id, "{algorithm}");
        assert!(caller.strength().mfa());
        assert_eq!(caller.strength().acr.as_deref(), Some("urn:example:gold"));
        assert_eq!(caller.strength().auth_time, claims["auth_time"].as_i64());
        assert_eq!(caller.principal().scopes, ["notes:*"], "what they may do, the directory says");
    }
}

#[tokio::test]
async fn an_email_alone_links_nobody() {
    let provider = Provider::start(Key::ed(), "k1").await;
    let mut settings = provider.settings("corp");
    let token = provider.token("EdDSA", "k1", &provider.claims());
    let f = Fixture::trusting(vec![settings.clone()]).await;
    assert_eq!(refused(&f, &token).await, "identity_not_linked");
    // Not even where people are made at first sight: the address is ann's, and she was not asked.
    settings.provision = Some("user".to_owned());
    let f = Fixture::trusting(vec![settings]).await;
    assert_eq!(refused(&f, &token).await, "identity_not_linked");
    assert!(f.identity.directory().external_identities(&f.user.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_key_of_another_issuer_verifies_nothing() {
    let (a, b) = (Provider::start(Key::ed(), "k1").await, Provider::start(Key::ed(), "k1").await);
    let f = Fixture::trusting(vec![a.settings("a"), b.settings("b")]).await;
    for (issuer, provider) in [("a", &a), ("b", &b)] {
        let link = ExternalSubject { issuer, ..corp(provider, "subject-1") };
        f.identity.directory().link_external(&f.user.id, link, &by()).await.unwrap();
    }
    assert_eq!(refused(&f, &a.token("EdDSA", "k1", &a.claims())).await, "accepted");
    assert_eq!(refused(&f, &b.token("EdDSA", "k1", &b.claims())).await, "accepted");
    // Of the same key id, said to be of a, signed by b.
    assert_eq!(refused(&f, &b.token("EdDSA", "k1", &a.claims())).await, "token_signature");
    assert_eq!(refused(&f, &a.token("EdDSA", "k1", &b.claims())).await, "token_signature");
    // Our own key signs for nobody else, and theirs not for us.
    let mut ours = f.claims().await;
    ours.iss = a.url.clone();
    assert_ne!(refused(&f, &f.signed(&ours).await).await, "accepted");
    let mut claims = a.claims();
    claims["iss"] = json!("portcullis");
    assert_ne!(refused(&f, &a.token("EdDSA", "k1", &claims)).await, "accepted");
}

#[tokio::test]
async fn headers_that_an_attacker_sends_are_refused_before_any_key_is_looked_for() {
    let rsa = Key::Rsa(RsaKeyPair::generate(RsaSize::Rsa2048).unwrap());
    let provider = Provider::start(rsa, "k1").await;
    let f = trusting(&provider).await;
    let claims = provider.claims().to_string();
    let jwk = provider.key.jwk("k1").to_string();
    let url = &provider.url;
    for (what, header, wanted) in [
        ("none", r#"{"alg":"none","kid":"k1"}"#.to_owned(), "token_algorithm"),
        ("nOnE", r#"{"alg":"nOnE","kid":"k1"}"#.to_owned(), "token_algorithm"),
        ("no alg", r#"{"kid":"k1"}"#.to_owned(), "token_header"),
        ("an alg that is a list", r#"{"alg":["RS256"],"kid":"k1"}"#.to_owned(), "token_header"),
        ("HMAC", r#"{"alg":"HS256","kid":"k1"}"#.to_owned(), "token_algorithm"),
        ("RS384", r#"{"alg":"RS384","kid":"k1"}"#.to_owned(), "token_algorithm"),
        ("jku", format!(r#"{{"alg":"RS256","kid":"k1","jku":"{url}/keys"}}"#), "token_header"),
        ("x5u", format!(r#"{{"alg":"RS256","kid":"k1","x5u":"{url}/keys"}}"#), "token_header"),
        ("jwk", format!(r#"{{"alg":"RS256","kid":"k1","jwk":{jwk}}}"#), "token_header"),
        ("x5c", r#"{"alg":"RS256","kid":"k1","x5c":["AA"]}"#.to_owned(), "token_header"),
        ("crit", r#"{"alg":"RS256","kid":"k1","crit":["exp"]}"#.to_owned(), "token_header"),
        ("two algs", r#"{"alg":"RS256","alg":"none","kid":"k1"}"#.to_owned(), "token_header"),
        ("two kids", r#"{"alg":"RS256","kid":"k1","kid":"k2"}"#.to_owned(), "token_header"),
        ("no kid", r#"{"alg":"RS256"}"#.to_owned(), "token_header"),
        (
            "another type",
            r#"{"alg":"RS256","kid":"k1","typ":"logout+jwt"}"#.to_owned(),
            "token_header",
        ),
    ] {
        assert_eq!(refused(&f, &provider.signed(&header, &claims)).await, wanted, "{what}");
    }
    assert_eq!(provider.asked(), 0, "no key was asked for");
}

#[tokio::test]
async fn key_ids_with_a_path_a_statement_or_an_address_in_them_name_no_key() {
    let provider = Provider::start(Key::ed(), "k1").await;
    let f = trusting(&provider).await;
    let claims = provider.claims();
    for kid in [
        "../../../dev/null",
        "k1/../k1",
        "' OR '1'='1",
        "k1'; DROP TABLE users; --",
        "http://127.0.0.1:9/keys",
        "k1\u{0}",
        "K1",
        " k1",
    ] {
        assert_eq!(refused(&f, &provider.token("EdDSA", kid, &claims)).await, "token_key_unknown");
    }
    for kid in [String::new(), "k".repeat(257)] {
        assert_eq!(refused(&f, &provider.token("EdDSA", &kid, &claims)).await, "token_header");
    }
    assert_eq!(refused(&f, &provider.token("EdDSA", "k1", &claims)).await, "accepted");
}

#[tokio::test]
async fn hmac_with_the_public_key_is_no_signature() {
    let rsa = Key::Rsa(RsaKeyPair::generate(RsaSize::Rsa2048).unwrap());
    let provider = Provider::start(rsa, "k1").await;
    let f = trusting(&provider).await;
    let Key::Rsa(pair) = &provider.key else { panic!() };
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    let jwk = provider.key.jwk("k1").to_string().into_bytes();
    for algorithm in ["HS256", "RS256", "PS256"] {
        for secret in [&public.n, &jwk] {
            let header = json!({ "alg": algorithm, "kid": "k1" }).to_string();
            let claims = provider.claims().to_string();
            let signed =
                format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
            let mac = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
            let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.as_ref()));
            let wanted = if algorithm == "HS256" { "token_algorithm" } else { "token_signature" };
            assert_eq!(refused(&f, &token).await, wanted, "{algorithm}");
        }
    }
}

#[tokio::test]
async fn an_algorithm_that_the_operator_did_not_pin_is_refused_and_so_is_one_that_the_key_is_not_for()
 {
    let rsa = Key::Rsa(RsaKeyPair::generate(RsaSize::Rsa2048).unwrap());
    let mut keys = rsa.jwk("k1");
    keys["alg"] = json!("RS256");
    let provider = Provider::serving(rsa, json!({ "keys": [keys] }), None).await;
    let f = trusting(&provider).await;
    let claims = provider.claims();
    assert_eq!(refused(&f, &provider.token("PS256", "k1", &claims)).await, "token_algorithm");
    assert_eq!(refused(&f, &provider.token("RS256", "k1", &claims)).await, "accepted");
    let pinned =
        ExternalIssuer { algorithms: vec![ExternalAlgorithm::Es256], ..provider.settings("corp") };
    let f = Fixture::trusting(vec![pinned]).await;
    assert_eq!(refused(&f, &provider.token("RS256", "k1", &claims)).await, "token_algorithm");
}

#[tokio::test]
async fn claims_that_an_attacker_sends_are_refused() {
    let provider = Provider::start(Key::ed(), "k1").await;
    let f = trusting(&provider).await;
    let now = now_seconds();
    let with = |name: &str, value: Value| {
        let mut claims = provider.claims();
        claims[name] = value;
        provider.token("EdDSA", "k1", &claims)
    };
    let without = |name: &str| {
        let mut claims = provider.claims();
        claims.as_object_mut().unwrap().remove(name);
        provider.token("EdDSA", "k1", &claims)
    };
    let deep = (0..20).fold(json!(1), |inner, _| json!([inner]));
    for (what, token, wanted) in [
        ("wrong audience", with("aud", json!("other")), "token_claims"),
        ("audience by prefix", with("aud", json!("gate2")), "token_claims"),
        ("audience of a number", with("aud", json!(["gate", 1])), "token_claims"),
        ("no audience", without("aud"), "token_claims"),
        ("expired", with("exp", json!(now)), "token_expired"),
        ("no exp", without("exp"), "token_claims"),
        ("exp of text", with("exp", json!("9999999999")), "token_claims"),
        ("exp of a float", with("exp", json!(9_999_999_999.5)), "token_claims"),
        ("negative exp", with("exp", json!(-1)), "token_claims"),
        ("exp beyond all clocks", with("exp", json!(u64::MAX)), "token_claims"),
        ("a life of years", with("exp", json!(now + 400 * 86_400)), "token_claims"),
        ("not yet", with("nbf", json!(now + 100)), "token_not_yet"),
        ("issued ahead", with("iat", json!(now + 100)), "token_not_yet"),
        ("no subject", without("sub"), "token_claims"),
        ("empty subject", with("sub", json!("")), "token_claims"),
        ("long subject", with("sub", json!("s".repeat(256))), "token_claims"),
        ("subject of a number", with("sub", json!(1)), "token_claims"),
        ("another subject", with("sub", json!("subject-2")), "identity_not_linked"),
        ("subject in other case", with("sub", json!("Subject-1")), "identity_not_linked"),
        ("deep", with("x", deep), "token_claims"),
        ("oversized", with("x", json!("x".repeat(9_000))), "credential_malformed"),
    ] {
        assert_eq!(refused(&f, &token).await, wanted, "{what}");
    }
    let header = r#"{"alg":"EdDSA","kid":"k1"}"#;
    let twice = provider.claims().to_string();
    let twice = format!("{},\"sub\":\"subject-2\"}}", twice.strip_suffix('}').unwrap());
    assert_eq!(refused(&f, &provider.signed(header, &twice)).await, "token_claims", "twice");
    let good = provider.token("EdDSA", "k1", &provider.claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let padded = format!("{signed}.{}", URL_SAFE.encode(&raw));
    assert_eq!(refused(&f, &padded).await, "token_malformed", "another spelling");
    assert_eq!(refused(&f, &format!("{signed}.")).await, "token_malformed", "no signature");
    assert_eq!(refused(&f, &good).await, "accepted");
}

#[tokio::test]
async fn ten_thousand_unknown_keys_cause_a_handful_of_fetches() {
    let provider = Arc::new(Provider::start(Key::ed(), "k1").await);
    let f = Arc::new(trusting(&provider).await);
    let began = std::time::Instant::now();
    let claims = provider.claims();
    for first in 0..10_000_usize.div_ceil(100) {
        let tries: Vec<_> = (0..100)
            .map(|n| {
                let token = provider.token("EdDSA", &format!("k-{first}-{n}"), &claims);
                let f = Arc::clone(&f);
                tokio::spawn(async move { refused(&f, &token).await })
            })
            .collect();
        for tried in tries {
            assert_eq!(tried.await.unwrap(), "token_key_unknown");
        }
    }
    let bound = usize::try_from(began.elapsed().as_secs() / 10).unwrap() + 2;
    assert!(provider.asked() <= bound, "{} fetches, {bound} at most", provider.asked());
    assert_eq!(refused(&f, &provider.token("EdDSA", "k1", &claims)).await, "accepted");
}

#[tokio::test]
async fn keys_are_taken_from_no_redirect_no_other_host_and_no_other_issuer() {
    let here = Provider::start(Key::ed(), "k1").await;
    let moved = format!("{}/moved", here.url);
    let elsewhere = Provider::serving(Key::ed(), here.key.jwk("k1"), Some(&moved)).await;
    let f = trusting(&elsewhere).await;
    let mut claims = here.claims();
    claims["iss"] = json!(elsewhere.url);
    let token = here.token("EdDSA", "k1", &claims);
    assert_eq!(refused(&f, &token).await, "token_key_unknown", "another host");
    assert_eq!(here.asked(), 0, "it was not even asked");
    let named = here.url.strip_prefix("http://").unwrap().to_owned();
    let settings = ExternalIssuer { hosts: vec![named], ..elsewhere.settings("corp") };
    let f = Fixture::trusting(vec![settings]).await;
    assert_eq!(refused(&f, &token).await, "token_key_unknown", "a redirect");
    assert_eq!(here.asked(), 0, "nobody follows it");
    let mut other = here.settings("corp");
    other.url = format!("{}/", here.url);
    let f = Fixture::trusting(vec![other.clone()]).await;
    let mut claims = here.claims();
    claims["iss"] = json!(other.url);
    let token = here.token("EdDSA", "k1", &claims);
    assert_eq!(refused(&f, &token).await, "token_key_unknown", "its document names another issuer");
}

#[tokio::test]
async fn of_two_keys_with_one_id_neither_counts() {
    let key = Key::ed();
    let keys = json!({ "keys": [key.jwk("k1"), Key::ed().jwk("k1")] });
    let provider = Provider::serving(key, keys, None).await;
    let f = trusting(&provider).await;
    let token = provider.token("EdDSA", "k1", &provider.claims());
    assert_eq!(refused(&f, &token).await, "token_key_unknown");
}

#[tokio::test]
async fn a_verified_token_ends_with_its_time_and_with_its_user() {
    let provider = Provider::start(Key::ed(), "k1").await;
    let f = trusting(&provider).await;
    let mut claims = provider.claims();
    claims["exp"] = json!(now_seconds() + 2);
    let short = provider.token("EdDSA", "k1", &claims);
    let long = provider.token("EdDSA", "k1", &provider.claims());
    for token in [&short, &long] {
        assert_eq!(refused(&f, token).await, "accepted");
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while refused(&f, &short).await == "accepted" {
        assert!(std::time::Instant::now() < deadline, "it never ended");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(refused(&f, &short).await, "token_expired");
    f.identity.directory().set_user_active(&f.user.id, false, &by()).await.unwrap();
    assert_eq!(refused(&f, &long).await, "account_inactive");
    f.identity.directory().set_user_active(&f.user.id, true, &by()).await.unwrap();
    f.identity.directory().unlink_external(&f.user.id, "corp", &by()).await.unwrap();
    assert_eq!(refused(&f, &long).await, "identity_not_linked");
}

#[tokio::test]
async fn a_warm_token_asks_the_directory_nothing_and_a_change_is_seen_by_the_next_call() {
    let provider = Provider::start(Key::ed(), "k1").await;
    let f = trusting(&provider).await;
    let token = provider.token("EdDSA", "k1", &provider.claims());
    let bearer = format!("Bearer {token}");
    assert!(super::credentials::is_warm(&f, "authorization", &bearer).await);
    let directory = f.identity.directory();
    // Whoever is unlinked or linked to somebody else is not taken for who they were.
    directory.unlink_external(&f.user.id, "corp", &by()).await.unwrap();
    assert_eq!(refused(&f, &token).await, "identity_not_linked");
    directory.link_external(&f.user.id, corp(&provider, "subject-1"), &by()).await.unwrap();
    assert_eq!(refused(&f, &token).await, "accepted");
    // Another process changes the same database: seen as soon as a standing would be.
    let other = f.elsewhere().await;
    other.unlink_external(&f.user.id, "corp", &by()).await.unwrap();
    let began = std::time::Instant::now();
    while refused(&f, &token).await == "accepted" {
        assert!(began.elapsed() < Duration::from_secs(1), "it still counts");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(refused(&f, &token).await, "identity_not_linked");
    other.link_external(&f.user.id, corp(&provider, "subject-1"), &by()).await.unwrap();
    while refused(&f, &token).await != "accepted" {
        assert!(began.elapsed() < Duration::from_secs(20), "it never counts again");
    }
    let began = std::time::Instant::now();
    other.set_user_active(&f.user.id, false, &by()).await.unwrap();
    while refused(&f, &token).await == "accepted" {
        assert!(began.elapsed() < Duration::from_secs(1), "switched off, and still let in");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn people_are_made_once_at_first_sight_and_claims_give_their_role() {
    let provider = Provider::start(Key::ed(), "k1").await;
    let map = "[[map]]\nclaim = \"groups\"\nvalue = \"admins\"\nrole = \"admin\"";
    let settings = ExternalIssuer {
        provision: Some("user".to_owned()),
        mapping: Mapping::parse(map).unwrap(),
        ..provider.settings("corp")
    };
    let f = Arc::new(Fixture::trusting(vec![settings]).await);
    let now = now_seconds();
    let claims = |groups: Value, ago: i64| {
        let mut claims = provider.claims();
        claims["iat"] = json!(now - ago);
        claims["sub"] = json!("new-one");
        claims["email"] = json!("new@example.org");
        claims["groups"] = groups;
        provider.token("EdDSA", "k1", &claims)
    };
    let admin = claims(json!(["admins"]), 60);
    let tries: Vec<_> = (0..4)
        .map(|_| {
            let (f, token) = (Arc::clone(&f), admin.clone());
            tokio::spawn(async move { f.bearer(&token).await.unwrap().user_id().to_owned() })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for tried in tries {
        ids.insert(tried.await.unwrap());
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    let caller = f.bearer(&admin).await.unwrap();
    assert_eq!(
        (caller.email(), caller.principal().roles.as_slice()),
        ("new@example.org", ["admin".to_owned()].as_slice())
    );
    let roles = async |token: String| f.bearer(&token).await.unwrap().principal().roles.clone();
    let plain = claims(json!([]), 30);
    assert_eq!(roles(plain.clone()).await, ["user"], "a claim that is gone takes its role along");
    assert_eq!(roles(admin.clone()).await, ["user"], "an older token does not bring it back");
    assert_eq!(roles(claims(json!(["admins"]), 40)).await, ["user"], "nor one between");
    // A token that changed nothing counts as the newest all the same.
    assert_eq!(roles(claims(json!([]), 20)).await, ["user"]);
    assert_eq!(roles(claims(json!(["admins"]), 25)).await, ["user"]);
    assert_eq!(roles(plain).await, ["user"]);
    let notes = f.identity.directory().unrecorded(1_000).await.unwrap();
    let by_issuer = notes.iter().filter(|note| note.actor == "issuer:corp");
    let actions: Vec<&str> = by_issuer.map(|note| note.action.as_str()).collect();
    assert_eq!(actions, ["user.create", "user.set_role"]);
}

#[tokio::test]
async fn a_name_that_stands_for_another_provider_links_nobody() {
    let (before, after) =
        (Provider::start(Key::ed(), "k1").await, Provider::start(Key::ed(), "k1").await);
    let f = Fixture::trusting(vec![after.settings("corp")]).await;
    let directory = f.identity.directory();
    directory.link_external(&f.user.id, corp(&before, "subject-1"), &by()).await.unwrap();
    let token = after.token("EdDSA", "k1", &after.claims());
    assert_eq!(refused(&f, &token).await, "identity_not_linked");
}

#[tokio::test]
async fn a_sign_in_that_lies_ahead_is_no_sign_in() {
    let provider = Provider::start(Key::ed(), "k1").await;
    let f = trusting(&provider).await;
    for ahead in [json!(now_seconds() + 3_600), json!(now_seconds() * 1_000)] {
        let mut claims = provider.claims();
        claims["auth_time"] = ahead;
        let caller = f.bearer(&provider.token("EdDSA", "k1", &claims)).await.unwrap();
        assert_eq!(caller.strength().auth_time, None, "it would be fresh for ever");
    }
}

#[tokio::test]
async fn who_hangs_up_takes_nobody_elses_answer_along() {
    let provider = Provider::start(Key::ed(), "k1").await;
    let f = Arc::new(trusting(&provider).await);
    let token = provider.token("EdDSA", "k1", &provider.claims());
    {
        let asking = f.bearer(&token);
        tokio::pin!(asking);
        // Polled once: the question is on its way when its asker goes.
        let begun = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::future::Future::poll(asking.as_mut(), cx).is_pending())
        });
        begun.await;
    }
    assert_eq!(refused(&f, &token).await, "accepted");
    assert_eq!(provider.asked(), 1, "and it was not asked again");
}

#[tokio::test]
async fn an_issuer_vouches_for_nobody_of_another_tenant() {
    let provider = Provider::start(Key::ed(), "k1").await;
    let f = trusting(&provider).await;
    let other = "imp_t_globex".parse().unwrap();
    f.identity.directory().create_tenant(&other, "Globex", &by()).await.unwrap();
    let gil = NewUser {
        tenant: other,
        email: "gil@example.org".to_owned(),
        role: "user".to_owned(),
        scopes: Vec::new(),
        password_hash: None,
        attributes: None,
        agency_id: None,
    };
    let gil = f.identity.directory().create_user(gil, &by()).await.unwrap();
    f.identity.directory().link_external(&gil.id, corp(&provider, "gil"), &by()).await.unwrap();
    let mut claims = provider.claims();
    claims["sub"] = json!("gil");
    let token = provider.token("EdDSA", "k1", &claims);
    assert_eq!(refused(&f, &token).await, "identity_not_linked");
}

#[tokio::test]
async fn a_provider_does_not_give_the_classes_of_the_gateway_itself() {
    let provider = Provider::start(Key::ed(), "k1").await;
    let f = trusting(&provider).await;
    let mut claims = provider.claims();
    claims["acr"] = json!(portcullis_policies::ACR_MFA);
    claims["amr"] = json!(["pwd"]);
    let caller = f.bearer(&provider.token("EdDSA", "k1", &claims)).await.unwrap();
    assert_eq!((caller.strength().acr.as_deref(), caller.strength().mfa()), (None, false));
}

/// What an attacker changes of the claims.
type Change = fn(&mut Value);

#[tokio::test]
async fn an_id_token_for_another_question_or_another_client_signs_nobody_in() {
    let provider = Provider::start(Key::ed(), "k1").await;
    let client = ExternalClient { id: "gate-web".to_owned(), secret: None };
    let settings = ExternalIssuer { client: Some(client), ..provider.settings("corp") };
    let f = Fixture::trusting(vec![settings]).await;
    let directory = f.identity.directory();
    directory.link_external(&f.user.id, corp(&provider, "subject-1"), &by()).await.unwrap();
    let callback = "http://127.0.0.1:1/v1/auth/callback/corp";
    let none: Change = |_| {};
    let cases: [(&str, Change, &str); 9] = [
        ("as it should be", none, "signed in"),
        ("another nonce", |c| c["nonce"] = json!("x"), "token_claims"),
        ("no nonce", |c| drop(c.as_object_mut().unwrap().remove("nonce")), "token_claims"),
        ("another client's", |c| c["aud"] = json!("other"), "token_claims"),
        ("the audience of access tokens", |c| c["aud"] = json!("gate"), "token_claims"),
        ("for two, and none is named", |c| c["aud"] = json!(["gate-web", "other"]), "token_claims"),
        (
            "for the other of two",
            |c| {
                c["aud"] = json!(["gate-web", "other"]);
                c["azp"] = json!("other");
            },
            "token_claims",
        ),
        ("expired", |c| c["exp"] = json!(1_000), "token_expired"),
        ("of somebody unknown", |c| c["sub"] = json!("subject-2"), "identity_not_linked"),
    ];
    for (what, change, wanted) in cases {
        let wish = SignInWish::default();
        let begun = f.identity.begin_external("corp", callback, wish).await.unwrap();
        let url = begun.url.split_once('?').unwrap().1;
        let asked: std::collections::HashMap<_, _> =
            form_urlencoded::parse(url.as_bytes()).into_owned().collect();
        let mut claims = provider.claims();
        claims["aud"] = json!("gate-web");
        claims["nonce"] = json!(asked["nonce"]);
        change(&mut claims);
        *provider.id_token.lock().unwrap() = provider.token("EdDSA", "k1", &claims);
        let query = format!("code=c&state={}", asked["state"]);
        let returned = SignInReturned { query, browser: Some(begun.browser) };
        let done = f.identity.finish_external("corp", callback, returned).await;
        let said = match done {
            Ok(_) => "signed in".to_owned(),
            Err(refused) => match crate::refusal::Refusal::from(refused) {
                crate::refusal::Refusal::InvalidCredential(code) => code.to_owned(),
                other => other.to_string(),
            },
        };
        assert_eq!(said, wanted, "{what}");
    }
}
