//! What the shell knows while a line is typed: when a statement is complete,
//! and which words may come next.

use std::borrow::Cow;

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use super::split::{is_blank, split};

/// What may begin or join the parts of a statement.
const KEYWORDS: &str = "\
    ALTER AND AS ASC BETWEEN BIGINT BOOLEAN BY CASE CAST COPY COUNT CREATE CROSS DATE DECIMAL DELETE \
    DESC DISTINCT DOUBLE DROP ELSE EMIT END EXISTS EXPLAIN FALSE FOR FORMAT FROM FULL GROUP HAVING IF IN \
    INNER INSERT INTEGER INTERVAL INTO IS JOB JOIN KEY LEFT LIKE LIMIT MATERIALIZED NOT NULL OFFSET ON \
    OR ORDER OUTER PRECISION PRIMARY REPLACE RIGHT SELECT SET SHOW SINK STREAM SUM TABLE TEXT THEN \
    TIMESTAMP TRUE UNION UPDATE USING VALUES VIEW WATERMARK WHEN WHERE WITH";
/// The system's own relations, in the schema `pluvio`.
const SYSTEM: [&str; 11] = [
    "columns",
    "dead_letters",
    "epochs",
    "jobs",
    "metrics",
    "partitions",
    "sinks",
    "streams",
    "tables",
    "topics",
    "views",
];
const COMMANDS: [&str; 5] = ["\\d", "\\q", "\\timing", "\\x", "\\?"];

/// The names there are.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Relations.
    pub relations: Vec<String>,
    /// Columns: relation and name.
    pub columns: Vec<(String, String)>,
}

/// Helps at the prompt.
#[derive(Debug, Default)]
pub struct Assistant {
    /// What may be completed.
    pub names: Names,
}

impl Assistant {
    /// Where the word before byte `position` begins, and what it may become.
    fn candidates(&self, line: &str, position: usize) -> (usize, Vec<String>) {
        let before = line.get(..position).unwrap_or(line);
        if before.starts_with('\\') && !before.contains(' ') {
            return (0, starting_with(before, COMMANDS.map(str::to_owned)));
        }
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let word = &before[before.trim_end_matches(is_part).len()..];
        if let Some((owner, part)) = word.rsplit_once('.') {
            return (before.len() - part.len(), starting_with(part, self.members(owner, line)));
        }
        let start = before.len() - word.len();
        let mut all = starting_with(word, self.columns_of(line));
        all.extend(starting_with(word, self.names.relations.iter().cloned()));
        all.extend(starting_with(word, ["pluvio.".to_owned()]));
        if !before.starts_with('\\') && !word.is_empty() {
            let lower = word.chars().any(char::is_lowercase);
            let cased = |k: &str| if lower { k.to_lowercase() } else { k.to_owned() };
            all.extend(starting_with(word, KEYWORDS.split_whitespace().map(cased)));
        }
        let mut seen = std::collections::HashSet::new();
        all.retain(|word| seen.insert(word.clone()));
        (start, all)
    }

    /// What may follow `owner.`: a relation's columns, the system's tables, or,
    /// for an alias, the columns of all relations in the text.
    fn members(&self, owner: &str, line: &str) -> Vec<String> {
        if owner.eq_ignore_ascii_case("pluvio") {
            return SYSTEM.map(str::to_owned).to_vec();
        }
        let owned = self.columns_where(|relation| relation.eq_ignore_ascii_case(owner));
        if owned.is_empty() { self.columns_of(line) } else { owned }
    }

    /// The columns of the relations that the text names, or of all.
    fn columns_of(&self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let named = self.columns_where(|relation| words.contains(&relation));
        if named.is_empty() { self.columns_where(|_| true) } else { named }
    }

    fn columns_where(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let columns = self.names.columns.iter().filter(|(relation, _)| wanted(relation));
        columns.map(|(_, name)| name.clone()).collect()
    }
}

fn starting_with(part: &str, words: impl IntoIterator<Item = String>) -> Vec<String> {
    let part = part.to_lowercase();
    words.into_iter().filter(|word| word.to_lowercase().starts_with(&part)).collect()
}

/// Whether what was entered can be run: a command of the shell, or statements
/// that are all ended by a semicolon.
fn is_complete(input: &str) -> bool {
    let input = input.trim();
    input.starts_with('\\') || matches!(input, "exit" | "quit") || is_blank(split(input).1.text)
}

impl Helper for Assistant {}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(line, pos))
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Owned(format!("\x1b[1m{prompt}\x1b[0m"))
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match is_complete(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assistant() -> Assistant {
        let column = |(relation, name): &(&str, &str)| ((*relation).to_owned(), (*name).to_owned());
        let columns = [("payments", "amount"), ("payments", "card"), ("persons", "age")];
        let names = Names {
            relations: vec!["payments".to_owned(), "persons".to_owned()],
            columns: columns.iter().map(column).collect(),
        };
        Assistant { names }
    }

    fn completed(line: &str) -> (usize, Vec<String>) {
        assistant().candidates(line, line.len())
    }

    #[test]
    fn keywords_follow_the_case_typed() {
        assert_eq!(completed("SEL"), (0, vec!["SELECT".to_owned()]));
        assert_eq!(completed("select * fro"), (9, vec!["from".to_owned()]));
    }

    #[test]
    fn columns_are_those_of_the_relations_named() {
        assert_eq!(completed("SELECT * FROM payments WHERE a").1, ["amount", "alter", "and", "as", "asc"]);
        assert_eq!(completed("SELECT persons."), (15, vec!["age".to_owned()]));
        assert_eq!(completed("SELECT * FROM payments p WHERE p.c"), (33, vec!["card".to_owned()]));
    }

    #[test]
    fn relations_and_the_systems_tables() {
        assert_eq!(completed("SELECT * FROM pay").1, ["payments"]);
        assert_eq!(completed("\\d pers").1, ["persons"]);
        assert_eq!(completed("SELECT * FROM pluvio.job"), (21, vec!["jobs".to_owned()]));
        assert_eq!(completed("\\ti"), (0, vec!["\\timing".to_owned()]));
    }

    #[test]
    fn a_statement_is_complete_at_its_semicolon() {
        assert!(
            is_complete("SELECT 1;")
                && is_complete("")
                && is_complete("\\d x")
                && is_complete("SELECT 1; --")
        );
        assert!(!is_complete("SELECT 1") && !is_complete("SELECT ';") && !is_complete("SELECT 1; SELECT"));
    }
}
