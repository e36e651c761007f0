//! `Vault::open` costs no proof, so it takes no secret.
use portcullis_secrets::{SecretContext, Vault};

struct Cleared;

async fn open(vault: &Vault<Cleared>, context: &SecretContext, blob: &[u8]) {
    let _ = vault.open(context, blob).await;
}

fn main() {}
