//! The disk behind a trait, so that a simulation can tear writes, lose what was
//! not synced, run out of space and lie.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading only; the file must exist.
    Read,
    /// For reading and writing; the file must exist.
    Write,
    /// For reading and writing; made if absent, kept if present.
    Create,
    /// For reading and writing; made, and an error if present.
    CreateNew,
}

/// A folder tree.
///
/// Contract: what a [`DiskFile::sync`] covered survives a crash whole; what was
/// written after it may survive whole, in part or not at all. A new, renamed or
/// removed name survives only once its folder was synced with `sync_dir`.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;
    /// Makes a folder and its parents.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, sorted; empty if the folder does not exist.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder with all in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Renames atomically, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Whether the path exists.
    fn exists(&self, path: &Path) -> bool;
    /// Bytes still free where `path` lies.
    fn available_bytes(&self, path: &Path) -> io::Result<u64>;
    /// Bytes of all of the file system where `path` lies, used or free.
    fn total_bytes(&self, path: &Path) -> io::Result<u64>;

    /// Writes what the file system of `path` holds back, of all its files in one
    /// pass: many files that are synced after it cost far less. It promises nothing:
    /// each file has to be synced all the same.
    fn write_back(&self, _path: &Path) {}

    /// The whole content of a file of at most `bytes_max` bytes.
    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let length = file.len()?;
        if length > bytes_max {
            let message = format!("{} has {length} bytes, the limit is {bytes_max}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Replaces a file's content so that a crash leaves the old or the new one,
    /// never a mixture.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("new");
        let file = self.open(&temporary, OpenMode::Create)?;
        file.truncate(0)?;
        file.write_all_at(bytes, 0)?;
        file.sync()?;
        self.rename(&temporary, path)?;
        match path.parent() {
            Some(folder) => self.sync_dir(folder),
            None => Ok(()),
        }
    }
}

/// An open file. All access is by position, so that readers and the writer
/// share one handle.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads up to `buffer.len()` bytes; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of `bytes`.
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Makes everything written so far durable (fdatasync).
    fn sync(&self) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends the file to `length` bytes.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Fills `buffer` or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(&mut buffer[filled..], position + filled as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(())
    }
}

/// The machine's file system.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Write => options.write(true),
            OpenMode::Create => options.write(true).create(true),
            OpenMode::CreateNew => options.write(true).create_new(true),
        };
        Ok(Box::new(RealFile(options.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn available_bytes(&self, path: &Path) -> io::Result<u64> {
        status(path).map(|status| status.f_bavail * status.f_frsize)
    }

    fn total_bytes(&self, path: &Path) -> io::Result<u64> {
        status(path).map(|status| status.f_blocks * status.f_frsize)
    }

    #[cfg(target_os = "linux")]
    #[allow(unsafe_code)]
    fn write_back(&self, path: &Path) {
        use std::os::fd::AsRawFd;
        if let Ok(folder) = fs::File::open(path) {
            // SAFETY: the descriptor is open for the length of the call, which reads
            // and writes no memory of this process. What fails is told by each sync.
            unsafe { libc::syncfs(folder.as_raw_fd()) };
        }
    }
}

/// The file system where `path` lies.
#[allow(unsafe_code)]
fn status(path: &Path) -> io::Result<libc::statvfs> {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut status = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `name` is NUL-terminated and `status` is a valid place for one
    // `statvfs`, which is read only after the call reports success.
    unsafe {
        if libc::statvfs(name.as_ptr(), status.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(status.assume_init())
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_keeps_one_whole_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        RealDisk.replace(&path, b"one").unwrap();
        RealDisk.replace(&path, b"two").unwrap();
        assert_eq!(RealDisk.read(&path, 10).unwrap(), b"two");
        assert_eq!(RealDisk.list(folder.path()).unwrap(), ["state.json"]);
        assert!(RealDisk.read(&path, 2).unwrap_err().to_string().contains("limit"));
    }

    #[test]
    fn what_is_held_back_can_be_written_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&folder.path().join("a"), OpenMode::Create).unwrap();
        file.write_all_at(b"one", 0).unwrap();
        RealDisk.write_back(folder.path());
        RealDisk.write_back(&folder.path().join("missing"));
        file.sync().unwrap();
    }

    #[test]
    fn free_space_is_known() {
        let free = RealDisk.available_bytes(Path::new("/")).unwrap();
        assert!(free > 0 && RealDisk.total_bytes(Path::new("/")).unwrap() >= free);
    }
}
