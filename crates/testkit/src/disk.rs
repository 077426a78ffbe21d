//! A disk in memory that behaves as badly as the contract of
//! [`Disk`] allows.
//!
//! For every file it keeps what the program sees and what would survive a
//! crash; for every folder the names likewise. [`SimDisk::crash`] rolls the
//! dice: each write since the file's last sync survives whole, in part
//! (512-byte sectors, or cut at any byte) or not at all, holes read as zeros;
//! of each folder's unsynced name changes some first ones survive, in order.
//!
//! Faults that a test can ask for: the n-th write or sync from now fails; a
//! byte quota gives `StorageFull` after writing what fits; a bit flips; syncs
//! stand still until released, or lie; from the n-th change of any sort on
//! nothing is carried out any more, so that a crash can be had at each of them. As on Linux, a failed sync may lose the writes
//! it was to cover for good: a later sync that succeeds does not save them.
//!
//! What it does not do: permissions, links, modification times.

mod faults;
mod inode;
mod tree;

use faults::Faults;
use pluvio_foundation::{Disk, DiskFile, OpenMode, Random};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tree::{Node, Tree};

/// The simulated disk. Clones are handles to the same disk.
///
/// A handle (and every file opened through it) belongs to one life of the
/// machine: after [`SimDisk::crash`] it only returns errors, so whatever the
/// crashed program still does cannot touch the disk of the next life.
#[derive(Debug, Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
    life: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    tree: Tree,
    faults: Faults,
    life: u64,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk without limits or faults.
    pub fn new() -> Self {
        Self { shared: Arc::default(), life: 0 }
    }

    /// Cuts the power. What was not synced is lost, torn or kept as `random`
    /// decides; pending faults are forgotten; the quota stays. Returns the
    /// handle for the next life; this one and its files are dead.
    #[must_use = "the old handle is dead: go on with the returned one"]
    pub fn crash(&self, random: &dyn Random) -> Self {
        let mut state = self.lock();
        state.tree.crash(random);
        let quota_bytes = state.faults.quota_bytes;
        state.faults = Faults { quota_bytes, ..Faults::default() };
        state.life += 1;
        let life = state.life;
        drop(state);
        self.shared.released.notify_all();
        Self { shared: Arc::clone(&self.shared), life }
    }

    /// Ends the program without cutting the power (`kill -9`): everything
    /// written stays as the program saw it. Returns the next life's handle.
    #[must_use = "the old handle is dead: go on with the returned one"]
    pub fn kill(&self) -> Self {
        let mut state = self.lock();
        state.life += 1;
        let life = state.life;
        drop(state);
        self.shared.released.notify_all();
        Self { shared: Arc::clone(&self.shared), life }
    }

    /// Lets the `nth` write from now (1 is the next) write half of its bytes
    /// and fail with `kind`.
    pub fn fail_write(&self, nth: u64, kind: io::ErrorKind) {
        let mut state = self.lock();
        state.faults.writes_until_failure = Some((nth, kind));
    }

    /// Lets the `nth` file sync from now (1 is the next) fail with `kind`. What
    /// it was to cover is not made durable by later syncs either.
    pub fn fail_sync(&self, nth: u64, kind: io::ErrorKind) {
        let mut state = self.lock();
        state.faults.syncs_until_failure = Some((nth, kind));
    }

    /// Lets `changes` more changes through (writes, cuts, syncs, names); all
    /// further ones fail and do nothing, until the crash that must follow.
    pub fn stop_after_changes(&self, changes: u64) {
        self.lock().faults.changes_until_stop = Some(changes);
    }

    /// Makes syncs of files succeed without doing anything (true), as a disk
    /// does that only pretends; until the next crash.
    pub fn lie_about_syncs(&self, lying: bool) {
        self.lock().faults.lying_syncs = lying;
    }

    /// A digest of all names and contents, seen and durable: equal for equal
    /// disks.
    pub fn digest(&self) -> u64 {
        self.lock().tree.digest()
    }

    /// Limits the bytes that all files together may hold; `None` lifts the
    /// limit. Raising it is how space comes back.
    pub fn set_quota_bytes(&self, quota_bytes: Option<u64>) {
        self.lock().faults.quota_bytes = quota_bytes;
    }

    /// Makes file syncs wait (true) or go on (false), so that a test can hold a
    /// sync open while other things happen.
    pub fn pause_syncs(&self, paused: bool) {
        self.lock().faults.syncs_paused = paused;
        self.shared.released.notify_all();
    }

    /// Flips one bit of a file, in what is seen and in what is durable.
    pub fn flip_bit(&self, path: &Path, position: u64, bit: u8) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.tree.file(path)?;
        state.tree.inode(inode)?.flip_bit(position, bit)
    }

    /// How many writes were asked for so far.
    pub fn writes(&self) -> u64 {
        self.lock().faults.writes
    }

    /// How many file syncs were asked for so far.
    pub fn syncs(&self) -> u64 {
        self.lock().faults.syncs
    }

    /// How many file syncs wait now because of [`SimDisk::pause_syncs`].
    pub fn syncs_waiting(&self) -> u64 {
        self.lock().faults.syncs_waiting
    }

    /// How often all that is held back was asked to be written: it promises
    /// nothing, so nothing is done.
    pub fn write_backs(&self) -> u64 {
        self.lock().faults.write_backs
    }

    /// Bytes that all files hold now.
    pub fn used_bytes(&self) -> u64 {
        self.lock().tree.used_bytes()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if this handle's life has not ended.
    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.life != self.life {
            return Err(io::Error::other("this handle is from before the crash"));
        }
        Ok(state)
    }

    /// The state, for a change that is carried out.
    fn changing(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.alive()?;
        state.faults.admit_change()?;
        Ok(state)
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.alive()?;
        let inode = match (state.tree.find(path), mode) {
            (Ok(Node::Folder(_)), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Ok(Node::File(_)), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Ok(Node::File(inode)), _) => inode,
            (Err(_), OpenMode::Create | OpenMode::CreateNew) => {
                state.faults.admit_change()?;
                state.tree.create_file(path)?
            }
            (Err(error), _) => return Err(error),
        };
        Ok(Box::new(SimFile { disk: self.clone(), inode, writable: mode != OpenMode::Read }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.changing()?.tree.create_folders(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.alive()?.tree.list(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.changing()?.tree.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.changing()?.tree.remove_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.changing()?.tree.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.changing()?.tree.sync_folder(path)
    }

    fn exists(&self, path: &Path) -> bool {
        self.alive().is_ok_and(|state| state.tree.find(path).is_ok())
    }

    fn available_bytes(&self, _path: &Path) -> io::Result<u64> {
        let state = self.alive()?;
        Ok(match state.faults.quota_bytes {
            Some(quota) => quota.saturating_sub(state.tree.used_bytes()),
            None => u64::MAX,
        })
    }

    fn total_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.alive()?.faults.quota_bytes.unwrap_or(u64::MAX))
    }

    fn write_back(&self, _path: &Path) {
        self.lock().faults.write_backs += 1;
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: u64,
    writable: bool,
}

impl SimFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.disk.alive()?;
        Ok(state.tree.inode(self.inode)?.read(buffer, position))
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.disk.changing()?;
        let grows_from = state.tree.inode(self.inode)?.len();
        let used = state.tree.used_bytes();
        let (written, failure) = state.faults.admit_write(bytes.len(), position, grows_from, used);
        let grown = state.tree.inode(self.inode)?.write(&bytes[..written], position);
        state.tree.account(grown);
        match failure {
            Some(kind) => Err(kind.into()),
            None => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.changing()?;
        while state.faults.syncs_paused {
            state.faults.syncs_waiting += 1;
            state = self.disk.shared.released.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.faults.syncs_waiting = state.faults.syncs_waiting.saturating_sub(1);
            if state.life != self.disk.life {
                return Err(io::Error::other("the machine crashed during this sync"));
            }
        }
        match state.faults.admit_sync() {
            Some(kind) => {
                state.tree.inode(self.inode)?.doom();
                Err(kind.into())
            }
            None if state.faults.lying_syncs => Ok(()),
            None => {
                state.tree.inode(self.inode)?.sync();
                Ok(())
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.alive()?.tree.inode(self.inode)?.len())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.disk.changing()?;
        let grown = state.tree.inode(self.inode)?.truncate(length);
        state.tree.account(grown);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
