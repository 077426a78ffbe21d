//! Which rows of a chunk have the same leading key columns: a group.
//!
//! The groups stand by the hash of their key. The rows of groups with several
//! stand together, the last of each marked in the highest bit, so that a group is
//! told by where its first row stands. Two keys of one hash may come in turns: then
//! a group is in several pieces, each a group of its own here.

use ahash::RandomState;

use crate::codec::key::{EncodedKeys, Leading};
use crate::options::CHUNK_ROWS_MAX;

const LAST: u32 = 1 << 31;
const _: () = assert!(CHUNK_ROWS_MAX < LAST as usize);

/// By which leading columns of the key a table is grouped.
#[derive(Debug, Clone)]
pub(crate) struct Grouping {
    /// How many columns.
    pub(crate) columns: usize,
    leading: Leading,
    random: RandomState,
}

impl Grouping {
    /// Groups by the first `columns` columns, which are `leading`.
    pub(crate) fn new(columns: usize, leading: Leading) -> Self {
        Self { columns, leading, random: RandomState::new() }
    }

    /// The hash of a group's encoded key: for memory only, it differs between
    /// tables and processes.
    #[inline]
    pub(crate) fn hash(&self, group: &[u8]) -> u32 {
        (self.random.hash_one(group) >> 32) as u32
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Groups {
    heads: Vec<(u32, Place)>,
    rows: Vec<u32>,
}

/// Where the rows of a group are told: its only row, marked, or where the first
/// of several stands.
pub(crate) type Place = u32;

const ONLY: u32 = 1 << 31;

impl Groups {
    /// Groups rows by their keys, which are at most [`CHUNK_ROWS_MAX`].
    pub(crate) fn of(keys: &EncodedKeys, grouping: &Grouping) -> Self {
        let group = |row: u32| grouping.leading.of(keys.get(row as usize));
        let mut order: Vec<u64> = (0..keys.len() as u32)
            .map(|row| u64::from(grouping.hash(group(row))) << 32 | u64::from(row))
            .collect();
        order.sort_unstable();
        let (mut heads, mut rows) = (Vec::new(), Vec::new());
        let mut parts = order.as_slice();
        while let Some(first) = parts.first() {
            let (hash, row) = ((first >> 32) as u32, *first as u32);
            let same = |other: &&u64| (**other >> 32) as u32 == hash && group(**other as u32) == group(row);
            let count = 1 + parts[1..].iter().take_while(same).count();
            if count == 1 {
                heads.push((hash, row | ONLY));
            } else {
                heads.push((hash, rows.len() as u32));
                rows.extend(parts[..count].iter().map(|row| *row as u32));
                rows.last_mut().into_iter().for_each(|last| *last |= LAST);
            }
            parts = &parts[count..];
        }
        heads.shrink_to_fit();
        rows.shrink_to_fit();
        Self { heads, rows }
    }

    /// How many groups.
    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    /// The hash and the place of every group, by hash.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Place)> + '_ {
        self.heads.iter().copied()
    }

    /// The first row of the group at this place.
    #[inline]
    pub(crate) fn first(&self, place: Place) -> usize {
        let row = if place & ONLY == 0 { self.rows[place as usize] } else { place };
        (row & !(ONLY | LAST)) as usize
    }

    /// The rows of the group at this place, ascending.
    #[inline]
    pub(crate) fn rows(&self, place: Place) -> impl Iterator<Item = usize> + '_ {
        let several = if place & ONLY == 0 { &self.rows[place as usize..] } else { &[] };
        let only = (place & ONLY != 0).then_some((place & !ONLY) as usize);
        let mut ended = false;
        let several = several.iter().map_while(move |row| {
            let before = std::mem::replace(&mut ended, row & LAST != 0);
            (!before).then_some((row & !LAST) as usize)
        });
        only.into_iter().chain(several)
    }

    /// Bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.heads.capacity() * size_of::<(u32, Place)>() + self.rows.capacity() * 4
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::datatypes::DataType;

    use super::*;
    use crate::codec::key;

    #[test]
    fn every_row_is_in_the_group_of_its_leading_columns() {
        let texts = (0..1000).map(|row| (row % 5 > 0).then(|| "\0a\0".repeat(row % 7)));
        let texts: ArrayRef = Arc::new(StringArray::from_iter(texts));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter((0..1000).map(|row| Some(row % 3))));
        let rest: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
        let leading = Leading::new([DataType::Utf8, DataType::Int64].iter()).unwrap();
        let grouping = Grouping::new(2, leading);
        let keys = key::encode(&[texts.clone(), numbers.clone(), rest]).unwrap();
        let wanted = key::encode(&[texts, numbers]).unwrap();
        let groups = Groups::of(&keys, &grouping);
        let mut seen = std::collections::BTreeMap::<&[u8], Vec<usize>>::new();
        for (hash, place) in groups.iter() {
            let first = groups.first(place);
            assert_eq!(hash, grouping.hash(wanted.get(first)));
            let rows: Vec<usize> = groups.rows(place).collect();
            assert_eq!(rows[0], first);
            assert!(rows.iter().all(|row| wanted.get(*row) == wanted.get(first)));
            seen.entry(wanted.get(first)).or_default().extend(rows);
        }
        let mut by_key = std::collections::BTreeMap::<&[u8], Vec<usize>>::new();
        (0..1000).for_each(|row| by_key.entry(wanted.get(row)).or_default().push(row));
        assert_eq!(seen, by_key);
        assert_eq!(groups.len(), seen.len());
    }
}
