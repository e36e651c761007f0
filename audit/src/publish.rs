//! Publishes the logs: hash tiles and signed checkpoints as static files (c2sp.org/tlog-tiles,
//! c2sp.org/tlog-checkpoint), on a thread of its own, so that no caller waits for it.
//!
//! ```text
//! <ledger>.published/t/<tenant>/checkpoint     the newest signed head
//! <ledger>.published/t/<tenant>/tile/<level>/  hash tiles
//! <log key>.signed/t/<tenant>/head             what was signed last
//! ```
//!
//! For each head, in this order: read the new leaves, rebuild the root and hold it against the one
//! that the writer has in memory; make the tiles durable; note what is about to be signed; sign;
//! show. A crash in between leaves files that say less than they could, never something wrong.
//! All of it is derived: what is missing is made again from the records.
//!
//! INVARIANT: no two roots are ever signed for one size
//! (`no_two_roots_are_signed_for_one_size`, `an_older_copy_of_the_database_is_refused`,
//! `another_history_of_the_same_length_is_never_signed`).

mod edge;
pub(crate) mod folder;
mod leaves;
mod shown;
mod signed;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::crash_point;
use crate::error::OpenError;
use crate::fault::{Fault, FaultKind};
use crate::keys::KeyChain;
use crate::merkle::Frontier;
use crate::note::{Checkpoint, LogKey, SignedNote};
use crate::queue::Shared;
use crate::store::{LogRow, StoreError};
use edge::{Tile, TileEdge};
pub(crate) use leaves::Leaves;
pub(crate) use shown::Shown;
use signed::{LastSigned, NotSigned};

/// How soon a head that could not be published is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// A head that the writer has made durable.
#[derive(Clone, Debug)]
pub(crate) struct NewHead {
    /// The log's row in the database.
    pub(crate) log: i64,
    pub(crate) head: Checkpoint,
}

/// The thread's state.
#[derive(Debug)]
pub(crate) struct Publisher {
    leaves: Leaves,
    shown: Arc<Shown>,
    key: Arc<LogKey>,
    guard: LastSigned,
    logs: HashMap<String, Published>,
    shared: Arc<Shared>,
}

/// How far a log is published.
#[derive(Clone, Debug, Default)]
struct Published {
    edge: TileEdge,
    signed: Option<Checkpoint>,
    /// Partial tiles of the head that is shown: taken away when the next but one is.
    partial: Vec<PathBuf>,
    /// Those of the one before.
    stale: Vec<PathBuf>,
}

/// Why a head was not published.
#[derive(Debug, thiserror::Error)]
enum NotPublished {
    #[error("the leaves that are stored are not those that were written")]
    OtherLeaves,
    #[error("{}", crate::rotate::REPLACED)]
    KeyReplaced,
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    #[error("a published file cannot be written: {0}")]
    Io(#[from] io::Error),
    #[error("the new records cannot be read: {0}")]
    Storage(#[from] StoreError),
}

impl NotPublished {
    /// True for what no later try can mend, and what must stop the ledger.
    const fn is_fatal(&self) -> bool {
        match self {
            Self::OtherLeaves | Self::KeyReplaced => true,
            Self::NotSigned(why) => !matches!(why, NotSigned::Io(_)),
            Self::Io(_) | Self::Storage(_) => false,
        }
    }
}

impl Publisher {
    /// The publisher of the ledger at `path`, without a log yet.
    pub(crate) fn open(
        leaves: Leaves,
        key_file: &Path,
        deployment: &str,
        key: Arc<LogKey>,
        shown: Arc<Shown>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            leaves,
            shown,
            key,
            guard: LastSigned::of_key(key_file, deployment),
            logs: HashMap::new(),
            shared,
        }
    }

    /// Takes up a log where it was left, and gives its tree over all `size` records (over those that
    /// this replica signed, where others may be the ones who sign) and how many
    /// of them the shown checkpoint covers.
    ///
    /// # Errors
    /// Torn when fewer records are here than were signed, forged when others are.
    pub(crate) fn take_up(
        &mut self,
        row: &LogRow,
        size: u64,
        keys: &KeyChain,
    ) -> Result<(Frontier, u64), OpenError> {
        let shown_head = self.shown_head(row, keys)?;
        let shown = shown_head.as_ref().map_or(0, |head| head.size);
        let noted = self.guard.read(&row.origin).map_err(refuse_start)?;
        if let (Some(noted), Some(head)) = (&noted, &shown_head)
            && noted.size == head.size
            && noted.root != head.root
        {
            return Err(rewritten(noted));
        }
        // Both bear witness; the larger says more.
        let signed = match (noted, shown_head) {
            (Some(noted), Some(head)) if head.size > noted.size => Some(head),
            (noted, _) => noted,
        };
        let edge = match &signed {
            None if shown > 0 => {
                let why = format!("the note of what was signed for `{}` is gone", row.origin);
                return Err(OpenError::Torn { why });
            }
            None => TileEdge::default(),
            Some(head) if head.size > size => {
                let (log, signed) = (&row.origin, head.size);
                let why = format!("{signed} records of `{log}` were signed, here are {size}");
                return Err(OpenError::Torn { why });
            }
            Some(head) => self.edge_at(row.id, head)?,
        };
        let mut tree = edge.frontier();
        if !self.leaves.are_shared() {
            self.leaves.each(row.id, edge.size(), size, |leaf| tree.push(leaf))?;
        }
        let published = Published { edge, signed, ..Published::default() };
        self.logs.insert(row.origin.clone(), published);
        self.shared.published(&row.origin, shown);
        Ok((tree, shown))
    }

    /// Every log of which something was signed must be here: a database that was put back from before
    /// it, or made anew under the old key, would sign another history.
    ///
    /// # Errors
    /// Torn, with the name of the log.
    pub(crate) fn nothing_signed_is_missing(&self) -> Result<(), OpenError> {
        let noted = self.guard.origins().map_err(|error| OpenError::Storage(error.to_string()))?;
        match noted.into_iter().find(|origin| !self.logs.contains_key(origin)) {
            None => Ok(()),
            Some(origin) => {
                let why =
                    format!("heads of `{origin}` were signed with this key, the log is not here");
                Err(OpenError::Torn { why })
            }
        }
    }

    /// The checkpoint that is shown, when its signature holds.
    fn shown_head(&self, row: &LogRow, keys: &KeyChain) -> Result<Option<Checkpoint>, OpenError> {
        let path = self.folder_of(&row.origin).join("checkpoint");
        let note = match std::fs::read_to_string(path) {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::Storage(error.to_string())),
        };
        // Derived, so a damaged one is made anew; what was signed is noted elsewhere.
        let said = SignedNote::parse(&note).and_then(|note| Checkpoint::parse(note.text()));
        Ok(said.ok().filter(|head| Checkpoint::open(&note, keys.at(head.size)).is_ok()))
    }

    /// The edge of the tiles at the head that was signed last: from the tiles, or from the records
    /// where a tile is missing or damaged.
    fn edge_at(&self, log: i64, head: &Checkpoint) -> Result<TileEdge, OpenError> {
        let folder = self.folder_of(&head.origin);
        let read = TileEdge::read(head.size, |path| folder::read_tile(&folder.join(path)));
        let storage = |error: io::Error| OpenError::Storage(error.to_string());
        if let Some(edge) = read.map_err(storage)?
            && edge.root() == head.root
        {
            let mut tail = Vec::new();
            let from = head.size - edge.tail();
            self.leaves.each(log, from, head.size, |leaf| tail.push(leaf))?;
            return if edge.ends_with(&tail) { Ok(edge) } else { Err(rewritten(head)) };
        }
        tracing::warn!(log = head.origin, "its tiles are made again from its records");
        let (mut edge, mut full) = (TileEdge::default(), Vec::new());
        self.leaves.each(log, 0, head.size, |leaf| edge.push(leaf, &mut full))?;
        if edge.root() != head.root {
            return Err(rewritten(head));
        }
        full.extend(edge.partial());
        self.write_tiles(&folder, &full).map_err(storage)?;
        Ok(edge)
    }

    /// Works until the writer lets go of its end.
    pub(crate) fn run(mut self, heads: &Receiver<Vec<NewHead>>) {
        // What could not be published is tried again, the newest head of each log. The deployment's
        // log vouches for the tenants', so it comes last, and not before all of them.
        let mut due: BTreeMap<(bool, String), NewHead> = BTreeMap::new();
        loop {
            let more = if due.is_empty() {
                heads.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                heads.recv_timeout(TRY_AGAIN)
            };
            let over = matches!(more, Err(RecvTimeoutError::Disconnected));
            for new in more.into_iter().flatten() {
                due.insert((Self::is_deployments(&new.head.origin), new.head.origin.clone()), new);
            }
            let round = std::mem::take(&mut due);
            for (key, new) in round {
                let waits = key.0 && !due.is_empty();
                if waits || !self.try_to_publish(&new) {
                    due.insert(key, new);
                }
            }
            if over {
                return;
            }
        }
    }

    fn is_deployments(origin: &str) -> bool {
        !origin.contains("/t/")
    }

    /// False when it is to be tried again.
    fn try_to_publish(&mut self, new: &NewHead) -> bool {
        match self.publish(new) {
            Ok(()) => self.shared.published(&new.head.origin, new.head.size),
            Err(why) if why.is_fatal() => {
                self.shared.seal(format!("`{}` cannot be signed: {why}", new.head.origin));
            }
            Err(why) => {
                tracing::error!(log = new.head.origin, %why, "a head was not published");
                return false;
            }
        }
        true
    }

    /// How far the log is published; `None` when another replica has shown as much already.
    fn before(&self, new: &NewHead) -> Result<Option<Published>, NotPublished> {
        let known = self.logs.get(&new.head.origin);
        if !self.leaves.are_shared() {
            return match known {
                Some(before) => Ok(Some(before.clone())),
                None => match self.guard.read(&new.head.origin)? {
                    None => Ok(Some(Published::default())),
                    // Begun while the ledger was open, and yet something was signed of it before.
                    Some(signed) => Err(NotSigned::Forked { size: signed.size }.into()),
                },
            };
        }
        let known = known.cloned().unwrap_or_default();
        match self.guard.read(&new.head.origin)? {
            Some(signed)
                if signed.size >= new.head.size && known.signed.as_ref() != Some(&signed) =>
            {
                Ok(None)
            }
            Some(signed) if known.signed.as_ref() != Some(&signed) => {
                let edge = self.edge_at(new.log, &signed).map_err(|_| NotPublished::OtherLeaves)?;
                Ok(Some(Published { edge, signed: Some(signed), ..known }))
            }
            _ => Ok(Some(known)),
        }
    }

    fn publish(&mut self, new: &NewHead) -> Result<(), NotPublished> {
        let head = &new.head;
        let Some(before) = self.before(new)? else { return Ok(()) };
        let (mut edge, mut tiles) = (before.edge, Vec::new());
        let before_size = edge.size();
        let grow = |leaf| edge.push(leaf, &mut tiles);
        self.leaves.each(new.log, before_size, head.size, grow)?;
        if edge.size() != head.size || edge.root() != head.root {
            return Err(NotPublished::OtherLeaves);
        }
        let folder = self.folder_of(&head.origin);
        tiles.extend(edge.partial());
        self.write_tiles(&folder, &tiles)?;
        if !self.leaves.key_is_in_force()? {
            return Err(NotPublished::KeyReplaced);
        }
        self.guard.note(before.signed.as_ref(), head)?;
        crash_point!("publish_before_sign");
        let note = head.sign(&self.key);
        self.shown.show(&head.origin, &note)?;
        let partial = tiles.iter().filter(|tile| !tile.is_full());
        let partial: Vec<PathBuf> = partial.map(|tile| folder.join(&tile.path)).collect();
        let old = before.stale.iter().filter(|path| !partial.contains(path));
        old.for_each(|path| folder::remove_partial(path));
        let stale = before.partial.into_iter().filter(|path| !partial.contains(path)).collect();
        let published = Published { edge, signed: Some(head.clone()), partial, stale };
        self.logs.insert(head.origin.clone(), published);
        Ok(())
    }

    fn write_tiles(&self, folder: &Path, tiles: &[Tile]) -> io::Result<()> {
        for tile in tiles {
            folder::write_whole(&folder.join(&tile.path), tile.hashes.as_flattened())?;
        }
        Ok(())
    }

    fn folder_of(&self, origin: &str) -> PathBuf {
        self.shown.folder_of(origin)
    }
}

fn rewritten(head: &Checkpoint) -> OpenError {
    let why = "the records are not those under the head that was signed last".to_owned();
    let (log, kind) = (head.origin.clone(), FaultKind::Rewritten);
    OpenError::Forged { fault: Fault { log, seq: None, kind, why } }
}

fn refuse_start(why: NotSigned) -> OpenError {
    match why {
        NotSigned::Io(error) => OpenError::Storage(error.to_string()),
        why => OpenError::Torn { why: why.to_string() },
    }
}
