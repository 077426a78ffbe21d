//! Which rows of a span may go, and which leave memory only.

use super::{Entry, SpanState};
use crate::options::SpanRetention;

impl SpanState {
    /// Adds an append.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.rows += entry.rows;
        self.kept_bytes += entry.bytes;
        self.memory_bytes += entry.bytes;
        self.last_tag = Some(entry.tag);
        self.entries.push_back(entry);
    }

    /// Lets the oldest entries go while they are too old or too many bytes and
    /// nobody holds them; then lets held ones leave memory. The newest append
    /// always stays.
    pub(crate) fn evict(&mut self, retention: &SpanRetention, now_ms: i64) {
        let held_after = self.holds.values().min().copied();
        while self.entries.len() > 1
            && let Some(oldest) = self.entries.front()
        {
            let held = held_after.is_some_and(|after| oldest.tag > after);
            let aged = retention.age_ms.is_some_and(|age| now_ms.saturating_sub(oldest.time_ms) > age);
            if held || !(aged || self.kept_bytes > retention.bytes_max) {
                break;
            }
            self.rows -= oldest.rows;
            self.kept_bytes -= oldest.bytes;
            match self.on_disk.checked_sub(1) {
                Some(fewer) => self.on_disk = fewer,
                None => self.memory_bytes -= oldest.bytes,
            }
            self.entries.pop_front();
        }
        while self.memory_bytes > retention.bytes_max && self.on_disk + 1 < self.entries.len() {
            let entry = &mut self.entries[self.on_disk];
            entry.batch = None;
            self.memory_bytes -= entry.bytes;
            self.on_disk += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::segment::Place;

    fn entry(tag: u64, time_ms: i64) -> Entry {
        let place = Place { segment: 0, position: tag };
        Entry { tag, time_ms, rows: 1, bytes: 10, place, batch: None }
    }

    #[test]
    fn age_size_and_holds() {
        let mut state = SpanState::default();
        (1..=10).for_each(|tag| state.push(entry(tag, tag as i64 * 100)));
        let by_age = SpanRetention { age_ms: Some(500), bytes_max: 1000 };
        state.evict(&by_age, 1000);
        assert_eq!(state.entries.front().unwrap().tag, 5);
        state.holds.insert("sink".into(), 6);
        let by_size = SpanRetention { age_ms: None, bytes_max: 20 };
        state.evict(&by_size, 1000);
        assert_eq!((state.entries.front().unwrap().tag, state.entries.len()), (7, 4));
        assert_eq!((state.on_disk, state.memory_bytes, state.kept_bytes), (2, 20, 40));
        state.holds.clear();
        state.evict(&by_size, 1000);
        assert_eq!((state.entries.len(), state.on_disk, state.memory_bytes, state.rows), (2, 0, 20, 2));
        state.evict(&SpanRetention { age_ms: Some(0), bytes_max: 0 }, 1_000_000);
        assert_eq!((state.entries.len(), state.last_tag), (1, Some(10)));
    }
}
