use super::*;
use crate::context::Purpose;
use crate::envelope::HEADER;
use crate::provider::{KeyRef, ProviderError, ProviderFault, WrapDigest, WrapText, Wrapped};
use crate::scope_key::{KeyState, ScopeKeyId, WrappedScopeKey};
use crate::store::Erasure;
use async_trait::async_trait;
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use zeroize::Zeroizing;

/// What using a secret costs in these tests.
struct Proof;

type Vault = super::Vault<Proof>;

fn context(user: &str, name: &str) -> Context {
    Context::new(Scope::new("t", user, "x").unwrap(), name, Purpose::Confirmation).unwrap()
}

fn secret(user: &str, name: &str) -> SecretContext {
    SecretContext::new(Scope::new("t", user, "x").unwrap(), name).unwrap()
}

fn key_file() -> Arc<KeyFile> {
    Arc::new(KeyFile::from_key(Zeroizing::new([8; 32])).unwrap())
}

fn other_key_file() -> Arc<KeyFile> {
    Arc::new(KeyFile::from_key(Zeroizing::new([9; 32])).unwrap())
}

fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::default())
}

/// A provider that counts its questions and can be made to misbehave.
#[derive(Debug)]
struct Watched {
    inner: Arc<KeyFile>,
    asked: AtomicUsize,
    fault: std::sync::Mutex<Option<ProviderFault>>,
}

impl Watched {
    fn new() -> Arc<Self> {
        Arc::new(Self { inner: key_file(), asked: AtomicUsize::new(0), fault: Default::default() })
    }

    fn fail_with(&self, fault: Option<ProviderFault>) {
        *self.fault.lock().unwrap() = fault;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    async fn pass(&self) -> Result<(), ProviderError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        let fault = *self.fault.lock().unwrap();
        match fault {
            Some(ProviderFault::Timeout) => std::future::pending().await,
            Some(fault) => Err(ProviderError::new("watched", fault, "as told")),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl KeyProvider for Watched {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }
    async fn current(&self) -> Result<KeyRef, ProviderError> {
        self.pass().await?;
        self.inner.current().await
    }
    async fn wrap(&self, text: &WrapText, digest: &WrapDigest) -> Result<Wrapped, ProviderError> {
        self.pass().await?;
        self.inner.wrap(text, digest).await
    }
    async fn unwrap(
        &self,
        key: &KeyRef,
        bytes: &[u8],
        digest: &WrapDigest,
    ) -> Result<WrapText, ProviderError> {
        self.pass().await?;
        self.inner.unwrap(key, bytes, digest).await
    }
    async fn rotate(&self, from: &KeyRef) -> Result<KeyRef, ProviderError> {
        self.inner.rotate(from).await
    }
    async fn destroy_version(&self, key: &KeyRef) -> Result<(), ProviderError> {
        self.inner.destroy_version(key).await
    }
}

#[tokio::test]
async fn a_value_opens_after_a_restart() {
    let store = memory();
    let context = context("u", "token");
    let vault = Vault::new(key_file(), store.clone()).await.unwrap();
    let blob = vault.seal(&context, b"hunter2").await.unwrap();
    let vault = Vault::new(key_file(), store).await.unwrap();
    assert!(vault.open(&context, &blob).await.unwrap().with(|text| text == b"hunter2"));
}

#[tokio::test]
async fn a_secret_is_lent_to_whoever_holds_the_proof() {
    let vault = Vault::ephemeral().unwrap();
    let id = BlobId { secret: [1; 16], version: 1 };
    let context = secret("u", "token");
    let blob = vault.seal_secret(&context, id, b"hunter2").await.unwrap();
    let lease = vault.lend(&Proof, &context, id, &blob).await.unwrap();
    assert!(lease.with(|text| text == b"hunter2"));
    // The same scope, name and bytes under any purpose that costs no proof.
    let other = self::context("u", "token");
    assert!(matches!(vault.open(&other, &blob).await, Err(OpenError::NotForThis)));
    let old = BlobId { version: 2, ..id };
    let refused = vault.lend(&Proof, &context, old, &blob).await;
    assert!(matches!(refused, Err(OpenError::NotForThis)));
}

#[tokio::test]
async fn the_provider_is_asked_once_for_a_scope_in_use() {
    let provider = Watched::new();
    let vault = Vault::new(provider.clone(), memory()).await.unwrap();
    let context = context("u", "token");
    let blob = vault.seal(&context, b"1").await.unwrap();
    let asked = provider.asked();
    for _ in 0..100 {
        vault.seal(&context, b"2").await.unwrap();
        vault.open(&context, &blob).await.unwrap().with(|_| ());
    }
    assert_eq!(provider.asked(), asked);
    vault.purge(context.scope());
    vault.open(&context, &blob).await.unwrap().with(|_| ());
    assert_eq!(provider.asked(), asked + 1);
}

#[tokio::test]
async fn calls_that_miss_at_once_ask_the_provider_once() {
    let provider = Watched::new();
    let vault = Arc::new(Vault::new(provider.clone(), memory()).await.unwrap());
    let context = context("u", "token");
    let blob = vault.seal(&context, b"1").await.unwrap();
    vault.purge_all();
    let asked = provider.asked();
    let calls = (0..64).map(|_| async {
        vault.open(&context, &blob).await.unwrap().with(|_| ());
    });
    futures_util::future::join_all(calls).await;
    assert_eq!(provider.asked(), asked + 1);
}

#[tokio::test]
async fn a_call_that_is_given_up_does_not_harm_the_others() {
    let provider = Watched::new();
    let vault = Arc::new(Vault::new(provider.clone(), memory()).await.unwrap());
    let context = context("u", "token");
    let blob = vault.seal(&context, b"1").await.unwrap();
    vault.purge_all();
    let leader = vault.open(&context, &blob);
    let mut leader = Box::pin(leader);
    assert!(futures_util::FutureExt::now_or_never(&mut leader).is_none());
    let follower = vault.open(&context, &blob);
    drop(leader);
    assert!(follower.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_closes_the_vault_and_each_fault_reads_differently() {
    let provider = Watched::new();
    let vault = Vault::new(provider.clone(), memory()).await.unwrap();
    let context = context("u", "token");
    let blob = vault.seal(&context, b"1").await.unwrap();
    let mut shown = std::collections::BTreeSet::new();
    let faults = [
        ProviderFault::Unreachable,
        ProviderFault::Timeout,
        ProviderFault::Throttled,
        ProviderFault::CredentialExpired,
        ProviderFault::Denied,
        ProviderFault::KeyGone,
    ];
    for fault in faults {
        provider.fail_with(Some(fault));
        assert!(vault.open(&context, &blob).await.is_ok(), "the cache still serves");
        vault.purge_all();
        let error = vault.open(&context, &blob).await.unwrap_err();
        let OpenError::Key(KeyError::Provider(why)) = &error else { panic!("{error}") };
        assert_eq!(why.fault(), fault);
        shown.insert(error.to_string());
        assert!(vault.seal(&context, b"2").await.is_err());
        assert!(vault.probe().await.is_err());
        provider.fail_with(None);
        assert!(vault.open(&context, &blob).await.is_ok(), "recovers without a restart");
    }
    assert_eq!(shown.len(), faults.len());
}

#[tokio::test]
async fn a_wrong_key_file_is_found_at_start() {
    let store = memory();
    let vault = Vault::new(key_file(), store.clone()).await.unwrap();
    vault.seal(&context("u", "n"), b"x").await.unwrap();
    let error = Vault::new(other_key_file(), store).await.unwrap_err();
    assert!(matches!(error, KeyError::OtherKek { .. }), "{error}");
}

#[tokio::test]
async fn swapped_rows_are_refused() {
    let store = memory();
    let vault = Vault::new(key_file(), store.clone()).await.unwrap();
    let (alice, bob) = (context("alice", "n"), context("bob", "n"));
    let blob = vault.seal(&alice, b"x").await.unwrap();
    vault.seal(&bob, b"y").await.unwrap();
    let mut row_a = store.active(alice.scope()).await.unwrap().unwrap();
    let mut row_b = store.active(bob.scope()).await.unwrap().unwrap();

    // The wrapped keys change places: neither unwraps.
    std::mem::swap(&mut row_a.wrapped, &mut row_b.wrapped);
    let swapped = Arc::new(MemoryStore::with(vec![row_a.clone(), row_b.clone()]));
    let error = Vault::new(key_file(), swapped).await.unwrap_err();
    assert!(matches!(error, KeyError::Altered { .. }), "{error}");

    // The scopes change places: neither unwraps.
    std::mem::swap(&mut row_a.wrapped, &mut row_b.wrapped);
    std::mem::swap(&mut row_a.scope, &mut row_b.scope);
    let swapped = Arc::new(MemoryStore::with(vec![row_b, row_a]));
    let error = Vault::new(key_file(), swapped).await.unwrap_err();
    assert!(matches!(error, KeyError::Altered { .. }), "{error}");

    // Another user's context does not reach the key, though it is in the cache.
    assert!(matches!(vault.open(&bob, &blob).await, Err(OpenError::NotForThis)));
}

#[tokio::test]
async fn a_store_that_answers_with_another_scopes_key_is_refused() {
    let store = memory();
    let honest = Vault::new(key_file(), store.clone()).await.unwrap();
    honest.seal(&context("alice", "n"), b"x").await.unwrap();
    let blob = honest.seal(&context("bob", "n"), b"x").await.unwrap();
    let alice = store.active(context("alice", "n").scope()).await.unwrap().unwrap();
    let bob = store.active(context("bob", "n").scope()).await.unwrap().unwrap();
    // Alice's key stands in Bob's row: scope and id are his, version and bytes hers.
    let forged = WrappedScopeKey { scope: bob.scope, sk_id: bob.sk_id, ..alice };
    let lying = Arc::new(MemoryStore::default());
    let vault = Vault::new(key_file(), lying.clone()).await.unwrap();
    lying.insert_if_absent(&forged).await.unwrap();
    assert!(vault.seal(&context("bob", "n"), b"x").await.is_err());
    assert!(vault.open(&context("bob", "n"), &blob).await.is_err());
}

#[tokio::test]
async fn a_value_whose_key_was_destroyed_says_so_and_the_scope_gets_a_new_key() {
    let vault = Vault::ephemeral().unwrap();
    let (alice, bob) = (context("alice", "n"), context("bob", "n"));
    let blob = vault.seal(&alice, b"x").await.unwrap();
    let kept = vault.seal(&bob, b"y").await.unwrap();
    let gone = Erasure::User { tenant: "t".into(), user: "alice".into() };
    let destroyed = vault.destroy(&gone).await.unwrap();
    assert_eq!(destroyed.keys.len(), 1);
    assert_eq!((destroyed.keys[0].sk_ver, &destroyed.keys[0].scope), (1, alice.scope()));
    assert!(matches!(vault.open(&alice, &blob).await, Err(OpenError::NoKey)));
    assert!(vault.open(&bob, &kept).await.is_ok());
    assert_eq!(vault.destroy(&gone).await.unwrap().keys, destroyed.keys, "asking again tells all");
    let again = vault.seal(&alice, b"z").await.unwrap();
    assert_eq!(again[44..48], 2_u32.to_be_bytes(), "a version is never used twice");
    assert!(vault.open(&alice, &again).await.is_ok());
}

#[tokio::test]
async fn a_value_whose_key_is_unknown_says_so() {
    let context = context("u", "n");
    let vault = Vault::new(key_file(), memory()).await.unwrap();
    let blob = vault.seal(&context, b"x").await.unwrap();
    let vault = Vault::new(key_file(), memory()).await.unwrap();
    assert!(matches!(vault.open(&context, &blob).await, Err(OpenError::NoKey)));
}

#[tokio::test]
async fn a_retired_key_opens_nothing_until_it_is_brought_back() {
    let store = memory();
    let vault = Vault::new(key_file(), store.clone()).await.unwrap();
    let context = context("u", "n");
    let blob = vault.seal(&context, b"x").await.unwrap();
    let old = store.active(context.scope()).await.unwrap().unwrap();
    let next = WrappedScopeKey { sk_id: ScopeKeyId::from_bytes([1; 16]), sk_ver: 2, ..old.clone() };
    assert!(store.insert_pending(&next).await.unwrap());
    assert!(store.promote(next.sk_id, old.sk_id).await.unwrap());
    let moved = |from, to| store.set_state(old.sk_id, from, to);
    assert!(moved(KeyState::DecryptOnly, KeyState::Retired).await.unwrap());
    vault.purge_all();
    let refused = vault.open(&context, &blob).await;
    assert!(matches!(refused, Err(OpenError::Key(KeyError::Resting { state: "retired", .. }))));
    assert!(moved(KeyState::Retired, KeyState::DecryptOnly).await.unwrap());
    assert!(vault.open(&context, &blob).await.is_ok());
}

#[tokio::test]
async fn an_older_version_put_back_is_noticed() {
    let (vault, context) = (Vault::ephemeral().unwrap(), context("u", "n"));
    let first = BlobId { secret: [1; 16], version: 1 };
    let second = BlobId { version: 2, ..first };
    let old = vault.seal_as(&context, first, b"old").await.unwrap();
    let new = vault.seal_as(&context, second, b"new").await.unwrap();
    assert!(vault.open_as(&context, second, &new).await.unwrap().with(|text| text == b"new"));
    let refused = vault.open_as(&context, second, &old).await;
    assert!(matches!(refused, Err(OpenError::NotForThis)));
    let mut relabelled = old;
    relabelled[27] = 2;
    assert!(vault.open_as(&context, second, &relabelled).await.is_err());
}

#[tokio::test]
async fn a_value_over_the_limit_of_its_purpose_is_refused() {
    let (vault, secret) = (Vault::ephemeral().unwrap(), secret("u", "n"));
    let id = BlobId { secret: [1; 16], version: 1 };
    let limit = SecretContext::limit();
    assert!(vault.seal_secret(&secret, id, &vec![0; limit]).await.is_ok());
    let error = vault.seal_secret(&secret, id, &vec![0; limit + 1]).await.unwrap_err();
    assert!(matches!(error, SealError::TooLong { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_that_seal_first_at_once_agree_on_one_scope_key() {
    let (vault, context) = (Arc::new(Vault::ephemeral().unwrap()), context("u", "n"));
    let tasks = (0..8).map(|_| {
        let (vault, context) = (vault.clone(), context.clone());
        tokio::spawn(async move { vault.seal(&context, b"x").await.unwrap()[28..44].to_vec() })
    });
    let keys = futures_util::future::join_all(tasks).await;
    let keys: std::collections::BTreeSet<_> = keys.into_iter().map(Result::unwrap).collect();
    assert_eq!(keys.len(), 1);
}

#[tokio::test]
async fn no_blob_error_or_debug_shows_the_plaintext() {
    let (vault, context) = (Vault::ephemeral().unwrap(), context("u", "n"));
    let blob = vault.seal(&context, b"hunter2hunter2").await.unwrap();
    assert!(!blob.windows(7).any(|window| window == b"hunter2"));
    let lease = vault.open(&context, &blob).await.unwrap();
    let mut altered = blob;
    altered[HEADER] ^= 1;
    let error = vault.open(&context, &altered).await.unwrap_err();
    let shown = format!("{vault:?} {lease:?} {error} {error:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #[test]
    fn opening_anything_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let vault = Vault::ephemeral().unwrap();
        prop_assert!(run(vault.open(&context("u", "n"), &bytes)).is_err());
        let headed = [b"SEV1\x00\x01\x00\x7c".as_slice(), &bytes].concat();
        prop_assert!(run(vault.open(&context("u", "n"), &headed)).is_err());
    }

    #[test]
    fn a_mangled_blob_never_opens(
        changes in proptest::collection::vec((0_usize..300, any::<u8>()), 1..6),
        cut in 0_usize..300,
    ) {
        let vault = Vault::ephemeral().unwrap();
        let blob = run(vault.seal(&context("u", "n"), b"hunter2")).unwrap();
        let mut mangled = blob.clone();
        for (at, byte) in changes {
            if let Some(place) = mangled.get_mut(at) {
                *place = byte;
            }
        }
        mangled.truncate(cut);
        prop_assert!(mangled == blob || run(vault.open(&context("u", "n"), &mangled)).is_err());
    }
}
