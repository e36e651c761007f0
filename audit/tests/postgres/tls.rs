//! PostgreSQL over TLS: a real server with a certificate of an authority that was made for the test.

use std::path::Path;

use super::*;
use crate::certificates::Certificates;
use portcullis_audit::OpenError;

fn url(port: u16, tls: &str) -> String {
    format!("postgres://postgres@localhost:{port}/postgres{tls}")
}

fn open(folder: &Path, url: &str) -> Result<Ledger, OpenError> {
    let options = LedgerOptions {
        postgres: Some(Postgres::new(url)),
        ..LedgerOptions::new(folder.join("a"), "test", folder.join("log.key"))
    };
    Ledger::open(options).map(|(ledger, _)| ledger)
}

fn refused(url: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    match open(folder.path(), url) {
        Err(OpenError::Storage(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn verified_by(ca: &str) -> String {
    format!("?sslmode=verify-full&sslrootcert={ca}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shows_who_it_is_keeps_the_ledger() {
    let certificates = Certificates::of("localhost");
    let server = Server::start();
    let port = server.listen(Some(certificates.of_server()));
    let url = url(port, &verified_by(&certificates.at("ca.pem")));
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), &url).unwrap();
    fill(&ledger, "default", 2).await;
    let mut conn = sqlx::PgConnection::connect(&url).await.unwrap();
    let plain: Vec<(String,)> = sqlx::query_as(
        "SELECT application_name FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
         WHERE backend_type = 'client backend' AND NOT ssl",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert_eq!(plain, [], "every connection is over TLS");
    ledger.close().await.unwrap();
    // It reads over the same.
    let at = Postgres::new(&url);
    let of_tenant = Query { log: Some("default".to_owned()), ..everything() };
    assert_eq!(Reader::open_postgres(&at).unwrap().rows(&of_tenant).unwrap().len(), 4);
}

#[test]
fn a_server_of_another_authority_is_refused() {
    let server = Server::start();
    let port = server.listen(Some(Certificates::of("localhost").of_server()));
    let other = Certificates::of("localhost");
    let why = refused(&url(port, &verified_by(&other.at("ca.pem"))));
    assert!(why.contains("certificate"), "{why}");
    // Nor does one count that no authority was named for.
    let why = refused(&url(port, "?sslmode=verify-full"));
    assert!(why.contains("certificate"), "{why}");
}

#[test]
fn a_server_of_another_name_is_refused() {
    let certificates = Certificates::of("db.example.org");
    let server = Server::start();
    let port = server.listen(Some(certificates.of_server()));
    let why = refused(&url(port, &verified_by(&certificates.at("ca.pem"))));
    assert!(why.contains("certificate"), "{why}");
}

#[test]
fn a_server_without_tls_is_refused_and_told_nothing() {
    let certificates = Certificates::of("localhost");
    let server = Server::start();
    let port = server.listen(None);
    let why = refused(&url(port, &verified_by(&certificates.at("ca.pem"))));
    assert!(why.to_lowercase().contains("tls") || why.to_lowercase().contains("ssl"), "{why}");
    assert!(open(tempfile::tempdir().unwrap().path(), &url(port, "")).is_ok(), "it is there");
}

#[test]
fn a_server_elsewhere_has_to_be_reached_over_tls_or_by_a_word_that_it_need_not() {
    let folder = tempfile::tempdir().unwrap();
    let refused = open(folder.path(), "postgres://u:secret@db.invalid/l").unwrap_err();
    assert!(matches!(&refused, OpenError::Options(why) if why.contains("sslmode=verify-full")));
    assert!(!refused.to_string().contains("secret"), "{refused}");
    // By that word it is tried, and not found.
    let tried = open(folder.path(), "postgres://u@db.invalid/l?sslmode=disable").unwrap_err();
    assert!(matches!(&tried, OpenError::Storage(_)), "{tried}");
}
