//! A secret is lent for the vault's own proof, and for nothing else.
use portcullis_secrets::{BlobId, SecretContext, Vault};

struct Cleared;
struct Other;

async fn lend(vault: &Vault<Cleared>, context: &SecretContext, id: BlobId, blob: &[u8]) {
    let _ = vault.lend(&Other, context, id, blob).await;
}

fn main() {}
