//! What a failed statement says: the server's message, where in the text the
//! mistake is, and what to do.

use tokio_postgres::error::ErrorPosition;

/// What the server said, or why it could not be asked.
pub fn reason(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(server), _) => server.message().to_owned(),
        (None, Some(source)) => source.to_string(),
        (None, None) => error.to_string(),
    }
}

/// What went wrong with the statement that begins at byte `start` of a text.
pub fn describe(error: &tokio_postgres::Error, sql: &str, start: usize) -> String {
    if error.is_closed() {
        return "the connection is closed; is the platform still running? start it with `pluvio serve`"
            .into();
    }
    let mut text = reason(error);
    let Some(server) = error.as_db_error() else { return text };
    if let Some(ErrorPosition::Original(position)) = server.position() {
        text = pointing(&text, sql, start, usize::try_from(*position).unwrap_or(1));
    }
    for (name, more) in [("detail", server.detail()), ("hint", server.hint())] {
        text += &more.map(|more| format!("\n{name}: {more}")).unwrap_or_default();
    }
    text
}

/// A message with its line, and a caret below the place; `position` counts
/// characters from 1, beginning at byte `start`.
fn pointing(message: &str, sql: &str, start: usize, position: usize) -> String {
    let tail = sql.get(start..).unwrap_or_default();
    let place = tail.char_indices().nth(position.saturating_sub(1));
    let at = place.map_or(sql.len(), |(bytes, _)| start + bytes);
    let before = sql.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    let line = sql.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let (number, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
    let (line, caret) = (line.replace('\t', " "), "^");
    format!("line {number}, column {column}: {message}\n  {line}\n  {caret:>column$}")
}

#[cfg(test)]
mod tests {
    use super::pointing;

    #[test]
    fn errors_point_into_the_text() {
        let sql = "SELECT 1;\nSELECT é, x\nFROM t";
        let expected = "line 2, column 11: no x\n  SELECT é, x\n            ^";
        assert_eq!(pointing("no x", sql, 10, 11), expected);
        assert!(pointing("end", sql, 10, 999).starts_with("line 3, column 7: end\n  FROM t\n"));
    }
}
