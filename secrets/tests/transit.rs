//! The transit provider against a strict stub of the service's interface.
//!
//! No Vault or OpenBao can be installed here, and no package with a transit engine was found. The stub was
//! written from the public description of the interface and refuses whatever that does not describe: other
//! paths, methods, fields, or a request without token. It has known faults on request. What it cannot show
//! is how a real service behaves beyond that.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]
#![cfg(feature = "transit")]

use portcullis_secrets::{
    Context, KeyProvider, MemoryStore, ProviderFault, Purpose, Scope, SecretRef, Transit,
    TransitSettings, Vault, WrapText,
};
use std::sync::Arc;

mod transit_stub;

use transit_stub::{Mode, Stub};

fn settings(stub: &Stub) -> TransitSettings {
    TransitSettings {
        address: stub.address(),
        ca_file: None,
        mount: "transit".into(),
        key: "portcullis".into(),
        namespace: None,
        token: SecretRef::File(stub.token_file()),
    }
}

fn open(stub: &Stub) -> Transit {
    Transit::new(settings(stub)).unwrap()
}

fn text(digest: u8) -> WrapText {
    let mut text = WrapText::new([7; 64]);
    text[32..].fill(digest);
    text
}

#[tokio::test]
async fn a_vault_seals_rotates_and_opens_through_transit() {
    let stub = Stub::start().await;
    let store = Arc::new(MemoryStore::default());
    let context =
        Context::new(Scope::new("t", "u", "x").unwrap(), "n", Purpose::Confirmation).unwrap();
    let vault = Vault::<()>::new(Arc::new(open(&stub)), store.clone()).await.unwrap();
    let blob = vault.seal(&context, b"hunter2").await.unwrap();
    let old = vault.current_kek().await.unwrap();
    let done = vault.rotate_kek(Default::default(), &mut |_| ()).await.unwrap();
    assert_eq!((done.moved, done.current.kek_ver), (1, 2));
    assert_eq!(stub.asked("rewrap"), 1, "the service wraps again by itself");
    let transit = open(&stub);
    assert_eq!(
        transit.destroy_version(&done.current).await.unwrap_err().fault(),
        ProviderFault::Denied
    );
    transit.destroy_version(&old).await.unwrap();
    transit.destroy_version(&old).await.unwrap();
    let vault = Vault::<()>::new(Arc::new(open(&stub)), store).await.unwrap();
    assert!(vault.open(&context, &blob).await.unwrap().with(|text| text == b"hunter2"));
}

#[tokio::test]
async fn each_fault_of_the_service_is_told_apart_and_it_recovers() {
    let stub = Stub::start().await;
    let transit = open(&stub);
    let wrapped = transit.wrap(&text(1), &[1; 32]).await.unwrap();
    for (mode, fault) in [
        (Mode::Sealed, ProviderFault::Unreachable),
        (Mode::Throttled, ProviderFault::Throttled),
        (Mode::Closed, ProviderFault::Unreachable),
        (Mode::Forbidden, ProviderFault::Denied),
        (Mode::TokenExpired, ProviderFault::CredentialExpired),
        (Mode::NoKey, ProviderFault::KeyGone),
    ] {
        stub.set(mode);
        let failed = transit.unwrap(&wrapped.key, &wrapped.bytes, &[1; 32]).await.unwrap_err();
        assert_eq!(failed.fault(), fault, "{mode:?}: {failed}");
        assert!(!format!("{failed:?} {transit:?}").contains(stub.token()));
        stub.set(Mode::Well);
        assert!(transit.unwrap(&wrapped.key, &wrapped.bytes, &[1; 32]).await.is_ok(), "{mode:?}");
    }
}

#[tokio::test]
async fn a_slow_service_ends_at_the_deadline() {
    let stub = Stub::start().await;
    let store = Arc::new(MemoryStore::default());
    let deadline = std::time::Duration::from_millis(300);
    let vault = Vault::<()>::with_deadline(Arc::new(open(&stub)), store, deadline).await.unwrap();
    stub.set(Mode::Slow);
    let since = std::time::Instant::now();
    let slow = vault.probe().await.unwrap_err();
    assert!(slow.to_string().contains("did not answer in time"), "{slow}");
    assert!(since.elapsed() < deadline * 4);
}

#[tokio::test]
async fn altered_bytes_a_moved_digest_and_another_key_are_told_apart() {
    let stub = Stub::start().await;
    let transit = open(&stub);
    let wrapped = transit.wrap(&text(1), &[1; 32]).await.unwrap();
    let moved = transit.unwrap(&wrapped.key, &wrapped.bytes, &[2; 32]).await.unwrap_err();
    assert_eq!(moved.fault(), ProviderFault::Altered);
    for at in [0, 7, wrapped.bytes.len() - 6] {
        let mut altered = wrapped.bytes.clone();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = transit.unwrap(&wrapped.key, &altered, &[1; 32]).await.unwrap_err();
        assert_eq!(altered.fault(), ProviderFault::Altered, "byte {at}: {altered}");
    }
    stub.replace_key();
    let wrong = transit.unwrap(&wrapped.key, &wrapped.bytes, &[1; 32]).await.unwrap_err();
    assert_eq!(wrong.fault(), ProviderFault::WrongKey, "{wrong}");
}

#[tokio::test]
async fn a_replaced_token_is_read_anew_and_a_short_lease_is_renewed() {
    let stub = Stub::start().await;
    let transit = open(&stub);
    transit.probe().await.unwrap();
    assert!(stub.asked("renew-self") >= 1);
    stub.change_token("another-token");
    transit.probe().await.unwrap();
    // The lease of the stub is two seconds: half of it later the token is renewed.
    let before = stub.asked("renew-self");
    transit.probe().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    transit.probe().await.unwrap();
    assert!(stub.asked("renew-self") > before);
}

#[test]
fn plain_http_to_another_host_is_refused() {
    for address in ["http://vault.example:8200", "ftp://127.0.0.1", "vault.example"] {
        let settings = TransitSettings {
            address: address.into(),
            ca_file: None,
            mount: "transit".into(),
            key: "portcullis".into(),
            namespace: None,
            token: SecretRef::Env("X".into()),
        };
        assert_eq!(Transit::new(settings).unwrap_err().fault(), ProviderFault::Denied, "{address}");
    }
}
