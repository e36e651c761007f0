//! AES-256-GCM test vectors through `C_Decrypt` and `C_Encrypt`, with imported keys.

#[path = "../cavp/mod.rs"]
mod cavp;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use std::path::Path;

/// A logged-in session of the token.
pub(crate) fn session(module: &Path, token: &str, pin: &str) -> Session {
    let module = Pkcs11::new(module).unwrap();
    let _ = module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let slots = module.get_slots_with_initialized_token().unwrap();
    let ours = |slot: &_| module.get_token_info(*slot).unwrap().label().trim_end() == token;
    let slot = slots.into_iter().find(ours).unwrap();
    let session = module.open_rw_session(slot).unwrap();
    let _ = session.login(UserType::User, Some(&String::from(pin).into()));
    session
}

pub(crate) fn run(module: &Path, token: &str, pin: &str) {
    let session = session(module, token, pin);
    let (mut right, mut wrong) = (0, 0);
    for case in cavp::wycheproof().into_iter().chain(cavp::gcm_decrypt_256()) {
        let key = import(&session, &case.key);
        let mut nonce = case.nonce;
        let sealed = [case.sealed.as_slice(), &case.tag].concat();
        let params = GcmParams::new(&mut nonce, &case.aad, 128.into()).unwrap();
        let opened = session.decrypt(&Mechanism::AesGcm(params), key, &sealed);
        match &case.text {
            Some(text) => assert_eq!(opened.as_ref().unwrap(), text, "{}", case.name),
            None => assert!(opened.is_err(), "{}", case.name),
        }
        if let Some(text) = &case.text {
            let params = GcmParams::new(&mut nonce, &case.aad, 128.into()).unwrap();
            let made = session.encrypt(&Mechanism::AesGcm(params), key, text).unwrap();
            assert_eq!(made, sealed, "{}", case.name);
            right += 1;
        } else {
            wrong += 1;
        }
        session.destroy_object(key).unwrap();
    }
    assert!(right > 100 && wrong > 50, "{right} that open, {wrong} that do not");
}

fn import(session: &Session, key: &[u8; 32]) -> ObjectHandle {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Value(key.to_vec()),
    ];
    session.create_object(&template).unwrap()
}
