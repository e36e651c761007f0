//! The link between records, as pure functions (ledger-and-vault.md 5.3).

use aws_lc_rs::digest::{self, Context, SHA256};

use crate::record::is_name;

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// `SHA-256(0x00 || record bytes)`: the RFC 6962 leaf hash, and the next record's `prev`.
#[must_use]
pub fn leaf(record: &[u8]) -> Hash {
    digest(&[&[0], record])
}

/// `SHA-256(0x01 || left || right)`: an inner node of the tree.
#[must_use]
pub fn node(left: &Hash, right: &Hash) -> Hash {
    digest(&[&[1], left, right])
}

/// `prev` of the first record: bound to the log's name and to its key, so that a record of one
/// log cannot begin another.
#[must_use]
pub fn genesis(origin: &str, vkey: &str) -> Hash {
    digest(&[b"portcullis/ledger/v1/genesis\n", origin.as_bytes(), b"\n", vkey.as_bytes()])
}

/// Origin of a tenant's log, or of the deployment's own.
#[must_use]
pub fn origin(deployment: &str, tenant: &str) -> String {
    if tenant == crate::entry::DEPLOYMENT {
        format!("{deployment}/{tenant}")
    } else {
        format!("{deployment}/t/{tenant}")
    }
}

/// The tenant whose log of `deployment` has this origin, or `deployment` for its own: [`origin`] the
/// other way. `None` for anything that [`origin`] does not make, so that it may name a folder.
#[must_use]
pub fn tenant_of<'a>(deployment: &str, origin: &'a str) -> Option<&'a str> {
    let within = origin.strip_prefix(deployment)?.strip_prefix('/')?;
    let tenant = within.strip_prefix("t/").unwrap_or(within);
    let made = is_name(deployment) && is_name(tenant) && self::origin(deployment, tenant) == origin;
    made.then_some(tenant)
}

/// Up to this many bytes are copied together first: to hash a node in one call takes half the time
/// that a context takes, and most of a verification is nodes.
const TOGETHER: usize = 1024;

/// SHA-256 over the concatenation of `parts`.
#[must_use]
pub fn digest(parts: &[&[u8]]) -> Hash {
    let mut buffer = [0_u8; TOGETHER];
    let digest = match concatenate(&mut buffer, parts) {
        Some(whole) => digest::digest(&SHA256, whole),
        None => {
            let mut context = Context::new(&SHA256);
            parts.iter().for_each(|part| context.update(part));
            context.finish()
        }
    };
    let mut out = [0_u8; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// The parts in one piece, when they fit.
fn concatenate<'b>(buffer: &'b mut [u8], parts: &[&[u8]]) -> Option<&'b [u8]> {
    let mut used = 0;
    for part in parts {
        let end = used + part.len();
        buffer.get_mut(used..end)?.copy_from_slice(part);
        used = end;
    }
    buffer.get(..used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_is_the_rfc_6962_leaf_hash() {
        // RFC 6962 test vector: the leaf hash of the empty entry.
        assert_eq!(
            hex::encode(leaf(b"")),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }

    #[test]
    fn a_digest_is_the_same_however_long_and_however_parted() {
        for length in [0, 1, 63, 64, 65, TOGETHER - 1, TOGETHER, TOGETHER + 1, 70_000] {
            let bytes: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let mut context = Context::new(&SHA256);
            context.update(&bytes);
            let expected = context.finish();
            let (one, two) = bytes.split_at(length / 3);
            assert_eq!(digest(&[one, &[], two]), expected.as_ref(), "{length}");
        }
    }

    #[test]
    fn the_genesis_differs_by_log_and_by_key() {
        assert_ne!(genesis("a", "k"), genesis("b", "k"));
        assert_ne!(genesis("a", "k"), genesis("a", "l"));
    }

    #[test]
    fn an_origin_reads_back_to_its_tenant_and_nothing_else_does() {
        for tenant in ["deployment", "default", "imp_t_x-1", "a.b", "t"] {
            assert_eq!(tenant_of("prod", &origin("prod", tenant)), Some(tenant));
        }
        for origin in [
            "prod",
            "prod/",
            "prod/export",
            "prod/t/",
            "prod/t/deployment",
            "prod/t/../x",
            "prod/t/a/b",
            "prod/t/a b",
            "prod2/t/a",
            "b",
        ] {
            assert_eq!(tenant_of("prod", origin), None, "{origin}");
        }
    }

    #[test]
    fn a_tenant_cannot_take_the_name_of_the_deployment_log() {
        assert_eq!(origin("prod", "deployment"), "prod/deployment");
        assert_eq!(origin("prod", "t"), "prod/t/t");
    }
}
