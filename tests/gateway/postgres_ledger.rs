//! A ledger in PostgreSQL, by one line of configuration ...

use std::time::Duration;

use harness::{Deployment, Upstream, json};

#[path = "../../audit/tests/postgres/certificates.rs"]
mod certificates;
#[path = "../../audit/tests/postgres/server.rs"]
#[expect(dead_code, reason = "the tests of the ledger itself use more of it")]
pub(crate) mod server;

use certificates::Certificates;
use server::Server;

const ONE_LINE: &str = "[ledger]\npostgres = { file = \"ledger-address\" }";

#[tokio::test]
async fn takes_calls_and_answers_auditors_as_a_file_does() {
    let (server, upstream) = (Server::start(), Upstream::start());
    let address = server.url();
    let mut gate = Deployment::builder()
        .notes(&upstream)
        .settings(ONE_LINE)
        .file("ledger-address", &address)
        .start()
        .await;
    let list = async |gate: &Deployment| gate.call("ana", "notes", "list_notes", json!({})).await;
    let answer = list(&gate).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let refused = gate.call("ben", "notes", "create_note", json!({ "title": "x" })).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(!gate.data().join("ledger.sqlite").exists(), "there is no file");
    let found = gate.must(&["ledger", "find", &answer.op()]);
    assert!(found.contains("intent") && found.contains("outcome"), "{found}");
    let checked = gate.must(&["ledger", "verify"]);
    assert!(checked.starts_with("whole"), "{checked}");
    let verified = gate.verify();
    assert!(verified.whole, "{}", verified.said);

    gate.stop();
    gate.restart().await;
    assert_eq!(list(&gate).await.status, 200);
    let verified = gate.verify();
    assert!(verified.whole, "{}", verified.said);
    assert!(!gate.log().contains(&address), "the address may hold a password");
}

#[tokio::test]
async fn is_reached_over_tls_and_so_is_the_directory_and_by_nobody_who_poses_as_it() {
    let (server, upstream) = (Server::start(), Upstream::start());
    let certificates = Certificates::of("localhost");
    let port = server.listen(Some(certificates.of_server()));
    let address = |ca: &str| {
        format!(
            "postgres://postgres@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={ca}"
        )
    };
    let mut gate = Deployment::builder()
        .notes(&upstream)
        .settings(&format!("{ONE_LINE}\n[directory]\npostgres = {{ file = \"ledger-address\" }}"))
        .file("ledger-address", &address(&certificates.at("ca.pem")))
        .start()
        .await;
    let answer = gate.call("ana", "notes", "list_notes", json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let verified = gate.verify();
    assert!(verified.whole, "{}", verified.said);
    gate.stop();
    let other = Certificates::of("localhost");
    let file = gate.dir().join("ledger-address");
    std::fs::write(&file, address(&other.at("ca.pem"))).unwrap();
    gate.fails_to_restart();
    assert!(gate.log().contains("certificate"), "{}", gate.log());
    // To another machine nothing is said in the clear.
    std::fs::write(&file, "postgres://u:secret-word@db.example.org/l").unwrap();
    let checked = gate.portcullis(&["check"]);
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    assert!(!checked.status.success() && said.contains("sslmode=verify-full"), "{said}");
    assert!(!said.contains("secret-word"), "{said}");
}

#[tokio::test]
async fn refuses_in_time_while_the_server_is_away_and_goes_on_by_itself() {
    let (server, upstream) = (Server::start(), Upstream::start());
    let gate = Deployment::builder()
        .notes(&upstream)
        .settings(ONE_LINE)
        .file("ledger-address", &server.url())
        .start()
        .await;
    let list = async || gate.call("ana", "notes", "list_notes", json!({})).await;
    assert_eq!(list().await.status, 200);
    server.down("immediate");
    let (since, seen) = (std::time::Instant::now(), upstream.seen().len());
    let refused = list().await;
    assert_eq!((refused.status, refused.code()), (503, "AUDIT_UNAVAILABLE"), "{refused:?}");
    println!("refused after {:?}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(15), "it hung for {:?}", since.elapsed());
    assert_eq!(upstream.seen().len(), seen, "nothing was dispatched");
    assert_eq!(gate.get("/readyz").await.status, 503);
    server.up(&[]);
    for _ in 0..100 {
        if list().await.status == 200 {
            let verified = gate.verify();
            assert!(verified.whole, "{}", verified.said);
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("it did not go on:\n{}", gate.log());
}
