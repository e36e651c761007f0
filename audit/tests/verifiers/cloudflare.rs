//! Checks the export of a log with the crates `signed_note` and `tlog_tiles` of Cloudflare, which
//! share no code with Portcullis.

use std::path::Path;

use signed_note::{Note, StandardVerifier, Verifier as _, VerifierList};
use tlog_tiles::{
    Checkpoint, Error, Hash, HashReader, Tile, check_record, stored_hash_index, stored_hashes,
    tree_hash,
};

const HEIGHT: u8 = 8;

/// Checks checkpoint, records, tiles and proofs of a log.
pub(crate) fn check_log(folder: &Path, vkey: &str) -> Result<String, String> {
    let checkpoint = open(&read(folder, "checkpoint")?, vkey)?;
    let stored = hash_records(folder, checkpoint.size())?;
    let root = tree_hash(checkpoint.size(), &stored).map_err(|why| why.to_string())?;
    if root != *checkpoint.hash() {
        return Err("the records do not give the signed root".to_owned());
    }
    for tile in Tile::new_tiles(HEIGHT, 0, checkpoint.size()) {
        let name = tile.path().replacen("tile/8/", "tile/", 1);
        let expected = tile.read_data(&stored).map_err(|why| why.to_string())?;
        if read(folder, &name)? != expected {
            return Err(format!("{name} is not what the records give"));
        }
    }
    let proofs = check_proofs(folder, vkey, &stored)?;
    Ok(format!("{} records and {proofs} proofs under {root}", checkpoint.size()))
}

fn open(note: &[u8], vkey: &str) -> Result<Checkpoint, String> {
    let verifier = StandardVerifier::new(vkey).map_err(|why| why.to_string())?;
    let origin = verifier.name().to_owned();
    let note = Note::from_bytes(note).map_err(|why| why.to_string())?;
    note.verify(&VerifierList::new(vec![Box::new(verifier)])).map_err(|why| why.to_string())?;
    let checkpoint = Checkpoint::from_bytes(note.text()).map_err(|why| why.to_string())?;
    if checkpoint.origin() == origin { Ok(checkpoint) } else { Err("another log".to_owned()) }
}

/// Hashes of a tree at their storage indexes.
struct Stored(Vec<Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let hashes = indexes.iter().map(|at| self.0.get(usize::try_from(*at).unwrap()).copied());
        hashes.collect::<Option<_>>().ok_or(Error::IndexesNotInTree)
    }
}

fn hash_records(folder: &Path, size: u64) -> Result<Stored, String> {
    let mut stored = Stored(Vec::new());
    for index in 0..size.div_ceil(256) {
        let width = (size - index * 256).min(256);
        let mut tile = Tile::new(HEIGHT, 0, index, u32::try_from(width).unwrap(), false);
        tile.set_is_data();
        let name = tile.path().replacen("tile/8/data/", "tile/entries/", 1);
        let bundle = read(folder, &name)?;
        let mut rest = bundle.as_slice();
        for n in 0..width {
            let (length, tail) = rest.split_first_chunk::<2>().ok_or("cut off")?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (entry, tail) = tail.split_at_checked(length).ok_or("cut off")?;
            let hashes = stored_hashes(index * 256 + n, entry, &stored);
            stored.0.extend(hashes.map_err(|why| why.to_string())?);
            rest = tail;
        }
        if !rest.is_empty() {
            return Err(format!("{name} has more records than it may"));
        }
    }
    Ok(stored)
}

fn check_proofs(folder: &Path, vkey: &str, stored: &Stored) -> Result<usize, String> {
    let Ok(files) = std::fs::read_dir(folder.join("proofs")) else { return Ok(0) };
    let mut count = 0;
    for file in files {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let (head, checkpoint) = text.split_once("\n\n").ok_or("not a proof")?;
        let mut lines = head.lines().filter(|line| !line.starts_with("extra "));
        if lines.next() != Some("c2sp.org/tlog-proof@v1") {
            return Err("not a proof".to_owned());
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index: u64 = index.and_then(|n| n.parse().ok()).ok_or("no index")?;
        let proof: Result<Vec<Hash>, _> = lines.map(Hash::parse_hash).collect();
        let proof = proof.map_err(|why| why.to_string())?;
        let head = open(checkpoint.as_bytes(), vkey)?;
        let leaf = stored.read_hashes(&[stored_hash_index(0, index)]);
        let [leaf] = leaf.map_err(|why| why.to_string())?[..] else { return Err("leaf".into()) };
        check_record(&proof, head.size(), *head.hash(), index, leaf)
            .map_err(|why| why.to_string())?;
        count += 1;
    }
    Ok(count)
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, String> {
    std::fs::read(folder.join(name)).map_err(|why| format!("{name}: {why}"))
}
