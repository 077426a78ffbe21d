//! Finding files, and reading Rust without a compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new("../..")
}

/// Every file in git that is there, relative to the root.
pub fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "`git ls-files` failed: these rules need a git checkout");
    let names = String::from_utf8(output.stdout).unwrap();
    let paths = names.split_terminator('\0').map(PathBuf::from);
    paths.filter(|path| root().join(path).is_file()).collect()
}

/// A Rust file.
pub struct Source {
    /// Relative to the root.
    pub path: PathBuf,
    pub text: String,
}

impl Source {
    /// Whether a path has this folder as its part at `depth`.
    fn in_folder(&self, depth: usize, name: &str) -> bool {
        self.path.components().nth(depth).is_some_and(|part| part.as_os_str() == name)
    }

    /// Whether it is in a crate's `src` and no test module's own file.
    pub fn is_product(&self) -> bool {
        self.in_folder(2, "src")
            && !self.path.iter().skip(3).any(|part| part == "tests" || part == "tests.rs")
    }

    /// Whether it belongs to a library, which must not print.
    pub fn is_library(&self) -> bool {
        let binary =
            self.in_folder(1, "pluvio") || self.path.ends_with("src/main.rs") || self.in_folder(3, "bin");
        self.is_product() && !binary
    }

    /// The text before its test module, which comes last.
    pub fn without_tests(&self) -> &str {
        let tests = self.text.find("\n#[cfg(test)]\nmod ");
        tests.map_or(&self.text, |end| &self.text[..=end])
    }
}

/// Every Rust file of the crates.
pub fn sources() -> Vec<Source> {
    let rust = tracked()
        .into_iter()
        .filter(|path| path.starts_with("crates") && path.extension().is_some_and(|it| it == "rs"));
    rust.map(|path| Source { text: fs::read_to_string(root().join(&path)).unwrap(), path }).collect()
}

/// The code alone: comments, strings and characters become spaces, line breaks
/// stay.
pub fn code_of(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = skipped_bytes(rest, out.chars().next_back());
        if skipped == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..skipped].chars().map(|character| if character == '\n' { '\n' } else { ' ' }));
            rest = &rest[skipped..];
        }
    }
    out
}

/// The length of the comment, string or character that `rest` starts with; 0 if
/// it starts with code. `before` is the code's last character.
fn skipped_bytes(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|character| character.is_alphanumeric() || character == '_');
    let to = |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return to("*/", 2);
    }
    if !in_word {
        let body = rest.trim_start_matches('b');
        let hashes = body.strip_prefix('r').map(|raw| raw.len() - raw.trim_start_matches('#').len());
        if let Some(hashes) = hashes
            && body[1 + hashes..].starts_with('"')
        {
            let start = rest.len() - body.len() + 2 + hashes;
            return to(&format!("\"{}", "#".repeat(hashes)), start);
        }
    }
    match rest.as_bytes()[0] {
        b'"' => quoted_bytes(rest, '"'),
        b'\'' => {
            // A lifetime has no closing quote behind its first character.
            let mut characters = rest.chars().skip(1);
            let escaped = characters.next() == Some('\\');
            if escaped || characters.next() == Some('\'') { quoted_bytes(rest, '\'') } else { 0 }
        }
        _ => 0,
    }
}

fn quoted_bytes(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        if !escaped && character == quote {
            return at + 1;
        }
        escaped = !escaped && character == '\\';
    }
    rest.len()
}

/// The functions with a body: name, line of `fn`, number of lines to the closing
/// brace.
pub fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let code = code_of(text);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let in_word = code[..at].ends_with(|character: char| character.is_alphanumeric() || character == '_');
        let name: String = code[at + 3..]
            .chars()
            .take_while(|character| character.is_alphanumeric() || *character == '_')
            .collect();
        if in_word || name.is_empty() {
            continue;
        }
        if let Some(body) = body(&code[at..]) {
            let line = code[..at].matches('\n').count() + 1;
            found.push((name, line, code[at..at + body].matches('\n').count() + 1));
        }
    }
    found
}

/// From `fn` to behind the closing brace of its body; `None` if it has none.
fn body(code: &str) -> Option<usize> {
    let (mut depth, mut nested) = (0_usize, 0_usize);
    for (at, character) in code.char_indices() {
        match character {
            '(' | '[' => nested += 1,
            ')' | ']' => nested = nested.saturating_sub(1),
            ';' if depth == 0 && nested == 0 => return None,
            '{' => depth += 1,
            '}' if depth <= 1 => return Some(at + 1),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_told_from_text() {
        for (text, code) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b\n */ c", "a     \n    c"),
            (r#"f("a{\"", 'b', '\'', b'{')"#, "f(,,,b)"),
            ("r#\"{\"}\"# + br\"\\\" + x", "++x"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("color\"x\"", "color   "),
        ] {
            let found = code_of(text);
            assert_eq!(found.replace(' ', ""), code.replace(' ', ""), "{text}");
            assert_eq!(found.len(), text.len(), "{text}");
        }
    }

    #[test]
    fn functions_have_a_length() {
        let text = "trait T {\n    fn none(x: [u8; 2]);\n}\nfn one() { \"}\"; }\npub fn three(\n) -> u8 {\n    if a { b } else { c }\n}\n";
        assert_eq!(functions(text), [("one".to_owned(), 4, 1), ("three".to_owned(), 5, 4)]);
    }
}
