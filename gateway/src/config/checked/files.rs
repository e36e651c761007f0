//! The files that describe an app's tools, read as the start reads them: what would stop it is told here.

use crate::config::checker::Checker;
use crate::config::document::At;
use crate::edge::{JsonFault, JsonLimits, StrictJson};
use portcullis_kernel_adapter::catalogue::openapi;
use portcullis_kernel_adapter::catalogue::routes::RouteTable;
use portcullis_kernel_adapter::manifest::{Level, MAX_BYTES, Manifest, Profile};
use std::path::PathBuf;

/// The deepest nesting that serde_json reads, so that this door refuses no depth that the start takes.
const DEPTH: usize = 127;

/// Most bytes of an OpenAPI file: the largest that are published have half as many.
const OPENAPI_BYTES: usize = 32 * 1024 * 1024;

/// A manifest that the start accepts and that says nothing twice.
pub(super) fn manifest(c: &mut Checker<'_>, at: &At, text: &str) -> Option<PathBuf> {
    if !c.reads_files() {
        return c.file(at, text);
    }
    let (path, bytes) = c.read(at, text, MAX_BYTES)?;
    let refused = Manifest::read(&bytes, Profile::Load).err().into_iter().flatten();
    let errors = refused.filter(|finding| finding.level == Level::Error);
    let help = "correct the manifest: it is the `imperal.json` of the app, in JSON";
    let sound = c.faultless(at, path.clone(), errors, help);
    // The manifest's own reader takes the last of two values; a person may have read the first.
    let limits = JsonLimits { max_bytes: MAX_BYTES, max_depth: DEPTH };
    let strict = StrictJson::parse(bytes.into(), limits).err();
    let twice = strict.filter(|error| error.fault == JsonFault::DuplicateKey);
    let unique = c.faultless(at, path, twice, "write every key of an object once");
    unique.and(sound)
}

/// An OpenAPI file of which the start can make a route table.
pub(super) fn openapi(c: &mut Checker<'_>, at: &At, text: &str) -> Option<PathBuf> {
    if !c.reads_files() {
        return c.file(at, text);
    }
    let (path, bytes) = c.read(at, text, OPENAPI_BYTES)?;
    match openapi::routes(&bytes) {
        Ok(specs) => {
            let faults = RouteTable::new(specs).err().unwrap_or_default();
            let help = "correct this path in the file, or list the requests in `routes` instead";
            c.faultless(at, path, faults, help)
        }
        Err(fault) => c.faultless(at, path, [fault], "name an OpenAPI 3 file in JSON"),
    }
}
