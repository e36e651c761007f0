//! The gateway's own app and its tools. They are in no catalogue: no list shows them and no door calls
//! them by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_kernel_adapter::{App, Tool, Upstream};
use portcullis_policies::{SECRETS_APP, own_tools};

/// The app `secrets` and its functions.
#[derive(Debug)]
pub struct OwnTools {
    app: Arc<App>,
    tools: BTreeMap<String, Arc<Tool>>,
}

impl OwnTools {
    /// Reads the list that comes with the rules.
    ///
    /// # Errors
    /// Never in practice; a text that says what of the list is wrong.
    pub fn new() -> Result<Self, String> {
        let app = App {
            id: SECRETS_APP.parse().map_err(|e: portcullis_policies::InvalidName| e.to_string())?,
            name: "Secrets".to_owned(),
            tenant: None,
            tenant_argument: None,
            secrets: Arc::default(),
            upstream: Upstream::Own,
        };
        let mut tools = BTreeMap::new();
        for spec in own_tools().map_err(|fault| fault.to_string())? {
            let function = spec.name.function().to_owned();
            let tool = Tool::own(spec).map_err(|fault| fault.to_string())?;
            tools.insert(function, Arc::new(tool));
        }
        Ok(Self { app: Arc::new(app), tools })
    }

    /// The app.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// One of its functions.
    #[must_use]
    pub fn tool(&self, function: &str) -> Option<&Arc<Tool>> {
        self.tools.get(function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deed_has_a_tool() {
        let own = OwnTools::new().unwrap();
        for function in ["get", "set", "delete", "meta", "list"] {
            assert!(own.tool(function).is_some(), "{function}");
        }
    }
}
