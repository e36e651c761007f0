use std::path::Path;

use super::*;
use portcullis_audit::verify::{Trust, Verdict, verify, verify_ledger};
use portcullis_audit::{Fault, FaultKind};

mod signed;

const BUNDLE: &str = "t/default/tile/entries/000.p/12";

/// Changes a record of the ledger file past its guards.
pub(super) fn rewrite(house: &House, seq: u64, change: impl Fn(&mut [u8])) {
    let conn = house.raw();
    let trigger: String = conn
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'records_never_update'", [], |row| {
            row.get(0)
        })
        .unwrap();
    let mut bytes: Vec<u8> = conn
        .query_row("SELECT record FROM records WHERE seq = ?1", [seq], |row| row.get(0))
        .unwrap();
    change(&mut bytes);
    conn.execute_batch("DROP TRIGGER records_never_update").unwrap();
    conn.execute("UPDATE records SET record = ?1 WHERE seq = ?2", (bytes, seq)).unwrap();
    conn.execute_batch(&trigger).unwrap();
}

/// A house with 12 records of one tenant and 2 of another, and its export.
async fn exported() -> (House, PathBuf) {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 6).await;
    fill(&ledger, "imp_t_x", 1).await;
    ledger.close().await.unwrap();
    let folder = house.export("export");
    (house, folder)
}

fn records(folder: &Path) -> Vec<Vec<u8>> {
    let bundle = std::fs::read(folder.join(BUNDLE)).unwrap();
    portcullis_audit::tiles::entries(&bundle).map(|entry| entry.unwrap().to_vec()).collect()
}

fn put(folder: &Path, records: &[Vec<u8>]) {
    let mut bundle = Vec::new();
    for record in records {
        portcullis_audit::tiles::push_entry(&mut bundle, record).unwrap();
    }
    std::fs::write(folder.join(BUNDLE), bundle).unwrap();
}

fn fault(folder: &Path) -> Fault {
    match verify(folder, &Trust::default()).verdict {
        Verdict::Forged(fault) | Verdict::Torn(fault) => fault,
        other => panic!("not noticed: {other:?}"),
    }
}

/// What the verifier says about the records after `change`.
fn after(folder: &Path, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> (Option<u64>, FaultKind) {
    let mut changed = records(folder);
    change(&mut changed);
    put(folder, &changed);
    let fault = fault(folder);
    (fault.seq, fault.kind)
}

#[tokio::test]
async fn an_untouched_export_is_whole() {
    let (_house, folder) = exported().await;
    let report = verify(&folder, &Trust::default());
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
    assert_eq!((report.records(), report.logs.len()), (15, 3));
    let default = report.logs.iter().find(|log| log.origin == "test/t/default").unwrap();
    assert_eq!((default.intents, default.outcomes, default.open), (6, 6, 0));
}

#[tokio::test]
async fn every_flipped_bit_of_a_record_names_that_record() {
    let (_house, folder) = exported().await;
    let whole = records(&folder);
    for at in 0..whole[5].len() {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[5][at] ^= 1 << bit;
            put(&folder, &changed);
            let fault = fault(&folder);
            assert_eq!(
                (fault.seq, fault.kind),
                (Some(5), FaultKind::Edited),
                "byte {at} bit {bit}"
            );
        }
    }
}

#[tokio::test]
async fn without_tiles_the_chain_alone_still_names_every_edited_record() {
    let (_house, folder) = exported().await;
    std::fs::remove_dir_all(folder.join("t/default/tile/0")).unwrap();
    let whole = records(&folder);
    for seq in 0..11 {
        let mut changed = whole.clone();
        let text = String::from_utf8(changed[seq].clone()).unwrap();
        changed[seq] = text.replace("p_4f1c", "p_0000").into_bytes();
        put(&folder, &changed);
        assert_eq!(fault(&folder).seq, Some(seq as u64));
        let mut changed = whole.clone();
        let text = String::from_utf8(changed[seq].clone()).unwrap();
        let at = text.find("\"prev\":\"").unwrap() + 8;
        changed[seq][at] = if changed[seq][at] == b'0' { b'1' } else { b'0' };
        put(&folder, &changed);
        assert_eq!(fault(&folder).seq, Some(seq as u64), "prev of {seq}");
    }
    put(&folder, &whole);
    assert_eq!(fault(&folder).kind, FaultKind::BadTile);
}

#[tokio::test]
async fn swapped_deleted_inserted_and_truncated_records_are_told_apart() {
    let (_house, folder) = exported().await;
    let whole = records(&folder);
    let check = |expected: (Option<u64>, FaultKind), change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        put(&folder, &whole);
        assert_eq!(after(&folder, |records| change(records)), expected);
    };
    check((Some(3), FaultKind::Swapped), &|records| records.swap(3, 4));
    check((Some(2), FaultKind::Swapped), &|records| records.swap(2, 9));
    check((Some(4), FaultKind::Deleted), &|records| drop(records.remove(4)));
    check((Some(4), FaultKind::Deleted), &|records| drop(records.drain(4..7)));
    check((Some(4), FaultKind::Inserted), &|records| records.insert(4, records[2].clone()));
    check((Some(4), FaultKind::Inserted), &|records| {
        let forged = String::from_utf8(records[4].clone()).unwrap().replace("p_4f", "p_00");
        records.insert(4, forged.into_bytes());
    });
    check((Some(12), FaultKind::Inserted), &|records| records.push(records[11].clone()));
    check((Some(11), FaultKind::Truncated), &|records| records.truncate(11));
    check((Some(0), FaultKind::Truncated), &|records| records.clear());
    check((Some(0), FaultKind::Deleted), &|records| drop(records.remove(0)));
}

/// Deletes a record and renumbers and relinks everything after it, as a careful forger would.
#[tokio::test]
async fn a_deleted_record_is_found_even_when_the_rest_is_renumbered_and_relinked() {
    let (_house, folder) = exported().await;
    let relink = |records: &mut Vec<Vec<u8>>| {
        records.remove(4);
        for seq in 4..records.len() {
            let prev = hex::encode(portcullis_audit::chain::leaf(&records[seq - 1]));
            let text = String::from_utf8(records[seq].clone()).unwrap();
            let at = text.find("\"prev\":\"").unwrap() + 8;
            let text = format!("{}{prev}{}", &text[..at], &text[at + 64..]);
            let text =
                text.replace(&format!("\"seq\":\"{}\"", seq + 1), &format!("\"seq\":\"{seq}\""));
            records[seq] = text.into_bytes();
        }
    };
    let (seq, _) = after(&folder, relink);
    assert_eq!(seq, Some(4));
    std::fs::remove_dir_all(folder.join("t/default/tile/0")).unwrap();
    assert!(matches!(verify(&folder, &Trust::default()).verdict, Verdict::Forged(_)));
}

#[tokio::test]
async fn records_of_another_tenant_do_not_pass() {
    let (_house, folder) = exported().await;
    let name = "t/imp_t_x/tile/entries/000.p/2";
    let bundle = std::fs::read(folder.join(name)).unwrap();
    let foreign = portcullis_audit::tiles::entries(&bundle).next().unwrap().unwrap().to_vec();
    let (seq, _) = after(&folder, |records| records[0] = foreign);
    assert_eq!(seq, Some(0));
}

#[tokio::test]
async fn every_changed_byte_of_every_other_file_is_noticed() {
    let (_house, folder) = exported().await;
    for name in
        ["index", "policy", "t/default/policy", "t/default/checkpoint", "t/default/tile/0/000.p/12"]
    {
        let path = folder.join(name);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            let verdict = verify(&folder, &Trust::default()).verdict;
            // The tail of a policy says who witnesses, which this verifier does not use.
            let unused = name.ends_with("policy") && at + 13 >= whole.len();
            assert!(unused || verdict != Verdict::Whole, "{name} byte {at}");
        }
        std::fs::write(&path, whole).unwrap();
    }
    assert_eq!(verify(&folder, &Trust::default()).verdict, Verdict::Whole);
}

#[tokio::test]
async fn missing_and_cut_files_are_torn_and_a_hidden_log_shows() {
    let (_house, folder) = exported().await;
    let exit = |folder: &Path| verify(folder, &Trust::default()).verdict.exit_code();
    let bundle = folder.join(BUNDLE);
    let whole = std::fs::read(&bundle).unwrap();
    std::fs::write(&bundle, &whole[..whole.len() - 3]).unwrap();
    assert_eq!((fault(&folder).seq, exit(&folder)), (Some(11), 3));
    std::fs::remove_file(&bundle).unwrap();
    assert_eq!((fault(&folder).seq, exit(&folder)), (Some(0), 3));
    std::fs::write(&bundle, whole).unwrap();

    std::fs::rename(folder.join("t/imp_t_x"), folder.join("t/imp_t_y")).unwrap();
    assert_eq!(exit(&folder), 3);
    std::fs::rename(folder.join("t/imp_t_y"), folder.join("t/imp_t_x")).unwrap();
    std::fs::create_dir(folder.join("t/imp_t_z")).unwrap();
    assert_eq!(exit(&folder), 1);
}

#[tokio::test]
async fn absent_and_empty_have_exit_codes_of_their_own() {
    let house = House::new();
    let exit = |folder: &Path| verify(folder, &Trust::default()).verdict.exit_code();
    assert_eq!(exit(&house.path("nowhere")), 4);
    std::fs::create_dir(house.path("nothing")).unwrap();
    assert_eq!(exit(&house.path("nothing")), 4);
    let (ledger, _) = house.open();
    ledger.close().await.unwrap();
    assert_eq!(exit(&house.export("empty")), 5);
}

#[tokio::test]
async fn a_link_or_a_pipe_in_an_export_is_not_followed() {
    let (_house, folder) = exported().await;
    let tile = folder.join("t/default/tile/0/000.p/12");
    std::fs::remove_file(&tile).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &tile).unwrap();
    assert_eq!(verify(&folder, &Trust::default()).verdict.exit_code(), 6);
    std::fs::remove_file(&tile).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&tile).status().unwrap();
    assert!(made.success());
    assert_eq!(verify(&folder, &Trust::default()).verdict.exit_code(), 6);
}

#[tokio::test]
async fn an_export_of_one_log_has_not_a_byte_of_another() {
    let (house, _) = exported().await;
    let key = portcullis_audit::load_key(&house.path("log.key")).unwrap();
    let (one, only) = (house.path("one"), ("test", Some("test/t/default")));
    portcullis_audit::export_with(
        &house.reader(),
        &key,
        only,
        &one,
        &portcullis_audit::Watch::default(),
        &mut |_, _| {},
    )
    .unwrap();
    let report = verify(&one, &Trust::default());
    assert_eq!((&report.verdict, report.records()), (&Verdict::Whole, 12), "{}", report.to_text());
    let mut files = vec![one];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|file| file.unwrap().path()));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(7).any(|window| window == b"imp_t_x");
            assert!(!found, "{} names the other tenant", path.display());
        }
    }
}

#[tokio::test]
async fn a_changed_byte_in_the_ledger_file_is_named() {
    let (house, _) = exported().await;
    rewrite(&house, 7, |bytes| bytes[40] ^= 1);
    let report = verify_ledger(&house.reader());
    let Verdict::Forged(fault) = report.verdict else { panic!("{report:?}") };
    assert_eq!((fault.seq, fault.kind), (Some(7), FaultKind::Edited));
    assert!(report.logs.iter().all(|log| log.origin == "test/deployment"));
}

#[tokio::test]
async fn a_ledger_of_several_bundles_verifies_and_names_a_late_record() {
    let house = House::new();
    let (ledger, _) = house.open();
    for _ in 0..300 {
        let receipt = ledger.intent(intent("default")).await.unwrap();
        ledger.outcome_queued(outcome("default", receipt.op(), receipt.reference())).unwrap();
    }
    ledger.close().await.unwrap();
    let folder = house.export("export");
    assert_eq!(verify(&folder, &Trust::default()).verdict, Verdict::Whole);
    let bundle = folder.join("t/default/tile/entries/001");
    let mut bytes = std::fs::read(&bundle).unwrap();
    bytes[100] ^= 4;
    std::fs::write(&bundle, bytes).unwrap();
    assert_eq!(fault(&folder).seq, Some(256));
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_the_checker(
        records in proptest::collection::vec(proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..64), 0..8),
        vouched in proptest::option::of(proptest::collection::vec(proptest::arbitrary::any::<[u8; 32]>(), 0..8)),
    ) {
        let mut checker = portcullis_audit::verify::Checker::new("o", [0; 32], vouched);
        for record in &records {
            checker.step(record);
        }
        proptest::prop_assert_eq!(checker.finish(None).is_ok(), records.is_empty());
    }
}

proptest::proptest! {
    #[test]
    fn a_record_with_any_bytes_spliced_in_is_never_taken_for_whole(
        at in 0_usize..600, splice in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 1..32),
    ) {
        static RECORDS: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
        let records = RECORDS.get_or_init(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async { records(&exported().await.1) })
        });
        let leaves: Vec<_> = records.iter().map(|r| portcullis_audit::chain::leaf(r)).collect();
        let prev = portcullis_audit::Record::parse(&records[0]).unwrap().prev;
        let mut checker =
            portcullis_audit::verify::Checker::new("test/t/default", prev, Some(leaves));
        for (seq, record) in records.iter().enumerate() {
            let mut record = record.clone();
            if seq == 5 {
                let at = at.min(record.len());
                record.splice(at..at, splice.clone());
            }
            checker.step(&record);
        }
        proptest::prop_assert_eq!(checker.finish(None).unwrap_err().seq, Some(5));
    }
}
