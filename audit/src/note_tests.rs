use proptest::prelude::*;

use super::*;

fn key() -> LogKey {
    LogKey::from_seed(&[7; 32]).unwrap()
}

fn head() -> Checkpoint {
    Checkpoint { origin: "d/t/default".into(), size: 3, root: [9; 32] }
}

#[test]
fn a_signed_head_opens_under_its_key_and_says_the_same() {
    let vkey = VerifierKey::parse(&key().vkey("d/t/default")).unwrap();
    assert_eq!(Checkpoint::open(&head().sign(&key()), &vkey), Ok(head()));
}

/// The example note and key of the Go module golang.org/x/mod/sumdb/note (its documentation).
#[test]
fn the_example_of_the_go_implementation_opens() {
    let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let note = "If you think cryptography is the answer to your problem,\n\
                then you don't know what your problem is.\n\
                \n\
                \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let key = VerifierKey::parse(vkey).unwrap();
    assert_eq!(key.to_string(), vkey);
    assert!(key.open(note).unwrap().ends_with("your problem is.\n"));
}

#[test]
fn a_note_of_another_key_or_log_does_not_open() {
    let note = head().sign(&key());
    let other = LogKey::from_seed(&[8; 32]).unwrap();
    let open = |vkey: &str| Checkpoint::open(&note, &VerifierKey::parse(vkey).unwrap());
    assert_eq!(open(&other.vkey("d/t/default")), Err(BadNote::Unsigned));
    assert_eq!(open(&key().vkey("d/t/other")), Err(BadNote::Unsigned));
    let replayed = key().sign("d/t/other", &head().text());
    let vkey = VerifierKey::parse(&key().vkey("d/t/other")).unwrap();
    assert_eq!(Checkpoint::open(&replayed, &vkey), Err(BadNote::Origin));
}

#[test]
fn further_signatures_are_ignored() {
    let vkey = VerifierKey::parse(&key().vkey("d/t/default")).unwrap();
    let other = LogKey::from_seed(&[8; 32]).unwrap().sign("witness", &head().text());
    let line = other.lines().last().unwrap();
    let note = format!("{}{line}\n", head().sign(&key()));
    assert_eq!(Checkpoint::open(&note, &vkey), Ok(head()));
}

#[test]
fn a_key_id_that_does_not_fit_is_refused() {
    let vkey = key().vkey("d");
    let (name, rest) = vkey.split_once('+').unwrap();
    assert!(VerifierKey::parse(&format!("{name}x+{rest}")).is_err());
    assert!(VerifierKey::parse("").is_err() && VerifierKey::parse("a+b").is_err());
}

#[test]
fn the_seed_never_shows_in_debug() {
    assert!(!format!("{:?}", key()).contains(&hex::encode([7; 32])));
}

proptest! {
    #[test]
    fn no_changed_byte_of_a_signed_head_opens(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let vkey = VerifierKey::parse(&key().vkey("d/t/default")).unwrap();
        let mut note = head().sign(&key()).into_bytes();
        let at = at.index(note.len());
        note[at] ^= 1 << bit;
        let opened = String::from_utf8(note).ok().and_then(|n| Checkpoint::open(&n, &vkey).ok());
        prop_assert_eq!(opened, None);
    }

    #[test]
    fn arbitrary_text_never_panics(note in any::<String>()) {
        let vkey = VerifierKey::parse(&key().vkey("d/t/default")).unwrap();
        prop_assert!(Checkpoint::open(&note, &vkey).is_err());
    }
}
