//! Rewrites on the token stream, for windows as functions in GROUP BY:
//!
//! - `TUMBLE(time, size)` → `TUMBLE_START(time, size)`, and `TUMBLE_END(time, size)` →
//!   `(TUMBLE_START(time, size) + size)`, so that it is made of what is grouped by;
//! - `HOP(…)`, `SESSION(…)` and their edges → a function that says what to write: of
//!   these an event is in several windows, or in one that moves.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::as_of::bracket;
use super::rewrite::{is, is_table_window, is_word};

/// The function that stands for windows that GROUP BY cannot make.
pub const GROUP_WINDOW: &str = "$group_window";

const OTHERS: &[&str] =
    &["hop", "cumulate", "session", "hop_start", "hop_end", "session_start", "session_end", "hop_rowtime"];

/// Applies them.
pub fn old_windows(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut i = 0;
    while i < tokens.len() {
        let call = is(&tokens, i + 1, &Token::LParen);
        if call && is_word(&tokens, i, "tumble_end") {
            let end = bracket(&tokens, i + 1);
            tumble_end(&tokens[i..end], &mut out);
            i = end;
            continue;
        }
        let here = |token: Token| TokenWithSpan { token, span: tokens[i].span };
        out.push(match call && !is_table_window(&tokens, i) {
            true if is_word(&tokens, i, "tumble") => here(Token::make_word("tumble_start", None)),
            true if OTHERS.iter().any(|name| is_word(&tokens, i, name)) => {
                here(Token::make_word(GROUP_WINDOW, Some('"')))
            }
            _ => tokens[i].clone(),
        });
        i += 1;
    }
    out
}

/// A call of `TUMBLE_END` as the start and the size.
fn tumble_end(call: &[TokenWithSpan], out: &mut Vec<TokenWithSpan>) {
    let mut depth = 0_usize;
    let comma = call.iter().position(|token| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 1 && token.token == Token::Comma
    });
    let (Some(comma), Some(first), Some(last)) = (comma, call.first(), call.last()) else {
        out.extend_from_slice(call);
        return;
    };
    let at = |token: Token, place: &TokenWithSpan| TokenWithSpan { token, span: place.span };
    out.push(at(Token::LParen, first));
    out.push(at(Token::make_word("tumble_start", None), first));
    out.extend_from_slice(&call[1..]);
    out.push(at(Token::Plus, last));
    out.extend_from_slice(&call[comma + 1..call.len() - 1]);
    out.push(at(Token::RParen, last));
}
