//! What members subscribe to, and which topics that is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use pluvio_foundation::hash::stable_hash;
use regex::{Regex, RegexBuilder};

use super::{Refusal, TopicId, refuse};
use crate::kafka::codes::Code;

/// Longest regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 4096;
/// Most memory of one when compiled, in bytes.
const REGEX_COMPILED_BYTES_MAX: usize = 1 << 20;

/// The topics there are.
pub(crate) trait Topics {
    /// A number that changes whenever a topic or a partition is made or a
    /// topic deleted.
    fn version(&self) -> u64;
    /// Identifier and number of partitions of a topic.
    fn find(&self, name: &str) -> Option<(TopicId, u32)>;
    /// The names of all topics that a pattern may match: those that are not
    /// internal and that the member may see.
    fn names(&self) -> Vec<String>;
}

/// A regular expression that matches a topic's whole name.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    text: Arc<str>,
    regex: Regex,
}

impl Pattern {
    /// Compiles one. Matching takes time linear in the name's length.
    pub fn new(text: &str) -> Result<Self, Refusal> {
        if text.len() > REGEX_BYTES_MAX {
            let message = format!("the regular expression is longer than {REGEX_BYTES_MAX} bytes");
            return refuse(Code::InvalidRegularExpression, message);
        }
        let whole = format!("^(?:{text})$");
        let built = RegexBuilder::new(&whole).size_limit(REGEX_COMPILED_BYTES_MAX).build();
        match built {
            Ok(regex) => Ok(Self { text: text.into(), regex }),
            Err(error) => {
                refuse(Code::InvalidRegularExpression, format!("regular expression {text:?}: {error}"))
            }
        }
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// What a member wants to read: topics by name, and those that match.
#[derive(Debug, Default)]
pub(crate) struct Subscription {
    pub topics: BTreeSet<String>,
    pub pattern: Option<Pattern>,
}

impl Subscription {
    /// Whether it includes this topic.
    pub fn includes(&self, topic: &str) -> bool {
        self.topics.contains(topic) || self.pattern.as_ref().is_some_and(|it| it.regex.is_match(topic))
    }
}

/// The topics that a group's subscriptions are, at one moment.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    version: Option<u64>,
    topics: BTreeMap<String, TopicId>,
    counts: BTreeMap<TopicId, u32>,
    matches: HashMap<Arc<str>, Vec<TopicId>>,
    /// Of the topics and how many partitions they have; it is kept, so that a
    /// restart alone changes nothing.
    pub digest: u64,
}

impl Resolved {
    /// Looks up what the subscriptions name and match.
    pub fn of<'a>(subscriptions: impl Iterator<Item = &'a Subscription>, topics: &dyn Topics) -> Self {
        let mut resolved = Self { version: Some(topics.version()), ..Self::default() };
        let mut names = None;
        for subscription in subscriptions {
            for name in &subscription.topics {
                resolved.add(name, topics);
            }
            let Some(pattern) = &subscription.pattern else { continue };
            if resolved.matches.contains_key(&pattern.text) {
                continue;
            }
            let names = names.get_or_insert_with(|| topics.names());
            let matching = names.iter().filter(|name| pattern.regex.is_match(name));
            let ids = matching.filter_map(|name| resolved.add(name, topics)).collect();
            resolved.matches.insert(Arc::clone(&pattern.text), ids);
        }
        resolved.digest = resolved.digested();
        resolved
    }

    /// As it is stored. The identifiers are random, so nobody can choose topics with
    /// the same digest.
    fn digested(&self) -> u64 {
        let mut bytes = Vec::new();
        for (name, id) in &self.topics {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(id);
            bytes.extend_from_slice(&self.counts.get(id).copied().unwrap_or(0).to_be_bytes());
        }
        stable_hash(&bytes)
    }

    fn add(&mut self, name: &str, topics: &dyn Topics) -> Option<TopicId> {
        if let Some(id) = self.topics.get(name) {
            return Some(*id);
        }
        let (id, count) = topics.find(name)?;
        self.topics.insert(name.to_owned(), id);
        self.counts.insert(id, count);
        Some(id)
    }

    /// Whether the topics are still as they were.
    pub fn is_current(&self, topics: &dyn Topics) -> bool {
        self.version == Some(topics.version())
    }

    /// How many partitions each topic has.
    pub fn counts(&self) -> &BTreeMap<TopicId, u32> {
        &self.counts
    }

    /// The topics of one member.
    pub fn topics_of(&self, subscription: &Subscription) -> BTreeSet<TopicId> {
        let named = subscription.topics.iter().filter_map(|name| self.topics.get(name));
        let pattern = subscription.pattern.as_ref();
        let matching = pattern.and_then(|pattern| self.matches.get(&pattern.text)).into_iter().flatten();
        named.chain(matching).copied().collect()
    }
}
