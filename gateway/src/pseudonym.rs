//! Names for people in the ledger: stable within a tenant, meaningless outside the deployment.

use aws_lc_rs::hmac;
use moka::sync::Cache;
use portcullis_policies::TenantId;

/// Makes pseudonyms under a key of the deployment.
pub struct Pseudonyms {
    key: hmac::Key,
    made: Cache<(TenantId, String), String>,
}

const KEPT: u64 = 10_000;

impl Pseudonyms {
    /// Pseudonyms under this key (32 random bytes, kept sealed by the vault).
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), made: Cache::new(KEPT) }
    }

    /// The pseudonym of a person or program of a tenant: `p_` and 32 hexadecimal digits.
    #[must_use]
    pub fn of(&self, tenant: &TenantId, id: &str) -> String {
        let key = (tenant.clone(), id.to_owned());
        self.made.get_with(key, || self.make(tenant, id))
    }

    fn make(&self, tenant: &TenantId, id: &str) -> String {
        let text = format!("portcullis/pseudonym/v1\n{tenant}\n{id}");
        let tag = hmac::sign(&self.key, text.as_bytes());
        let half: Vec<u8> = tag.as_ref().iter().copied().take(16).collect();
        format!("p_{}", hex::encode(half))
    }
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pseudonyms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_has_one_name_and_another_tenant_another() {
        let names = Pseudonyms::new(&[7; 32]);
        let (a, b): (TenantId, TenantId) = ("imp_t_a".parse().unwrap(), "imp_t_b".parse().unwrap());
        assert_eq!(names.of(&a, "imp_u_1"), names.of(&a, "imp_u_1"));
        assert_ne!(names.of(&a, "imp_u_1"), names.of(&b, "imp_u_1"));
        assert_ne!(names.of(&a, "imp_u_1"), Pseudonyms::new(&[8; 32]).of(&a, "imp_u_1"));
        assert_eq!(names.of(&a, "imp_u_1").len(), 34);
    }
}
