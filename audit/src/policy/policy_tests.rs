use proptest::prelude::*;

use super::*;
use crate::note::{Cosigner, LogKey, append};

/// 2026-01-01T00:00:00Z.
const NOW: u64 = 1_767_225_600;

fn log_key() -> LogKey {
    LogKey::from_seed(&[7; 32]).unwrap()
}

fn witness(seed: u8) -> Cosigner {
    Cosigner::from_seed(&format!("witness.example/{seed}"), &[seed; 32]).unwrap()
}

/// The example of the specification, with keys.
fn example() -> String {
    let mut text = format!("log {}\n\n", log_key().vkey("d/t/default"));
    for seed in 1..=3 {
        text.push_str(&format!("witness X{seed} {}\n", witness(seed).key()));
    }
    text.push_str("group X-witnesses 2 X1 X2 X3\n\n");
    for seed in 4..=6 {
        let key = witness(seed).key();
        text.push_str(&format!("\twitness  Y{seed} {key}\thttps://witness.example \n"));
    }
    text.push_str("group Y-witnesses any Y4 Y5 Y6\n");
    text + "  # both\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
}

fn head() -> Checkpoint {
    Checkpoint { origin: "d/t/default".into(), size: 3, root: [9; 32] }
}

/// The head, signed by its log and by witnesses at times.
fn note(witnesses: &[(u8, u64)]) -> String {
    witnesses.iter().fold(head().sign(&log_key()), |note, (seed, seconds)| {
        append(&note, &witness(*seed).cosign(&head().text(), *seconds)).unwrap()
    })
}

fn quorum(witnesses: &[u8]) -> bool {
    let witnesses: Vec<_> = witnesses.iter().map(|seed| (*seed, NOW)).collect();
    Policy::parse(&example()).unwrap().evaluate(&note(&witnesses), NOW).unwrap().quorum
}

fn fault(text: &str) -> (usize, PolicyFault) {
    let bad = Policy::parse(text).unwrap_err();
    (bad.line, bad.fault)
}

#[test]
fn the_quorum_of_the_example_needs_two_of_one_group_and_one_of_the_other() {
    assert!(quorum(&[1, 2, 4]) && quorum(&[2, 3, 6]) && quorum(&[1, 2, 3, 4, 5, 6]));
    assert!(!quorum(&[]) && !quorum(&[1, 2]) && !quorum(&[1, 4, 5, 6]) && !quorum(&[1, 2, 9]));
}

#[test]
fn an_evaluation_names_the_log_and_each_witness_with_its_time() {
    let policy = Policy::parse(&example()).unwrap();
    let told = policy.evaluate(&note(&[(4, NOW - 1), (1, NOW - 7), (9, NOW)]), NOW).unwrap();
    assert_eq!((told.checkpoint, told.quorum), (head(), false));
    assert_eq!(told.log.to_string(), log_key().vkey("d/t/default"));
    let cosigned = |witness: &str, unix_seconds| Cosigned {
        witness: witness.into(),
        unix_seconds,
        in_the_future: false,
    };
    assert_eq!(told.cosignatures, [cosigned("X1", NOW - 7), cosigned("Y4", NOW - 1)]);
}

#[test]
fn a_cosignature_of_the_future_is_shown_and_does_not_count() {
    let policy = Policy::parse(&example()).unwrap();
    let told = policy.evaluate(&note(&[(1, NOW), (2, NOW + 1), (4, NOW)]), NOW).unwrap();
    assert!(!told.quorum && told.cosignatures[1].in_the_future);
    let later = policy.evaluate(&note(&[(1, NOW), (2, NOW + 1), (4, NOW)]), NOW + 1).unwrap();
    assert!(later.quorum);
}

#[test]
fn without_a_quorum_the_signature_of_the_log_is_enough() {
    let vkey = log_key().vkey("d/t/default");
    let policy = Policy::parse(&format!("log {vkey}\nquorum none\n")).unwrap();
    assert_eq!(policy, Policy::of_logs([VerifierKey::parse(&vkey).unwrap()]));
    assert!(policy.evaluate(&note(&[]), NOW).unwrap().quorum);
}

#[test]
fn a_head_that_no_log_of_the_policy_signed_is_not_trusted() {
    let policy = Policy::parse(&example()).unwrap();
    let forged = head().sign(&LogKey::from_seed(&[8; 32]).unwrap());
    assert_eq!(policy.evaluate(&forged, NOW), Err(NotTrusted::Unsigned));
    // The right key under another name, and the right name over another origin.
    let renamed = log_key().sign("d/t/other", &head().text());
    assert_eq!(policy.evaluate(&renamed, NOW), Err(NotTrusted::Unsigned));
    let other = Checkpoint { origin: "d/t/other".into(), ..head() };
    let replayed = log_key().sign("d/t/default", &other.text());
    assert_eq!(policy.evaluate(&replayed, NOW), Err(NotTrusted::Unsigned));
    let no_head = log_key().sign("d/t/default", "d/t/default\nhello\n");
    assert_eq!(policy.evaluate(&no_head, NOW), Err(NotTrusted::Note(BadNote::Checkpoint)));
    assert_eq!(policy.evaluate("", NOW), Err(NotTrusted::Note(BadNote::Form)));
}

#[test]
fn a_wrong_signature_of_a_known_key_makes_the_note_worthless() {
    let policy = Policy::parse(&example()).unwrap();
    let other = Checkpoint { size: 4, ..head() };
    let replayed = append(&note(&[(1, NOW)]), &witness(2).cosign(&other.text(), NOW)).unwrap();
    let key = witness(2).key().to_string();
    assert_eq!(policy.evaluate(&replayed, NOW), Err(NotTrusted::Signature(key)));
    let line = other.sign(&log_key());
    let twice = append(&note(&[]), &format!("{}\n", line.lines().last().unwrap())).unwrap();
    let key = log_key().vkey("d/t/default");
    assert_eq!(policy.evaluate(&twice, NOW), Err(NotTrusted::Signature(key)));
}

#[test]
fn an_old_key_of_a_log_stays_good_next_to_the_new_one() {
    let new = LogKey::from_seed(&[8; 32]).unwrap();
    let keys = [log_key().vkey("d/t/default"), new.vkey("d/t/default")];
    let policy = Policy::of_logs(keys.map(|key| VerifierKey::parse(&key).unwrap()));
    for key in [log_key(), new] {
        let told = policy.evaluate(&head().sign(&key), NOW).unwrap();
        assert_eq!(told.log.to_string(), key.vkey("d/t/default"));
    }
}

#[test]
fn a_policy_is_written_as_it_is_read() {
    let policy = Policy::parse(&example()).unwrap();
    assert_eq!(Policy::parse(&policy.to_string()), Ok(policy.clone()));
    assert_eq!(policy.witnesses()[3].url.as_deref(), Some("https://witness.example"));
    let without_end = example().trim_end().to_owned();
    assert_eq!(Policy::parse(&without_end), Ok(policy));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    use PolicyFault::*;
    let log = format!("log {}\n", log_key().vkey("d"));
    let w = format!("witness W {}\n", witness(1).key());
    let other = format!("witness V {}\n", witness(2).key());
    let renamed_log = format!("log {}\n", log_key().vkey("e"));
    let same_key = Cosigner::from_seed("else", &[1; 32]).unwrap().key();
    let cases: Vec<(String, usize, PolicyFault)> = vec![
        (String::new(), 1, NoQuorum),
        ("# nothing\n\n".into(), 2, NoQuorum),
        ("quorum none\nquorum none\n".into(), 2, SecondQuorum),
        ("quorums none\n".into(), 1, Keyword("quorums".into())),
        ("LOG x\n".into(), 1, Keyword("LOG".into())),
        ("log\n".into(), 1, Items("log <vkey> [<url>]")),
        ("log a+b+c\n".into(), 1, LogKey),
        (format!("log {}\n", witness(1).key()), 1, LogKey),
        (format!("witness W {}\n", log_key().vkey("d")), 1, WitnessKey),
        (
            format!("witness W {} u v\n", witness(1).key()),
            1,
            Items("witness <name> <vkey> [<url>]"),
        ),
        (format!("{log}{log}"), 2, DuplicateKey),
        (format!("{log}{renamed_log}"), 2, DuplicateKey),
        (format!("{w}witness V {same_key}\n"), 2, DuplicateKey),
        (format!("{w}witness W {}\n", witness(2).key()), 2, DuplicateName("W".into())),
        (format!("witness none {}\n", witness(2).key()), 1, DuplicateName("none".into())),
        (format!("{w}group W any W\n"), 2, DuplicateName("W".into())),
        (format!("{w}group none any W\n"), 2, DuplicateName("none".into())),
        (format!("{w}group G any none\n"), 2, UnknownName("none".into())),
        (format!("{w}group G any G\n"), 2, UnknownName("G".into())),
        (format!("group G any W\n{w}"), 1, UnknownName("W".into())),
        (format!("{w}group A any B\ngroup B any A\n"), 2, UnknownName("B".into())),
        (format!("{w}group G any W W\n"), 2, MemberTwice("W".into())),
        (format!("{w}{other}group G any W\ngroup H any V W\n"), 4, MemberTwice("W".into())),
        (format!("{w}group G\n"), 2, Items("group <name> all|any|<k> <name>...")),
        (format!("{w}group G any\n"), 2, Items("group <name> all|any|<k> <name>...")),
        (format!("{w}group G 0 W\n"), 2, Threshold),
        (format!("{w}group G 2 W\n"), 2, Threshold),
        (format!("{w}group G 01 W\n"), 2, Threshold),
        (format!("{w}group G +1 W\n"), 2, Threshold),
        (format!("{w}group G All W\n"), 2, Threshold),
        (format!("quorum W\n{w}"), 1, UnknownName("W".into())),
        ("quorum\n".into(), 1, Items("quorum <name>|none")),
        ("quorum none x\n".into(), 1, Items("quorum <name>|none")),
        ("quorum none\r\n".into(), 1, ControlCharacter),
        ("quorum none\u{7f}\n".into(), 1, ControlCharacter),
        ("quorum\u{a0}none\n".into(), 1, Keyword("quorum\u{a0}none".into())),
    ];
    for (text, line, expected) in cases {
        assert_eq!(fault(&text), (line, expected), "{text}");
    }
    let many: String = (0..=256_u16)
        .map(|n| {
            let seed = [[n.to_be_bytes()[0]; 16], [n.to_be_bytes()[1]; 16]].concat();
            format!("log {}\n", crate::note::LogKey::from_seed(&seed).unwrap().vkey("d"))
        })
        .collect();
    assert_eq!(fault(&many), (257, TooMany));
    assert_eq!(fault(&"#".repeat(MAX_POLICY_BYTES + 1)), (1, TooLarge));
}

#[test]
fn a_kelvin_sign_is_no_k() {
    let text = format!("witness K {}\nquorum \u{212a}\n", witness(1).key());
    assert_eq!(fault(&text), (2, PolicyFault::UnknownName("\u{212a}".into())));
}

proptest! {
    /// The meaning of a group, by counting.
    #[test]
    fn a_group_is_met_by_enough_of_its_members(k in 1_usize..=5, present in any::<[bool; 5]>()) {
        let lines: String =
            (0..5).map(|n| format!("witness W{n} {}\n", witness(n + 1).key())).collect();
        let log = log_key().vkey("d/t/default");
        let text = format!("log {log}\n{lines}group G {k} W0 W1 W2 W3 W4\nquorum G\n");
        let there: Vec<_> =
            (0..5_u8).filter(|n| present[usize::from(*n)]).map(|n| (n + 1, NOW)).collect();
        let told = Policy::parse(&text).unwrap().evaluate(&note(&there), NOW).unwrap();
        prop_assert_eq!(told.quorum, there.len() >= k);
        prop_assert_eq!(told.cosignatures.len(), there.len());
    }

    #[test]
    fn what_is_read_is_written_to_the_same_policy(cut in any::<prop::sample::Index>(), by in any::<char>()) {
        let mut text: Vec<char> = example().chars().collect();
        let at = cut.index(text.len());
        text[at] = by;
        let text: String = text.into_iter().collect();
        if let Ok(policy) = Policy::parse(&text) {
            prop_assert_eq!(Policy::parse(&policy.to_string()), Ok(policy));
        }
    }
}

#[test]
fn a_watched_policy_is_read_back_and_needs_its_quorum() {
    let key = VerifierKey::parse(&log_key().vkey("d/t/default")).unwrap();
    let named = |(name, seed): (&str, u8)| Witness {
        name: name.to_owned(),
        key: witness(seed).key(),
        url: Some("https://w.example".to_owned()),
    };
    // The name of the group must not be that of a witness.
    let all: Vec<Witness> = [("enough", 1), ("w2", 2), ("w3", 3)].map(named).to_vec();
    let policy = Policy::of_logs([key.clone()]).watched_by(&all, 2);
    assert_eq!(Policy::parse(&policy.to_string()), Ok(policy.clone()));
    for (signers, enough) in [(&[1_u8][..], false), (&[1, 3], true), (&[1, 2, 3], true)] {
        let cosigned: Vec<(u8, u64)> = signers.iter().map(|seed| (*seed, NOW - 1)).collect();
        assert_eq!(policy.evaluate(&note(&cosigned), NOW).unwrap().quorum, enough);
    }
    let alone = Policy::of_logs([key]);
    assert_eq!(alone.clone().watched_by(&[], 0), alone);
}
