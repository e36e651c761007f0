//! A log as Portcullis writes it: a real ledger, its export, and proofs made from the export.

use std::path::PathBuf;
use std::sync::Arc;

use portcullis_audit::chain::Hash;
use portcullis_audit::merkle::{self, prove_consistency, prove_inclusion};
use portcullis_audit::note::LogKey;
use portcullis_audit::tiles::{TileHashes, TilePath};
use portcullis_audit::tlog_proof::TlogProof;
use portcullis_audit::{CallFields, Entry, Kind, Ledger, LedgerOptions, Reader, export, load_key};
use tempfile::TempDir;
use uuid::Uuid;

/// Callers that append at the same time.
const CALLERS: usize = 500;

/// An exported log.
pub(crate) struct Written {
    pub(crate) folder: TempDir,
    size: u64,
}

impl Written {
    /// Appends `records` records to a ledger, exports it, and makes proofs of some records.
    pub(crate) async fn new(records: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (file, key) = (folder.path().join("ledger.db"), folder.path().join("log.key"));
        let options = LedgerOptions::new(file.clone(), "test", key.clone());
        let ledger = Arc::new(Ledger::open(options).unwrap().0);
        let callers = (0..CALLERS).map(|caller| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move {
                for _ in (caller..records).step_by(CALLERS) {
                    ledger.append(entry()).await.unwrap();
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        Arc::into_inner(ledger).unwrap().close().await.unwrap();
        let to = folder.path().join("export");
        export(&Reader::open(&file).unwrap(), &load_key(&key).unwrap(), "test", &to).unwrap();
        let written = Self { folder, size: records as u64 };
        written.write_proofs();
        written
    }

    /// The same after a rotation of the key, with one more record.
    pub(crate) async fn rotated(self) -> Self {
        let (file, key) =
            (self.folder.path().join("ledger.db"), self.folder.path().join("log.key"));
        let options = LedgerOptions::new(file.clone(), "test", key.clone());
        portcullis_audit::rotate::rotate(options.clone(), false).await.unwrap();
        let ledger = Ledger::open(options).unwrap().0;
        ledger.append(entry()).await.unwrap();
        ledger.close().await.unwrap();
        let to = self.folder.path().join("export");
        std::fs::remove_dir_all(&to).unwrap();
        export(&Reader::open(&file).unwrap(), &load_key(&key).unwrap(), "test", &to).unwrap();
        // The record of the rotation, and the one after it.
        Self { size: self.size + 2, ..self }
    }

    /// The folder of the log.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("export/t/acme")
    }

    pub(crate) fn origin(&self) -> String {
        "test/t/acme".to_owned()
    }

    pub(crate) fn key(&self) -> LogKey {
        load_key(&self.folder.path().join("log.key")).unwrap()
    }

    pub(crate) fn vkey(&self) -> String {
        self.key().vkey(&self.origin())
    }

    /// The root over the first `size` records, out of the level 0 tiles.
    pub(crate) fn root(&self, size: u64) -> Hash {
        let mut leaves = Vec::new();
        for at in 0..size {
            leaves.push(self.hashes().hash(merkle::Subtree { level: 0, index: at }).unwrap());
        }
        merkle::root(&leaves)
    }

    /// The proof that the log begins with its first `old` records.
    pub(crate) fn growth(&self, old: u64) -> Vec<Hash> {
        let mut hashes = self.hashes();
        prove_consistency(old, self.size, |at| hashes.hash(at)).unwrap()
    }

    fn hashes(
        &self,
    ) -> TileHashes<impl FnMut(&TilePath) -> Result<Vec<u8>, std::io::Error> + use<>> {
        let log = self.log();
        TileHashes::new(self.size, move |path: &TilePath| std::fs::read(log.join(path.to_string())))
    }

    fn write_proofs(&self) {
        let checkpoint = std::fs::read_to_string(self.log().join("checkpoint")).unwrap();
        std::fs::create_dir_all(self.log().join("proofs")).unwrap();
        let mut hashes = self.hashes();
        // The export has the last one's proof already, with the record in it.
        let some = [0, 5, 255, 256, 65_535];
        for index in some.into_iter().filter(|index| *index < self.size - 1) {
            let proof = prove_inclusion(index, self.size, |at| hashes.hash(at)).unwrap();
            let proof = TlogProof::new(index, proof, &checkpoint).unwrap();
            let path = self.log().join(format!("proofs/{index}.tlog-proof"));
            std::fs::write(path, proof.to_string()).unwrap();
        }
    }
}

fn entry() -> Entry {
    Entry {
        tenant: "acme".into(),
        kind: Kind::Decision,
        op: Uuid::now_v7(),
        reference: None,
        fields: CallFields::default(),
        body: None,
    }
}
