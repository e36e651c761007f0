use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
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

/// A checkpoint and key of the tests of litewitness (FiloSottile/torchwood, made with sigsum-go).
#[test]
fn the_checkpoint_of_a_sigsum_log_opens() {
    let origin =
        "sigsum.org/v1/tree/985ea163f5af026723561354f51f2ebcdcf2af809ce254ccfb64aa9aadd80f90";
    let public = hex::decode("52c05edad1bf5feffa81354faae59a655d9a9a1a793ed2f62c39c26c0be2aecd");
    let key = [vec![1], public.unwrap()].concat();
    let key = VerifierKey::parse(&format!("{origin}+ec1293d2+{}", BASE64.encode(key))).unwrap();
    let note = format!(
        "{origin}\n1\nKgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\
         \u{2014} {origin} 7BKT0gOfNZ1J0So9unY3BZtm2YkPIoNYM/dce0Z2avJDs8dxN6ts9bOSwwrVrbjm6P9K3ZxpK6jJngOG6YvGGzV/lwo=\n"
    );
    let head = Checkpoint::open(&note, &key).unwrap();
    assert_eq!((head.size, head.root[0]), (1, 42));
}

#[test]
fn a_note_may_have_up_to_64_signatures_of_unknown_keys() {
    let vkey = VerifierKey::parse(&key().vkey("d/t/default")).unwrap();
    let mut note = head().sign(&key());
    for seed in 0..63_u8 {
        let other = LogKey::from_seed(&[seed + 100; 32]).unwrap().sign("other", &head().text());
        note = append(&note, &format!("{}\n", other.lines().last().unwrap())).unwrap();
    }
    assert_eq!(SignedNote::parse(&note).unwrap().signatures().len(), MAX_SIGNATURES);
    assert_eq!(Checkpoint::open(&note, &vkey), Ok(head()));
    let line = note.lines().last().unwrap().replace("other", "one-more");
    assert_eq!(append(&note, &format!("{line}\n")), Err(BadNote::TooManySignatures));
    assert_eq!(SignedNote::parse(&format!("{note}{line}\n")), Err(BadNote::TooManySignatures));
}

#[test]
fn a_key_of_the_same_name_or_the_same_id_is_another_key() {
    let ours = VerifierKey::parse(&key().vkey("d/t/default")).unwrap();
    let signed = head().sign(&key());
    let (rest, signature) = signed.trim_end().rsplit_once(' ').unwrap();
    let mut bytes = BASE64.decode(signature).unwrap();
    let renamed = signed.replace("\u{2014} d/t/default", "\u{2014} d/t/other");
    assert_eq!(ours.open(&renamed), Err(BadNote::Unsigned));
    bytes[0] ^= 1;
    let other_id = format!("{rest} {}\n", BASE64.encode(&bytes));
    assert_eq!(ours.open(&other_id), Err(BadNote::Unsigned));
    bytes[0] ^= 1;
    bytes[10] ^= 1;
    let wrong = format!("{rest} {}\n", BASE64.encode(&bytes));
    assert_eq!(ours.open(&wrong), Err(BadNote::Signature));
}

#[test]
fn a_signature_that_is_there_already_is_not_added_again() {
    let note = head().sign(&key());
    let line = format!("{}\n", note.lines().last().unwrap());
    assert_eq!(append(&note, &line), Ok(note.clone()));
    for bad in ["x", "\u{2014} a b\n", "\u{2014} a AAAAAA==", "\n", "\u{2014}  AAAAAA==\n"] {
        assert_eq!(append(&note, bad), Err(BadNote::Form), "{bad:?}");
    }
    assert_eq!(append("no note\n", &line), Err(BadNote::Form));
}

#[test]
fn a_signed_text_that_is_no_checkpoint_is_none() {
    let root = BASE64.encode([9; 32]);
    let bad = [
        format!("d\n03\n{root}\n"),
        format!("d\n+3\n{root}\n"),
        format!("d\n3 \n{root}\n"),
        format!("d\n-1\n{root}\n"),
        format!("d\n18446744073709551616\n{root}\n"),
        format!("\n3\n{root}\n"),
        "d\n3\nAAAA\n".to_owned(),
        format!("d\n3\n{}\n", root.trim_end_matches('=')),
        format!("d\n3\n{root}\n\nextension after an empty line\n"),
        format!("d\n3\n{root}"),
        "d\n3\n".to_owned(),
    ];
    for text in bad {
        assert_eq!(Checkpoint::parse(&text), Err(BadNote::Checkpoint), "{text:?}");
    }
    let extended = format!("d\n3\n{root}\nan extension\n");
    assert_eq!(Checkpoint::parse(&extended).unwrap().size, 3);
}

#[test]
fn a_key_id_that_does_not_fit_is_refused() {
    let vkey = key().vkey("d");
    let (name, rest) = vkey.split_once('+').unwrap();
    assert!(VerifierKey::parse(&format!("{name}x+{rest}")).is_err());
    assert!(VerifierKey::parse("").is_err() && VerifierKey::parse("a+b").is_err());
}

#[test]
fn no_changed_bit_of_a_verifier_key_opens_anything() {
    let (vkey, note) = (key().vkey("d/t/default"), head().sign(&key()));
    for at in 0..vkey.len() {
        for bit in 0..8 {
            let mut changed = vkey.clone().into_bytes();
            changed[at] ^= 1 << bit;
            let changed = String::from_utf8(changed).ok();
            let key = changed.and_then(|text| VerifierKey::parse(&text).ok());
            assert!(key.is_none_or(|key| key.open(&note).is_err()), "byte {at} bit {bit}");
        }
    }
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
