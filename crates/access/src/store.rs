//! The durable list of users, rules and quotas. Readers work on what was there
//! when they asked; a change is written before anyone sees it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use pluvio_foundation::Disk;
use pluvio_wire_kafka::sasl::{Credential, Hash};

use crate::acl::{Acl, AclFilter, CLUSTER, Operation, Pattern, ResourceKind};
use crate::quotas::{self, Effective, Entity, QuotaChange, QuotaKey};
use crate::record::{self, Contents};
use crate::rules::{Actor, Rules};
use crate::{AccessError, UserChange};

/// The file's name in the data folder.
pub const ACCESS_FILE: &str = "access.json";
/// Most rules.
pub const ACLS_MAX: usize = 10_000;
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Longest name, principal or host in a rule, in bytes.
const TEXT_BYTES_MAX: usize = 512;

#[derive(Debug, Default)]
struct State {
    contents: Contents,
    rules: Rules,
    /// The file they were read from or written to.
    bytes: Vec<u8>,
}

impl State {
    fn decode(path: &Path, bytes: Vec<u8>) -> Result<Self, AccessError> {
        let corrupt = |reason| AccessError::Corrupt { path: path.display().to_string(), reason };
        let contents = record::decode(&bytes).map_err(corrupt)?;
        Ok(Self { rules: Rules::new(&contents.acls), contents, bytes })
    }
}

/// Users, rules and quotas. Shared by reference; every method is atomic, those
/// that change something block for the disk.
#[derive(Debug)]
pub struct Access {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    state: RwLock<Arc<State>>,
    /// One change at a time.
    changing: Mutex<()>,
    between_processes: Option<File>,
}

/// A lock held; given back when dropped.
struct Alone<'a>(&'a File);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        // The system gives it back at the latest with the process.
        let _ = self.0.unlock();
    }
}

/// What the file says; nothing if there is none.
fn read(path: &Path, disk: &dyn Disk) -> Result<State, AccessError> {
    match disk.read(path, FILE_BYTES_MAX) {
        Ok(bytes) => State::decode(path, bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::default()),
        Err(source) => Err(AccessError::Io { path: path.display().to_string(), source }),
    }
}

impl Access {
    /// Opens the access file of a data folder; nobody and nothing if there is none.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn open(folder: &Path, disk: Arc<dyn Disk>) -> Result<Self, AccessError> {
        let path = folder.join(ACCESS_FILE);
        let state = RwLock::new(Arc::new(read(&path, disk.as_ref())?));
        Ok(Self { path, disk, state, changing: Mutex::new(()), between_processes: None })
    }

    /// The same, for a file that several processes may change: `lock` is a file
    /// beside it, which each locks while it changes something.
    #[must_use]
    pub fn shared(self, lock: File) -> Self {
        Self { between_processes: Some(lock), ..self }
    }

    /// Reads what another process may have changed. Without a change it costs
    /// reading the file.
    ///
    /// # Errors
    /// The file cannot be read or understood; what was read before then counts.
    pub fn refresh(&self) -> Result<(), AccessError> {
        let _one = self.changing.lock();
        self.read_again()
    }

    fn read_again(&self) -> Result<(), AccessError> {
        let state = read(&self.path, self.disk.as_ref())?;
        if state.bytes != self.state().bytes {
            *self.state.write() = Arc::new(state);
        }
        Ok(())
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read())
    }

    /// Changes a copy, writes it, and only then lets it count.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Contents) -> Result<T, AccessError>,
    ) -> Result<T, AccessError> {
        let _one = self.changing.lock();
        let _alone = self.alone()?;
        let present = self.state();
        let mut contents = present.contents.clone();
        let done = change(&mut contents)?;
        if contents == present.contents {
            return Ok(done);
        }
        let path = || self.path.display().to_string();
        let bytes =
            record::encode(&contents).map_err(|reason| AccessError::Corrupt { path: path(), reason })?;
        self.disk.replace(&self.path, &bytes).map_err(|source| AccessError::Io { path: path(), source })?;
        let state = State { rules: Rules::new(&contents.acls), contents, bytes };
        *self.state.write() = Arc::new(state);
        Ok(done)
    }

    /// Keeps other processes from changing the file, and reads what they did.
    fn alone(&self) -> Result<Option<Alone<'_>>, AccessError> {
        let Some(lock) = &self.between_processes else { return Ok(None) };
        let failed = |source| AccessError::Io { path: self.path.display().to_string(), source };
        lock.lock().map_err(failed)?;
        let alone = Alone(lock);
        self.read_again()?;
        Ok(Some(alone))
    }

    /// All users, by name, with the hash and iterations of each credential.
    pub fn users(&self) -> Vec<(String, Vec<(Hash, u32)>)> {
        let state = self.state();
        let users = state.contents.users.iter();
        let shown = users.map(|(name, credentials)| {
            (name.clone(), credentials.values().map(|it| (it.hash, it.iterations)).collect())
        });
        shown.collect()
    }

    /// What checks a user's proof under this hash.
    pub fn credential(&self, user: &str, hash: Hash) -> Option<Credential> {
        self.state().contents.users.get(user)?.get(&hash).cloned()
    }

    /// What checks a user's password.
    pub fn any_credential(&self, user: &str) -> Option<Credential> {
        self.state().contents.users.get(user)?.values().next().cloned()
    }

    /// Changes users: all the changes or none.
    ///
    /// # Errors
    /// A change cannot be made, or the file cannot be written.
    pub fn change_users(&self, changes: &[UserChange]) -> Result<(), AccessError> {
        self.change(|contents| changes.iter().try_for_each(|change| change.apply(&mut contents.users)))
    }

    /// Whether the actor may do this. `host` is an IP address.
    pub fn allows(
        &self,
        (principal, host): (&str, &str),
        operation: Operation,
        kind: ResourceKind,
        name: &str,
    ) -> bool {
        self.state().rules.allows(Actor { principal, host }, operation, kind, name)
    }

    /// Whether the actor may do this with at least one resource of the kind.
    pub fn allows_some(
        &self,
        (principal, host): (&str, &str),
        operation: Operation,
        kind: ResourceKind,
    ) -> bool {
        self.state().rules.allows_some(Actor { principal, host }, operation, kind)
    }

    /// The rules that a filter takes.
    pub fn acls(&self, filter: &AclFilter) -> Vec<Acl> {
        self.state().contents.acls.iter().filter(|acl| filter.takes(acl)).cloned().collect()
    }

    /// Adds rules, each on its own: gives for each whether it is there now.
    ///
    /// # Errors
    /// The file cannot be written; then none is added.
    pub fn add_acls(&self, acls: Vec<Acl>) -> Result<Vec<Result<(), AccessError>>, AccessError> {
        self.change(|contents| {
            let add = |acl: Acl| {
                check(&acl)?;
                if contents.acls.len() >= ACLS_MAX && !contents.acls.contains(&acl) {
                    return Err(AccessError::Limit { what: "access rules", count_max: ACLS_MAX });
                }
                contents.acls.insert(acl);
                Ok(())
            };
            Ok(acls.into_iter().map(add).collect())
        })
    }

    /// Removes the rules that each filter takes, and gives them.
    ///
    /// # Errors
    /// The file cannot be written; then none is removed.
    pub fn remove_acls(&self, filters: &[AclFilter]) -> Result<Vec<Vec<Acl>>, AccessError> {
        self.change(|contents| {
            let taken = filters.iter().map(|filter| {
                let matching = contents.acls.iter().filter(|acl| filter.takes(acl));
                matching.cloned().collect::<Vec<_>>()
            });
            let taken: Vec<Vec<Acl>> = taken.collect();
            contents.acls.retain(|acl| !filters.iter().any(|filter| filter.takes(acl)));
            Ok(taken)
        })
    }

    /// All quotas.
    pub fn quotas(&self) -> Vec<(Entity, Vec<(QuotaKey, f64)>)> {
        let state = self.state();
        let quotas = state.contents.quotas.iter();
        let shown = quotas.map(|(entity, values)| {
            (entity.clone(), values.iter().map(|(key, value)| (*key, *value)).collect())
        });
        shown.collect()
    }

    /// The quota that counts for a user and a client, if there is one.
    pub fn quota(&self, key: QuotaKey, user: &str, client_id: &str) -> Option<Effective> {
        quotas::effective(&self.state().contents.quotas, key, user, client_id)
    }

    /// Changes quotas: all the changes or none. With `dry`, only says whether
    /// it could.
    ///
    /// # Errors
    /// A change cannot be made, or the file cannot be written.
    pub fn change_quotas(&self, changes: &[QuotaChange], dry: bool) -> Result<(), AccessError> {
        let apply = |contents: &mut Contents| {
            changes.iter().try_for_each(|change| change.apply(&mut contents.quotas))
        };
        match dry {
            true => apply(&mut self.state().contents.clone()),
            false => self.change(apply),
        }
    }
}

fn check(acl: &Acl) -> Result<(), AccessError> {
    let invalid = |message: String| Err(AccessError::Invalid(message));
    for text in [&acl.name, &acl.principal, &acl.host] {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return invalid(format!("the names in a rule have 1 to {TEXT_BYTES_MAX} bytes"));
        }
    }
    if !acl.principal.starts_with("User:") || acl.principal.len() == "User:".len() {
        return invalid(format!("the principal {:?} is not of the form User:name", acl.principal));
    }
    if acl.resource == ResourceKind::Cluster && (acl.name != CLUSTER || acl.pattern != Pattern::Literal) {
        return invalid(format!("the only resource of the kind CLUSTER is {CLUSTER:?}"));
    }
    if acl.operation != Operation::All && !acl.resource.operations().contains(&acl.operation) {
        let (operation, resource) = (acl.operation.name(), acl.resource.name());
        return invalid(format!("{operation} is no operation on a resource of the kind {resource}"));
    }
    Ok(())
}
