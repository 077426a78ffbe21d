//! The ways to share out partitions that the broker knows.
//!
//! `uniform`: everybody has as many partitions as the others, give or take
//! one, as far as subscriptions allow; as few as possible change hands.
//! `range`: of every topic, a run of neighbouring partitions each, so that
//! topics of the same size are shared out alike.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Part, Parts, TopicId};

/// Rounds of evening out, when members subscribe to different topics.
const ROUNDS_MAX: usize = 32;

/// A way to share out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Assignor {
    Uniform,
    Range,
}

/// A member, as far as sharing out goes.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    pub id: &'a str,
    pub instance_id: Option<&'a str>,
    pub topics: BTreeSet<TopicId>,
    /// What it was to have before.
    pub had: Option<&'a Parts>,
}

impl Assignor {
    pub const NAMES: &'static str = "uniform, range";

    pub fn named(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// What most members prefer.
    pub fn preferred(wishes: impl Iterator<Item = Self>) -> Self {
        let mut votes = BTreeMap::new();
        wishes.for_each(|wish| *votes.entry(wish).or_insert(0_usize) += 1);
        let best = votes.into_iter().max_by_key(|(wish, count)| (*count, *wish == Self::Uniform));
        best.map_or(Self::Uniform, |(wish, _)| wish)
    }

    /// The partitions of each seat.
    pub(super) fn assign(self, seats: &[Seat<'_>], counts: &BTreeMap<TopicId, u32>) -> Vec<Parts> {
        match self {
            Self::Uniform => uniform(seats, counts),
            Self::Range => range(seats, counts),
        }
    }
}

fn parts_of(id: TopicId, count: u32) -> impl Iterator<Item = Part> {
    (0..i32::try_from(count).unwrap_or(i32::MAX)).map(move |index| (id, index))
}

fn range(seats: &[Seat<'_>], counts: &BTreeMap<TopicId, u32>) -> Vec<Parts> {
    let mut order: Vec<usize> = (0..seats.len()).collect();
    order.sort_by_key(|seat| (seats[*seat].instance_id.unwrap_or(seats[*seat].id), seats[*seat].id));
    let mut shares = vec![Parts::new(); seats.len()];
    for (id, count) in counts {
        let readers: Vec<usize> = order.iter().copied().filter(|it| seats[*it].topics.contains(id)).collect();
        let mut parts = parts_of(*id, *count);
        for (place, seat) in readers.iter().enumerate() {
            let (count, readers) = (*count as usize, readers.len());
            let share = count / readers + usize::from(place < count % readers);
            shares[*seat].extend(parts.by_ref().take(share));
        }
    }
    shares
}

fn uniform(seats: &[Seat<'_>], counts: &BTreeMap<TopicId, u32>) -> Vec<Parts> {
    let mut shares = kept(seats, counts);
    let alike = seats.windows(2).all(|pair| pair[0].topics == pair[1].topics);
    if alike {
        trim(seats, &mut shares, counts);
    }
    hand_out(seats, &mut shares, counts);
    if !alike {
        even_out(seats, &mut shares, counts);
    }
    shares
}

/// What each had and may keep.
fn kept(seats: &[Seat<'_>], counts: &BTreeMap<TopicId, u32>) -> Vec<Parts> {
    let mut taken = HashSet::new();
    let mut of = |seat: &Seat<'_>| {
        let mut may_keep = |(id, index): &Part| {
            seat.topics.contains(id)
                && counts.get(id).is_some_and(|count| u32::try_from(*index).is_ok_and(|index| index < *count))
                && taken.insert((*id, *index))
        };
        seat.had.into_iter().flatten().copied().filter(|part| may_keep(part)).collect()
    };
    seats.iter().map(&mut of).collect()
}

/// Takes from those who have more than their even share, when all read the
/// same topics.
fn trim(seats: &[Seat<'_>], shares: &mut [Parts], counts: &BTreeMap<TopicId, u32>) {
    let Some(first) = seats.first() else { return };
    let total: usize = first.topics.iter().filter_map(|id| counts.get(id)).map(|count| *count as usize).sum();
    let (even, mut extra) = (total / seats.len(), total % seats.len());
    for share in shares {
        let may_have = even + usize::from(share.len() > even && extra > 0);
        extra -= may_have - even;
        while share.len() > may_have {
            share.pop_last();
        }
    }
}

/// Gives what nobody has to those who have least.
fn hand_out(seats: &[Seat<'_>], shares: &mut [Parts], counts: &BTreeMap<TopicId, u32>) {
    let taken: HashSet<Part> = shares.iter().flatten().copied().collect();
    let mut least: BTreeSet<(usize, usize)> =
        shares.iter().enumerate().map(|(seat, share)| (share.len(), seat)).collect();
    for (id, count) in counts {
        for part in parts_of(*id, *count).filter(|part| !taken.contains(part)) {
            let found = least.iter().find(|(_, seat)| seats[*seat].topics.contains(id)).copied();
            // Nobody reads the topic any more.
            let Some((load, seat)) = found else { break };
            shares[seat].insert(part);
            least.remove(&(load, seat));
            least.insert((load + 1, seat));
        }
    }
}

/// Moves partitions from those who have more to those who have at least two
/// less and read the topic as well.
fn even_out(seats: &[Seat<'_>], shares: &mut [Parts], counts: &BTreeMap<TopicId, u32>) {
    let readers_of =
        |id: &TopicId| (0..seats.len()).filter(|seat| seats[*seat].topics.contains(id)).collect();
    let readers: BTreeMap<TopicId, Vec<usize>> = counts.keys().map(|id| (*id, readers_of(id))).collect();
    for _ in 0..ROUNDS_MAX {
        let mut moved = false;
        for seat in 0..seats.len() {
            for part in shares[seat].iter().rev().copied().collect::<Vec<_>>() {
                let others = readers.get(&part.0).into_iter().flatten().copied();
                let least = others.min_by_key(|other| shares[*other].len());
                if let Some(other) = least
                    && shares[other].len() + 1 < shares[seat].len()
                {
                    shares[seat].remove(&part);
                    shares[other].insert(part);
                    moved = true;
                }
            }
        }
        if !moved {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> TopicId {
        [number; 16]
    }

    fn seat<'a>(id: &'a str, topics: &[u8], had: Option<&'a Parts>) -> Seat<'a> {
        Seat { id, instance_id: None, topics: topics.iter().map(|it| [*it; 16]).collect(), had }
    }

    fn sizes(shares: &[Parts]) -> Vec<usize> {
        shares.iter().map(Parts::len).collect()
    }

    #[test]
    fn ranges_are_runs_and_alike_for_topics_of_one_size() {
        let counts = BTreeMap::from([(id(1), 5), (id(2), 5), (id(3), 1)]);
        let seats = [seat("b", &[1, 2], None), seat("a", &[1, 2, 3], None)];
        let shares = Assignor::Range.assign(&seats, &counts);
        let of = |share: &Parts, topic| -> Vec<i32> {
            share.iter().filter(|part| part.0 == id(topic)).map(|part| part.1).collect()
        };
        assert_eq!((of(&shares[1], 1), of(&shares[0], 1)), (vec![0, 1, 2], vec![3, 4]));
        assert_eq!(of(&shares[1], 2), [0, 1, 2]);
        assert_eq!((of(&shares[1], 3), of(&shares[0], 3)), (vec![0], vec![]));
    }

    #[test]
    fn uniform_shares_are_even_and_move_little() {
        let counts = BTreeMap::from([(id(1), 7), (id(2), 4)]);
        let first = Assignor::Uniform.assign(&[seat("a", &[1, 2], None)], &counts);
        assert_eq!(sizes(&first), [11]);
        let two = [seat("a", &[1, 2], first.first()), seat("b", &[1, 2], None)];
        let second = Assignor::Uniform.assign(&two, &counts);
        assert_eq!(sizes(&second), [6, 5]);
        assert!(second[0].is_subset(&first[0]));
        let three = [
            seat("a", &[1, 2], Some(&second[0])),
            seat("b", &[1, 2], Some(&second[1])),
            seat("c", &[1, 2], None),
        ];
        let third = Assignor::Uniform.assign(&three, &counts);
        assert_eq!(sizes(&third), [4, 4, 3]);
        assert!(third[0].is_subset(&second[0]) && third[1].is_subset(&second[1]));
        // One goes; the others keep what they have.
        let left = [seat("b", &[1, 2], Some(&third[1])), seat("c", &[1, 2], Some(&third[2]))];
        let fourth = Assignor::Uniform.assign(&left, &counts);
        assert_eq!(sizes(&fourth), [6, 5]);
        assert!(third[1].is_subset(&fourth[0]) && third[2].is_subset(&fourth[1]));
    }

    #[test]
    fn different_subscriptions_are_evened_out() {
        let counts = BTreeMap::from([(id(1), 6), (id(2), 2)]);
        let all: Parts = parts_of(id(1), 6).collect();
        let seats = [seat("a", &[1], Some(&all)), seat("b", &[1, 2], None), seat("c", &[2], None)];
        let shares = Assignor::Uniform.assign(&seats, &counts);
        assert_eq!(sizes(&shares), [3, 3, 2]);
        assert_eq!(shares.iter().flatten().collect::<HashSet<_>>().len(), 8);
        assert!(Assignor::Uniform.assign(&[], &counts).is_empty());
    }

    #[test]
    fn the_most_wanted_way_is_taken() {
        let preferred = |wishes: &[Assignor]| Assignor::preferred(wishes.iter().copied());
        assert_eq!(preferred(&[]), Assignor::Uniform);
        assert_eq!(preferred(&[Assignor::Range]), Assignor::Range);
        assert_eq!(preferred(&[Assignor::Range, Assignor::Uniform]), Assignor::Uniform);
    }
}
