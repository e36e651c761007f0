use super::*;

#[path = "../../tests/cavp/mod.rs"]
mod cavp;

fn with_key(key: &[u8; 32]) -> SingleUse {
    SingleUse { key: Zeroizing::new(*key), commitment: [0; 32] }
}

#[test]
fn wycheproof_and_cavp_through_the_cipher() {
    let (mut right, mut wrong) = (0, 0);
    for case in cavp::wycheproof().into_iter().chain(cavp::gcm_decrypt_256()) {
        let mut text = case.sealed.clone();
        let opened = with_key(&case.key).open(&case.nonce, &case.aad, &mut text, case.tag);
        let Some(expected) = case.text else {
            assert!(opened.is_err(), "{}", case.name);
            wrong += 1;
            continue;
        };
        assert!(opened.is_ok() && text == expected, "{}", case.name);
        let tag = with_key(&case.key).seal(&case.nonce, &case.aad, &mut text).unwrap();
        assert!(text == case.sealed && tag == case.tag, "{}", case.name);
        right += 1;
    }
    assert!(right > 100 && wrong > 50, "{right} that open, {wrong} that do not");
}
