//! Which files there are to read: a file, the files of a folder, or those that
//! match a pattern.
//!
//! In a pattern `*` stands for any characters of one name, `?` for one, `[a-z]`
//! for one of several, `[!a-z]` for one that is none of them. Names that begin
//! with a dot match only what begins with one, and are no files of a folder.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pluvio_catalog::FilesDef;

use crate::FeedError;
use crate::mark::FileId;

/// Most files of one feed.
const FILES_MAX: usize = 10_000;

/// A file as its folder shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub path: PathBuf,
    pub id: FileId,
    pub length: u64,
    /// When it was changed last, in nanoseconds since 1970.
    pub changed_ns: i128,
}

impl Found {
    pub fn of(path: PathBuf, metadata: &fs::Metadata) -> Self {
        Self {
            path,
            id: FileId { device: metadata.dev(), inode: metadata.ino() },
            length: metadata.len(),
            changed_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        }
    }
}

/// What a look at the folders gave.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// By path.
    pub files: Vec<Found>,
    /// What had to be left out, and why.
    pub left_out: Option<String>,
}

/// The files of a feed.
#[derive(Debug)]
pub(crate) struct Pattern {
    text: String,
    /// Up to the first name with a wildcard.
    root: PathBuf,
    /// The names from there on; empty if there is no wildcard.
    names: Vec<Name>,
}

impl Pattern {
    /// # Errors
    /// A bracket that is not closed, or a path that is not UTF-8.
    pub fn new(path: &Path) -> Result<Self, FeedError> {
        let text = path.to_string_lossy().into_owned();
        let wrong = |reason| FeedError::Pattern { pattern: text.clone(), reason };
        let mut root = PathBuf::from("/");
        let mut names = Vec::new();
        for part in text.split('/').filter(|part| !part.is_empty()) {
            if names.is_empty() && !part.contains(['*', '?', '[']) {
                root.push(part);
            } else {
                names.push(Name::parse(part).map_err(wrong)?);
            }
        }
        Ok(Self { root, names, text })
    }

    /// The files there are now.
    ///
    /// # Errors
    /// There are too many.
    pub fn list(&self) -> Result<Listing, FeedError> {
        let mut listing = Listing::default();
        if self.names.is_empty() {
            match fs::metadata(&self.root) {
                Ok(metadata) if metadata.is_dir() => {
                    self.walk(&self.root, &[Name::visible()], &mut listing)?;
                }
                Ok(metadata) => listing.files.push(Found::of(self.root.clone(), &metadata)),
                Err(error) => listing.tell(&self.root, &error),
            }
        } else {
            self.walk(&self.root, &self.names, &mut listing)?;
        }
        listing.files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(listing)
    }

    fn walk(&self, folder: &Path, names: &[Name], listing: &mut Listing) -> Result<(), FeedError> {
        let Some((name, deeper)) = names.split_first() else { return Ok(()) };
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                listing.tell(folder, &error);
                return Ok(());
            }
        };
        for entry in entries.filter_map(Result::ok) {
            let file_name = entry.file_name();
            let Some(text) = file_name.to_str() else {
                listing.left_out = Some(format!("{}: its name is not UTF-8", entry.path().display()));
                continue;
            };
            if name.matches(text) {
                self.take(entry.path(), deeper, listing)?;
            }
        }
        Ok(())
    }

    fn take(&self, path: PathBuf, deeper: &[Name], listing: &mut Listing) -> Result<(), FeedError> {
        // Follows links; what is gone meanwhile is not there.
        let Ok(metadata) = fs::metadata(&path) else { return Ok(()) };
        if !deeper.is_empty() {
            return if metadata.is_dir() { self.walk(&path, deeper, listing) } else { Ok(()) };
        }
        if !metadata.is_file() {
            return Ok(());
        }
        if FilesDef::is_packed(&path) {
            let reason = "it is packed: unpack it, or choose a pattern that leaves it out";
            listing.left_out = Some(format!("{}: {reason}", path.display()));
            return Ok(());
        }
        if listing.files.len() == FILES_MAX {
            return Err(FeedError::TooManyFiles { pattern: self.text.clone(), count_max: FILES_MAX });
        }
        listing.files.push(Found::of(path, &metadata));
        Ok(())
    }
}

impl Listing {
    fn tell(&mut self, path: &Path, error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound {
            self.left_out = Some(format!("{}: {error}", path.display()));
        }
    }
}

/// A name with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    One(char),
    AnyOne,
    Any,
    /// One of these ranges, or of none.
    Of {
        ranges: Vec<(char, char)>,
        others: bool,
    },
}

impl Name {
    /// Every name that does not begin with a dot.
    fn visible() -> Self {
        Self(vec![Piece::Any])
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut pieces = Vec::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            pieces.push(match character {
                '*' => Piece::Any,
                '?' => Piece::AnyOne,
                '[' => {
                    let (inside, behind) = rest.as_str().split_once(']').ok_or("a [ is not closed by a ]")?;
                    rest = behind.chars();
                    set(inside)?
                }
                other => Piece::One(other),
            });
        }
        // Two stars in a row match what one does.
        pieces.dedup_by(|one, other| *one == Piece::Any && *other == Piece::Any);
        Ok(Self(pieces))
    }

    fn matches(&self, name: &str) -> bool {
        if name.starts_with('.') && self.0.first() != Some(&Piece::One('.')) {
            return false;
        }
        let name: Vec<char> = name.chars().collect();
        // The place of the last star, and how much of the name it stands for.
        let (mut piece, mut at, mut star) = (0, 0, None);
        while at < name.len() {
            match self.0.get(piece) {
                Some(Piece::Any) => {
                    star = Some((piece, at));
                    piece += 1;
                }
                Some(other) if other.takes(name[at]) => (piece, at) = (piece + 1, at + 1),
                _ => match star {
                    None => return false,
                    Some((place, from)) => {
                        star = Some((place, from + 1));
                        (piece, at) = (place + 1, from + 1);
                    }
                },
            }
        }
        self.0[piece..].iter().all(|left| *left == Piece::Any)
    }
}

impl Piece {
    fn takes(&self, character: char) -> bool {
        match self {
            Self::One(one) => *one == character,
            Self::AnyOne | Self::Any => true,
            Self::Of { ranges, others } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&character)) != *others
            }
        }
    }
}

fn set(inside: &str) -> Result<Piece, &'static str> {
    let (inside, others) = match inside.strip_prefix('!') {
        Some(rest) => (rest, true),
        None => (inside, false),
    };
    let characters: Vec<char> = inside.chars().collect();
    if characters.is_empty() {
        return Err("a [ ] names no character");
    }
    let (mut ranges, mut at) = (Vec::new(), 0);
    while at < characters.len() {
        if characters.get(at + 1) == Some(&'-') && at + 2 < characters.len() {
            ranges.push((characters[at], characters[at + 2]));
            at += 3;
        } else {
            ranges.push((characters[at], characters[at]));
            at += 1;
        }
    }
    Ok(Piece::Of { ranges, others })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Name::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn names_match() {
        for (pattern, name) in [
            ("*", "a"),
            ("*.log", "a.log"),
            ("a*b*c", "axxbyybzc"),
            ("a?c", "aäc"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[-a]", "-"),
            ("x**", "x"),
            (".*", ".hidden"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*", ".hidden"),
            ("?x", ".x"),
            ("*.log", "a.log.1"),
            ("a?c", "ac"),
            ("[a-c]x", "dx"),
            ("[!a-c]x", "ax"),
            ("a*b", "a"),
            ("", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert!(Name::parse("a[b").is_err() && Name::parse("a[]").is_err() && Name::parse("[!]").is_err());
    }

    #[test]
    fn files_folders_and_patterns_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a.log", "b.log", "b.txt", ".c.log", "old.log.gz"] {
            fs::write(at(name), "x").unwrap();
        }
        fs::create_dir(at("sub.log")).unwrap();
        fs::write(at("sub.log/d.log"), "x").unwrap();
        let listed = |path: PathBuf| {
            let listing = Pattern::new(&path).unwrap().list().unwrap();
            let name =
                |found: &Found| found.path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
            (listing.files.iter().map(name).collect::<Vec<_>>().join(" "), listing.left_out)
        };
        assert_eq!(listed(at("*.log")), ("a.log b.log".into(), None));
        assert_eq!(listed(at("*/*.log")), ("sub.log/d.log".into(), None));
        assert_eq!(listed(at("b.txt")), ("b.txt".into(), None));
        assert_eq!(listed(at("none.txt")), (String::new(), None));
        assert_eq!(listed(at("none/*.txt")), (String::new(), None));
        let (files, left_out) = listed(folder.path().to_owned());
        assert_eq!(files, "a.log b.log b.txt");
        assert!(left_out.unwrap().contains("old.log.gz: it is packed"));
    }
}
