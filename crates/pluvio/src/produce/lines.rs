//! Reads the input in blocks of whole lines, on a thread of its own: standard
//! input cannot be read without blocking.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tokio::sync::mpsc;

use crate::error::CliError;

/// The longest line, so that one always fits a record batch.
const LINE_BYTES_MAX: usize = 1_000_000;
const READ_BYTES: usize = 256 << 10;
/// Blocks read and not yet sent.
const BLOCKS_MAX: usize = 4;

/// Begins to read a file (`.gz` is unpacked) or standard input. A block holds
/// whole lines; the last one may lack its line feed, or is too long.
///
/// # Errors
/// The file cannot be opened.
pub fn open(file: Option<&Path>) -> Result<mpsc::Receiver<io::Result<Vec<u8>>>, CliError> {
    let input: Box<dyn Read + Send> = match file {
        None => Box::new(io::stdin()),
        Some(path) => {
            let opened = File::open(path);
            let opened = opened.map_err(|e| CliError::io(format!("cannot open {}", path.display()), e))?;
            match path.extension().is_some_and(|extension| extension == "gz") {
                true => Box::new(MultiGzDecoder::new(opened)),
                false => Box::new(opened),
            }
        }
    };
    let (sender, blocks) = mpsc::channel(BLOCKS_MAX);
    // Not a task: a read that waits for a terminal must not hold up the end.
    let reading = std::thread::Builder::new().name("read-lines".into()).spawn(move || {
        if let Err(error) = read(input, |block| sender.blocking_send(Ok(block)).is_ok()) {
            // If nobody listens any more, the command has failed already.
            let _ = sender.blocking_send(Err(error));
        }
    });
    reading.map_err(|e| CliError::io("cannot start reading", e))?;
    Ok(blocks)
}

/// Cuts the input into blocks, as `take` wants them.
fn read(mut input: impl Read, mut take: impl FnMut(Vec<u8>) -> bool) -> io::Result<()> {
    let mut block: Vec<u8> = Vec::new();
    let mut room = vec![0; READ_BYTES];
    loop {
        let length = match input.read(&mut room) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if length == 0 {
            if !block.is_empty() {
                take(block);
            }
            return Ok(());
        }
        block.extend_from_slice(&room[..length]);
        let new = block.len() - length;
        let end = block[new..].iter().rposition(|byte| *byte == b'\n').map(|place| new + place + 1);
        let whole = match end {
            Some(end) => end,
            None if block.len() > LINE_BYTES_MAX => block.len(),
            None => continue,
        };
        let rest = block.split_off(whole);
        if !take(std::mem::replace(&mut block, rest)) {
            return Ok(());
        }
    }
}

/// The lines of a block, without what ends them.
pub fn events(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    block.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    })
}

/// Key and value of line `number`: all of it is the value without a separator.
///
/// # Errors
/// The line is too long, or lacks the separator.
pub fn split_key<'a>(
    line: &'a [u8],
    separator: Option<&[u8]>,
    number: u64,
) -> Result<(Option<&'a [u8]>, &'a [u8]), CliError> {
    if line.len() > LINE_BYTES_MAX {
        return Err(CliError::Other(format!(
            "line {number} is longer than {LINE_BYTES_MAX} bytes; the lines before it were produced"
        )));
    }
    let Some(separator) = separator else { return Ok((None, line)) };
    match line.windows(separator.len()).position(|window| window == separator) {
        Some(place) => Ok((Some(&line[..place]), &line[place + separator.len()..])),
        None => Err(CliError::Other(format!(
            "line {number} has no key: it lacks the separator {:?}; the lines before it were produced",
            String::from_utf8_lossy(separator)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time, like a pipe.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(room.len());
            room[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn lines(input: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        read(Slow(input, step), |block| {
            lines.extend(events(&block).map(<[u8]>::to_vec));
            true
        })
        .unwrap();
        lines
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        for step in [1, 2, 3, 100] {
            assert_eq!(lines(b"ab\r\n\nc\nlast", step), [&b"ab"[..], b"", b"c", b"last"]);
            assert_eq!(lines(b"a\n", step), [b"a"]);
            assert!(lines(b"", step).is_empty());
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_named() {
        let mut input = b"short\n".to_vec();
        input.resize(input.len() + LINE_BYTES_MAX + 1, b'x');
        let lines = lines(&input, READ_BYTES);
        assert!(split_key(&lines[0], None, 1).is_ok());
        assert!(split_key(&lines[1], None, 2).unwrap_err().to_string().starts_with("line 2 is longer"));
    }

    #[test]
    fn keys_end_at_the_first_separator() {
        let split = |line: &'static [u8]| split_key(line, Some(b"::"), 7);
        assert_eq!(split(b"k::v::w").unwrap(), (Some(&b"k"[..]), &b"v::w"[..]));
        assert_eq!(split(b"::").unwrap(), (Some(&b""[..]), &b""[..]));
        assert!(split(b"k:v").unwrap_err().to_string().contains("line 7"));
        assert_eq!(split_key(b"k::v", None, 1).unwrap(), (None, &b"k::v"[..]));
    }
}
