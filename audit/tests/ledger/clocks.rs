//! Attack 13: the clock of a running ledger jumps, as it does around a leap second. Order is by place and
//! never by time; a clock that went back is flagged, and no record is refused or changed for it.

use std::process::Command;

use super::*;
use portcullis_audit::verify::{Verdict, verify_ledger};

/// Debian's libfaketime, which moves the wall clock of one process and leaves its monotonic one.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

const FOLDER: &str = "PORTCULLIS_TEST_CLOCKS_FOLDER";

/// What the clock says while two records each are written, and whether that is before what it said last.
/// No clock of Unix says 23:59:60: it says the last second twice, or is set back by one after it.
const CLOCK: [(&str, bool); 9] = [
    ("2016-12-31 23:59:58", false),
    ("2016-12-31 23:59:59", false),
    ("2016-12-31 23:59:59", false),
    ("2016-12-31 23:59:58", true),
    ("2017-01-01 00:00:00", false),
    ("2016-12-31 23:00:00", true),
    ("2027-01-01 00:00:00", false),
    ("2017-01-01 00:00:01", true),
    ("2017-01-01 00:00:02", false),
];

/// Not a test of its own: what the child of the test below runs.
#[tokio::test]
#[ignore = "run by the test of clocks as its child"]
async fn child_appends_while_its_clock_jumps() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let options = LedgerOptions::new(folder.join("ledger.db"), "test", folder.join("log.key"));
    let (ledger, _) = Ledger::open(options).unwrap();
    for (time, _) in CLOCK {
        // Renamed into place: the clock is read at any moment.
        std::fs::write(folder.join("next"), time).unwrap();
        std::fs::rename(folder.join("next"), folder.join("time")).unwrap();
        fill(&ledger, "default", 1).await;
    }
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_leap_second_and_a_clock_that_is_set_change_no_order_and_are_flagged() {
    let house = House::new();
    std::fs::write(house.path("time"), CLOCK[0].0).unwrap();
    assert!(
        std::path::Path::new(LIBRARY).exists(),
        "missing: faketime\n  apt-get install faketime"
    );
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "clocks::child_appends_while_its_clock_jumps", "--ignored"])
        .env("LD_PRELOAD", LIBRARY)
        .env("FAKETIME_TIMESTAMP_FILE", house.path("time"))
        .envs([("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("TZ", "UTC")])
        .env(FOLDER, house.folder.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    // And goes on with a clock that is right.
    let (ledger, opened) = house.open();
    assert_eq!(opened.orphans_closed, 0);
    fill(&ledger, "default", 1).await;
    ledger.close().await.unwrap();

    let of_default = Query { log: Some("default".into()), ..everything() };
    let rows = house.reader().rows(&of_default).unwrap();
    let places: Vec<u64> = rows.iter().map(|row| row.record.seq).collect();
    assert_eq!(places, (0..2 * CLOCK.len() as u64 + 2).collect::<Vec<_>>());
    for ((time, _), pair) in CLOCK.iter().zip(rows.chunks(2)) {
        let time = time.replace(' ', "T");
        let all = pair.iter().all(|row| row.record.ts.starts_with(&time));
        assert!(all, "{time}: {} and {}", pair[0].record.ts, pair[1].record.ts);
    }
    // The time since the start of the run, which stands beside it, says what the clock does not.
    let since =
        |row: &portcullis_audit::RecordRow| row.text(&["mono", "ns"]).parse::<u64>().unwrap();
    let run: Vec<u64> = rows[..2 * CLOCK.len()].iter().map(since).collect();
    assert!(run.is_sorted(), "{run:?}");

    house.export("export");
    let folder = house.path("export");
    let report = portcullis_audit::verify::verify(&folder, &Default::default());
    for report in [verify_ledger(&house.reader()), report] {
        assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
        let log = report.logs.iter().find(|log| log.origin == "test/t/default").unwrap();
        let back = CLOCK.iter().filter(|(_, back)| *back).count() as u64;
        assert_eq!(log.clock_backwards, back, "{}", report.to_text());
        let flag = format!("the clock went back {back} times");
        assert!(report.to_text().contains(&flag), "{}", report.to_text());
    }
}
