//! Guessing which name was meant.

/// The candidate that is nearest to `written`, if any is near.
pub(crate) fn nearest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_ascii_lowercase().replace(['-', '.'], "_");
    let ranked = candidates.map(|candidate| (distance(&written, candidate), candidate));
    let (distance, candidate) = ranked.min_by_key(|(distance, _)| *distance)?;
    (distance <= (candidate.len() / 3).max(2)).then_some(candidate)
}

/// How many letters to add, remove or replace to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    // Distances from what was seen of `a` to each start of `b`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, steps) in
            [("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(a, b), steps, "{a} {b}");
            assert_eq!(distance(b, a), steps, "{b} {a}");
        }
    }

    #[test]
    fn near_names_are_found_and_far_ones_not() {
        let names = ["data_dir", "kafka_listen", "role"];
        assert_eq!(nearest("datadir", names.into_iter()), Some("data_dir"));
        assert_eq!(nearest("Kafka-Listen", names.into_iter()), Some("kafka_listen"));
        assert_eq!(nearest("rule", names.into_iter()), Some("role"));
        assert_eq!(nearest("memory_tables_bytes", names.into_iter()), None);
    }
}
