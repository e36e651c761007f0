//! The PKCS#11 provider against SoftHSM (Debian `softhsm2`), a module that nobody here wrote.
//!
//! SoftHSM reads its configuration from the environment, once. So each test runs in a process of its own:
//! it makes a private folder for tokens and starts itself again with `SOFTHSM2_CONF` pointing there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]
#![cfg(feature = "pkcs11")]

use portcullis_secrets::{
    BlobId, Context, KeyProvider, KeyRef, MemoryStore, Pkcs11, Pkcs11Settings, ProviderFault,
    Purpose, Scope, SecretRef, Vault,
};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

mod vectors_through_the_token;

const FOLDER: &str = "PORTCULLIS_SOFTHSM_FOLDER";
const PIN: &str = "4711-secret-pin";
const MODULES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
];

/// Runs `body` in a process of its own with fresh tokens, each labelled as given.
fn in_token<F: Future<Output = ()>>(test: &str, labels: &[&str], body: impl FnOnce(PathBuf) -> F) {
    if let Ok(folder) = std::env::var(FOLDER) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        return runtime.block_on(body(PathBuf::from(folder)));
    }
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let conf = folder.path().join("softhsm2.conf");
    let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
    std::fs::write(&conf, text).unwrap();
    std::fs::write(folder.path().join("pin"), PIN).unwrap();
    for label in labels {
        init_token(&conf, label);
    }
    let done = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(FOLDER, folder.path())
        .env("SOFTHSM2_CONF", &conf)
        .status()
        .unwrap();
    assert!(done.success(), "{test} failed in its own process");
}

fn init_token(conf: &Path, label: &str) {
    let args = ["--init-token", "--free", "--label", label, "--so-pin", "87654321", "--pin", PIN];
    let made = Command::new("softhsm2-util").args(args).env("SOFTHSM2_CONF", conf).output();
    let made = made.expect("missing: softhsm2-util; run `apt-get install softhsm2`");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn module() -> PathBuf {
    let found = MODULES.into_iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("missing: libsofthsm2.so; run `apt-get install softhsm2`")
}

fn settings(folder: &Path, token: &str) -> Pkcs11Settings {
    Pkcs11Settings {
        module: module(),
        token_label: token.into(),
        key_label: "portcullis".into(),
        pin: SecretRef::File(folder.join("pin")),
        max_wraps: Pkcs11Settings::MAX_WRAPS,
    }
}

async fn open(folder: &Path) -> Pkcs11 {
    Pkcs11::open(settings(folder, "one")).await.unwrap()
}

fn text() -> portcullis_secrets::WrapText {
    let mut text = portcullis_secrets::WrapText::default_text();
    text.fill(7);
    text
}

/// `Zeroizing<[u8; 64]>` has no `Default`.
trait DefaultText {
    fn default_text() -> Self;
}

impl DefaultText for portcullis_secrets::WrapText {
    fn default_text() -> Self {
        Self::new([0; 64])
    }
}

#[test]
fn a_vault_seals_and_opens_through_the_token_after_a_restart() {
    in_token(
        "a_vault_seals_and_opens_through_the_token_after_a_restart",
        &["one"],
        |folder| async move {
            let store = Arc::new(MemoryStore::default());
            let scope = Scope::new("t", "u", "x").unwrap();
            let context = Context::new(scope, "n", Purpose::Confirmation).unwrap();
            let id = BlobId { secret: [1; 16], version: 1 };
            let vault = Vault::<()>::new(Arc::new(open(&folder).await), store.clone());
            let blob = vault.await.unwrap().seal_as(&context, id, b"hunter2").await.unwrap();
            let vault = Vault::<()>::new(Arc::new(open(&folder).await), store).await.unwrap();
            assert!(vault.open(&context, &blob).await.unwrap().with(|text| text == b"hunter2"));
            let old = vault.current_kek().await.unwrap();
            let done = vault.rotate_kek(Default::default(), &mut |_| ()).await.unwrap();
            assert_eq!((done.moved, done.current.kek_ver), (1, 2));
            vault.purge_all();
            assert!(vault.open(&context, &blob).await.is_ok());
            let guards = portcullis_secrets::Guards {
                backups_kept: std::time::Duration::ZERO,
                ..Default::default()
            };
            vault.retire_kek(&old, guards).await.unwrap();
            vault.destroy_kek_version(&old, guards).await.unwrap();
            vault.purge_all();
            assert!(vault.open(&context, &blob).await.is_ok());
        },
    );
}

#[test]
fn tampering_is_told_from_a_module_in_trouble() {
    in_token("tampering_is_told_from_a_module_in_trouble", &["one"], |folder| async move {
        let token = open(&folder).await;
        let wrapped = token.wrap(&text(), &[1; 32]).await.unwrap();
        let back = token.unwrap(&wrapped.key, &wrapped.bytes, &[1; 32]).await.unwrap();
        assert_eq!(*back, *text());
        for byte in 0..wrapped.bytes.len() {
            let mut altered = wrapped.bytes.clone();
            altered[byte] ^= 1;
            let refused = token.unwrap(&wrapped.key, &altered, &[1; 32]).await.unwrap_err();
            assert_eq!(refused.fault(), ProviderFault::Altered, "byte {byte}: {refused}");
        }
        let moved = token.unwrap(&wrapped.key, &wrapped.bytes, &[2; 32]).await.unwrap_err();
        assert_eq!(moved.fault(), ProviderFault::Altered);
        assert!(token.unwrap(&wrapped.key, &wrapped.bytes, &[1; 32]).await.is_ok());
    });
}

#[test]
fn a_removed_module_fails_closed_and_comes_back_without_a_restart() {
    let name = "a_removed_module_fails_closed_and_comes_back_without_a_restart";
    in_token(name, &["one"], |folder| async move {
        let token = open(&folder).await;
        let wrapped = token.wrap(&text(), &[1; 32]).await.unwrap();
        let (there, away) = (folder.join("tokens"), folder.join("away"));
        for _ in 0..3 {
            std::fs::rename(&there, &away).unwrap();
            std::fs::create_dir(&there).unwrap();
            let gone = token.unwrap(&wrapped.key, &wrapped.bytes, &[1; 32]).await.unwrap_err();
            assert_eq!(gone.fault(), ProviderFault::Unreachable, "{gone}");
            let gone = token.probe().await.unwrap_err();
            assert_eq!(gone.fault(), ProviderFault::Unreachable, "{gone}");
            std::fs::remove_dir(&there).unwrap();
            std::fs::rename(&away, &there).unwrap();
            assert!(token.unwrap(&wrapped.key, &wrapped.bytes, &[1; 32]).await.is_ok());
            token.probe().await.unwrap();
        }
    });
}

#[test]
fn another_token_of_the_same_name_is_the_wrong_key() {
    let name = "another_token_of_the_same_name_is_the_wrong_key";
    in_token(name, &["one", "two"], |folder| async move {
        let one = open(&folder).await;
        let wrapped = one.wrap(&text(), &[1; 32]).await.unwrap();
        let two = Pkcs11::open(settings(&folder, "two")).await.unwrap();
        let wrong = two.unwrap(&wrapped.key, &wrapped.bytes, &[1; 32]).await.unwrap_err();
        assert_eq!(wrong.fault(), ProviderFault::WrongKey, "{wrong}");
        let unknown = KeyRef { kek_ver: 9, ..wrapped.key };
        let gone = one.unwrap(&unknown, &wrapped.bytes, &[1; 32]).await.unwrap_err();
        assert_eq!(gone.fault(), ProviderFault::KeyGone, "{gone}");
    });
}

#[test]
fn a_wrong_pin_is_denied_and_never_shown() {
    in_token("a_wrong_pin_is_denied_and_never_shown", &["one"], |folder| async move {
        let pin = folder.join("wrong-pin");
        std::fs::write(&pin, "not-the-pin-0815").unwrap();
        let settings = Pkcs11Settings { pin: SecretRef::File(pin), ..settings(&folder, "one") };
        let denied = Pkcs11::open(settings).await.unwrap_err();
        assert_eq!(denied.fault(), ProviderFault::Denied, "{denied}");
        assert!(!format!("{denied} {denied:?}").contains("0815"));
    });
}

#[test]
fn a_version_stops_wrapping_at_its_bound_and_the_next_one_goes_on() {
    let name = "a_version_stops_wrapping_at_its_bound_and_the_next_one_goes_on";
    in_token(name, &["one"], |folder| async move {
        let few = Pkcs11Settings { max_wraps: 3, ..settings(&folder, "one") };
        let token = Pkcs11::open(few.clone()).await.unwrap();
        let mut last = None;
        for _ in 0..3 {
            last = Some(token.wrap(&text(), &[1; 32]).await.unwrap());
        }
        let last = last.unwrap();
        let full = token.wrap(&text(), &[1; 32]).await.unwrap_err();
        assert!(full.fault() == ProviderFault::Denied && full.to_string().contains("rotate"));
        // The count is in the token: another process does not begin anew.
        let again = Pkcs11::open(few).await.unwrap();
        assert!(again.wrap(&text(), &[1; 32]).await.is_err());
        assert!(again.unwrap(&last.key, &last.bytes, &[1; 32]).await.is_ok());
        let next = again.rotate(&last.key).await.unwrap();
        assert_eq!(again.wrap(&text(), &[1; 32]).await.unwrap().key, next);
        assert_eq!(token.current().await.unwrap(), next);
    });
}

#[test]
fn the_key_cannot_be_read_out_of_the_token() {
    in_token("the_key_cannot_be_read_out_of_the_token", &["one"], |folder| async move {
        use cryptoki::object::{Attribute, AttributeType, ObjectClass};
        drop(open(&folder).await);
        let session = vectors_through_the_token::session(&module(), "one", PIN);
        let keys = session.find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY)]).unwrap();
        assert_eq!(keys.len(), 1);
        let asked = [AttributeType::Value, AttributeType::Sensitive, AttributeType::Extractable];
        let read = session.get_attributes(keys[0], &asked).unwrap();
        assert!(!read.iter().any(|attribute| matches!(attribute, Attribute::Value(_))));
        assert!(read.contains(&Attribute::Sensitive(true)));
        assert!(read.contains(&Attribute::Extractable(false)));
    });
}

#[test]
fn wycheproof_and_cavp_through_the_token() {
    in_token("wycheproof_and_cavp_through_the_token", &["one"], |_| async move {
        vectors_through_the_token::run(&module(), "one", PIN);
    });
}
