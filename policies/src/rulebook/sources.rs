//! Where rules come from: embedded in the binary, or a folder of `.cedar` files.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::vocabulary::TenantId;

/// The largest rule file in bytes; a file over it is an error, not a slow start.
const FILE_MAX: u64 = 1 << 20;

/// One file of rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFile {
    /// The path as shown in errors.
    pub path: String,
    /// The Cedar text.
    pub text: String,
}

impl RuleFile {
    /// The same file under its path inside the policies folder, from the last `rules` on; another path stays.
    pub(crate) fn inside(&self) -> Self {
        let parts: Vec<&str> = self.path.split('/').collect();
        let rules = parts.iter().rposition(|part| *part == "rules");
        let path =
            rules.and_then(|at| parts.get(at..)).map_or_else(|| self.path.clone(), |p| p.join("/"));
        Self { path, text: self.text.clone() }
    }
}

/// All rules of one policy set, before they are checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSources {
    /// Rules for everybody.
    pub platform: Vec<RuleFile>,
    /// Each tenant's own rules; they bind only calls whose target is that tenant's.
    pub tenants: Vec<(TenantId, Vec<RuleFile>)>,
    /// What must hold whatever the rules say; proved, never evaluated on a call.
    pub invariants: Vec<RuleFile>,
}

macro_rules! embedded {
    ($($path:literal),* $(,)?) => {
        vec![$(RuleFile {
            path: concat!("policies/", $path).to_owned(),
            text: include_str!(concat!("../../", $path)).to_owned(),
        }),*]
    };
}

impl RuleSources {
    /// The rules that come with the binary: the platform's gates and invariants, no tenant's.
    pub fn embedded() -> Self {
        Self {
            platform: embedded![
                "rules/account.cedar",
                "rules/action-type.cedar",
                "rules/approvals.cedar",
                "rules/apps.cedar",
                "rules/automation.cedar",
                "rules/cache.cedar",
                "rules/confirmation.cedar",
                "rules/directory.cedar",
                "rules/owner.cedar",
                "rules/rbac.cedar",
                "rules/secrets.cedar",
                "rules/tenant.cedar",
            ],
            tenants: Vec::new(),
            invariants: embedded![
                "invariants/destructive-needs-confirmation.cedar",
                "invariants/no-permit-across-tenants.cedar",
                "invariants/nobody-approves-their-own.cedar",
                "invariants/nobody-grants-more-than-they-hold.cedar",
                "invariants/secret-values-stay-with-their-app.cedar",
            ],
        }
    }

    /// Reads `dir/rules/*.cedar`, `dir/rules/tenants/<tenant>/*.cedar` and `dir/invariants/*.cedar`,
    /// in the order of their names.
    ///
    /// # Errors
    /// When `dir/rules` is missing or holds no rule, when anything cannot be read or is not UTF-8, when a file is over
    /// 1 MiB, or when a tenant folder's name is not a tenant. `dir/invariants` and `dir/rules/tenants` may be missing;
    /// the invariants that come with the binary hold in any case.
    pub fn read_dir(dir: &Path) -> io::Result<Self> {
        let rules = dir.join("rules");
        let platform = read_cedar_files(&rules)?;
        if platform.is_empty() {
            let text =
                format!("{} holds no .cedar file; add one or name another folder", rules.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        let mut invariants = if_there(&dir.join("invariants"), read_cedar_files)?;
        // What the platform promises does not depend on what somebody copied or deleted.
        for promised in Self::embedded().invariants {
            if !invariants.iter().any(|own| own.text == promised.text) {
                invariants.push(promised);
            }
        }
        let tenants = if_there(&rules.join("tenants"), read_tenants)?;
        Ok(Self { platform, tenants, invariants })
    }
}

fn if_there<T: Default>(dir: &Path, read: fn(&Path) -> io::Result<T>) -> io::Result<T> {
    if dir.try_exists()? { read(dir) } else { Ok(T::default()) }
}

fn read_tenants(dir: &Path) -> io::Result<Vec<(TenantId, Vec<RuleFile>)>> {
    let mut tenants = Vec::new();
    for path in sorted_entries(dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let tenant = name.parse().map_err(|e| {
            let text = format!("{}: {e}; rename the folder after its tenant", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        tenants.push((tenant, read_cedar_files(&path)?));
    }
    Ok(tenants)
}

fn read_cedar_files(dir: &Path) -> io::Result<Vec<RuleFile>> {
    let mut files = Vec::new();
    for path in sorted_entries(dir)? {
        if path.extension().is_some_and(|e| e == "cedar") {
            files.push(read_file(&path).map_err(|e| with_path(&path, &e))?);
        }
    }
    Ok(files)
}

fn read_file(path: &Path) -> io::Result<RuleFile> {
    if std::fs::metadata(path)?.len() > FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "over 1 MiB; split it by subject"));
    }
    Ok(RuleFile { path: path.display().to_string(), text: std::fs::read_to_string(path)? })
}

fn sorted_entries(dir: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|e| with_path(dir, &e))?;
    let mut paths = entries.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_platform_tenant_and_invariant_files_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for path in
            ["rules/b.cedar", "rules/a.cedar", "rules/note.txt", "rules/tenants/imp_t_x/own.cedar"]
        {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let sources = RuleSources::read_dir(dir.path()).unwrap();
        let names: Vec<_> = sources.platform.iter().map(|f| f.path.ends_with("a.cedar")).collect();
        assert_eq!(names, [true, false]);
        assert_eq!(sources.tenants[0].0.as_str(), "imp_t_x");
        assert_eq!(sources.invariants, RuleSources::embedded().invariants);
    }

    #[test]
    fn the_platforms_invariants_hold_beside_the_folders_own_and_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let embedded = RuleSources::embedded().invariants;
        for folder in ["rules", "invariants"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("rules/a.cedar"), "x").unwrap();
        std::fs::write(dir.path().join("invariants/own.cedar"), "y").unwrap();
        std::fs::write(dir.path().join("invariants/same.cedar"), &embedded[0].text).unwrap();
        let texts: Vec<_> = RuleSources::read_dir(dir.path())
            .unwrap()
            .invariants
            .into_iter()
            .map(|f| f.text)
            .collect();
        let promised = embedded.iter().map(|file| file.text.as_str());
        assert_eq!(texts, std::iter::once("y").chain(promised).collect::<Vec<_>>());
    }

    #[test]
    fn folder_without_rules_is_an_error_and_never_an_empty_set() {
        let dir = tempfile::tempdir().unwrap();
        assert!(RuleSources::read_dir(dir.path()).is_err());
        std::fs::create_dir(dir.path().join("rules")).unwrap();
        let error = RuleSources::read_dir(dir.path()).unwrap_err().to_string();
        assert!(error.contains("holds no .cedar file"), "{error}");
    }

    #[test]
    fn foreign_folder_among_the_tenants_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("rules/tenants/acme")).unwrap();
        std::fs::write(dir.path().join("rules/a.cedar"), "x").unwrap();
        let error = RuleSources::read_dir(dir.path()).unwrap_err().to_string();
        assert!(error.contains("rename the folder"), "{error}");
    }
}
