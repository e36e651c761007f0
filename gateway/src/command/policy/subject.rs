//! What a policy command works on: rules, and the tools that they are checked against.

use std::path::{Path, PathBuf};

use portcullis_kernel_adapter::{Catalogue, Problem};
use portcullis_policies::{CaseFile, EXAMPLE_TOOLS, RuleSources, Rulebook, ToolSpec};

use super::super::catalogue;
use super::error::PolicyError;
use crate::config::Settings;

/// Where the asker points.
pub(super) struct Place {
    /// The deployment, or the embedded defaults.
    pub(super) settings: Settings,
    /// Whether a configuration file was named.
    pub(super) configured: bool,
    /// `--dir`.
    pub(super) dir: Option<PathBuf>,
    /// `--json`.
    pub(super) json: bool,
}

/// Rules that are checked, with what they were checked against.
pub(super) struct Subject {
    pub(super) sources: RuleSources,
    pub(super) rulebook: Rulebook,
    pub(super) tools: Tools,
}

/// The tools that rules are checked against.
pub(super) struct Tools {
    pub(super) specs: Vec<ToolSpec>,
    /// With apps and states, when the tools are those of a configuration.
    pub(super) catalogue: Option<Catalogue>,
    /// What could not be reached or served.
    pub(super) problems: Vec<Problem>,
    /// Where they come from, for people.
    pub(super) from: String,
}

impl Place {
    /// The folder of the rules; none: those of the binary.
    pub(super) fn rules_dir(&self) -> Option<&Path> {
        self.dir.as_deref().or(self.settings.policies.dir.as_deref())
    }

    /// Reads and checks the rules against the tools of now.
    ///
    /// # Errors
    /// Every mistake of the rules at once, or why rules or tools can't be read.
    pub(super) async fn load(&self) -> Result<Subject, PolicyError> {
        let sources = rules_of(self.rules_dir())?;
        let tools = self.tools().await?;
        let rulebook = Rulebook::load(&sources, &tools.specs)?;
        Ok(Subject { sources, rulebook, tools })
    }

    /// The cases that belong to the rules.
    ///
    /// # Errors
    /// When the folder has no `cases/`, or a file can't be read.
    pub(super) fn cases(&self) -> Result<Vec<CaseFile>, PolicyError> {
        let Some(dir) = self.rules_dir() else { return Ok(CaseFile::embedded()) };
        let path = dir.join("cases");
        CaseFile::read_dir(&path).map_err(|source| PolicyError::Read {
            what: "the cases",
            path,
            source,
        })
    }

    /// The tools of now.
    ///
    /// # Errors
    /// When a file is wrong; an MCP server that cannot be reached is only named.
    pub(super) async fn tools(&self) -> Result<Tools, PolicyError> {
        if self.configured {
            let built = catalogue::discover(&self.settings).await?;
            return Ok(Tools {
                specs: built.catalogue.specs(),
                from: format!("configured apps ({})", built.catalogue.apps().count()),
                catalogue: Some(built.catalogue),
                problems: built.problems,
            });
        }
        let folder = self.dir.as_ref().map(|dir| dir.join("tools")).filter(|dir| dir.is_dir());
        let (specs, from) = match folder {
            Some(folder) => (tools_of(&folder)?, folder.display().to_string()),
            None => (read_tools("the binary's examples", EXAMPLE_TOOLS)?, "examples".to_owned()),
        };
        Ok(Tools { specs, catalogue: None, problems: Vec::new(), from })
    }
}

/// The rules of a folder, or those of the binary.
///
/// # Errors
/// When the folder can't be read or holds none.
pub(super) fn rules_of(dir: Option<&Path>) -> Result<RuleSources, PolicyError> {
    let Some(dir) = dir else { return Ok(RuleSources::embedded()) };
    RuleSources::read_dir(dir).map_err(|source| PolicyError::Read {
        what: "the rules",
        path: dir.to_owned(),
        source,
    })
}

fn tools_of(folder: &Path) -> Result<Vec<ToolSpec>, PolicyError> {
    let unread = |source| PolicyError::Read { what: "the tools", path: folder.to_owned(), source };
    let files = CaseFile::read_dir(folder).map_err(unread)?;
    let mut tools = Vec::new();
    for file in files {
        tools.extend(read_tools(&file.path, &file.text)?);
    }
    Ok(tools)
}

fn read_tools(file: &str, text: &str) -> Result<Vec<ToolSpec>, PolicyError> {
    serde_json::from_str(text).map_err(|why| PolicyError::Tools { file: file.to_owned(), why })
}
