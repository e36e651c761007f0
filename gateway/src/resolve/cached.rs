//! What an app's code keeps becomes a call of the gateway's own app `cache`. The value is no argument: rules,
//! capsule and commitments never hold it.

use std::time::Duration;

use bytes::Bytes;
use portcullis_policies::CACHE_APP;
use serde_json::json;

use super::{Own, ToolCall};
use crate::cached::Place;
use crate::gateway::Gateway;
use crate::identify::{Caller, Proof, ToolType};
use crate::knock::{CachedDeed, CachedName, CachedWanted};
use crate::refusal::Refusal;

/// What is to be done at a place.
#[derive(Debug)]
pub enum OwnCached {
    /// Give what is there.
    Get(Place),
    /// Keep something.
    Set(Place, Bytes, Duration),
    /// Forget it.
    Delete(Place),
}

/// Resolves it for the code that a call token has proved; the order of checks is the contract's.
///
/// # Errors
/// [`Refusal::InvalidCredential`] for another credential, or a token of another kind, app or user.
pub(super) fn call(
    gateway: &Gateway,
    caller: &Caller,
    wanted: CachedWanted,
) -> Result<ToolCall, Refusal> {
    let CachedWanted { app, user, deed } = wanted;
    let Proof::CallToken { tool_type, .. } = caller.proof() else {
        return Err(Refusal::InvalidCredential("no_call_token"));
    };
    if matches!(deed, CachedDeed::Section(_)) && *tool_type != ToolType::Skeleton {
        return Err(Refusal::InvalidCredential("call_token_type"));
    }
    if caller.extension().is_none_or(|own| own.as_str() != app) {
        return Err(Refusal::InvalidCredential("call_token_app"));
    }
    if caller.user_id() != user {
        return Err(Refusal::InvalidCredential("call_token_user"));
    }
    let tenant = caller.tenant();
    let place = |name: String| Place::new(tenant.as_str(), &app, &user, &name);
    let function = deed.function();
    let named = |CachedName { model, key }: &CachedName| {
        check(model, 128, "model")?;
        let is_key = key.len() == 16 && key.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_key {
            return Err(Refusal::InvalidValue("the key is 16 hexadecimal digits".to_owned()));
        }
        let args = json!({ "app": app, "model": model, "key": key });
        Ok((place(format!("extcache:{model}:{key}")), args))
    };
    let (own, args) = match deed {
        CachedDeed::Get(name) => {
            let (place, args) = named(&name)?;
            (OwnCached::Get(place), args)
        }
        CachedDeed::Set(name, value, life) => {
            let (place, args) = named(&name)?;
            (OwnCached::Set(place, value, life), args)
        }
        CachedDeed::Delete(name) => {
            let (place, args) = named(&name)?;
            (OwnCached::Delete(place), args)
        }
        CachedDeed::Section(section) => {
            check(&section, 128, "section")?;
            let args = json!({ "app": app, "section": section });
            (OwnCached::Get(place(section_name(&section))), args)
        }
    };
    let tool = (CACHE_APP, function);
    super::own_call(gateway, tool, Own::Cached(own), args, tenant.clone())
}

/// The name under which a section is kept.
#[must_use]
pub fn section_name(section: &str) -> String {
    format!("skeleton:{section}")
}

fn check(name: &str, most: usize, what: &str) -> Result<(), Refusal> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || name.len() > most || !name.chars().all(plain) {
        let words = format!("a {what} is named with letters, digits, `_`, `-` and `.`");
        return Err(Refusal::InvalidValue(words));
    }
    Ok(())
}
