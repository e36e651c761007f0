use proptest::prelude::*;

use super::*;
use crate::chain::leaf;
use crate::entry::{Retention, UsedSecret};
use crate::note::Checkpoint;

fn stamp() -> Stamp {
    Stamp {
        ts: "2026-11-21T10:00:00.000001Z".into(),
        boot: "00ff".into(),
        ns: 42,
        replica: "a".into(),
        epoch: 3,
    }
}

fn full_fields(text: &str) -> CallFields {
    CallFields {
        who: Who {
            subject: Some(text.into()),
            extension: Some("ext".into()),
            session: Some("s".into()),
            once: false,
        },
        tool: Some(ToolRef { server: "a".into(), name: text.into(), schema: "00".into() }),
        pol: Some(PolicyRef {
            decision: "permit".into(),
            rules: vec![text.into(), "b".into()],
            bundle: "00".into(),
        }),
        input: Some(Commitment::of("in", b"1").unwrap()),
        output: Some(Commitment::of("out", b"2").unwrap()),
        ret: Some(Retention::Hold),
        sec: vec![UsedSecret {
            id: "00".into(),
            name: text.into(),
            version: u64::MAX,
            purpose: "extension".into(),
        }],
        res: Some(ResultRef { status: "done".into(), error: Some(text.into()) }),
        heads: vec![Checkpoint { origin: text.into(), size: u64::MAX, root: [0xcd; 32] }],
        note: [("key_1".to_owned(), text.to_owned())].into(),
    }
}

fn placed(kind: Kind, fields: &CallFields, reference: Option<u64>, seq: u64) -> Vec<u8> {
    let op = Uuid::from_u128(7);
    let draft = Draft::new(kind, "default", op, reference.map(RecordRef), fields, true).unwrap();
    let session = draft.session().map(|_| SessionSeq { since: seq / 2, number: u64::MAX });
    draft.place(&Place { log: "d/t/default", seq, prev: &leaf(b"x"), stamp: &stamp(), session })
}

proptest! {
    #[test]
    fn what_is_written_is_canonical_and_reads_back(text in any::<String>(), seq in any::<u64>()) {
        let bytes = placed(Kind::Outcome, &full_fields(&text), Some(seq), seq);
        let record = Record::parse(&bytes).unwrap();
        prop_assert_eq!((record.seq, record.reference), (seq, Some(seq)));
        prop_assert_eq!((record.kind, record.prev), (Kind::Outcome, leaf(b"x")));
        prop_assert_eq!((record.log.as_str(), record.epoch), ("d/t/default", Some(3)));
        let value = crate::canonical::parse(&bytes).unwrap();
        prop_assert_eq!(value.get("who").unwrap().text_at("subject"), Some(text.as_str()));
        prop_assert!(record.heads().is_empty(), "only an anchor vouches for heads");
        prop_assert_eq!(record.counted, None, "an outcome is found from its intent");
        let intent = placed(Kind::Intent, &full_fields(&text), None, seq);
        let counted = Record::parse(&intent).unwrap().counted.unwrap();
        let at = SessionSeq { since: seq / 2, number: u64::MAX };
        prop_assert_eq!((counted.session.as_str(), counted.at), ("s", at));
        let anchor = Record::parse(&placed(Kind::Anchor, &full_fields(&text), None, seq)).unwrap();
        prop_assert_eq!(anchor.heads(), full_fields(&text).heads);
        let mut again = Vec::new();
        value.write(&mut again);
        prop_assert_eq!(again, bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        let _ = Record::parse(&bytes);
    }
}

#[test]
fn the_smallest_record_of_every_kind_reads_back() {
    for kind in Kind::ALL {
        let bytes = placed(kind, &CallFields::default(), None, 0);
        assert_eq!(Record::parse(&bytes).unwrap().kind, kind);
    }
}

#[test]
fn a_record_has_this_one_byte_form() {
    let mut fields = CallFields::default();
    fields.note.insert("why".into(), "boot".into());
    let draft = Draft::new(Kind::Admin, "deployment", Uuid::nil(), None, &fields, false).unwrap();
    let place =
        Place { log: "d/deployment", seq: 0, prev: &[0xab; 32], stamp: &stamp(), session: None };
    let expected = format!(
        r#"{{"kind":"admin","log":"d/deployment","mono":{{"boot":"00ff","ns":"42"}},"note":{{"why":"boot"}},"op":"00000000-0000-0000-0000-000000000000","prev":"{}","seq":"0","ts":"2026-11-21T10:00:00.000001Z","v":"1","w":{{"epoch":"3","replica":"a"}},"who":{{"tenant":"deployment"}}}}"#,
        "ab".repeat(32)
    );
    assert_eq!(String::from_utf8(draft.place(&place)).unwrap(), expected);
}

#[test]
fn members_that_the_format_does_not_have_are_refused() {
    let good = String::from_utf8(placed(Kind::Intent, &full_fields("x"), None, 5)).unwrap();
    assert!(Record::parse(good.as_bytes()).is_ok());
    for (from, to) in [
        ("\"v\":\"1\"", "\"v\":\"2\""),
        ("\"seq\":\"5\"", "\"seq\":\"05\""),
        ("\"seq\":\"5\"", "\"seq\":\"-5\""),
        ("\"seq\":\"5\"", "\"seq\":\"18446744073709551616\""),
        ("\"kind\":\"intent\"", "\"kind\":\"intend\""),
        (".000001Z", ".0000010Z"),
        ("T10:00", "T25:00"),
        ("\"ns\":\"42\"", "\"zz\":\"42\""),
        ("\"v\":\"1\"", "\"v\":\"1\",\"vv\":\"1\""),
        ("\"purpose\":\"extension\"", "\"purpose\":[]"),
        ("\"purpose\":\"extension\"", "\"value\":\"extension\""),
        ("\"status\":\"done\"", "\"status\":[\"done\"]"),
        ("\"decision\":\"permit\"", "\"decision\":{\"a\":\"permit\"}"),
        ("-000000000007", "-00000000000A"),
        ("\"session_since\":\"2\"", "\"session_since\":\"6\""),
        ("\"session_since\":\"2\"", "\"session_since\":\"02\""),
        (",\"session_since\":\"2\"", ""),
        ("\"session\":\"s\",", ""),
        ("\"session_seq\":\"18446744073709551615\"", "\"session_seq\":\"0\""),
        ("\"kind\":\"intent\"", "\"kind\":\"outcome\""),
        ("\"size\":\"18446744073709551615\"", "\"size\":\"018\""),
        ("\"root\":\"cdcd", "\"root\":\"CDcd"),
        ("\"heads\":[{\"log\":\"x\",", "\"heads\":[{"),
    ] {
        assert!(good.contains(from), "{from}");
        assert!(Record::parse(good.replace(from, to).as_bytes()).is_err(), "accepted {to}");
    }
}
