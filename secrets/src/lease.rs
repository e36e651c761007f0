//! Plaintext on loan.

use zeroize::Zeroizing;

/// An opened value. It can be looked at inside a closure and is wiped when dropped. There is no way to
/// clone, print or serialise it, and `Debug` shows not even its length.
///
/// ```compile_fail,E0277
/// fn shown(lease: &portcullis_secrets::Lease) -> String {
///     lease.to_string()
/// }
/// ```
/// ```compile_fail,E0599
/// fn copied(lease: &portcullis_secrets::Lease) -> portcullis_secrets::Lease {
///     lease.clone()
/// }
/// ```
#[must_use = "a lease that nobody looks at was opened for nothing"]
pub struct Lease(Zeroizing<Vec<u8>>);

impl Lease {
    pub(crate) fn new(plaintext: Zeroizing<Vec<u8>>) -> Self {
        Self(plaintext)
    }

    /// Lends the plaintext for as long as `use_it` runs. Copies that the closure makes are its own duty.
    pub fn with<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R {
        use_it(&self.0)
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lease(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_redacted() {
        let lease = Lease::new(Zeroizing::new(b"hunter2".to_vec()));
        assert_eq!(format!("{lease:?}"), "Lease(redacted)");
        assert_eq!(lease.with(<[u8]>::len), 7);
    }
}
