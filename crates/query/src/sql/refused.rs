//! What people know from other dialects and this one spells in another way: refused
//! with that spelling, where the parser or the planner would only say what it found.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Query, TableFactor, Visit, Visitor};

use crate::QueryError;

/// Words that the parser stumbles over, and what to write instead.
const SPELLINGS: &[(&str, &str)] = &[
    (
        "MATCH_RECOGNIZE",
        "MATCH_RECOGNIZE is not supported: compare rows with LAG, LEAD or ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) \
         in a nested SELECT, and filter that",
    ),
    (
        "FORMAT",
        "FORMAT … ENCODE … is spelt as an option here: WITH (format = 'json'); changes = 'upsert' stands for FORMAT UPSERT, \
         format = 'debezium' for FORMAT DEBEZIUM",
    ),
    (
        "SESSION",
        "SESSION WITH GAP is spelt TABLE(SESSION(TABLE t PARTITION BY key, DESCRIPTOR(time), INTERVAL '10' SECOND)), \
         grouped by its window_start and window_end",
    ),
    (
        "WITHIN",
        "a join within a time is JOIN t ON a.k = t.k AND t.at BETWEEN a.at AND a.at + INTERVAL '10' SECOND",
    ),
];

/// A parser's error, with the way out if there is one.
pub fn with_spelling(error: QueryError) -> QueryError {
    let found = |word: &str| {
        let message = error.message();
        message.ends_with(&format!("found: {word}")) || message.ends_with(&format!("found {word}"))
    };
    let Some((_, spelling)) = SPELLINGS.iter().find(|(word, _)| found(word)) else { return error };
    let better = QueryError::unsupported(*spelling);
    match error.position() {
        Some(position) => better.at(position),
        None => better,
    }
}

/// Fails if a statement has a clause that is spelt in another way here.
///
/// # Errors
/// What to write instead.
pub fn check<T: Visit>(statement: &T) -> Result<(), QueryError> {
    match statement.visit(&mut Clauses) {
        ControlFlow::Break(spelling) => Err(QueryError::unsupported(spelling)),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Clauses;

impl Visitor for Clauses {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<&'static str> {
        match query.fetch {
            Some(_) => ControlFlow::Break("FETCH FIRST n ROWS is spelt LIMIT n"),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<&'static str> {
        ControlFlow::Break(match table {
            TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => {
                "PIVOT is not supported: write sum(x) FILTER (WHERE kind = 'a') AS a for each column; and for UNPIVOT, \
                 UNION ALL"
            }
            TableFactor::Table { sample: Some(_), .. } => {
                "TABLESAMPLE is not supported: filter by a column, for instance WHERE id % 10 = 0"
            }
            TableFactor::Table { with_hints, .. } if !with_hints.is_empty() => {
                "a table in FROM takes no WITH (…): options belong to CREATE"
            }
            _ => return ControlFlow::Continue(()),
        })
    }
}
