//! Reading one row: every column is checked, none is trusted.

use super::{DestroyedKey, KekUse, KekVersion, ReplicaReport, StoreError};
use crate::context::Scope;
use crate::provider::KeyRef;
use crate::scope_key::{KeyState, ScopeKeyId, WrappedScopeKey};
use sqlx::any::AnyRow;
use sqlx::{Any, Decode, Row as _, Type};

impl WrappedScopeKey {
    pub(super) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            sk_id: id(row)?,
            scope: scope(row)?,
            sk_ver: number(row, "sk_ver")?,
            kek_provider: text(row, "kek_provider")?,
            kek_id: text(row, "kek_id")?,
            kek_ver: number(row, "kek_ver")?,
            wrapped: hex::decode(text(row, "wrapped")?).map_err(|_| corrupt("wrapped"))?,
            state: state(row)?,
        })
    }
}

impl DestroyedKey {
    pub(super) fn of(row: &WrappedScopeKey) -> Self {
        let (scope, kek) = (row.scope.clone(), row.kek());
        Self { sk_id: row.sk_id, scope, sk_ver: row.sk_ver, kek }
    }
}

impl KekUse {
    pub(super) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let keys = u64::try_from(get::<i64>(row, "keys")?).map_err(|_| corrupt("keys"))?;
        Ok(Self { kek_provider: text(row, "kek_provider")?, key: kek(row)?, keys })
    }
}

impl KekVersion {
    pub(super) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            kek_provider: text(row, "kek_provider")?,
            key: kek(row)?,
            state: state(row)?,
            changed_ms: get(row, "changed_ms")?,
        })
    }
}

impl ReplicaReport {
    pub(super) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self { replica: text(row, "replica")?, key: kek(row)?, at_ms: get(row, "at_ms")? })
    }
}

fn id(row: &AnyRow) -> Result<ScopeKeyId, StoreError> {
    ScopeKeyId::try_from(text(row, "sk_id")?).map_err(|_| corrupt("sk_id"))
}

fn scope(row: &AnyRow) -> Result<Scope, StoreError> {
    let (tenant, user) = (text(row, "tenant")?, text(row, "user_id")?);
    let scope = match (user.as_str(), text(row, "ext")?.as_str()) {
        ("", "") => Scope::of_tenant(&tenant),
        (user, ext) => Scope::new(&tenant, user, ext),
    };
    scope.map_err(|_| corrupt("tenant, user_id or ext"))
}

fn kek(row: &AnyRow) -> Result<KeyRef, StoreError> {
    Ok(KeyRef { kek_id: text(row, "kek_id")?, kek_ver: number(row, "kek_ver")? })
}

fn state(row: &AnyRow) -> Result<KeyState, StoreError> {
    text(row, "state")?.parse().map_err(|()| corrupt("state"))
}

fn text(row: &AnyRow, column: &'static str) -> Result<String, StoreError> {
    get(row, column)
}

fn number(row: &AnyRow, column: &'static str) -> Result<u32, StoreError> {
    u32::try_from(get::<i64>(row, column)?).map_err(|_| corrupt(column))
}

fn get<'r, T: Decode<'r, Any> + Type<Any>>(
    row: &'r AnyRow,
    column: &'static str,
) -> Result<T, StoreError> {
    row.try_get(column).map_err(|_| corrupt(column))
}

fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt { column }
}
