//! Lists of chunks that have rows of a group, all in one piece of memory.
//!
//! A list lies in a block of a power of two, the least that holds it; blocks that
//! became free are used again for lists of their size. The order within a list
//! means nothing.

use super::groups::Place;

/// The slot of a chunk and where in it a group is told.
pub(crate) type Part = (u32, Place);

/// Where a list lies. At 8 bytes a part, 32 bits reach further than memory does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) start: u32,
    pub(crate) length: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct GroupLists {
    parts: Vec<Part>,
    /// The starts of free blocks by the logarithm of their size.
    free: Vec<Vec<u32>>,
    free_parts: usize,
}

fn block_size(length: u32) -> usize {
    length.next_power_of_two() as usize
}

impl GroupLists {
    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let free: usize = self.free.iter().map(|blocks| blocks.capacity() * 4).sum();
        self.parts.capacity() * size_of::<Part>() + free
    }

    /// Whether most of the memory is free.
    pub(crate) fn is_sparse(&self) -> bool {
        self.parts.len() > 1024 && self.free_parts * 2 > self.parts.len()
    }

    /// Something read from where a list begins.
    #[inline]
    pub(crate) fn touch(&self, list: List) -> u32 {
        self.parts[list.start as usize].0
    }

    /// The parts of a list.
    #[inline]
    pub(crate) fn get(&self, list: List) -> &[Part] {
        &self.parts[list.start as usize..][..list.length as usize]
    }

    /// A new list.
    pub(crate) fn add(&mut self, parts: &[Part]) -> List {
        let length = parts.len() as u32;
        let start = self.take_block(block_size(length));
        self.parts[start as usize..][..parts.len()].copy_from_slice(parts);
        List { start, length }
    }

    /// Adds a part to a list.
    pub(crate) fn push(&mut self, list: List, part: Part) -> List {
        let longer = self.resize(list, list.length + 1);
        self.parts[longer.start as usize + list.length as usize] = part;
        longer
    }

    /// Removes a part from a list of at least two.
    pub(crate) fn remove(&mut self, list: List, part: Part) -> List {
        let Some(at) = self.get(list).iter().position(|its| *its == part) else { return list };
        let first = list.start as usize;
        self.parts.swap(first + at, first + list.length as usize - 1);
        self.resize(list, list.length - 1)
    }

    /// Frees a list.
    pub(crate) fn release(&mut self, list: List) {
        let size = block_size(list.length);
        self.free_block(list.start, size);
    }

    /// The list with another length, its first parts kept.
    fn resize(&mut self, list: List, length: u32) -> List {
        let (before, after) = (block_size(list.length), block_size(length));
        if before == after {
            return List { start: list.start, length };
        }
        let start = self.take_block(after);
        let from = list.start as usize;
        self.parts.copy_within(from..from + before.min(after), start as usize);
        self.free_block(list.start, before);
        List { start, length }
    }

    fn take_block(&mut self, size: usize) -> u32 {
        if let Some(start) = self.free.get_mut(size.ilog2() as usize).and_then(Vec::pop) {
            self.free_parts -= size;
            return start;
        }
        let start = self.parts.len();
        self.parts.resize(start + size, (0, 0));
        start as u32
    }

    fn free_block(&mut self, start: u32, size: usize) {
        let class = size.ilog2() as usize;
        if self.free.len() <= class {
            self.free.resize(class + 1, Vec::new());
        }
        self.free[class].push(start);
        self.free_parts += size;
    }
}

#[cfg(test)]
mod tests {
    use pluvio_foundation::Random;
    use pluvio_foundation::random::SeededRandom;

    use super::*;

    #[test]
    fn lists_grow_and_shrink_on_their_own() {
        let random = SeededRandom::new(1);
        let mut lists = GroupLists::default();
        let mut all: Vec<(List, Vec<Part>)> =
            (0..50).map(|n| (lists.add(&[(n, 0), (n, 1)]), vec![(n, 0), (n, 1)])).collect();
        for step in 2..20_000_u32 {
            let (list, wanted) = &mut all[random.next_u64() as usize % 50];
            if wanted.len() > 2 && random.next_u64().is_multiple_of(2) {
                let part = wanted.swap_remove(random.next_u64() as usize % wanted.len());
                *list = lists.remove(*list, part);
            } else {
                wanted.push((7, step));
                *list = lists.push(*list, (7, step));
            }
            let mut found = lists.get(*list).to_vec();
            found.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(&found, wanted, "step {step}");
        }
        all.iter().for_each(|(list, _)| lists.release(*list));
        assert_eq!(lists.free_parts, lists.parts.len());
        assert!(lists.is_sparse());
    }
}
