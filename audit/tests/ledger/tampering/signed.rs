//! Histories that somebody signed: with another key, or with the real one.

use super::*;

#[tokio::test]
async fn a_key_from_elsewhere_is_what_a_resigned_history_cannot_pass() {
    let (house, folder) = exported().await;
    let key = portcullis_audit::load_key(&house.path("log.key")).unwrap();
    let keys = ["test/t/default", "test/t/imp_t_x", "test/deployment", "test/export"]
        .map(|name| portcullis_audit::note::VerifierKey::parse(&key.vkey(name)).unwrap());
    let trust = Trust::in_keys(keys);
    assert_eq!(verify(&folder, &trust).verdict, Verdict::Whole);

    // Another ledger, whole in itself, under another key.
    let (_forger, forged) = exported().await;
    assert_eq!(verify(&forged, &Trust::default()).verdict, Verdict::Whole);
    assert_eq!(verify(&forged, &trust).verdict.exit_code(), 1);
}

/// What somebody who has the real key signs: the list of logs with other lines for one tenant.
fn sign_index_anew(house: &House, folder: &Path, tenant: &str, line: Option<&str>) {
    let key = portcullis_audit::load_key(&house.path("log.key")).unwrap();
    let index = std::fs::read_to_string(folder.join("index")).unwrap();
    let (text, _) = index.split_once("\n\n").unwrap();
    let ours = |line: &&str| !line.starts_with(&format!("test/t/{tenant} "));
    let mut heads: Vec<&str> = text.lines().skip(2).filter(ours).collect();
    heads.extend(line);
    let text = format!("portcullis/export/v1\nlogs {}\n{}\n", heads.len(), heads.join("\n"));
    std::fs::write(folder.join("index"), key.sign("test/export", &text)).unwrap();
}

/// The list of logs without the deployment's own, signed with the real key.
fn sign_without_deployment(house: &House, folder: &Path) {
    let key = portcullis_audit::load_key(&house.path("log.key")).unwrap();
    let index = std::fs::read_to_string(folder.join("index")).unwrap();
    let (text, _) = index.split_once("\n\n").unwrap();
    let heads: Vec<&str> =
        text.lines().skip(2).filter(|line| !line.starts_with("test/deployment ")).collect();
    let text = format!("portcullis/export/v1\nlogs {}\n{}\n", heads.len(), heads.join("\n"));
    std::fs::write(folder.join("index"), key.sign("test/export", &text)).unwrap();
}

#[tokio::test]
async fn a_whole_log_left_out_by_the_operator_is_missed_by_the_deployments_log() {
    let (house, folder) = exported().await;
    let whole = folder.clone();
    let (index, note) =
        (whole.join("index"), std::fs::read_to_string(whole.join("index")).unwrap());
    std::fs::rename(folder.join("deployment"), house.path("aside")).unwrap();
    sign_without_deployment(&house, &folder);
    assert_eq!(fault(&folder).kind, FaultKind::Deleted, "nor can the deployment's own be left out");
    std::fs::rename(house.path("aside"), folder.join("deployment")).unwrap();
    std::fs::write(index, note).unwrap();
    std::fs::remove_dir_all(folder.join("t/imp_t_x")).unwrap();
    sign_index_anew(&house, &folder, "imp_t_x", None);
    let fault = fault(&folder);
    assert_eq!((fault.log.as_str(), fault.kind), ("test/t/imp_t_x", FaultKind::Deleted));
    assert!(fault.why.contains("record 0 of the deployment's log"), "{fault}");
}

/// The operator has the key, so a history written anew is whole in itself and signed; only the heads
/// that the deployment's log has noted, or a witness, tell.
#[tokio::test]
async fn a_log_written_and_signed_anew_is_forked_from_what_the_deployments_log_noted() {
    let (house, folder) = exported().await;
    let forger = House::new();
    std::fs::copy(house.path("log.key"), forger.path("log.key")).unwrap();
    let (ledger, _) = forger.open();
    fill(&ledger, "imp_t_x", 1).await;
    ledger.close().await.unwrap();
    let forged = forger.export("forged");
    assert_eq!(verify(&forged, &Trust::default()).verdict, Verdict::Whole);
    std::fs::remove_dir_all(folder.join("t/imp_t_x")).unwrap();
    std::fs::rename(forged.join("t/imp_t_x"), folder.join("t/imp_t_x")).unwrap();
    let index = std::fs::read_to_string(forged.join("index")).unwrap();
    let line = index.lines().find(|line| line.starts_with("test/t/imp_t_x ")).unwrap();
    sign_index_anew(&house, &folder, "imp_t_x", Some(line));
    let fault = fault(&folder);
    assert_eq!((fault.log.as_str(), fault.kind), ("test/t/imp_t_x", FaultKind::Forked), "{fault}");
}

/// What an auditor keeps: the checkpoint of an export of before.
fn seen(folder: &Path, within: &str) -> Trust {
    let note = std::fs::read_to_string(folder.join(within).join("checkpoint")).unwrap();
    Trust { seen: vec![("last year".to_owned(), note)], ..Trust::default() }
}

#[tokio::test]
async fn a_checkpoint_seen_before_finds_a_log_that_was_rolled_back_or_written_anew() {
    let (house, before) = exported().await;
    let (ledger, _) = house.open();
    fill(&ledger, "default", 3).await;
    ledger.close().await.unwrap();
    let after = house.export("later");
    let grown = verify(&after, &seen(&before, "t/default"));
    assert_eq!(grown.verdict, Verdict::Whole, "{}", grown.to_text());

    // The older export, shown again as if it were all.
    let Verdict::Forged(fault) = verify(&before, &seen(&after, "t/default")).verdict else {
        panic!("not noticed")
    };
    assert_eq!((fault.seq, fault.kind), (Some(12), FaultKind::RolledBack), "{fault}");

    // Another history under the same key and name.
    let forger = House::new();
    std::fs::copy(house.path("log.key"), forger.path("log.key")).unwrap();
    let (ledger, _) = forger.open();
    fill(&ledger, "default", 9).await;
    ledger.close().await.unwrap();
    let forged = forger.export("forged");
    let Verdict::Forged(fault) = verify(&forged, &seen(&before, "t/default")).verdict else {
        panic!("not noticed")
    };
    assert_eq!((fault.seq, fault.kind), (Some(11), FaultKind::Forked), "{fault}");

    // A checkpoint that the log's key never signed vouches for nothing.
    let (_stranger, foreign) = exported().await;
    let verdict = verify(&after, &seen(&foreign, "t/default")).verdict;
    assert!(matches!(verdict, Verdict::Unreadable(_)), "{verdict:?}");
}

#[tokio::test]
async fn a_history_signed_with_another_key_is_told_apart_from_a_damaged_head() {
    let (house, folder) = exported().await;
    let key = portcullis_audit::load_key(&house.path("log.key")).unwrap();
    let names = ["test/t/default", "test/t/imp_t_x", "test/deployment", "test/export"];
    let trust = Trust::in_keys(
        names.map(|name| portcullis_audit::note::VerifierKey::parse(&key.vkey(name)).unwrap()),
    );
    let (_forger, forged) = exported().await;
    std::fs::copy(folder.join("index"), forged.join("index")).unwrap();
    let kind = |folder: &Path| match verify(folder, &trust).verdict {
        Verdict::Forged(fault) => fault.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(&forged), FaultKind::Resigned);
    let checkpoint = folder.join("deployment/checkpoint");
    let note = std::fs::read_to_string(&checkpoint).unwrap();
    std::fs::write(&checkpoint, note.replace("\n1\n", "\n2\n")).unwrap();
    assert_eq!(kind(&folder), FaultKind::BadCheckpoint);
}

#[tokio::test]
async fn a_promise_that_a_caller_kept_shows_a_record_that_was_left_out() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 2).await;
    let receipt = ledger.intent(intent("default")).await.unwrap();
    let promise = ledger.promise(receipt.record());
    ledger.close().await.unwrap();
    let keeps = |folder: &Path| {
        let promises = vec![("kept".to_owned(), promise.clone())];
        verify(folder, &Trust { promises, ..Trust::default() }).verdict
    };
    assert_eq!(keeps(&house.export("whole")), Verdict::Whole);

    // The operator writes the history anew without it, and signs it.
    let forger = House::new();
    std::fs::copy(house.path("log.key"), forger.path("log.key")).unwrap();
    let (ledger, _) = forger.open();
    fill(&ledger, "default", 9).await;
    ledger.close().await.unwrap();
    let Verdict::Forged(fault) = keeps(&forger.export("forged")) else { panic!("not noticed") };
    assert_eq!((fault.seq, fault.kind), (Some(4), FaultKind::Omitted), "{fault}");
    // An export that ends before it proves nothing: ask for a newer one.
    let older = House::new();
    std::fs::copy(house.path("log.key"), older.path("log.key")).unwrap();
    let (ledger, _) = older.open();
    fill(&ledger, "default", 2).await;
    ledger.close().await.unwrap();
    let verdict = keeps(&older.export("older"));
    assert!(matches!(&verdict, Verdict::Unreadable(why) if why.contains("newer")), "{verdict:?}");
    let elsewhere = House::new();
    let (ledger, _) = elsewhere.open();
    fill(&ledger, "default", 9).await;
    ledger.close().await.unwrap();
    let verdict = keeps(&elsewhere.export("other key"));
    assert!(matches!(verdict, Verdict::Unreadable(_)), "{verdict:?}");
}
