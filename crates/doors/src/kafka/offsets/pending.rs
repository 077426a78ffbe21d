//! Offsets that are committed as part of a transaction: nobody sees them until
//! it ends.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Committed, Place};

/// All pending offsets, by place and producer.
#[derive(Debug, Default)]
pub(super) struct Pending {
    by_place: BTreeMap<Place, BTreeMap<i64, Committed>>,
    by_producer: BTreeMap<i64, BTreeSet<Place>>,
    entries: usize,
}

impl Pending {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Takes a change in.
    pub fn apply(&mut self, producer_id: i64, place: Place, value: Option<Committed>) {
        let Some(committed) = value else {
            self.remove(producer_id, &place);
            return;
        };
        self.by_producer.entry(producer_id).or_default().insert(place.clone());
        if self.by_place.entry(place).or_default().insert(producer_id, committed).is_none() {
            self.entries += 1;
        }
    }

    fn remove(&mut self, producer_id: i64, place: &Place) {
        if let Some(of_place) = self.by_place.get_mut(place) {
            self.entries -= usize::from(of_place.remove(&producer_id).is_some());
            if of_place.is_empty() {
                self.by_place.remove(place);
            }
        }
        if let Some(of_producer) = self.by_producer.get_mut(&producer_id) {
            of_producer.remove(place);
            if of_producer.is_empty() {
                self.by_producer.remove(&producer_id);
            }
        }
    }

    /// Whether a transaction may yet change this committed offset.
    pub fn has(&self, place: &Place) -> bool {
        self.by_place.contains_key(place)
    }

    /// What the transaction of a producer is to commit.
    pub fn of_producer(&self, producer_id: i64) -> Vec<(Place, Committed)> {
        let places = self.by_producer.get(&producer_id).into_iter().flatten();
        let one = |place: &Place| {
            let committed = self.by_place.get(place)?.get(&producer_id)?;
            Some((place.clone(), committed.clone()))
        };
        places.filter_map(one).collect()
    }

    /// The producers that have any.
    pub fn producers(&self) -> Vec<i64> {
        self.by_producer.keys().copied().collect()
    }

    /// All of them: producer, place, value.
    pub fn all(&self) -> Vec<(i64, Place, Committed)> {
        let all = self.by_place.iter().flat_map(|(place, of_place)| {
            of_place
                .iter()
                .map(move |(producer_id, committed)| (*producer_id, place.clone(), committed.clone()))
        });
        all.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_every_change() {
        let mut pending = Pending::default();
        let at = |partition| Place { group: "g".into(), topic: "t".into(), partition };
        let committed = |offset| Committed {
            topic_id: [0; 16],
            offset,
            leader_epoch: 0,
            committed_at_ms: 0,
            note: String::new(),
        };
        pending.apply(1, at(0), Some(committed(5)));
        pending.apply(1, at(0), Some(committed(6)));
        pending.apply(2, at(0), Some(committed(7)));
        pending.apply(1, at(1), Some(committed(8)));
        assert_eq!((pending.len(), pending.producers()), (3, vec![1, 2]));
        assert_eq!(pending.of_producer(1), [(at(0), committed(6)), (at(1), committed(8))]);
        pending.apply(1, at(0), None);
        pending.apply(1, at(9), None);
        assert!(pending.has(&at(0)), "the other producer's");
        pending.apply(2, at(0), None);
        pending.apply(1, at(1), None);
        assert!(!pending.has(&at(0)) && pending.all().is_empty() && pending.len() == 0);
    }
}
