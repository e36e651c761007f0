//! Claims about what counts as witnessed, and since when something waits.

use portcullis_audit::note::Checkpoint;
use proptest::prelude::*;

use super::*;

const LOG: &str = "d/t/x";
const LAG: Duration = Duration::from_secs(10);

fn head(size: u64) -> Head {
    let checkpoint = Checkpoint { origin: LOG.to_owned(), size, root: [1; 32] };
    Head { note: checkpoint.text(), checkpoint, folder: "x".into() }
}

fn after(begin: Instant, seconds: u64) -> Instant {
    begin + Duration::from_secs(seconds)
}

#[test]
fn a_quorum_counts_on_one_head_only() {
    let begin = Instant::now();
    let mut board = Board::new(2, LAG);
    board.durable(LOG, 3, begin);
    board.propose(head(3), begin);
    board.cosigned(0, &head(3));
    // The other witness cosigned another head, and so perhaps another history.
    board.cosigned(1, &head(2));
    assert!(board.lag(after(begin, 11)).too_late);
    board.cosigned(1, &head(3));
    assert_eq!(board.lag(after(begin, 11)), Lag::default());
}

#[test]
fn one_witness_counts_once() {
    let begin = Instant::now();
    let mut board = Board::new(2, LAG);
    board.durable(LOG, 3, begin);
    board.propose(head(3), begin);
    board.cosigned(0, &head(3));
    board.cosigned(0, &head(3));
    assert!(board.lag(after(begin, 11)).too_late);
}

#[test]
fn it_is_too_late_after_the_lag_and_not_before() {
    let begin = Instant::now();
    let mut board = Board::new(1, LAG);
    board.durable(LOG, 3, begin);
    let lag = board.lag(after(begin, 10));
    assert!(!lag.too_late && lag.since == LAG, "{lag:?}");
    let lag = board.lag(after(begin, 12));
    assert!(lag.too_late, "{lag:?}");
    assert_eq!(
        (lag.to_string(), lag.log.as_str()),
        ("no quorum of witnesses for 12 s".into(), LOG)
    );
}

#[test]
fn what_was_there_before_the_start_waits_without_end() {
    let begin = Instant::now();
    let mut board = Board::new(1, LAG);
    board.was_there(LOG, 0);
    assert!(!board.lag(begin).too_late);
    board.was_there(LOG, 7);
    let lag = board.lag(begin);
    assert!(lag.too_late, "{lag:?}");
    assert_eq!(lag.to_string(), "no quorum of witnesses since the start");
    board.propose(head(7), begin);
    board.cosigned(0, &head(7));
    assert_eq!(board.lag(begin), Lag::default());
}

#[test]
fn all_are_asked_for_the_same_head_until_a_quorum_has_it_or_time_is_up() {
    let begin = Instant::now();
    let mut board = Board::new(2, LAG);
    assert_eq!(board.next(0, LOG, 0, begin), Next::Nothing);
    assert_eq!(board.next(0, LOG, 3, begin), Next::Read);
    board.propose(head(3), begin);
    assert_eq!(board.next(0, LOG, 3, begin), Next::Ask(Arc::new(head(3))));
    board.cosigned(0, &head(3));
    assert_eq!(board.next(0, LOG, 5, after(begin, 1)), Next::Nothing);
    assert_eq!(board.next(1, LOG, 5, after(begin, 1)), Next::Ask(Arc::new(head(3))));
    assert_eq!(board.next(0, LOG, 5, after(begin, 4)), Next::Read, "the other is too slow");
    board.cosigned(1, &head(3));
    assert_eq!(board.next(1, LOG, 5, after(begin, 1)), Next::Read);
    board.propose(head(5), after(begin, 1));
    board.propose(head(4), after(begin, 1));
    assert_eq!(board.next(0, LOG, 5, after(begin, 1)), Next::Ask(Arc::new(head(5))));
}

#[test]
fn a_witness_beyond_the_quorum_is_asked_all_the_same() {
    let begin = Instant::now();
    let mut board = Board::new(1, LAG);
    board.propose(head(3), begin);
    board.cosigned(0, &head(3));
    assert_eq!(board.next(1, LOG, 3, begin), Next::Ask(Arc::new(head(3))));
}

proptest! {
    /// However records come and heads are cosigned: nothing that waits is counted as younger than
    /// it is, and little is kept.
    #[test]
    fn no_record_is_counted_as_younger_than_it_is(
        steps in proptest::collection::vec((0_u64..700, 0_u64..4, any::<bool>()), 1..200),
    ) {
        let begin = Instant::now();
        let mut board = Board::new(1, LAG);
        let (mut now, mut size, mut witnessed) = (begin, 0, 0);
        let mut born = Vec::new();
        for (milliseconds, more, cosign) in steps {
            now += Duration::from_millis(milliseconds);
            size += more;
            born.extend((0..more).map(|_| now));
            board.durable(LOG, size, now);
            if cosign && size > 0 {
                board.propose(head(size), now);
                board.cosigned(0, &head(size));
                witnessed = size;
            }
            let oldest = born.get(usize::try_from(witnessed).unwrap());
            let age = oldest.map_or(Duration::ZERO, |born| now.duration_since(*born));
            let lag = board.lag(now);
            prop_assert!(lag.since >= age, "{lag:?} {age:?}");
            prop_assert!(lag.since <= age + LAG / STEPS || board.logs[LOG].waiting.len() > 32, "{lag:?} {age:?}");
            prop_assert!(board.logs[LOG].waiting.len() < 40);
        }
    }
}
