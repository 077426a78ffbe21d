//! Rewrites on the token stream, for joins as of a time:
//!
//! - `ASOF [LEFT] JOIN t ON …` → `[LEFT] JOIN t ON marker() AND …`;
//! - `ASOF JOIN t MATCH_CONDITION (a.x >= t.y) ON …` → `LEFT JOIN t ON marker() AND
//!   (a.x >= t.y) AND …`, which keeps rows without a partner, as it does where this
//!   spelling comes from;
//! - `JOIN t FOR SYSTEM_TIME AS OF x [AS] name ON …` → `JOIN t name ON marker(x) AND …`.
//!
//! What the marker means is found where names are known, in `plan/as_of.rs`.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::rewrite::{is, is_word, is_words};

/// The function that marks a join as of a time: of the other side's own time, or
/// with the time as argument.
pub const MARKER: &str = "$as_of";

/// Words that cannot be the name of what stands before them.
const NO_NAMES: &[&str] = &[
    "on",
    "using",
    "join",
    "inner",
    "left",
    "right",
    "full",
    "cross",
    "natural",
    "asof",
    "where",
    "group",
    "having",
    "order",
    "limit",
    "union",
    "intersect",
    "except",
    "emit",
    "window",
    "qualify",
];

/// Applies them.
pub fn as_of(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let none = !(0..tokens.len()).any(|i| is_word(&tokens, i, "asof") || is_word(&tokens, i, "system_time"));
    if none {
        return tokens;
    }
    let mut out = Vec::with_capacity(tokens.len() + 8);
    // For each ON to come that belongs to an ASOF JOIN, its place.
    let mut marked: Vec<usize> = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        if let Some(join) = AsOfJoin::at(&tokens, i) {
            if join.left {
                out.push(word("LEFT", &tokens[i]));
            }
            marked.push(join.condition);
            i = join.table;
            out.push(word("JOIN", &tokens[i - 1]));
            continue;
        }
        if marked.contains(&i) {
            i = condition(&tokens, i, &mut out);
            continue;
        }
        if is_words(&tokens, i, &["for", "system_time", "as", "of"]) {
            i = system_time(&tokens, i, &mut out);
            continue;
        }
        out.push(tokens[i].clone());
        i += 1;
    }
    out
}

/// Where the parts of an `ASOF JOIN` stand.
struct AsOfJoin {
    left: bool,
    table: usize,
    /// ON or MATCH_CONDITION.
    condition: usize,
}

impl AsOfJoin {
    /// The join that begins here. One without a condition is left to the parser,
    /// which misses it.
    fn at(tokens: &[TokenWithSpan], i: usize) -> Option<Self> {
        if !is_word(tokens, i, "asof") {
            return None;
        }
        let left = is_word(tokens, i + 1, "left");
        let mut table = i + 1 + usize::from(left || is_word(tokens, i + 1, "inner"));
        table += usize::from(left && is_word(tokens, table, "outer"));
        if !is_word(tokens, table, "join") {
            return None;
        }
        table += 1;
        let mut depth = 0_usize;
        for place in table..tokens.len() {
            match tokens[place].token {
                Token::LParen => depth += 1,
                Token::RParen if depth == 0 => return None,
                Token::RParen => depth -= 1,
                Token::SemiColon => return None,
                _ if depth > 0 => {}
                _ if is_word(tokens, place, "on") => return Some(Self { left, table, condition: place }),
                _ if is_word(tokens, place, "match_condition") => {
                    return Some(Self { left: true, table, condition: place });
                }
                _ if ["join", "where", "using"].iter().any(|end| is_word(tokens, place, end)) => return None,
                _ => {}
            }
        }
        None
    }
}

/// Copies `ON` with the marker behind it, or makes an ON of `MATCH_CONDITION ( … )
/// [ON]`; returns the place behind.
fn condition(tokens: &[TokenWithSpan], i: usize, out: &mut Vec<TokenWithSpan>) -> usize {
    out.push(word("ON", &tokens[i]));
    marker(&tokens[i], &[], out);
    out.push(word("AND", &tokens[i]));
    if is_word(tokens, i, "on") {
        return i + 1;
    }
    let end = bracket(tokens, i + 1);
    out.extend_from_slice(&tokens[i + 1..end]);
    if is_word(tokens, end, "on") {
        out.push(word("AND", &tokens[end]));
        return end + 1;
    }
    end
}

/// Moves `FOR SYSTEM_TIME AS OF x` into the condition behind it; returns the place
/// behind.
fn system_time(tokens: &[TokenWithSpan], start: usize, out: &mut Vec<TokenWithSpan>) -> usize {
    let first = start + 4;
    let mut i = first + 1;
    while is(tokens, i, &Token::Period) {
        i += 2;
    }
    i = bracket(tokens, i).min(tokens.len());
    let instant = tokens.get(first..i).unwrap_or_default();
    if is_word(tokens, i, "as") {
        i += 1;
    }
    let is_name = |i: usize| {
        matches!(tokens.get(i).map(|t| &t.token), Some(Token::Word(_)))
            && !NO_NAMES.iter().any(|other| is_word(tokens, i, other))
    };
    if is_name(i) {
        out.push(tokens[i].clone());
        i += 1;
    }
    if !is_word(tokens, i, "on") {
        // No statement goes on like this: the parser tells.
        let text = "FOR SYSTEM_TIME AS OF, which stands in a JOIN … ON".to_owned();
        out.push(TokenWithSpan { token: Token::Placeholder(text), span: tokens[start].span });
        return i;
    }
    out.push(tokens[i].clone());
    let now: Vec<TokenWithSpan>;
    let instant = match is_word(instant, 0, "proctime") {
        true => {
            now = vec![
                word("now", &tokens[first]),
                symbol(Token::LParen, &tokens[first]),
                symbol(Token::RParen, &tokens[first]),
            ];
            now.as_slice()
        }
        false => instant,
    };
    marker(&tokens[i], instant, out);
    out.push(word("AND", &tokens[i]));
    i + 1
}

/// The place behind the brackets that begin here, if any do.
pub(super) fn bracket(tokens: &[TokenWithSpan], start: usize) -> usize {
    if !is(tokens, start, &Token::LParen) {
        return start;
    }
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate().skip(start) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth <= 1 => return place + 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

fn marker(at: &TokenWithSpan, arguments: &[TokenWithSpan], out: &mut Vec<TokenWithSpan>) {
    out.push(symbol(Token::make_word(MARKER, Some('"')), at));
    out.push(symbol(Token::LParen, at));
    out.extend_from_slice(arguments);
    out.push(symbol(Token::RParen, at));
}

fn word(text: &str, at: &TokenWithSpan) -> TokenWithSpan {
    symbol(Token::make_word(text, None), at)
}

fn symbol(token: Token, at: &TokenWithSpan) -> TokenWithSpan {
    TokenWithSpan { token, span: at.span }
}
