use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;

use super::super::{Checkpoint, LogKey, VerifierKey, append};
use super::*;

/// 2026-01-01T00:00:00Z.
const NOW: u64 = 1_767_225_600;

fn witness(seed: u8) -> Cosigner {
    Cosigner::from_seed("witness.example/w1", &[seed; 32]).unwrap()
}

fn head() -> Checkpoint {
    Checkpoint { origin: "d/t/default".into(), size: 3, root: [9; 32] }
}

/// The head, signed by its log.
fn signed() -> String {
    head().sign(&LogKey::from_seed(&[7; 32]).unwrap())
}

fn cosigned(witness: &Cosigner, seconds: u64) -> String {
    append(&signed(), &witness.cosign(&head().text(), seconds)).unwrap()
}

fn check(key: &CosignerKey, note: &str) -> Result<u64, BadNote> {
    key.verify(&SignedNote::parse(note)?)
}

#[test]
fn a_cosignature_gives_back_its_time() {
    assert_eq!(check(&witness(1).key(), &cosigned(&witness(1), NOW)), Ok(NOW));
    assert_eq!(check(&witness(1).key(), &cosigned(&witness(1), 0)), Ok(0));
}

#[test]
fn a_cosignature_is_over_the_bytes_that_the_specification_says() {
    let note = cosigned(&witness(1), NOW);
    let line = note.lines().last().unwrap();
    let bytes = BASE64.decode(line.rsplit(' ').next().unwrap()).unwrap();
    assert_eq!(bytes.len(), 4 + 8 + 64);
    assert_eq!(bytes[4..12], NOW.to_be_bytes());
    let message = format!("cosignature/v1\ntime 1767225600\n{}", head().text());
    let public = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ED25519,
        witness(1).key().public().to_vec(),
    );
    public.verify(message.as_bytes(), &bytes[12..]).unwrap();
    let id = crate::chain::digest(&[b"witness.example/w1\n\x04", witness(1).key().public()]);
    assert_eq!(bytes[..4], id[..4]);
}

#[test]
fn the_head_still_opens_under_the_key_of_its_log() {
    let vkey = VerifierKey::parse(&LogKey::from_seed(&[7; 32]).unwrap().vkey("d/t/default"));
    assert_eq!(Checkpoint::open(&cosigned(&witness(1), NOW), &vkey.unwrap()), Ok(head()));
}

#[test]
fn a_cosignature_of_another_witness_or_head_does_not_count() {
    assert_eq!(check(&witness(2).key(), &cosigned(&witness(1), NOW)), Err(BadNote::Unsigned));
    assert_eq!(check(&witness(1).key(), &signed()), Err(BadNote::Unsigned));
    let other = Checkpoint { size: 4, ..head() };
    let replayed = append(&signed(), &witness(1).cosign(&other.text(), NOW)).unwrap();
    assert_eq!(check(&witness(1).key(), &replayed), Err(BadNote::Signature));
    let origin = Checkpoint { origin: "d/t/other".into(), ..head() };
    let replayed = append(&signed(), &witness(1).cosign(&origin.text(), NOW)).unwrap();
    assert_eq!(check(&witness(1).key(), &replayed), Err(BadNote::Signature));
}

#[test]
fn the_time_of_a_cosignature_cannot_be_changed() {
    let note = cosigned(&witness(1), NOW);
    let (rest, line) = note.trim_end().rsplit_once(' ').unwrap();
    let mut bytes = BASE64.decode(line).unwrap();
    bytes[11] ^= 1;
    let changed = format!("{rest} {}\n", BASE64.encode(&bytes));
    assert_eq!(check(&witness(1).key(), &changed), Err(BadNote::Signature));
    bytes.truncate(11);
    let cut = format!("{rest} {}\n", BASE64.encode(&bytes));
    assert_eq!(check(&witness(1).key(), &cut), Err(BadNote::Signature));
}

#[test]
fn of_several_cosignatures_all_must_hold_and_the_last_time_counts() {
    let note = cosigned(&witness(1), NOW + 5);
    let twice = append(&note, &witness(1).cosign(&head().text(), NOW)).unwrap();
    assert_eq!(check(&witness(1).key(), &twice), Ok(NOW + 5));
    let bad = append(&note, &witness(1).cosign("another text\n", NOW)).unwrap();
    assert_eq!(check(&witness(1).key(), &bad), Err(BadNote::Signature));
}

#[test]
fn a_time_beyond_the_format_is_cut_when_made_and_refused_when_read() {
    let note = cosigned(&witness(1), u64::MAX);
    assert_eq!(check(&witness(1).key(), &note), Ok(MAX_SECONDS));
}

#[test]
fn a_log_key_is_no_witness_key_and_a_witness_key_is_no_log_key() {
    let log = LogKey::from_seed(&[1; 32]).unwrap().vkey("witness.example/w1");
    let vkey = witness(1).key().to_string();
    assert!(CosignerKey::parse(&log).is_err() && VerifierKey::parse(&vkey).is_err());
    assert_eq!(CosignerKey::parse(&vkey), Ok(witness(1).key()));
    // The same 32 bytes under the other type, with a key id that fits.
    let as_log = VerifierKey::parse(&log).unwrap();
    let note = cosigned(&witness(1), NOW);
    assert_eq!(as_log.verify(&SignedNote::parse(&note).unwrap()), Err(BadNote::Unsigned));
}

#[test]
fn a_witness_needs_a_name_and_a_seed() {
    for name in ["", "two words", "a+b", "a\nb"] {
        assert!(Cosigner::from_seed(name, &[1; 32]).is_err(), "{name:?}");
    }
    assert!(Cosigner::from_seed("w", &[1; 31]).is_err());
    assert!(!format!("{:?}", witness(1)).contains(&hex::encode([1; 32])));
}

proptest! {
    #[test]
    fn no_changed_byte_of_a_cosigned_head_gives_a_time(
        at in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let mut note = cosigned(&witness(1), NOW).into_bytes();
        // A change of the log's own line is for the log's key to notice.
        let log = 1 + signed().len();
        let text = head().text().len();
        let at = at.index(note.len());
        prop_assume!(at <= text || at >= log);
        note[at] ^= 1 << bit;
        let checked = String::from_utf8(note).ok().map(|note| check(&witness(1).key(), &note));
        prop_assert!(!matches!(checked, Some(Ok(_))), "{checked:?}");
    }
}
