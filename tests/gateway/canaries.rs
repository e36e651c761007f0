//! Of every secret that went in, on every surface that something can leave by, in every spelling, there is
//! ... nothing (ledger-and-vault.md 6.5).

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use harness::{Deployment, Upstream, json};
use reqwest::Method;

/// One canary a field, each with characters that every encoding spells in another way.
fn canary(field: &str) -> String {
    format!("c4n4ry/{field}+\"é?\\~{}", field.len())
}

/// Every spelling of a canary that is searched for.
fn spellings(canary: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = canary.as_bytes();
    let json = serde_json::to_string(canary).unwrap();
    let ascii: String = canary.chars().flat_map(char::escape_default).collect();
    let mut all = vec![
        ("raw", bytes.to_vec()),
        ("hex", hex::encode(bytes).into_bytes()),
        ("HEX", hex::encode_upper(bytes).into_bytes()),
        ("URL", percent(bytes).into_bytes()),
        ("JSON", json.trim_matches('"').as_bytes().to_vec()),
        ("Debug", ascii.into_bytes()),
        ("decimal list", format!("{bytes:?}").trim_matches(['[', ']']).as_bytes().to_vec()),
    ];
    for offset in 0..3 {
        all.push(("base64", inside(&STANDARD_NO_PAD, bytes, offset)));
        all.push(("base64url", inside(&URL_SAFE_NO_PAD, bytes, offset)));
    }
    all
}

/// What base64 makes of the canary wherever it begins: without the characters that its neighbours share.
fn inside(engine: &impl base64::Engine, bytes: &[u8], offset: usize) -> Vec<u8> {
    let padded = [vec![0; offset], bytes.to_vec()].concat();
    let whole = padded.len() / 3 * 3;
    let text = engine.encode(&padded[..whole]);
    let first = if offset == 0 { 0 } else { 4 };
    text.as_bytes()[first..].to_vec()
}

fn percent(bytes: &[u8]) -> String {
    let one = |b: &u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            (*b as char).to_string()
        }
        b => format!("%{b:02X}"),
    };
    bytes.iter().map(one).collect()
}

/// Surface and spelling of every leak.
fn leaks(surfaces: &[(String, Vec<u8>)], canaries: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for canary in canaries {
        for (how, spelling) in spellings(canary) {
            for (surface, bytes) in surfaces {
                if memchr::memmem::find(bytes, &spelling).is_some() {
                    found.push(format!("{canary} as {how} in {surface}"));
                }
            }
        }
    }
    found
}

fn files(dir: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if let Ok(bytes) = std::fs::read(&path) {
            into.push((path.display().to_string(), bytes));
        }
    }
}

#[test]
fn a_planted_leak_is_found_in_every_spelling() {
    let planted = canary("planted");
    for (how, spelling) in spellings(&planted) {
        let noise = [b"before ".as_slice(), &spelling, b" after"].concat();
        let found = leaks(&[("a log".to_owned(), noise)], std::slice::from_ref(&planted));
        assert!(!found.is_empty(), "{how} was not found");
    }
    let offset = base64::engine::general_purpose::STANDARD.encode(format!("xy{planted}z"));
    let found = leaks(&[("a log".to_owned(), offset.into_bytes())], &[planted]);
    assert!(!found.is_empty(), "base64 in the middle of something was not found");
}

/// What an operator's commands print.
fn outputs_of_commands(gate: &Deployment, value: &str, surfaces: &mut Vec<(String, Vec<u8>)>) {
    let id = gate.user_id("sue");
    let args = ["secret", "set", "vaulty", "pin", "--user", &id, "--stdin"];
    let said = gate.portcullis_with_input(&args, value);
    surfaces.push(("output of `secret set`".to_owned(), [said.stdout, said.stderr].concat()));
    for args in [
        &["secret", "list", "vaulty", "--user", &id, "--json"][..],
        &["vault", "rotate", "--json"],
        &["vault", "rotate-scopes"],
        &["vault", "status", "--json"],
        &["ledger", "show", "--json", "--limit", "100000"],
    ] {
        surfaces.push((format!("{args:?}"), gate.must(args).into_bytes()));
    }
}

#[tokio::test]
async fn no_value_leaves_the_process() {
    let fields =
        ["extension", "person", "command", "malformed", "undeclared", "too-large", "query"];
    let canaries: Vec<String> = fields.iter().map(|field| canary(field)).collect();
    let [by_ext, by_person, by_command, malformed, undeclared, long, query] = canaries.as_slice()
    else {
        unreachable!("seven fields")
    };
    let upstream = Upstream::start();
    let builder = Deployment::builder().notes(&upstream).vaulty(&upstream);
    let mut gate = builder.env("RUST_LOG", "trace").start().await;
    let (ext, person) = (gate.extension_token("vaulty", "sue"), gate.token("sue").await);
    let mut surfaces = Vec::new();
    let at = |method, token: &str, name: &str| {
        gate.request(method, &format!("/v1/secrets/vaulty/{name}")).bearer_auth(token)
    };
    let mut answers = Vec::new();
    let set = |token: &str, name: &str, value: &str| {
        gate.send(at(Method::PUT, token, name).json(&json!({ "value": value })))
    };
    answers.push(set(&ext, "api_key", by_ext).await);
    answers.push(set(&person, "pin", by_person).await);
    answers.push(set(&ext, "nope", undeclared).await);
    answers.push(set(&ext, "api_key", &long.repeat(9)).await);
    answers.push(set(&person, "robot_token", by_person).await);
    answers.push(
        gate.send(at(Method::PUT, &ext, "api_key").body(format!("{{\"value\":[{malformed:?}]}}")))
            .await,
    );
    let in_query = format!("/v1/secrets/vaulty?token={}", percent(query.as_bytes()));
    answers.push(gate.get(&in_query).await);
    for path in
        ["/v1/secrets/vaulty", "/v1/secrets/vaulty/api_key/meta", "/metrics", "/openapi.json"]
    {
        answers.push(gate.send(gate.request(Method::GET, path).bearer_auth(&ext)).await);
    }
    answers.push(gate.send(at(Method::GET, &person, "api_key")).await);
    let lent = gate.send(at(Method::GET, &ext, "api_key")).await;
    assert_eq!(lent.body, json!({ "value": by_ext }), "it is lent to its app: {lent:?}");
    outputs_of_commands(&gate, by_command, &mut surfaces);
    for (number, answer) in answers.iter().enumerate() {
        surfaces.push((format!("answer {number}"), format!("{answer:?}").into_bytes()));
    }
    let export = gate.dir().join("export");
    gate.must(&["ledger", "export", "--to", &export.display().to_string()]);
    // While it runs: journals and write-ahead logs, too.
    files(gate.dir(), &mut surfaces);
    gate.stop();
    files(gate.dir(), &mut surfaces);
    surfaces.push(("the log".to_owned(), gate.log().into_bytes()));
    let found = leaks(&surfaces, &canaries);
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn no_core_is_left_behind() {
    let gate = Deployment::builder().start().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gate.process_id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
}
