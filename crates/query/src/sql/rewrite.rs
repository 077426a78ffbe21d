//! Rewrites on the token stream, for what sqlparser cannot read:
//!
//! - `TABLE(TUMBLE(TABLE t, DESCRIPTOR(c), INTERVAL …))` and `TUMBLE(t, c, INTERVAL …)`
//!   → `TUMBLE('t', 'c', INTERVAL …)`, a plain table function; the other windows alike;
//! - `TUMBLE(DATA => TABLE t, TIMECOL => DESCRIPTOR(c), SIZE => INTERVAL …)` → the same
//!   without the names, in their usual order: `named_arguments.rs`;
//! - `EMIT ON WINDOW CLOSE` → one token that cannot be an alias of what stands
//!   before it;
//! - joins as of a time: `as_of.rs`; windows as functions in GROUP BY: `old_windows.rs`.
//!
//! Tokens keep their places, so errors still point into the user's text.

use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::as_of::as_of;
use super::named_arguments::named_arguments;
use super::old_windows::old_windows;

/// Applies every rewrite.
pub fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    // Comments and blanks carry nothing; without them, lookahead is simple.
    let tokens: Vec<_> = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let tokens = old_windows(as_of(named_arguments(tokens)));
    let mut out = Vec::with_capacity(tokens.len());
    let mut closing = Vec::new();
    let mut depth = 0_usize;
    let mut i = 0;
    while i < tokens.len() {
        if is_word(&tokens, i, "table") && is(&tokens, i + 1, &Token::LParen) && is_window(&tokens, i + 2) {
            depth += 1;
            closing.push(depth);
            i += 2;
            i += window(&tokens, i, &mut out, &mut depth);
            continue;
        }
        if is_table_window(&tokens, i) {
            i += window(&tokens, i, &mut out, &mut depth);
            continue;
        }
        if is_words(&tokens, i, &["emit", "on", "window", "close"]) {
            let span = Span::new(tokens[i].span.start, tokens[i + 3].span.end);
            out.push(TokenWithSpan { token: emit_on_window_close(), span });
            i += 4;
            continue;
        }
        match tokens[i].token {
            Token::LParen => depth += 1,
            Token::RParen => {
                let ends_table = closing.last() == Some(&depth);
                depth = depth.saturating_sub(1);
                if ends_table {
                    closing.pop();
                    i += 1;
                    continue;
                }
            }
            _ => {}
        }
        out.push(tokens[i].clone());
        i += 1;
    }
    out
}

/// What stands for `EMIT ON WINDOW CLOSE`.
pub fn emit_on_window_close() -> Token {
    Token::Placeholder("EMIT ON WINDOW CLOSE".to_owned())
}

pub(super) fn is(tokens: &[TokenWithSpan], i: usize, token: &Token) -> bool {
    tokens.get(i).is_some_and(|t| t.token == *token)
}

pub(super) fn is_word(tokens: &[TokenWithSpan], i: usize, word: &str) -> bool {
    matches!(tokens.get(i).map(|t| &t.token), Some(Token::Word(w)) if w.value.eq_ignore_ascii_case(word))
}

pub(super) fn is_words(tokens: &[TokenWithSpan], i: usize, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(n, word)| is_word(tokens, i + n, word))
}

pub(super) fn is_window(tokens: &[TokenWithSpan], i: usize) -> bool {
    let named = ["tumble", "hop", "cumulate", "session"].iter().any(|name| is_word(tokens, i, name));
    named && is(tokens, i + 1, &Token::LParen)
}

/// Whether a window over a table begins here.
pub(super) fn is_table_window(tokens: &[TokenWithSpan], i: usize) -> bool {
    is_window(tokens, i) && (is_word(tokens, i + 2, "table") || are_names(tokens, i + 2))
}

/// Whether two names stand here, with commas.
fn are_names(tokens: &[TokenWithSpan], i: usize) -> bool {
    [i, i + 2].iter().all(|i| literal(tokens, *i).is_some() && is(tokens, i + 1, &Token::Comma))
}

/// Copies `TUMBLE ( [TABLE] name , DESCRIPTOR ( column )`, or the two names
/// alone, with both as string literals; returns how many tokens it took.
fn window(tokens: &[TokenWithSpan], start: usize, out: &mut Vec<TokenWithSpan>, depth: &mut usize) -> usize {
    let name = tokens[start].token.to_string().to_lowercase();
    out.push(TokenWithSpan { token: Token::make_word(&name, None), span: tokens[start].span });
    out.push(tokens[start + 1].clone());
    *depth += 1;
    let mut i = start + 2;
    if is_word(tokens, i, "table") {
        i += 1;
    }
    if let Some(name) = literal(tokens, i) {
        out.push(name);
        i += 1;
    }
    let mut keys = Vec::new();
    if is_word(tokens, i, "partition") && is_word(tokens, i + 1, "by") {
        i += 2;
        while !(is(tokens, i, &Token::Comma) && is_word(tokens, i + 1, "descriptor")) && i < tokens.len() {
            keys.extend(literal(tokens, i));
            i += 1;
        }
    }
    if is(tokens, i, &Token::Comma)
        && is_word(tokens, i + 1, "descriptor")
        && is(tokens, i + 2, &Token::LParen)
    {
        out.push(tokens[i].clone());
        if let Some(column) = literal(tokens, i + 3) {
            out.push(column);
        }
        i += 5;
        if !keys.is_empty() {
            i += interval_then_keys(&tokens[i..], &keys, out);
        }
    } else if is(tokens, i, &Token::Comma)
        && let Some(column) = literal(tokens, i + 1)
    {
        out.push(tokens[i].clone());
        out.push(column);
        i += 2;
    }
    i - start
}

/// Copies the arguments up to the closing bracket and the keys behind them;
/// returns how many tokens it took.
fn interval_then_keys(
    tokens: &[TokenWithSpan],
    keys: &[TokenWithSpan],
    out: &mut Vec<TokenWithSpan>,
) -> usize {
    let mut depth = 0_usize;
    let mut taken = 0;
    for token in tokens {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => break,
            Token::RParen => depth -= 1,
            _ => {}
        }
        out.push(token.clone());
        taken += 1;
    }
    for key in keys {
        out.push(TokenWithSpan { token: Token::Comma, span: key.span });
        out.push(key.clone());
    }
    taken
}

fn literal(tokens: &[TokenWithSpan], i: usize) -> Option<TokenWithSpan> {
    let token = tokens.get(i)?;
    let Token::Word(word) = &token.token else { return None };
    let name = if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() };
    Some(TokenWithSpan { token: Token::SingleQuotedString(name), span: token.span })
}
