//! The gateway leaks ... nowhere: logs at their loudest, ledger, answers, and every byte on disk.

use std::path::Path;

use harness::{Deployment, Upstream, json, people::person};
use reqwest::Method;

const CREDENTIAL: &str = "planted-upstream-credential";
const ARGUMENT: &str = "planted-argument-of-a-call";

/// Everything that happened in one busy minute, as text and bytes.
struct Traces {
    answers: Vec<String>,
    ledger: String,
    log: String,
    files: Vec<(String, Vec<u8>)>,
    secrets: Vec<(&'static str, String)>,
}

async fn busy_minute() -> Traces {
    let upstream = Upstream::start();
    let builder = Deployment::builder().notes(&upstream).bank(&upstream, CREDENTIAL);
    let gate = builder.env("RUST_LOG", "trace").start().await;
    let (token, key) = (gate.token("ana").await, gate.api_key("ana", &["*"]));
    let (ana, ben) = (person("ana"), person("ben"));
    let mut answers = vec![
        gate.log_in(&ana, "planted-wrong-password").await,
        gate.call("ana", "notes", "create_note", json!({ "title": ARGUMENT })).await,
        gate.call("ana", "notes", "create_note", json!({ "title": 7, "x": ARGUMENT })).await,
        gate.call("ben", "notes", "create_note", json!({ "title": ARGUMENT })).await,
        gate.get_as("ana", "/proxy/bank/invoices").await,
        gate.get(&format!("/v1/auth/me?access_token={token}")).await,
        gate.call_with_body("ana", "notes", format!("{{\"{ARGUMENT}\"")).await,
    ];
    // One that waits for its confirmation stays on disk: sealed.
    let request = gate.signed("ana", Method::DELETE, "/proxy/bank/invoices/7").await;
    gate.send(request.body(ARGUMENT)).await;
    let keyed = gate.request(Method::GET, "/proxy/bank/invoices").header("x-api-key", &key);
    answers.push(gate.send(keyed).await);
    upstream.answers("/notes/list_notes", 500, CREDENTIAL);
    answers.push(gate.call("ana", "notes", "list_notes", json!({})).await);
    let ledger = gate.records().iter().map(ToString::to_string).collect();
    let signature = token.rsplit('.').next().unwrap().to_owned();
    Traces {
        // The app's own answer to the argument's sender is theirs to see; all others are not.
        answers: answers.iter().filter(|a| a.status != 200).map(harness::Answer::text).collect(),
        ledger,
        log: gate.log(),
        files: files(&gate.data()),
        secrets: vec![
            ("password", ana.password()),
            ("another password", ben.password()),
            ("wrong password", "planted-wrong-password".to_owned()),
            ("access token", signature),
            ("API key", key),
            ("upstream credential", CREDENTIAL.to_owned()),
            ("argument", ARGUMENT.to_owned()),
        ],
    }
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[tokio::test]
async fn no_secret_and_no_argument() {
    let traces = busy_minute().await;
    assert!(traces.files.iter().any(|(name, _)| name.ends_with("directory.sqlite")));
    assert!(traces.log.len() > 10_000, "the log is not at its loudest");
    for (what, secret) in &traces.secrets {
        assert!(!traces.ledger.contains(secret), "{what} in the ledger");
        for line in traces.log.lines() {
            assert!(!line.contains(secret), "{what} in the log: {line}");
        }
        for answer in &traces.answers {
            assert!(!answer.contains(secret), "{what} in an answer: {answer}");
        }
        for (name, bytes) in &traces.files {
            assert!(!holds(bytes, secret), "{what} in {name}");
        }
    }
}

/// A parameter that the driver does not know may be a password all the same.
#[test]
fn no_parameter_of_a_database_address_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let planted = "planted-password-of-a-key";
    let address = format!("postgres://u:p@127.0.0.1:1/l?sslpassword={planted}");
    let file = folder.path().join("address");
    std::fs::write(&file, address).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let config = "[ledger]\npostgres = { file = \"address\" }\n\
                  [directory]\npostgres = { file = \"address\" }\n";
    std::fs::write(folder.path().join("portcullis.toml"), config).unwrap();
    for level in ["", "trace"] {
        for command in ["check", "serve"] {
            let ran = std::process::Command::new(harness::binary("portcullis"))
                .args([command, "--config", "portcullis.toml"])
                .current_dir(folder.path())
                .env("RUST_LOG", level)
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
            assert!(!told.contains(planted), "{command} at {level:?}: {told}");
            // Refused by its name, so the address was read.
            assert!(told.contains("`sslpassword`"), "{command} at {level:?}: {told}");
        }
    }
}
