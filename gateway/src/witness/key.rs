//! The witness's own key: a seed that never leaves its file, and the verifier key beside it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use portcullis_audit::note::{Cosigner, CosignerKey};
use portcullis_audit::write_whole;
use zeroize::Zeroizing;

use super::WitnessError;

/// Name of the key when nobody chose one; keys of one name are told apart by their id.
const NAME: &str = "portcullis-witness";

/// Opens the key of the folder, or makes it when the folder has none and never cosigned.
pub(super) fn open(folder: &Path, name: Option<&str>) -> Result<Cosigner, WitnessError> {
    let (path, vkey) = (folder.join("cosigner"), folder.join("vkey"));
    let refuse = |why: String| WitnessError::Key { path: path.clone(), why };
    if !path.exists() {
        if vkey.exists() || folder.join("logs").exists() {
            return Err(refuse("it is gone, but this folder has cosigned under it".to_owned()));
        }
        create(&path).map_err(|source| WitnessError::Io { path: path.clone(), source })?;
    }
    let seed = read(&path).map_err(|why| refuse(why.to_string()))?;
    let made = made_for(&vkey)?;
    let name = match (made.as_ref(), name) {
        (Some(made), Some(given)) if made.name() != given => {
            let (made, given) = (made.name().to_owned(), given.to_owned());
            return Err(WitnessError::Name { made, given });
        }
        (Some(made), _) => made.name(),
        (None, given) => given.unwrap_or(NAME),
    };
    let why = "the name of a key has no white space and no `+`";
    let cosigner =
        Cosigner::from_seed(name, seed.as_slice()).map_err(|_| refuse(why.to_owned()))?;
    match made {
        Some(made) if made != cosigner.key() => {
            Err(refuse(format!("it is not the key of `{}`", vkey.display())))
        }
        Some(_) => Ok(cosigner),
        None => {
            let text = format!("{}\n", cosigner.key());
            let written = write_whole(&vkey, text.as_bytes());
            written.map_err(|source| WitnessError::Io { path: vkey, source })?;
            Ok(cosigner)
        }
    }
}

/// The verifier key that was written down when the key was made.
fn made_for(path: &Path) -> Result<Option<CosignerKey>, WitnessError> {
    let fault = |why: String| WitnessError::Key { path: path.to_owned(), why };
    match std::fs::read_to_string(path) {
        Ok(text) => match CosignerKey::parse(text.trim_end()) {
            Ok(key) => Ok(Some(key)),
            Err(why) => Err(fault(why.to_string())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(error.to_string())),
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<[u8; 32]>> {
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    if meta.mode() & 0o077 != 0 {
        return Err(io::Error::other("other users can read it; run `chmod 600` on it"));
    }
    if meta.len() != 32 {
        let why = format!("it has {} bytes, a seed has 32", meta.len());
        return Err(io::Error::other(why));
    }
    let mut seed = Zeroizing::new([0_u8; 32]);
    file.read_exact(seed.as_mut_slice())?;
    Ok(seed)
}

fn create(path: &Path) -> io::Result<()> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|why| io::Error::other(why.to_string()))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(seed.as_slice())?;
    file.sync_all()?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_its_name_stays() {
        let folder = tempfile::tempdir().unwrap();
        let made = open(folder.path(), Some("example.org/w")).unwrap().key();
        assert_eq!(open(folder.path(), None).unwrap().key(), made);
        let mode = std::fs::metadata(folder.path().join("cosigner")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = open(folder.path(), Some("other"));
        assert!(matches!(other, Err(WitnessError::Name { .. })), "{other:?}");
    }

    #[test]
    fn a_lost_or_foreign_key_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), None).unwrap();
        let seed = folder.path().join("cosigner");
        std::fs::write(&seed, [1; 32]).unwrap();
        assert!(matches!(open(folder.path(), None), Err(WitnessError::Key { .. })));
        std::fs::remove_file(&seed).unwrap();
        assert!(matches!(open(folder.path(), None), Err(WitnessError::Key { .. })));
        assert!(!seed.exists());
    }
}
