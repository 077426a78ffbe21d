//! Random queries. Every relation has the columns `a` and `b` (numbers) and `c`
//! (a text), so that any operator can stand on any other.

use std::fmt::{Display, Formatter, Result};

use pluvio_foundation::Random;

/// A query over the streams `one` and `two`.
#[derive(Debug, Clone)]
pub enum Query {
    /// A stream, or a view made before.
    Named(String),
    /// Over the streams' event time.
    Timed(&'static str),
    Filter(Box<Query>, &'static str),
    Map(Box<Query>, &'static str),
    /// UNION, UNION ALL, INTERSECT, EXCEPT.
    Set(Box<Query>, &'static str, Box<Query>),
    Distinct(Box<Query>),
    /// What is computed, and the rest of the clause.
    Group(Box<Query>, &'static str, &'static str),
    /// The kind, and what must hold besides `l.a = r.a`.
    Join(Box<Query>, &'static str, Box<Query>, &'static str),
    /// Each row with the nearest of another side, by `b`: the kind, and how `b` is
    /// compared.
    AsOf(Box<Query>, &'static str, Box<Query>, &'static str),
    /// Rows for which there are others.
    Exists(Box<Query>, &'static str, Box<Query>),
    /// Rows compared with one value of others.
    Above(Box<Query>, &'static str, Box<Query>),
    /// The first rows of each `a`.
    Top(Box<Query>, &'static str, u64),
    /// A function over the rows of each `a`.
    Over(Box<Query>, &'static str),
}

use Query::{Above, AsOf, Distinct, Exists, Filter, Group, Join, Map, Named, Over, Set, Timed, Top};

const TIMED: &[&str] = &[
    "SELECT a, count(*) AS b, max(c) AS c FROM TABLE(TUMBLE(TABLE one, DESCRIPTOR(at), INTERVAL '4' SECOND)) \
     GROUP BY window_start, window_end, a",
    "SELECT a, sum(b) AS b, c FROM TABLE(HOP(TABLE two, DESCRIPTOR(at), INTERVAL '2' SECOND, INTERVAL '6' SECOND)) \
     GROUP BY window_start, window_end, a, c",
    "SELECT a, count(DISTINCT b) AS b, min(c) AS c \
     FROM TABLE(CUMULATE(TABLE one, DESCRIPTOR(at), INTERVAL '3' SECOND, INTERVAL '9' SECOND)) \
     GROUP BY window_start, window_end, a",
    "SELECT a, count(*) AS b, max(c) AS c \
     FROM TABLE(SESSION(TABLE two PARTITION BY a, DESCRIPTOR(at), INTERVAL '1' SECOND)) \
     GROUP BY window_start, window_end, a",
    "SELECT l.a, r.b, l.c FROM one l JOIN two r ON l.a = r.a \
     AND r.at BETWEEN l.at - INTERVAL '2' SECOND AND l.at + INTERVAL '1' SECOND",
    "SELECT l.a, l.b, r.c FROM two l LEFT JOIN one r ON l.a = r.a AND r.at BETWEEN l.at AND l.at + INTERVAL '2' SECOND",
    "SELECT a, count(*) OVER (PARTITION BY a ORDER BY at RANGE BETWEEN INTERVAL '2' SECOND PRECEDING AND CURRENT ROW) AS b, c \
     FROM one",
];
const FILTERS: &[&str] = &["b > 3", "a = 2", "c IS NOT NULL", "c <> 'x' AND b < 8", "a IS NULL OR b % 2 = 0"];
const MAPS: &[&str] =
    &["a, a + b AS b, c", "b % 4 AS a, b, upper(c) AS c", "a, -b AS b, coalesce(c, 'none') AS c"];
const SETS: &[&str] = &["UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT"];
const GROUPS: &[(&str, &str)] = &[
    ("a, sum(b) AS b, min(c) AS c", "GROUP BY a"),
    ("a, count(*) AS b, max(c) AS c", "GROUP BY a"),
    ("a, count(b) AS b, c", "GROUP BY a, c"),
    ("a, count(DISTINCT b) AS b, c", "GROUP BY a, c HAVING count(*) > 1"),
    ("a, sum(b) FILTER (WHERE b > 2) AS b, c", "GROUP BY a, c"),
    ("a, sum(DISTINCT b) AS b, max(c) AS c", "GROUP BY a"),
    ("count(*) AS a, sum(b) AS b, min(c) AS c", ""),
    ("count(DISTINCT a) AS a, max(b) AS b, cast(NULL AS VARCHAR) AS c", ""),
    ("a, cast(avg(b) * 12 AS BIGINT) AS b, c", "GROUP BY a, c"),
    ("a, max(b) - min(b) AS b, string_agg(c, '-' ORDER BY c, b) AS c", "GROUP BY a"),
    ("a, cast(median(b) AS BIGINT) AS b, cast(count(c) AS VARCHAR) AS c", "GROUP BY a HAVING min(b) < 6"),
    ("a, sum(b) AS b, c", "GROUP BY ROLLUP (a, c)"),
    ("a, count(*) AS b, c", "GROUP BY CUBE (a, c) HAVING count(b) <> 2"),
    ("a, count(DISTINCT b) * 2 + grouping(a) AS b, c", "GROUP BY GROUPING SETS ((a, c), (c), (a), (c), ())"),
];
const JOINS: &[&str] = &["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"];
const CONDITIONS: &[&str] = &["", "", " AND l.b < r.b", " AND l.c = r.c"];
const ORDERS: &[&str] = &[
    "ROW_NUMBER() OVER (PARTITION BY a ORDER BY b DESC, c)",
    "RANK() OVER (PARTITION BY a ORDER BY b)",
    "DENSE_RANK() OVER (PARTITION BY c ORDER BY a, b)",
    "ROW_NUMBER() OVER (ORDER BY b, a, c)",
];
const OVERS: &[&str] = &[
    "sum(b) OVER (PARTITION BY a ORDER BY b, c)",
    "count(*) OVER (PARTITION BY a)",
    "sum(b) OVER (PARTITION BY c ORDER BY b, a ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)",
    "lag(b) OVER (PARTITION BY a ORDER BY b, c)",
    "cast(first_value(b) OVER (PARTITION BY a ORDER BY b, c) AS BIGINT)",
    "max(b) OVER (PARTITION BY a ORDER BY b RANGE BETWEEN 2 PRECEDING AND CURRENT ROW)",
];

impl Query {
    /// A query of at most this depth over these names.
    pub fn random(random: &dyn Random, depth: u64, names: &[String]) -> Self {
        let below = |limit: usize| (random.next_u64() % limit as u64) as usize;
        let chosen = |of: &[&'static str]| of[below(of.len())];
        let inner = || Box::new(Self::random(random, depth - 1, names));
        if depth == 0 || below(8) == 0 {
            return match below(5) {
                0 => Timed(chosen(TIMED)),
                _ => Named(names[below(names.len())].clone()),
            };
        }
        match below(14) {
            0 => Filter(inner(), chosen(FILTERS)),
            1 => Map(inner(), chosen(MAPS)),
            2 | 3 => Set(inner(), chosen(SETS), inner()),
            4 => Distinct(inner()),
            5..=7 => {
                let (what, by) = GROUPS[below(GROUPS.len())];
                Group(inner(), what, by)
            }
            8 if below(2) == 0 => {
                AsOf(inner(), chosen(&["", "LEFT"]), inner(), chosen(&[">=", ">", "<=", "<"]))
            }
            8 | 9 => Join(inner(), chosen(JOINS), inner(), chosen(CONDITIONS)),
            10 => Exists(inner(), chosen(&["EXISTS", "NOT EXISTS", "IN", "NOT IN", "NOT IN OF"]), inner()),
            11 => Above(inner(), chosen(&["max(b) - 2", "avg(b)", "count(*) / 2"]), inner()),
            12 => Top(inner(), chosen(ORDERS), 1 + random.next_u64() % 3),
            _ => Over(inner(), chosen(OVERS)),
        }
    }

    /// The queries that this one stands on.
    pub fn parts(&self) -> Vec<&Self> {
        match self {
            Named(_) | Timed(_) => Vec::new(),
            Filter(of, _) | Map(of, _) | Distinct(of) | Group(of, ..) | Top(of, ..) | Over(of, _) => vec![of],
            Set(l, _, r) | Join(l, _, r, _) | AsOf(l, _, r, _) | Exists(l, _, r) | Above(l, _, r) => {
                vec![l, r]
            }
        }
    }

    /// The streams that it reads; `None` if it reads views or windows of a stream, whose
    /// events cannot be chosen.
    pub fn streams(&self) -> Option<Vec<&str>> {
        match self {
            Named(name) if name.starts_with("view") => None,
            Named(name) => Some(vec![name]),
            Timed(_) => None,
            _ => {
                let parts = self.parts().into_iter().map(Self::streams);
                Some(parts.collect::<Option<Vec<_>>>()?.concat())
            }
        }
    }

    /// Simpler queries: a part alone, or with a part of a part in its place.
    pub fn simpler(&self) -> Vec<Self> {
        let mut simpler: Vec<Self> = self.parts().into_iter().cloned().collect();
        for (place, part) in self.parts().into_iter().enumerate() {
            simpler.extend(part.simpler().into_iter().map(|part| self.with(place, part)));
        }
        simpler
    }

    fn with(&self, place: usize, part: Self) -> Self {
        let mut changed = self.clone();
        let slot = match &mut changed {
            Named(_) | Timed(_) => return changed,
            Filter(of, _) | Map(of, _) | Distinct(of) | Group(of, ..) | Top(of, ..) | Over(of, _) => of,
            Set(l, _, r) | Join(l, _, r, _) | AsOf(l, _, r, _) | Exists(l, _, r) | Above(l, _, r) => {
                if place == 0 { l } else { r }
            }
        };
        **slot = part;
        changed
    }
}

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Named(name) => write!(f, "SELECT a, b, c FROM {name}"),
            Timed(text) => write!(f, "{text}"),
            Filter(of, condition) => write!(f, "SELECT a, b, c FROM ({of}) AS q WHERE {condition}"),
            Map(of, columns) => write!(f, "SELECT {columns} FROM ({of}) AS q"),
            Set(l, kind, r) => {
                write!(f, "SELECT a, b, c FROM ({l}) AS l {kind} SELECT a, b, c FROM ({r}) AS r")
            }
            Distinct(of) => write!(f, "SELECT DISTINCT a, b, c FROM ({of}) AS q"),
            Group(of, what, by) => write!(f, "SELECT {what} FROM ({of}) AS q {by}"),
            Join(l, kind, r, condition) => write!(
                f,
                "SELECT l.a, coalesce(r.b, l.b) AS b, coalesce(l.c, r.c) AS c FROM ({l}) AS l {kind} ({r}) AS r \
                 ON l.a = r.a{condition}"
            ),
            AsOf(l, kind, r, compared) => write!(
                f,
                "SELECT l.a, coalesce(r.b, l.b) AS b, coalesce(r.c, l.c) AS c FROM ({l}) AS l ASOF {kind} JOIN ({r}) AS r \
                 ON l.a = r.a AND l.b {compared} r.b"
            ),
            Exists(l, "IN", r) => {
                write!(f, "SELECT a, b, c FROM ({l}) AS l WHERE b IN (SELECT r.b FROM ({r}) AS r)")
            }
            Exists(l, "NOT IN", r) => {
                write!(f, "SELECT a, b, c FROM ({l}) AS l WHERE b NOT IN (SELECT r.b FROM ({r}) AS r)")
            }
            Exists(l, "NOT IN OF", r) => write!(
                f,
                "SELECT a, b, c FROM ({l}) AS l WHERE b NOT IN (SELECT r.b FROM ({r}) AS r WHERE r.a = l.a)"
            ),
            Exists(l, kind, r) => {
                write!(
                    f,
                    "SELECT a, b, c FROM ({l}) AS l WHERE {kind} (SELECT 1 FROM ({r}) AS r WHERE r.a = l.a)"
                )
            }
            Above(l, of, r) => {
                write!(f, "SELECT a, b, c FROM ({l}) AS l WHERE b > (SELECT {of} FROM ({r}) AS r)")
            }
            Top(of, order, count) => {
                write!(
                    f,
                    "SELECT a, b, c FROM (SELECT a, b, c, {order} AS place FROM ({of}) AS q) AS p WHERE place <= {count}"
                )
            }
            Over(of, function) => write!(f, "SELECT a, {function} AS b, c FROM ({of}) AS q"),
        }
    }
}
