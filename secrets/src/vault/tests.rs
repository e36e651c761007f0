use super::*;
use crate::context::Purpose;
use crate::envelope::HEADER;
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

fn context(user: &str, name: &str) -> Context {
    Context::new(Scope::new("t", user, "x").unwrap(), name, Purpose::Secret).unwrap()
}

fn key_file() -> KeyFile {
    KeyFile::from_key(Zeroizing::new([8; 32])).unwrap()
}

fn other_key_file() -> KeyFile {
    KeyFile::from_key(Zeroizing::new([9; 32])).unwrap()
}

/// Counts how often the vault asks, and shares its rows with the test.
#[derive(Default)]
struct Watched {
    rows: MemoryStore,
    asked: AtomicUsize,
}

impl ScopeKeyStore for Arc<Watched> {
    fn active(&self, scope: &Scope) -> Result<Option<WrappedScopeKey>, StoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.rows.active(scope)
    }

    fn by_id(&self, id: ScopeKeyId) -> Result<Option<WrappedScopeKey>, StoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.rows.by_id(id)
    }

    fn insert_if_absent(&self, row: WrappedScopeKey) -> Result<WrappedScopeKey, StoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.rows.insert_if_absent(row)
    }

    fn sample(&self) -> Result<Option<WrappedScopeKey>, StoreError> {
        self.rows.sample()
    }
}

#[test]
fn a_value_opens_after_a_restart() {
    let store = Arc::new(Watched::default());
    let context = context("u", "token");
    let blob =
        Vault::new(key_file(), Arc::clone(&store)).unwrap().seal(&context, b"hunter2").unwrap();
    let vault = Vault::new(key_file(), store).unwrap();
    assert!(vault.open(&context, &blob).unwrap().with(|text| text == b"hunter2"));
}

#[test]
fn the_store_is_asked_once_for_a_scope_in_use() {
    let store = Arc::new(Watched::default());
    let vault = Vault::new(key_file(), Arc::clone(&store)).unwrap();
    let context = context("u", "token");
    let blob = vault.seal(&context, b"1").unwrap();
    let asked = store.asked.load(Ordering::Relaxed);
    for _ in 0..100 {
        vault.seal(&context, b"2").unwrap();
        vault.open(&context, &blob).unwrap().with(|_| ());
    }
    assert_eq!(store.asked.load(Ordering::Relaxed), asked);
    vault.purge(context.scope());
    vault.open(&context, &blob).unwrap().with(|_| ());
    assert_eq!(store.asked.load(Ordering::Relaxed), asked + 1);
}

#[test]
fn a_wrong_key_file_is_found_at_start() {
    let store = Arc::new(Watched::default());
    Vault::new(key_file(), Arc::clone(&store)).unwrap().seal(&context("u", "n"), b"x").unwrap();
    let error = Vault::new(other_key_file(), store).unwrap_err();
    assert!(matches!(error, KeyError::Unwrap(UnwrapError::OtherKek { .. })), "{error}");
}

#[test]
fn swapped_rows_are_refused() {
    let store = Arc::new(Watched::default());
    let vault = Vault::new(key_file(), Arc::clone(&store)).unwrap();
    let (alice, bob) = (context("alice", "n"), context("bob", "n"));
    let blob = vault.seal(&alice, b"x").unwrap();
    vault.seal(&bob, b"y").unwrap();
    let mut row_a = store.rows.active(alice.scope()).unwrap().unwrap();
    let mut row_b = store.rows.active(bob.scope()).unwrap().unwrap();

    // The wrapped keys change places: neither unwraps.
    std::mem::swap(&mut row_a.wrapped, &mut row_b.wrapped);
    let swapped = MemoryStore::with(vec![row_a.clone(), row_b.clone()]);
    let error = Vault::new(key_file(), swapped).unwrap_err();
    assert!(matches!(error, KeyError::Unwrap(UnwrapError::Altered { .. })), "{error}");

    // The scopes change places: neither unwraps.
    std::mem::swap(&mut row_a.wrapped, &mut row_b.wrapped);
    std::mem::swap(&mut row_a.scope, &mut row_b.scope);
    let error = Vault::new(key_file(), MemoryStore::with(vec![row_b, row_a])).unwrap_err();
    assert!(matches!(error, KeyError::Unwrap(UnwrapError::Altered { .. })), "{error}");

    // Another user's context does not reach the key, though it is in the cache.
    assert!(matches!(vault.open(&bob, &blob), Err(OpenError::NotForThis)));
}

#[test]
fn a_store_that_answers_with_another_scopes_key_is_refused() {
    struct Liar(WrappedScopeKey);
    impl ScopeKeyStore for Liar {
        fn active(&self, _: &Scope) -> Result<Option<WrappedScopeKey>, StoreError> {
            Ok(Some(self.0.clone()))
        }
        fn by_id(&self, _: ScopeKeyId) -> Result<Option<WrappedScopeKey>, StoreError> {
            Ok(Some(self.0.clone()))
        }
        fn insert_if_absent(&self, _: WrappedScopeKey) -> Result<WrappedScopeKey, StoreError> {
            Ok(self.0.clone())
        }
        fn sample(&self) -> Result<Option<WrappedScopeKey>, StoreError> {
            Ok(None)
        }
    }
    let store = Arc::new(Watched::default());
    let honest = Vault::new(key_file(), Arc::clone(&store)).unwrap();
    honest.seal(&context("alice", "n"), b"x").unwrap();
    let blob = honest.seal(&context("bob", "n"), b"x").unwrap();
    let row = store.rows.active(context("alice", "n").scope()).unwrap().unwrap();
    let vault = Vault::new(key_file(), Liar(row)).unwrap();
    assert!(vault.seal(&context("bob", "n"), b"x").is_err());
    assert!(vault.open(&context("bob", "n"), &blob).is_err());
}

#[test]
fn a_value_whose_key_was_erased_says_so() {
    let context = context("u", "n");
    let blob =
        Vault::new(key_file(), MemoryStore::default()).unwrap().seal(&context, b"x").unwrap();
    let vault = Vault::new(key_file(), MemoryStore::default()).unwrap();
    assert!(matches!(vault.open(&context, &blob), Err(OpenError::NoKey)));
}

#[test]
fn an_older_version_put_back_is_noticed() {
    let (vault, context) = (Vault::ephemeral().unwrap(), context("u", "n"));
    let first = BlobId { secret: [1; 16], version: 1 };
    let second = BlobId { version: 2, ..first };
    let old = vault.seal_as(&context, first, b"old").unwrap();
    let new = vault.seal_as(&context, second, b"new").unwrap();
    assert!(vault.open_as(&context, second, &new).unwrap().with(|text| text == b"new"));
    assert!(matches!(vault.open_as(&context, second, &old), Err(OpenError::NotForThis)));
    let mut relabelled = old;
    relabelled[27] = 2;
    assert!(vault.open_as(&context, second, &relabelled).is_err());
}

#[test]
fn a_value_over_the_limit_of_its_purpose_is_refused() {
    let (vault, context) = (Vault::ephemeral().unwrap(), context("u", "n"));
    let limit = Purpose::Secret.limit();
    assert!(vault.seal(&context, &vec![0; limit]).is_ok());
    let error = vault.seal(&context, &vec![0; limit + 1]).unwrap_err();
    assert!(matches!(error, SealError::TooLong { .. }));
}

#[test]
fn threads_that_seal_first_at_once_agree_on_one_scope_key() {
    let (vault, context) = (Vault::ephemeral().unwrap(), context("u", "n"));
    let keys: std::collections::BTreeSet<Vec<u8>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| vault.seal(&context, b"x").unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()[28..44].to_vec()).collect()
    });
    assert_eq!(keys.len(), 1);
}

#[test]
fn no_blob_error_or_debug_shows_the_plaintext() {
    let (vault, context) = (Vault::ephemeral().unwrap(), context("u", "n"));
    let blob = vault.seal(&context, b"hunter2hunter2").unwrap();
    assert!(!blob.windows(7).any(|window| window == b"hunter2"));
    let lease = vault.open(&context, &blob).unwrap();
    let mut altered = blob;
    altered[HEADER] ^= 1;
    let error = vault.open(&context, &altered).unwrap_err();
    let shown = format!("{vault:?} {lease:?} {error} {error:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

proptest! {
    #[test]
    fn opening_anything_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let vault = Vault::ephemeral().unwrap();
        prop_assert!(vault.open(&context("u", "n"), &bytes).is_err());
        let headed = [b"SEV1\x00\x01\x00\x7c".as_slice(), &bytes].concat();
        prop_assert!(vault.open(&context("u", "n"), &headed).is_err());
    }

    #[test]
    fn a_mangled_blob_never_opens(
        changes in proptest::collection::vec((0_usize..300, any::<u8>()), 1..6),
        cut in 0_usize..300,
    ) {
        let vault = Vault::ephemeral().unwrap();
        let blob = vault.seal(&context("u", "n"), b"hunter2").unwrap();
        let mut mangled = blob.clone();
        for (at, byte) in changes {
            if let Some(place) = mangled.get_mut(at) {
                *place = byte;
            }
        }
        mangled.truncate(cut);
        prop_assert!(mangled == blob || vault.open(&context("u", "n"), &mangled).is_err());
    }
}
