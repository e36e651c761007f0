//! What the envelope costs beside bare AES-256-GCM with HKDF, and SoftHSM beside bare cryptoki, in one run.
//!
//! "Bare" derives one key over a fresh salt and encrypts under the same associated data: no commitment, no
//! hedged salt, no padding, no header, no cache.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hkdf::Hkdf;
use portcullis_secrets::{BlobId, Context, Purpose, Scope, Vault};
use sha2::Sha512;
use std::hint::black_box;
use tokio::runtime::Runtime;

const CONTEXT: &[u8] = b"\x00\x06ext mail, name smtp-password, product portcullis, purpose confirmation, tenant imp_t_acme, user imp_u_alice and lengths";
const SECRET: [u8; 32] = [7; 32];

fn bare_key(salt: &[u8; 32]) -> Aes256Gcm {
    let mut key = zeroize::Zeroizing::new([0; 32]);
    Hkdf::<Sha512>::new(Some(salt), &SECRET).expand(CONTEXT, key.as_mut_slice()).unwrap();
    Aes256Gcm::new(&(*key).into())
}

fn bare_seal(plaintext: &[u8]) -> Vec<u8> {
    let mut random = [0; 44];
    getrandom::fill(&mut random).unwrap();
    let salt: &[u8; 32] = random.first_chunk().unwrap();
    let nonce: [u8; 12] = *random.last_chunk().unwrap();
    let mut sealed = Vec::with_capacity(44 + plaintext.len() + 16);
    sealed.extend_from_slice(&random);
    sealed.extend_from_slice(plaintext);
    let text = sealed.get_mut(44..).unwrap();
    let cipher = bare_key(salt);
    let tag = cipher.encrypt_inout_detached(&Nonce::from(nonce), CONTEXT, text.into()).unwrap();
    sealed.extend_from_slice(&tag);
    sealed
}

fn bare_open(sealed: &[u8]) -> zeroize::Zeroizing<Vec<u8>> {
    let (salt, rest) = sealed.split_first_chunk::<32>().unwrap();
    let (nonce, rest) = rest.split_first_chunk::<12>().unwrap();
    let (text, tag) = rest.split_last_chunk::<16>().unwrap();
    let mut text = zeroize::Zeroizing::new(text.to_vec());
    bare_key(salt)
        .decrypt_inout_detached(
            &Nonce::from(*nonce),
            CONTEXT,
            text.as_mut_slice().into(),
            &Tag::from(*tag),
        )
        .unwrap();
    text
}

fn envelope(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    // The vault's deadlines need a clock.
    let _entered = runtime.enter();
    let vault = Vault::<()>::ephemeral().unwrap();
    let scope = Scope::new("imp_t_acme", "imp_u_alice", "mail").unwrap();
    let context = Context::new(scope, "smtp-password", Purpose::Confirmation).unwrap();
    let id = BlobId { secret: [1; 16], version: 1 };
    for length in [256, 4096] {
        let plaintext = vec![7; length];
        let ours = runtime.block_on(vault.seal_as(&context, id, &plaintext)).unwrap();
        let bare = bare_seal(&plaintext);
        let mut group = c.benchmark_group(format!("{length} B"));
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function("seal, bare", |b| b.iter(|| bare_seal(black_box(&plaintext))));
        group.bench_function("seal, envelope", |b| {
            b.iter(|| {
                let sealed = vault.seal_as(&context, id, black_box(&plaintext));
                futures_util::FutureExt::now_or_never(sealed).unwrap().unwrap()
            });
        });
        group.bench_function("open, bare", |b| b.iter(|| bare_open(black_box(&bare))));
        group.bench_function("open, envelope", |b| {
            b.iter(|| {
                let opened = vault.open_as(&context, id, black_box(&ours));
                futures_util::FutureExt::now_or_never(opened).unwrap().unwrap()
            });
        });
        group.finish();
    }
}

/// Needs `SOFTHSM2_CONF` with a token labelled `bench` whose PIN is in the file `SOFTHSM2_PIN_FILE`.
#[cfg(feature = "pkcs11")]
fn softhsm(c: &mut Criterion) {
    use cryptoki::context::{CInitializeArgs, CInitializeFlags};
    use cryptoki::mechanism::{Mechanism, aead::GcmParams};
    use cryptoki::object::{Attribute, ObjectClass};
    use cryptoki::session::UserType;
    use portcullis_secrets::{
        ExposeSecret as _, KeyProvider as _, Pkcs11, Pkcs11Settings, SecretRef,
    };

    let Ok(pin) = std::env::var("SOFTHSM2_PIN_FILE") else {
        return eprintln_missing("SOFTHSM2_CONF and SOFTHSM2_PIN_FILE (see secrets/benches)");
    };
    let pin = SecretRef::File(pin.into());
    let module = "/usr/lib/softhsm/libsofthsm2.so";
    let settings = Pkcs11Settings {
        module: module.into(),
        token_label: "bench".into(),
        key_label: "portcullis".into(),
        pin: pin.clone(),
        max_wraps: Pkcs11Settings::MAX_WRAPS,
    };
    let runtime = Runtime::new().unwrap();
    let provider = runtime.block_on(Pkcs11::open(settings)).unwrap();
    let text = portcullis_secrets::WrapText::new([7; 64]);
    let wrapped = runtime.block_on(provider.wrap(&text, &[1; 32])).unwrap();

    let library = cryptoki::context::Pkcs11::new(module).unwrap();
    let _ = library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let slot = library.get_slots_with_initialized_token().unwrap().into_iter().next().unwrap();
    let session = library.open_rw_session(slot).unwrap();
    let pin = pin.read().unwrap().expose_secret().to_owned();
    let _ = session.login(UserType::User, Some(&pin.into()));
    let wanted = [Attribute::Class(ObjectClass::SECRET_KEY)];
    let key = session.find_objects(&wanted).unwrap().into_iter().next().unwrap();

    let mut group = c.benchmark_group("SoftHSM");
    group.throughput(Throughput::Elements(1));
    group.bench_function("unwrap, bare cryptoki", |b| {
        b.iter(|| {
            let mut nonce: [u8; 12] = wrapped.bytes.get(1..13).unwrap().try_into().unwrap();
            let params = GcmParams::new(&mut nonce, &[1; 32], 128.into()).unwrap();
            let sealed = wrapped.bytes.get(13..).unwrap();
            session.decrypt(&Mechanism::AesGcm(params), key, sealed).unwrap()
        });
    });
    group.bench_function("unwrap, provider", |b| {
        b.to_async(Tokio(&runtime)).iter(|| async {
            provider.unwrap(&wrapped.key, &wrapped.bytes, &[1; 32]).await.unwrap()
        });
    });
    group.finish();
}

#[cfg(feature = "pkcs11")]
#[expect(clippy::print_stderr, reason = "a bench tells what it did not measure")]
fn eprintln_missing(what: &str) {
    eprintln!("not measured, missing: {what}");
}

#[cfg(feature = "pkcs11")]
struct Tokio<'a>(&'a Runtime);

#[cfg(feature = "pkcs11")]
impl criterion::async_executor::AsyncExecutor for Tokio<'_> {
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.block_on(future)
    }
}

#[cfg(not(feature = "pkcs11"))]
fn softhsm(_: &mut Criterion) {}

criterion_group!(benches, envelope, softhsm);
criterion_main!(benches);
