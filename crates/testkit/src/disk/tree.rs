//! Names: folders with what is seen, what is durable, and the changes between.

use super::inode::Inode;
use pluvio_foundation::Random;
use pluvio_foundation::hash::stable_hash;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};

const ROOT: u64 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(u64),
    Folder(u64),
}

#[derive(Debug, Default)]
struct Folder {
    seen: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    /// Changes since the last sync, oldest first. Each is applied whole.
    pending: Vec<Vec<NameChange>>,
}

#[derive(Debug)]
enum NameChange {
    Set(String, Node),
    Remove(String),
}

impl Folder {
    fn change(&mut self, changes: Vec<NameChange>) {
        apply(&mut self.seen, &changes);
        self.pending.push(changes);
    }
}

fn apply(names: &mut BTreeMap<String, Node>, changes: &[NameChange]) {
    for change in changes {
        match change {
            NameChange::Set(name, node) => names.insert(name.clone(), *node),
            NameChange::Remove(name) => names.remove(name),
        };
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    folders: BTreeMap<u64, Folder>,
    inodes: BTreeMap<u64, Inode>,
    next_id: u64,
    used_bytes: u64,
}

impl Default for Tree {
    fn default() -> Self {
        let folders = BTreeMap::from([(ROOT, Folder::default())]);
        Self { folders, inodes: BTreeMap::new(), next_id: ROOT + 1, used_bytes: 0 }
    }
}

impl Tree {
    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    pub(super) fn account(&mut self, grown_bytes: i64) {
        self.used_bytes = self.used_bytes.saturating_add_signed(grown_bytes);
    }

    pub(super) fn inode(&mut self, id: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Folder(ROOT);
        for name in names(path)? {
            let Node::Folder(id) = node else { return Err(io::ErrorKind::NotADirectory.into()) };
            let folder = self.folders.get(&id).ok_or(io::ErrorKind::NotFound)?;
            node = *folder.seen.get(&name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<u64> {
        match self.find(path)? {
            Node::File(id) => Ok(id),
            Node::Folder(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn folder(&mut self, path: &Path) -> io::Result<&mut Folder> {
        match self.find(path)? {
            Node::Folder(id) => self.folders.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into()),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn parent(&mut self, path: &Path) -> io::Result<(&mut Folder, String)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
        let folder = self.folder(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        Ok((folder, name))
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<u64> {
        let id = self.new_id();
        let (folder, name) = self.parent(path)?;
        folder.change(vec![NameChange::Set(name, Node::File(id))]);
        self.inodes.insert(id, Inode::default());
        Ok(id)
    }

    pub(super) fn create_folders(&mut self, path: &Path) -> io::Result<()> {
        match self.find(path) {
            Ok(Node::Folder(_)) => return Ok(()),
            Ok(Node::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => {}
        }
        self.create_folders(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        let id = self.new_id();
        let (parent, name) = self.parent(path)?;
        parent.change(vec![NameChange::Set(name, Node::Folder(id))]);
        self.folders.insert(id, Folder::default());
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        match self.find(path) {
            Ok(Node::Folder(id)) => {
                Ok(self.folders.get(&id).map(|f| f.seen.keys().cloned().collect()).unwrap_or_default())
            }
            Ok(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            Err(_) => Ok(Vec::new()),
        }
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let id = self.file(path)?;
        let bytes = self.inode(id)?.len();
        let (folder, name) = self.parent(path)?;
        folder.change(vec![NameChange::Remove(name)]);
        self.used_bytes = self.used_bytes.saturating_sub(bytes);
        Ok(())
    }

    pub(super) fn remove_folder(&mut self, path: &Path) -> io::Result<()> {
        for name in self.folder(path)?.seen.keys().cloned().collect::<Vec<_>>() {
            let below = path.join(name);
            match self.find(&below)? {
                Node::File(_) => self.remove_file(&below)?,
                Node::Folder(_) => self.remove_folder(&below)?,
            }
        }
        let (parent, name) = self.parent(path)?;
        parent.change(vec![NameChange::Remove(name)]);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        if let Ok(replaced) = self.find(to) {
            match (node, replaced) {
                (Node::File(_), Node::File(old)) => {
                    let bytes = self.inode(old)?.len();
                    self.used_bytes = self.used_bytes.saturating_sub(bytes);
                }
                _ => return Err(io::ErrorKind::AlreadyExists.into()),
            }
        }
        let (_, old_name) = self.parent(from)?;
        let (target, new_name) = self.parent(to)?;
        let set = NameChange::Set(new_name, node);
        if from.parent() == to.parent() {
            target.change(vec![set, NameChange::Remove(old_name)]);
            return Ok(());
        }
        target.change(vec![set]);
        let (source, _) = self.parent(from)?;
        source.change(vec![NameChange::Remove(old_name)]);
        Ok(())
    }

    pub(super) fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        let folder = self.folder(path)?;
        for changes in std::mem::take(&mut folder.pending) {
            apply(&mut folder.durable, &changes);
        }
        Ok(())
    }

    /// Leaves what the crash left: of each folder's pending changes some first
    /// ones, of each file's writes what its own dice say.
    pub(super) fn crash(&mut self, random: &dyn Random) {
        for folder in self.folders.values_mut() {
            let kept = random.next_u64() % (folder.pending.len() as u64 + 1);
            for (number, changes) in std::mem::take(&mut folder.pending).into_iter().enumerate() {
                if (number as u64) < kept {
                    apply(&mut folder.durable, &changes);
                }
            }
            folder.seen = folder.durable.clone();
        }
        for inode in self.inodes.values_mut() {
            inode.crash(random);
        }
        self.collect();
    }

    /// A digest of all names and contents, seen and durable.
    pub(super) fn digest(&self) -> u64 {
        let mut bytes = Vec::new();
        for (id, folder) in &self.folders {
            bytes.extend_from_slice(format!("{id} {folder:?}").as_bytes());
        }
        for (id, inode) in &self.inodes {
            bytes.extend_from_slice(&id.to_be_bytes());
            inode.add_to(&mut bytes);
        }
        stable_hash(&bytes)
    }

    /// Forgets what no name reaches any more and counts the bytes anew.
    fn collect(&mut self) {
        let mut folders = vec![ROOT];
        let mut files = BTreeSet::new();
        let mut reached = BTreeSet::new();
        while let Some(id) = folders.pop() {
            reached.insert(id);
            for node in self.folders.get(&id).map(|f| f.seen.values()).into_iter().flatten() {
                match node {
                    Node::File(file) => {
                        files.insert(*file);
                    }
                    Node::Folder(folder) => folders.push(*folder),
                }
            }
        }
        self.folders.retain(|id, _| reached.contains(id));
        self.inodes.retain(|id, _| files.contains(id));
        self.used_bytes = self.inodes.values().map(Inode::len).sum();
    }
}

fn names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(names)
}
