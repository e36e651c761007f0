//! How often a version may still wrap, kept in the token beside the key.
//!
//! Wrappings are reserved in blocks before they are made: each reservation is a small data object in the
//! token that holds its own size, and the sum of them is what was reserved. Objects are only ever added,
//! so replicas that reserve at once lose no reservation of each other. A process that dies loses the rest
//! of its block; no wrapping is ever made without a reservation.

use super::faults::sorted;
use super::token::Version;
use super::{Pkcs11Settings, error};
use crate::provider::{ProviderError, ProviderFault};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

/// Wrappings that are reserved at once.
const BLOCK: u64 = 1 << 16;

/// Reserves wrappings for a version and says how many.
pub(super) fn reserve(
    session: &Session,
    settings: &Pkcs11Settings,
    version: &Version,
) -> Result<u64, ProviderError> {
    let limit = settings.max_wraps.min(Pkcs11Settings::MAX_WRAPS);
    let mut used: u64 = 0;
    for reservation in find(session, version)? {
        used = used.saturating_add(size_of(session, reservation)?);
    }
    let block = BLOCK.min(limit.saturating_sub(used));
    if block == 0 {
        let why = format!("version {} has wrapped {limit} times; rotate it", version.number);
        return Err(error(ProviderFault::Denied, why));
    }
    let template = [
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Label(label(version)),
        Attribute::Application(b"portcullis".to_vec()),
        Attribute::Value(block.to_be_bytes().to_vec()),
    ];
    session.create_object(&template).map_err(sorted)?;
    Ok(block)
}

/// Removes the reservations of a version that is gone.
pub(super) fn forget(session: &Session, version: &Version) -> Result<(), ProviderError> {
    for reservation in find(session, version)? {
        session.destroy_object(reservation).map_err(sorted)?;
    }
    Ok(())
}

fn find(session: &Session, version: &Version) -> Result<Vec<ObjectHandle>, ProviderError> {
    let wanted = [
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Label(label(version)),
    ];
    session.find_objects(&wanted).map_err(sorted)
}

fn size_of(session: &Session, reservation: ObjectHandle) -> Result<u64, ProviderError> {
    let read = session.get_attributes(reservation, &[AttributeType::Value]).map_err(sorted)?;
    let size = read.iter().find_map(|attribute| match attribute {
        Attribute::Value(bytes) => <[u8; 8]>::try_from(bytes.as_slice()).ok(),
        _ => None,
    });
    let damaged = || error(ProviderFault::Other, "a reservation of wrappings is damaged");
    size.map(u64::from_be_bytes).ok_or_else(damaged)
}

fn label(version: &Version) -> Vec<u8> {
    format!("portcullis wraps {}", version.reference().kek_id).into_bytes()
}
