//! Which rows of a chunk have the same leading key columns: a group.
//!
//! The rows stand group by group, the groups by the hash of their key. The last
//! row of a group is marked in the highest bit, so that a group is told by the
//! position of its first row. Two keys of one hash may stand in turns: then a
//! group comes in several pieces, each a group of its own here.

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
    hashes: Vec<u32>,
    rows: Vec<u32>,
}

impl Groups {
    /// Groups rows by their keys, which are at most [`CHUNK_ROWS_MAX`].
    pub(crate) fn of(keys: &EncodedKeys, grouping: &Grouping) -> Self {
        let group = |row: u32| grouping.leading.of(keys.get(row as usize));
        let mut order: Vec<u64> = (0..keys.len() as u32)
            .map(|row| u64::from(grouping.hash(group(row))) << 32 | u64::from(row))
            .collect();
        order.sort_unstable();
        let (mut hashes, mut rows) = (Vec::new(), Vec::with_capacity(order.len()));
        for (position, hash_and_row) in order.iter().enumerate() {
            let (hash, row) = ((hash_and_row >> 32) as u32, *hash_and_row as u32);
            let last = order
                .get(position + 1)
                .is_none_or(|next| (next >> 32) as u32 != hash || group(*next as u32) != group(row));
            rows.push(if last { row | LAST } else { row });
            if last {
                hashes.push(hash);
            }
        }
        hashes.shrink_to_fit();
        Self { hashes, rows }
    }

    /// How many groups.
    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// The hash and the position of every group, by hash.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut next = 0_usize;
        self.hashes.iter().map(move |hash| {
            let position = next;
            while self.rows[next] & LAST == 0 {
                next += 1;
            }
            next += 1;
            (*hash, position as u32)
        })
    }

    /// The first row of the group at this position.
    #[inline]
    pub(crate) fn first(&self, position: u32) -> usize {
        (self.rows[position as usize] & !LAST) as usize
    }

    /// The rows of the group at this position, ascending.
    #[inline]
    pub(crate) fn rows(&self, position: u32) -> impl Iterator<Item = usize> + '_ {
        let mut ended = false;
        self.rows[position as usize..].iter().map_while(move |row| {
            let before = std::mem::replace(&mut ended, row & LAST != 0);
            (!before).then_some((row & !LAST) as usize)
        })
    }

    /// Bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        (self.hashes.capacity() + self.rows.capacity()) * 4
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
        for (hash, position) in groups.iter() {
            let first = groups.first(position);
            assert_eq!(hash, grouping.hash(wanted.get(first)));
            let rows: Vec<usize> = groups.rows(position).collect();
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
