use super::*;
use crate::entry::{CallFields, RecordRef, ResultRef};
use crate::keys::KeyStatement;

const ORIGIN: &str = "d/t/x";

fn key(seed: u8) -> LogKey {
    LogKey::from_seed(&[seed; 32]).unwrap()
}

fn keys_of(key: &LogKey) -> Keys {
    let origins = [ORIGIN, "d/t/y"];
    let chain = |origin| KeyChain::new(VerifierKey::parse(&key.vkey(origin)).unwrap());
    origins.into_iter().map(|origin| (origin.to_owned(), chain(origin))).collect()
}

fn late_of(kind: Kind, tenant: &str, reference: u64) -> Late {
    let op = Uuid::from_u128(9);
    let res = Some(ResultRef { status: "done".to_owned(), error: None });
    let fields = CallFields { res, ..CallFields::default() };
    let reference = Some(RecordRef(reference));
    let draft = Draft::new(kind, tenant, op, reference, &fields, true).unwrap();
    let body = Some(Arc::new(Body(b"sealed".to_vec())));
    let origin = ORIGIN.to_owned();
    Late { origin, intent: 7, leaf: [3; 32], op, draft: Arc::new(draft), body }
}

fn late() -> Late {
    late_of(Kind::Outcome, "x", 7)
}

fn read(frame: &[u8], keys: &Keys) -> Result<Late, Refused> {
    let (payloads, end) = frames(frame);
    end?;
    open(payloads.first().ok_or(Refused::Form)?, "d", keys)
}

#[test]
fn a_spooled_outcome_reads_back_as_it_was() {
    let (key, late) = (key(1), late());
    let read = read(&late.frame(&key), &keys_of(&key)).unwrap();
    assert_eq!(read.outcome(), late.outcome());
    assert_eq!((read.origin, read.intent, read.leaf), (late.origin, late.intent, late.leaf));
    assert_eq!((read.op, read.body), (late.op, late.body));
}

/// Whoever writes the file can frame whatever he likes: the digest of a frame is no secret.
#[test]
fn every_changed_byte_of_an_entry_is_refused_however_it_is_framed() {
    let (key, late) = (key(1), late());
    let frame = late.frame(&key);
    let payload = frame.get(FRAME_HEAD..).unwrap();
    for at in 0..frame.len() {
        let mut torn = frame.clone();
        torn[at] ^= 1;
        assert!(read(&torn, &keys_of(&key)).is_err(), "byte {at} of the frame");
        assert!(read(&frame[..at], &keys_of(&key)).is_err(), "cut off at {at}");
    }
    for at in 0..payload.len() {
        let mut forged = payload.to_vec();
        forged[at] ^= 1;
        assert!(open(&forged, "d", &keys_of(&key)).is_err(), "byte {at} of the payload");
    }
}

#[test]
fn nobody_without_the_log_key_makes_an_outcome() {
    let (ours, thief) = (key(1), key(2));
    let refused = read(&late().frame(&thief), &keys_of(&ours)).unwrap_err();
    assert_eq!(refused, Refused::Unsigned);
    let elsewhere = Late { origin: "d/t/z".to_owned(), ..late() };
    let refused = read(&elsewhere.frame(&ours), &keys_of(&ours)).unwrap_err();
    assert_eq!(refused, Refused::Foreign, "there is no such log");
    let refused = read(&late().frame(&ours), &Keys::new()).unwrap_err();
    assert_eq!(refused, Refused::Foreign);
}

#[test]
fn what_is_signed_is_the_outcome_of_the_intent_that_it_names() {
    let key = key(1);
    for other in [
        late_of(Kind::Decision, "x", 7),
        late_of(Kind::Outcome, "y", 7),
        late_of(Kind::Outcome, "x", 8),
    ] {
        let refused = read(&other.frame(&key), &keys_of(&key)).unwrap_err();
        assert_eq!(refused, Refused::NotAnOutcome);
    }
}

/// An intent at place 7; the key changes at places 5 and 9.
#[test]
fn a_key_that_was_retired_before_the_intent_makes_no_outcome_of_it() {
    let (first, second, third) = (key(1), key(2), key(3));
    let changes = [(5, &first, &second), (9, &second, &third)];
    let mut chain = KeyChain::new(VerifierKey::parse(&first.vkey(ORIGIN)).unwrap());
    for (seq, old, new) in changes {
        let statement = KeyStatement::sign(ORIGIN, old, new).unwrap();
        let fields = CallFields {
            note: [("statement".to_owned(), statement)].into(),
            ..CallFields::default()
        };
        let op = crate::keys::operation(ORIGIN);
        let draft = Draft::new(Kind::Key, "x", op, None, &fields, false).unwrap();
        let stamp = Stamp {
            ts: "2026-01-01T00:00:00.000000Z".to_owned(),
            boot: "0".repeat(16),
            ns: 0,
            replica: "0".to_owned(),
            epoch: 1,
        };
        let place = Place { log: ORIGIN, seq, prev: &[0; 32], stamp: &stamp, session: None };
        chain.take(&Record::parse(&draft.place(&place)).unwrap()).unwrap();
    }
    let keys: Keys = [(ORIGIN.to_owned(), chain)].into();
    assert_eq!(read(&late().frame(&first), &keys).unwrap_err(), Refused::Unsigned);
    for key in [second, third] {
        assert!(read(&late().frame(&key), &keys).is_ok(), "{key:?}");
    }
}
