//! The local disk as an object store whose writes last.
//!
//! The stock store of the local disk returns before a new object has reached
//! the disk, so that after a power loss the log could name files that are
//! empty, or have an entry that is torn. This one promises: when `put` or a
//! multipart upload returns, the object's bytes and its name survive a crash,
//! and at no time does the object's name show anything but all of its bytes.
//!
//! An object is staged as `NAME#NUMBER` (such names are never listed), synced,
//! then renamed (or, if it must not exist yet, linked) into place, and the
//! folder is synced. Reading, listing and deleting are the stock store's.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use deltalake::logstore::object_store::local::LocalFileSystem;
use deltalake::logstore::object_store::path::Path;
use deltalake::logstore::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use futures::stream::BoxStream;

/// See the module's text. Rooted at `/`.
#[derive(Debug, Clone, Default)]
pub(crate) struct DurableStore {
    local: LocalFileSystem,
}

impl std::fmt::Display for DurableStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Durable({})", self.local)
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(folder: &FilePath) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether a file's name is that of an object that was never completed.
pub(crate) fn is_staged(name: &str) -> bool {
    match name.rsplit_once('#') {
        Some((_, number)) => !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()),
        None => false,
    }
}

#[async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if matches!(options.mode, PutMode::Update(_)) {
            return Err(Error::NotImplemented {
                operation: "put with mode Update".to_owned(),
                implementer: self.to_string(),
            });
        }
        let target = self.local.path_to_filesystem(location)?;
        let exclusive = matches!(options.mode, PutMode::Create);
        blocking(move || {
            let staged = Staged::create(target)?;
            staged.write(&payload)?;
            staged.publish(exclusive)
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let target = self.local.path_to_filesystem(location)?;
        let staged = blocking(move || Staged::create(target)).await?;
        Ok(Box::new(Upload { staged: Some(Arc::new(staged)), length: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.local.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.local.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.local.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.local.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.local.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.local.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.local.rename_opts(from, to, options).await
    }
}

/// An object on its way; removed when dropped before it was published.
#[derive(Debug)]
struct Staged {
    file: File,
    staging: PathBuf,
    target: PathBuf,
}

impl Staged {
    fn create(target: PathBuf) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        loop {
            let mut name = target.clone().into_os_string();
            name.push(format!("#{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
            let staging = PathBuf::from(name);
            match OpenOptions::new().write(true).create_new(true).open(&staging) {
                Ok(file) => return Ok(Self { file, staging, target }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failure(&staging, error)),
            }
        }
    }

    fn write(&self, payload: &PutPayload) -> Result<()> {
        let mut file = &self.file;
        payload
            .iter()
            .try_for_each(|bytes| file.write_all(bytes))
            .map_err(|error| failure(&self.staging, error))
    }

    fn publish(self, exclusive: bool) -> Result<PutResult> {
        let sync = self.file.sync_all();
        sync.map_err(|error| failure(&self.staging, error))?;
        let named = if exclusive {
            fs::hard_link(&self.staging, &self.target)
        } else {
            fs::rename(&self.staging, &self.target)
        };
        named.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                Error::AlreadyExists { path: self.target.display().to_string(), source: error.into() }
            }
            _ => failure(&self.target, error),
        })?;
        if let Some(folder) = self.target.parent() {
            sync_dir(folder).map_err(|error| failure(folder, error))?;
        }
        Ok(PutResult { e_tag: None, version: None })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already if it was renamed; if it stays, the next open removes it.
        let _ = fs::remove_file(&self.staging);
    }
}

#[derive(Debug)]
struct Upload {
    staged: Option<Arc<Staged>>,
    length: u64,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let position = self.length;
        self.length += payload.content_length() as u64;
        let staged = self.staged.clone();
        Box::pin(async move {
            let staged = staged.ok_or_else(ended)?;
            blocking(move || {
                let mut position = position;
                for bytes in payload.iter() {
                    let written = staged.file.write_all_at(bytes, position);
                    written.map_err(|error| failure(&staged.staging, error))?;
                    position += bytes.len() as u64;
                }
                Ok(())
            })
            .await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let staged = self.staged.take().and_then(Arc::into_inner).ok_or_else(ended)?;
        blocking(move || staged.publish(false)).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.staged = None;
        Ok(())
    }
}

fn ended() -> Error {
    Error::Generic {
        store: "durable",
        source: "the upload has ended, or parts of it are still being written".into(),
    }
}

fn failure(path: &FilePath, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::NotFound { path: path.display().to_string(), source: error.into() },
        _ => Error::Generic { store: "durable", source: Box::new(error) },
    }
}

/// Off the async threads if there are any.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => match runtime.spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(Error::Generic { store: "durable", source: Box::new(error) }),
        },
        Err(_) => work(),
    }
}

#[cfg(test)]
mod tests {
    use deltalake::logstore::object_store::ObjectStoreExt;

    use super::*;

    fn names(folder: &FilePath) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn an_object_appears_whole_once_and_leaves_no_trace_of_staging() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| Path::from_absolute_path(folder.path().join(name)).unwrap();
        let store = DurableStore::default();
        let create = PutOptions::from(PutMode::Create);
        store.put_opts(&at("a"), "one".into(), create.clone()).await.unwrap();
        let again = store.put_opts(&at("a"), "two".into(), create).await.unwrap_err();
        assert!(matches!(again, Error::AlreadyExists { .. }), "{again}");
        store.put(&at("b"), "three".into()).await.unwrap();
        store.put(&at("b"), "four".into()).await.unwrap();
        assert_eq!(names(folder.path()), ["a", "b"]);
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"one");
        assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"four");
    }

    #[tokio::test]
    async fn an_upload_in_parts_appears_when_complete() {
        let folder = tempfile::tempdir().unwrap();
        let at = Path::from_absolute_path(folder.path().join("c")).unwrap();
        let store = DurableStore::default();
        let mut upload = store.put_multipart(&at).await.unwrap();
        let (first, second) = (upload.put_part("ab".into()), upload.put_part("cd".into()));
        second.await.unwrap();
        first.await.unwrap();
        let staged = names(folder.path());
        assert!(staged.len() == 1 && is_staged(&staged[0]), "{staged:?}");
        upload.complete().await.unwrap();
        assert_eq!(fs::read(folder.path().join("c")).unwrap(), b"abcd");
        let mut dropped = store.put_multipart(&at).await.unwrap();
        dropped.abort().await.unwrap();
        assert_eq!(names(folder.path()), ["c"]);
    }
}
