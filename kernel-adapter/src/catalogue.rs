//! The catalogue: every app and tool that exists, as one immutable snapshot.
//!
//! A snapshot is built whole from what the sources say ([`CatalogueBuilder`]) and swapped whole by
//! its owner; nobody sees half of an update. What cannot be served is left out and named as a
//! [`Problem`], so that one bad tool does not take the others down.

pub mod mcp;
pub mod openapi;
pub mod overrides;
pub mod quarantine;
pub mod routes;

mod builder;

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_policies::{AppId, ToolName, ToolSpec};

use crate::app::App;
use crate::tool::Tool;

pub use builder::{Built, CatalogueBuilder, Problem};

/// All apps and tools. Immutable; share it in an `Arc`.
#[derive(Debug, Default)]
pub struct Catalogue {
    apps: BTreeMap<AppId, Arc<App>>,
    tools: BTreeMap<ToolName, Arc<Tool>>,
}

impl Catalogue {
    /// The tool of that name.
    pub fn tool(&self, name: &ToolName) -> Option<&Arc<Tool>> {
        self.tools.get(name)
    }

    /// The app of that id.
    pub fn app(&self, id: &AppId) -> Option<&Arc<App>> {
        self.apps.get(id)
    }

    /// Every tool, in the order of names.
    pub fn tools(&self) -> impl Iterator<Item = &Arc<Tool>> {
        self.tools.values()
    }

    /// Every app, in the order of ids.
    pub fn apps(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.values()
    }

    /// What the rules need to know of every tool, quarantined ones included: a rule may be written
    /// before the operator accepts. What was accepted once is typed as it was accepted, whatever its
    /// server says now and whether or not it can be reached, so that no server can make a rule about it
    /// invalid; what was never accepted is typed by the server's word of the moment.
    pub fn specs(&self) -> Vec<ToolSpec> {
        self.tools.values().map(|t| t.spec.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
