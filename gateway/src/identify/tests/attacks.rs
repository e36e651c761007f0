//! Tokens that an attacker sends: one table, each row by name, each refused for its own reason.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

struct Forge {
    header: Value,
    claims: Value,
    signer: Arc<super::keys::KeyRing>,
    public_der: Vec<u8>,
    public_jwk: Value,
}

impl Forge {
    async fn new(f: &Fixture) -> Self {
        let token = f.token().await;
        let part = |n: usize| -> Value {
            let text = token.split('.').nth(n).unwrap();
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
        };
        let ring = f.identity.keys.current().await;
        let jwks: Value = serde_json::from_slice(&ring.jwks).unwrap();
        let public_der = ring.signer().public_der();
        Self {
            header: part(0),
            claims: part(1),
            signer: ring,
            public_der,
            public_jwk: jwks["keys"][0].clone(),
        }
    }

    /// Signed with the real key: only the shape is wrong.
    fn signed(&self, header: &str, claims: &str) -> String {
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.signer.signer().sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn good(&self) -> String {
        self.signed(&self.header.to_string(), &self.claims.to_string())
    }

    fn with_header(&self, member: &str, value: Value) -> String {
        let mut header = self.header.clone();
        header[member] = value;
        self.signed(&header.to_string(), &self.claims.to_string())
    }

    fn without_header(&self, member: &str) -> String {
        let mut header = self.header.clone();
        header.as_object_mut().unwrap().remove(member);
        self.signed(&header.to_string(), &self.claims.to_string())
    }

    fn with_claim(&self, member: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[member] = value;
        self.signed(&self.header.to_string(), &claims.to_string())
    }

    /// A claim as raw JSON text, for numbers that `Value` cannot hold.
    fn with_raw_claim(&self, member: &str, raw: &str) -> String {
        let mut claims = self.claims.clone();
        claims[member] = json!("@@");
        let text = claims.to_string().replace("\"@@\"", raw);
        self.signed(&self.header.to_string(), &text)
    }

    fn without_claim(&self, member: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(member);
        self.signed(&self.header.to_string(), &claims.to_string())
    }

    /// HMAC under something public, as algorithm confusion would have it.
    fn hmac(&self, alg: &str, secret: &[u8]) -> String {
        use aws_lc_rs::hmac;
        let mut header = self.header.clone();
        header["alg"] = json!(alg);
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(self.claims.to_string())
        );
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn parts(&self) -> [String; 3] {
        let token = self.good();
        let mut parts = token.split('.').map(ToOwned::to_owned);
        std::array::from_fn(|_| parts.next().unwrap())
    }
}

fn rows(forge: &Forge) -> Vec<(&'static str, String, &'static str)> {
    [
        algorithms(forge),
        key_ids(forge),
        foreign_members(forge),
        spellings(forge),
        claims(forge),
        times(forge),
    ]
    .concat()
}

fn algorithms(f: &Forge) -> Vec<(&'static str, String, &'static str)> {
    let alg = "token_algorithm";
    let [header, payload, _] = f.parts();
    let der = f.public_der.clone();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(&der)
    );
    vec![
        ("alg none", f.with_header("alg", json!("none")), alg),
        ("alg None", f.with_header("alg", json!("None")), alg),
        ("alg NONE", f.with_header("alg", json!("NONE")), alg),
        ("alg nOnE", f.with_header("alg", json!("nOnE")), alg),
        (
            "alg none without signature",
            format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"x"}"#)),
            alg,
        ),
        ("alg RS256 without signature", format!("{header}.{payload}."), "token_signature"),
        ("alg empty", f.with_header("alg", json!("")), alg),
        ("alg number", f.with_header("alg", json!(256)), "token_header"),
        ("alg null", f.with_header("alg", json!(null)), "token_header"),
        ("alg list", f.with_header("alg", json!(["RS256"])), "token_header"),
        ("alg missing", f.without_header("alg"), "token_header"),
        ("alg rs256", f.with_header("alg", json!("rs256")), alg),
        ("alg RS384", f.with_header("alg", json!("RS384")), alg),
        ("alg PS256", f.with_header("alg", json!("PS256")), alg),
        ("alg ES256", f.with_header("alg", json!("ES256")), alg),
        ("alg EdDSA", f.with_header("alg", json!("EdDSA")), alg),
        ("HMAC with the public key as PEM", f.hmac("HS256", pem.as_bytes()), alg),
        ("HMAC with the public key as DER", f.hmac("HS256", &der), alg),
        (
            "HMAC with the public key as JWK",
            f.hmac("HS256", f.public_jwk.to_string().as_bytes()),
            alg,
        ),
        ("HMAC under the name RS256", f.hmac("RS256", pem.as_bytes()), "token_signature"),
    ]
}

fn key_ids(f: &Forge) -> Vec<(&'static str, String, &'static str)> {
    let unknown = "token_key_unknown";
    vec![
        ("kid missing", f.without_header("kid"), "token_header"),
        ("kid null", f.with_header("kid", json!(null)), "token_header"),
        ("kid number", f.with_header("kid", json!(0)), "token_header"),
        ("kid empty", f.with_header("kid", json!("")), unknown),
        ("kid unknown", f.with_header("kid", json!("another")), unknown),
        ("kid path traversal", f.with_header("kid", json!("../../../../dev/null")), unknown),
        ("kid SQL", f.with_header("kid", json!("x' UNION SELECT 'a' --")), unknown),
        ("kid NUL", f.with_header("kid", json!("a\u{0}b")), unknown),
        ("kid 10 KB", f.with_header("kid", json!("k".repeat(10_240))), "credential_malformed"),
        ("kid 5 KB", f.with_header("kid", json!("k".repeat(5_000))), unknown),
    ]
}

fn foreign_members(f: &Forge) -> Vec<(&'static str, String, &'static str)> {
    let bad = "token_header";
    let header = f.header.to_string();
    let twice = header.replacen('{', r#"{"alg":"RS256","#, 1);
    let none_first = header.replacen('{', r#"{"alg":"none","#, 1);
    vec![
        ("jku", f.with_header("jku", json!("https://attacker.example/jwks.json")), bad),
        ("x5u", f.with_header("x5u", json!("https://attacker.example/cert.pem")), bad),
        ("jwk", f.with_header("jwk", f.public_jwk.clone()), bad),
        ("x5c", f.with_header("x5c", json!(["MIIB"])), bad),
        ("unknown crit", f.with_header("crit", json!(["b64"])), bad),
        ("empty crit", f.with_header("crit", json!([])), bad),
        ("b64 false", f.with_header("b64", json!(false)), bad),
        ("zip", f.with_header("zip", json!("DEF")), bad),
        ("typ of an id token", f.with_header("typ", json!("JOSE")), bad),
        ("nested token by cty", f.with_header("cty", json!("JWT")), bad),
        ("duplicate header member", f.signed(&twice, &f.claims.to_string()), bad),
        ("duplicate alg, none first", f.signed(&none_first, &f.claims.to_string()), bad),
        ("header is a list", f.signed("[]", &f.claims.to_string()), bad),
        (
            "header with trailing bytes",
            f.signed(&format!("{header} x"), &f.claims.to_string()),
            bad,
        ),
        ("header not UTF-8", format!("{}.e30.AA", URL_SAFE_NO_PAD.encode([0xff, 0xfe])), bad),
    ]
}

fn spellings(f: &Forge) -> Vec<(&'static str, String, &'static str)> {
    let bad = "token_malformed";
    let [header, payload, signature] = f.parts();
    let raw = URL_SAFE_NO_PAD.decode(&signature).unwrap();
    let last = signature.chars().last().unwrap();
    let stray = |c: char| char::from(u32::from(c) as u8 + 1);
    let mut loose = signature.clone();
    loose.pop();
    loose.push(stray(last));
    vec![
        ("padded signature", format!("{header}.{payload}.{}", URL_SAFE.encode(&raw)), bad),
        ("standard alphabet", format!("{header}.{payload}.{}+/", signature), bad),
        ("stray bits in the last character", format!("{header}.{payload}.{loose}"), bad),
        ("two parts", format!("{header}.{payload}"), bad),
        ("one part", header.clone(), bad),
        ("four parts", format!("{header}.{payload}.{signature}.{signature}"), bad),
        ("five parts, as JWE", format!("{header}.{payload}.a.b.{signature}"), bad),
        ("empty parts", "..".to_owned(), "token_header"),
        ("JSON serialisation", "eyJwYXlsb2FkIjoiIn0".to_owned(), bad),
        (
            "truncated signature",
            format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(&raw[1..])),
            "token_signature",
        ),
        (
            "lengthened signature",
            format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode([&[0][..], &raw].concat())),
            "token_signature",
        ),
        (
            "zero signature",
            format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode([0; 256])),
            "token_signature",
        ),
        (
            "64 KB token",
            format!("{header}.{}.{signature}", "A".repeat(65_536)),
            "credential_malformed",
        ),
        (
            "swapped payload",
            format!(
                "{header}.{}.{signature}",
                URL_SAFE_NO_PAD.encode(f.claims.to_string().replace("user", "root"))
            ),
            "token_signature",
        ),
    ]
}

fn claims(f: &Forge) -> Vec<(&'static str, String, &'static str)> {
    let bad = "token_claims";
    let twice = f.claims.to_string().replacen('{', r#"{"sub":"imp_u_root","#, 1);
    let two_times = f.claims.to_string().replacen('{', r#"{"exp":9999999999,"#, 1);
    vec![
        ("aud text", f.with_claim("aud", json!("portcullis")), bad),
        ("aud of programs", f.with_claim("aud", json!("http://127.0.0.1:8080/mcp")), bad),
        ("aud null and a grant", f.with_claim("grant", json!("imp_g_none")), bad),
        ("aud list", f.with_claim("aud", json!(["portcullis", "other"])), bad),
        ("another issuer", f.with_claim("iss", json!("other")), bad),
        ("issuer with a suffix", f.with_claim("iss", json!("portcullis.attacker.example")), bad),
        ("issuer with a prefix", f.with_claim("iss", json!("xportcullis")), bad),
        ("issuer as a list", f.with_claim("iss", json!(["portcullis"])), bad),
        ("issuer in another case", f.with_claim("iss", json!("Portcullis")), bad),
        ("issuer missing", f.without_claim("iss"), bad),
        ("sub missing", f.without_claim("sub"), bad),
        ("sub empty", f.with_claim("sub", json!("")), bad),
        ("sub null", f.with_claim("sub", json!(null)), bad),
        ("sub of nobody", f.with_claim("sub", json!("imp_u_nobody")), "account_inactive"),
        ("sub by SQL", f.with_claim("sub", json!("' OR '1'='1")), "account_inactive"),
        ("tenant of another", f.with_claim("tenant_id", json!("imp_t_other")), bad),
        ("tenant empty", f.with_claim("tenant_id", json!("")), bad),
        ("actor kind of an extension", f.with_claim("actor_kind", json!("extension")), bad),
        ("scopes as text", f.with_claim("scopes", json!("*")), bad),
        ("unknown claim", f.with_claim("act", json!({"sub": "imp_u_root"})), bad),
        ("duplicate sub", f.signed(&f.header.to_string(), &twice), bad),
        ("duplicate exp", f.signed(&f.header.to_string(), &two_times), bad),
        (
            "payload is a nested token",
            f.signed(&f.header.to_string(), &format!("\"{}\"", f.good())),
            bad,
        ),
        ("payload is a list", f.signed(&f.header.to_string(), "[]"), bad),
        (
            "payload of another spelling",
            f.signed(&f.header.to_string(), &format!("{}\u{0}", f.claims)),
            bad,
        ),
    ]
}

fn times(f: &Forge) -> Vec<(&'static str, String, &'static str)> {
    let bad = "token_claims";
    let now = now_seconds();
    vec![
        ("exp in the past", f.with_claim("exp", json!(now - 1)), "token_expired"),
        ("exp now", f.with_claim("exp", json!(now)), "token_expired"),
        ("exp text", f.with_claim("exp", json!("9999999999")), bad),
        ("exp fraction", f.with_raw_claim("exp", "9999999999.5"), bad),
        ("exp whole fraction", f.with_raw_claim("exp", "9999999999.0"), bad),
        ("exp exponent", f.with_raw_claim("exp", "1e12"), bad),
        ("exp negative", f.with_claim("exp", json!(-1)), bad),
        ("exp 2^63", f.with_raw_claim("exp", "9223372036854775808"), bad),
        ("exp null", f.with_claim("exp", json!(null)), bad),
        ("exp missing", f.without_claim("exp"), bad),
        ("iat missing", f.without_claim("iat"), bad),
        ("iat text", f.with_claim("iat", json!("1")), bad),
        ("iat in the future", f.with_claim("iat", json!(now + 60)), "token_not_yet"),
        ("iat 2^63", f.with_raw_claim("iat", "9223372036854775808"), bad),
        ("iat after exp", f.with_claim("iat", json!(now + 5_000)), bad),
        ("nbf in the future", f.with_claim("nbf", json!(now + 60)), "token_not_yet"),
        ("nbf text", f.with_claim("nbf", json!("0")), bad),
        ("nbf fraction", f.with_raw_claim("nbf", "1.5"), bad),
        ("a life of 30 years", f.with_claim("exp", json!(now + 1_000_000_000)), bad),
    ]
}

#[tokio::test]
async fn tokens_an_attacker_sends_are_refused() {
    let f = Fixture::new().await;
    let forge = Forge::new(&f).await;
    assert_eq!(code(f.bearer(&forge.good()).await), "accepted", "the forge itself must work");
    let rows = rows(&forge);
    assert!(rows.len() >= 100, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for (name, token, wanted) in rows {
        let got = code(f.bearer(&token).await);
        if got != wanted {
            wrong.push(format!("{name}: {got}, wanted {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(code(f.bearer(&forge.good()).await), "accepted", "no attack may lock the user out");
}

#[tokio::test]
async fn a_key_of_another_deployment_does_not_verify_here() {
    let (ours, theirs) = (Fixture::new().await, Fixture::new().await);
    let foreign = Forge::new(&theirs).await;
    assert_eq!(code(ours.bearer(&foreign.good()).await), "token_key_unknown");
    let kid = ours.identity.keys.current().await.signer().kid().to_owned();
    let borrowed = foreign.with_header("kid", json!(kid));
    assert_eq!(code(ours.bearer(&borrowed).await), "token_signature");
}

#[test]
fn no_mutation_of_a_token_is_accepted_and_none_panics() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let f = runtime.block_on(Fixture::new());
    let token = runtime.block_on(f.token());
    let ring = runtime.block_on(f.identity.keys.current());
    let accepts = |token: &str| {
        token::parse(token).and_then(|t| t.verify(&ring, &f.identity.terms, now_seconds())).is_ok()
    };
    assert!(accepts(&token));
    let len = token.len();
    proptest!(ProptestConfig::with_cases(2_000), |(at in 0..len, with in "[A-Za-z0-9_.=-]{0,3}", cut in 0usize..3)| {
        let end = (at + cut).min(len);
        let mutated = format!("{}{with}{}", token.get(..at).unwrap(), token.get(end..).unwrap());
        prop_assert!(mutated == token || !accepts(&mutated), "accepted {mutated}");
    });
    proptest!(ProptestConfig::with_cases(2_000), |(text in "\\PC{0,200}")| {
        prop_assert!(!accepts(&text));
    });
}
