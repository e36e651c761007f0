//! One connection to a token: login, pooled sessions, the versions of the key.

use super::faults::{may_be_the_message, sorted};
use super::{Pkcs11Settings, budget, error};
use crate::provider::{KeyRef, ProviderError, ProviderFault};
use crate::secret_ref::SecretRefError;
use crate::single_use;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Module};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// Sessions that are kept for the next question.
const POOLED: usize = 8;

const TAG_BITS: u64 = 128;

/// A text that is never secret, to tell a wrong message from a module in trouble.
const KNOWN: [u8; 64] = [0x5a; 64];
const KNOWN_DIGEST: [u8; 32] = [0xa5; 32];

/// A logged-in token.
pub(super) struct Token {
    module: Module,
    slot: Slot,
    settings: Pkcs11Settings,
    idle: Mutex<Vec<Session>>,
    found: Mutex<HashMap<KeyRef, Known>>,
}

/// What is remembered of a version.
struct Known {
    version: Version,
    /// Wrappings that are reserved and not made.
    left: u64,
    /// Nonce and ciphertext of [`KNOWN`], made at first need.
    answer: Option<([u8; 12], Vec<u8>)>,
}

/// One version of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) number: u32,
    id: [u8; 16],
    handle: ObjectHandle,
}

impl Version {
    pub(super) fn reference(&self) -> KeyRef {
        KeyRef { kek_id: hex::encode(self.id), kek_ver: self.number }
    }

    pub(super) fn is(&self, key: &KeyRef) -> bool {
        self.number == key.kek_ver && hex::encode(self.id) == key.kek_id
    }
}

impl Token {
    pub(super) fn connect(settings: &Pkcs11Settings) -> Result<Self, ProviderError> {
        let module = Module::new(&settings.module).map_err(sorted)?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(other) => return Err(sorted(other)),
        }
        let slot = slot_of(&module, &settings.token_label)?;
        let session = module.open_rw_session(slot).map_err(sorted)?;
        let pin = settings.pin.read().map_err(|why| unreadable(&why))?;
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(other) => return Err(sorted(other)),
        }
        let (idle, settings) = (Mutex::new(vec![session]), settings.clone());
        Ok(Self { module, slot, settings, idle, found: Mutex::default() })
    }

    /// Ends the sessions and shuts the library down, so that a token that was put back is seen.
    pub(super) fn close(&self) {
        self.idle().clear();
        // An error says that it is shut down already.
        let _ = self.module.clone().finalize();
    }

    /// Every version of the key; of those with one number, the one that all agree on comes last.
    pub(super) fn versions(&self) -> Result<Vec<Version>, ProviderError> {
        let mut versions = self.with_session(|session| {
            let wanted = [
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::AES),
                Attribute::Token(true),
                Attribute::Label(self.settings.key_label.clone().into_bytes()),
            ];
            let mut versions = Vec::new();
            for handle in session.find_objects(&wanted).map_err(sorted)? {
                let read = session.get_attributes(handle, &[AttributeType::Id]).map_err(sorted)?;
                versions.extend(read.iter().filter_map(|id| version_of(id, handle)));
            }
            Ok(versions)
        })?;
        versions.sort_unstable_by_key(|version| (version.number, std::cmp::Reverse(version.id)));
        let mut found = self.found();
        for version in &versions {
            found
                .entry(version.reference())
                .and_modify(|known| known.version = version.clone())
                .or_insert_with(|| Known { version: version.clone(), left: 0, answer: None });
        }
        Ok(versions)
    }

    pub(super) fn known(&self, key: &KeyRef) -> Option<Version> {
        self.found().get(key).map(|known| known.version.clone())
    }

    /// Makes a key inside the token that can never leave it.
    pub(super) fn make(&self, number: u32) -> Result<(), ProviderError> {
        let tail: [u8; 12] =
            single_use::random().map_err(|why| error(ProviderFault::Other, why.to_string()))?;
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(32_u64.into()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
            Attribute::Sign(false),
            Attribute::Verify(false),
            Attribute::Label(self.settings.key_label.clone().into_bytes()),
            Attribute::Id([number.to_be_bytes().as_slice(), &tail].concat()),
        ];
        self.with_session(|session| {
            session.generate_key(&Mechanism::AesKeyGen, &template).map(drop).map_err(sorted)
        })
    }

    pub(super) fn destroy(&self, version: &Version) -> Result<(), ProviderError> {
        self.with_session(|session| {
            session.destroy_object(version.handle).map_err(sorted)?;
            budget::forget(session, version)
        })?;
        self.found().remove(&version.reference());
        Ok(())
    }

    /// Takes one wrapping from the reservation, and reserves more when it is used up.
    pub(super) fn spend(&self, version: &Version) -> Result<(), ProviderError> {
        let key = version.reference();
        if self.take_one(&key, 0) {
            return Ok(());
        }
        let block =
            self.with_session(|session| budget::reserve(session, &self.settings, version))?;
        self.take_one(&key, block);
        Ok(())
    }

    fn take_one(&self, key: &KeyRef, more: u64) -> bool {
        let mut found = self.found();
        let Some(known) = found.get_mut(key) else { return false };
        known.left = known.left.saturating_add(more);
        let one = known.left > 0;
        known.left = known.left.saturating_sub(1);
        one
    }

    pub(super) fn encrypt(
        &self,
        version: &Version,
        nonce: &mut [u8; 12],
        digest: &[u8; 32],
        text: &[u8],
    ) -> Result<Vec<u8>, ProviderError> {
        self.with_session(|session| {
            let params = GcmParams::new(nonce, digest, TAG_BITS.into()).map_err(sorted)?;
            session.encrypt(&Mechanism::AesGcm(params), version.handle, text).map_err(sorted)
        })
    }

    /// INVARIANT: `Altered` only when the module decrypts a known answer at that moment
    /// (`tests/pkcs11.rs::tampering_is_told_from_a_module_in_trouble`).
    pub(super) fn decrypt(
        &self,
        version: &Version,
        nonce: &mut [u8; 12],
        digest: &[u8; 32],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
        let answer = self.with_session(|session| {
            let params = GcmParams::new(nonce, digest, TAG_BITS.into()).map_err(sorted)?;
            let mechanism = Mechanism::AesGcm(params);
            Ok(session.decrypt(&mechanism, version.handle, sealed).map(Zeroizing::new))
        })?;
        match answer {
            Ok(text) => Ok(text),
            Err(why) if may_be_the_message(&why) => {
                self.check(version)?;
                Err(error(ProviderFault::Altered, why.to_string()))
            }
            Err(why) => Err(sorted(why)),
        }
    }

    /// Decrypts a known answer; an error says that the module, not the message, is at fault.
    fn check(&self, version: &Version) -> Result<(), ProviderError> {
        let key = version.reference();
        let known = self.found().get(&key).and_then(|known| known.answer.clone());
        let (mut nonce, sealed) = match known {
            Some(answer) => answer,
            None => self.make_answer(version)?,
        };
        let text = self.with_session(|session| {
            let params = GcmParams::new(&mut nonce, &KNOWN_DIGEST, TAG_BITS.into());
            let mechanism = Mechanism::AesGcm(params.map_err(sorted)?);
            Ok(session.decrypt(&mechanism, version.handle, &sealed))
        })?;
        match text {
            Ok(text) if text == KNOWN => Ok(()),
            Ok(_) => Err(error(ProviderFault::WrongKey, "the known answer came back changed")),
            Err(why) => Err(error(ProviderFault::Unreachable, why.to_string())),
        }
    }

    fn make_answer(&self, version: &Version) -> Result<([u8; 12], Vec<u8>), ProviderError> {
        self.spend(version)?;
        let nonce: [u8; 12] =
            single_use::random().map_err(|why| error(ProviderFault::Other, why.to_string()))?;
        let sealed = self.encrypt(version, &mut nonce.clone(), &KNOWN_DIGEST, &KNOWN)?;
        if let Some(known) = self.found().get_mut(&version.reference()) {
            known.answer = Some((nonce, sealed.clone()));
        }
        Ok((nonce, sealed))
    }

    /// Lends a session. One that saw an error is not used again.
    fn with_session<T>(
        &self,
        work: impl FnOnce(&Session) -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let idle = self.idle().pop();
        let session = match idle {
            Some(session) => session,
            None => self.module.open_rw_session(self.slot).map_err(sorted)?,
        };
        let done = work(&session)?;
        let mut idle = self.idle();
        if idle.len() < POOLED {
            idle.push(session);
        }
        Ok(done)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self) -> MutexGuard<'_, HashMap<KeyRef, Known>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slot_of(module: &Module, label: &str) -> Result<Slot, ProviderError> {
    for slot in module.get_slots_with_initialized_token().map_err(sorted)? {
        if module.get_token_info(slot).map_err(sorted)?.label().trim_end() == label {
            return Ok(slot);
        }
    }
    Err(error(ProviderFault::Unreachable, format!("no token is labelled `{label}`")))
}

fn version_of(id: &Attribute, handle: ObjectHandle) -> Option<Version> {
    let Attribute::Id(bytes) = id else { return None };
    let id: [u8; 16] = bytes.as_slice().try_into().ok()?;
    let number = u32::from_be_bytes(*id.first_chunk()?);
    (number > 0).then_some(Version { number, id, handle })
}

fn unreadable(why: &SecretRefError) -> ProviderError {
    error(ProviderFault::Denied, format!("the PIN cannot be read: {why}"))
}
