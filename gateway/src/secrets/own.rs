//! The gateway's own apps and their tools. They are in no catalogue: no list shows them and no door calls
//! them by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_kernel_adapter::{App, Tool, Upstream};
use portcullis_policies::{InvalidName, OWN_APPS, own_tools};

/// The gateway's own apps, each with its functions.
#[derive(Debug)]
pub struct OwnTools(BTreeMap<String, OwnApp>);

#[derive(Debug)]
struct OwnApp {
    app: Arc<App>,
    tools: BTreeMap<String, Arc<Tool>>,
}

impl OwnTools {
    /// Reads the lists that come with the rules.
    ///
    /// # Errors
    /// Never in practice; a text that says what of the lists is wrong.
    pub fn new() -> Result<Self, String> {
        let mut apps = BTreeMap::new();
        for name in OWN_APPS {
            apps.insert(name.to_owned(), OwnApp { app: own_app(name)?, tools: BTreeMap::new() });
        }
        for spec in own_tools().map_err(|fault| fault.to_string())? {
            let function = spec.name.function().to_owned();
            let app = apps.get_mut(spec.name.app().as_str()).ok_or("a tool of no own app")?;
            let tool = Tool::own(spec).map_err(|fault| fault.to_string())?;
            app.tools.insert(function, Arc::new(tool));
        }
        Ok(Self(apps))
    }

    /// One function of an own app.
    #[must_use]
    pub fn tool(&self, app: &str, function: &str) -> Option<(&Arc<App>, &Arc<Tool>)> {
        let own = self.0.get(app)?;
        Some((&own.app, own.tools.get(function)?))
    }
}

fn own_app(name: &str) -> Result<Arc<App>, String> {
    Ok(Arc::new(App {
        id: name.parse().map_err(|e: InvalidName| e.to_string())?,
        name: name.to_owned(),
        tenant: None,
        tenant_argument: None,
        owner_argument: None,
        secrets: Arc::default(),
        upstream: Upstream::Own,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deed_has_a_tool() {
        let own = OwnTools::new().unwrap();
        for function in ["get", "set", "delete", "meta", "list"] {
            assert!(own.tool("secrets", function).is_some(), "{function}");
        }
    }
}
