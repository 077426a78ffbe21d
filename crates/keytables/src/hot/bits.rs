//! A fixed-length set of row numbers, one bit each.

use arrow::array::BooleanArray;
use arrow::buffer::{BooleanBuffer, Buffer};

/// One bit per row of a chunk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    length: usize,
}

impl Bits {
    /// `length` bits, all of the same value.
    pub(crate) fn new(length: usize, value: bool) -> Self {
        let mut words = vec![if value { u64::MAX } else { 0 }; length.div_ceil(64)];
        if value
            && !length.is_multiple_of(64)
            && let Some(last) = words.last_mut()
        {
            *last = (1 << (length % 64)) - 1;
        }
        Self { words, length }
    }

    /// How many bits there are.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Whether the bit is set.
    pub(crate) fn get(&self, row: usize) -> bool {
        self.words[row / 64] >> (row % 64) & 1 == 1
    }

    /// Sets the bit; whether it was clear before.
    pub(crate) fn set(&mut self, row: usize) -> bool {
        let mask = 1_u64 << (row % 64);
        let word = &mut self.words[row / 64];
        let changed = *word & mask == 0;
        *word |= mask;
        changed
    }

    /// Clears the bit; whether it was set before.
    pub(crate) fn clear(&mut self, row: usize) -> bool {
        let mask = 1_u64 << (row % 64);
        let word = &mut self.words[row / 64];
        let changed = *word & mask != 0;
        *word &= !mask;
        changed
    }

    /// How many bits are set.
    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The positions of the set bits, ascending.
    pub(crate) fn ones(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(position, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                Some(position * 64 + bit)
            })
        })
    }

    /// As an Arrow mask.
    pub(crate) fn to_array(&self) -> BooleanArray {
        let buffer = Buffer::from_vec(self.words.clone());
        BooleanArray::new(BooleanBuffer::new(buffer, 0, self.length), None)
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_and_listed() {
        let mut bits = Bits::new(70, true);
        assert_eq!(bits.count(), 70);
        assert!(bits.clear(69) && !bits.clear(69));
        assert!(bits.clear(3) && bits.set(3) && !bits.set(3));
        assert_eq!(bits.ones().last(), Some(68));
        assert_eq!(bits.to_array().true_count(), 69);
        assert!(Bits::new(0, true).ones().next().is_none());
    }
}
