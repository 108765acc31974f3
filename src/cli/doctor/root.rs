//! Where the doctor's readers read: `/proc`, `/sys`, `/etc` and the rest below one directory, which is `/` but for tests,
//! whose hosts are trees of files. Never fails: what cannot be read is `None`. Used by every reader.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Far more than any file that is looked at; a device in the place of one does not fill the memory.
const FILE_MAX_BYTES: u64 = 4 << 20;

/// A host's file system.
pub(super) struct Root(PathBuf);

impl Root {
    pub fn new(base: PathBuf) -> Self {
        Self(base)
    }

    /// Whether this is the host that the program runs on, which can be asked more than its files.
    pub fn is_this_host(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Where an absolute path of that host is.
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let absolute = absolute.as_ref();
        self.0.join(absolute.strip_prefix("/").unwrap_or(absolute))
    }

    /// The inverse of `path`, for messages.
    pub fn shown(&self, path: &Path) -> String {
        let inside = path.strip_prefix(&self.0).unwrap_or(path);
        Path::new("/").join(inside).display().to_string()
    }

    pub fn exists(&self, absolute: impl AsRef<Path>) -> bool {
        self.path(absolute).exists()
    }

    /// A file's text; bytes that are no UTF-8 are replaced.
    pub fn text(&self, absolute: impl AsRef<Path>) -> Option<String> {
        let mut bytes = Vec::new();
        let file = File::open(self.path(absolute)).ok()?;
        file.take(FILE_MAX_BYTES).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A file that holds one number and nothing else.
    pub fn number(&self, absolute: impl AsRef<Path>) -> Option<u64> {
        self.text(absolute)?.trim().parse().ok()
    }

    /// A file that holds exactly so many numbers (`tcp_mem`, `ip_local_port_range`).
    pub fn numbers<const COUNT: usize>(&self, absolute: impl AsRef<Path>) -> Option<[u64; COUNT]> {
        let numbers: Option<Vec<u64>> = self
            .text(absolute)?
            .split_whitespace()
            .map(|word| word.parse().ok())
            .collect();
        numbers?.try_into().ok()
    }

    /// The names in a directory, sorted; none where there is no such directory.
    pub fn names(&self, absolute: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.path(absolute)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}
