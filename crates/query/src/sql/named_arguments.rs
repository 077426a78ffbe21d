//! A rewrite on the token stream: arguments of windows that are given by name, as in
//! `HOP(DATA => TABLE t, TIMECOL => DESCRIPTOR(c), SLIDE => …, SIZE => …)`, become
//! arguments in their usual order.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::as_of::bracket;
use super::rewrite::{is, is_window, is_word};

/// The names, and the place of each among the arguments.
const PLACES: &[(&str, usize)] =
    &[("data", 0), ("timecol", 1), ("slide", 2), ("step", 2), ("gap", 2), ("size", 3), ("offset", 4)];

/// Applies it.
pub fn named_arguments(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|token| token.token == Token::RArrow) {
        return tokens;
    }
    let mut out = Vec::with_capacity(tokens.len());
    let mut i = 0;
    while i < tokens.len() {
        if is_window(&tokens, i) && place(&tokens, i + 2).is_some() {
            let end = bracket(&tokens, i + 1);
            if let Some(mut arguments) = arguments(&tokens[i + 2..end.saturating_sub(1)]) {
                arguments.sort_by_key(|(place, _)| *place);
                out.extend_from_slice(&tokens[i..i + 2]);
                for (position, (_, argument)) in arguments.into_iter().enumerate() {
                    let comma = TokenWithSpan { token: Token::Comma, span: tokens[i].span };
                    out.extend((position > 0).then_some(comma));
                    out.extend_from_slice(argument);
                }
                i = end - 1;
                continue;
            }
        }
        out.push(tokens[i].clone());
        i += 1;
    }
    out
}

/// The arguments between the brackets, each with its place; `None` if one has no name.
fn arguments(tokens: &[TokenWithSpan]) -> Option<Vec<(usize, &[TokenWithSpan])>> {
    let mut depth = 0_usize;
    let parts = tokens.split(|token| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.token == Token::Comma
    });
    parts.map(|part| Some((place(part, 0)?, &part[2..]))).collect()
}

/// The place of the argument whose name stands here.
fn place(tokens: &[TokenWithSpan], i: usize) -> Option<usize> {
    let named = is(tokens, i + 1, &Token::RArrow);
    PLACES.iter().find(|(name, _)| named && is_word(tokens, i, name)).map(|(_, place)| *place)
}
