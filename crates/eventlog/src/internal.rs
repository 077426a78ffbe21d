//! The topics that belong to the system. Whoever uses the log keeps its own state in
//! them; clients may read them and nothing else. All other names are free, whatever
//! they begin with.

/// What consumer groups committed.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// The consumer groups themselves.
pub const CONSUMER_GROUPS: &str = "__consumer_groups";
/// The transactions.
pub const TRANSACTION_STATE: &str = "__transaction_state";

/// Whether a topic of this name belongs to the system.
pub fn is_internal(topic: &str) -> bool {
    matches!(topic, CONSUMER_OFFSETS | CONSUMER_GROUPS | TRANSACTION_STATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_systems_own_names_are_internal() {
        assert!([CONSUMER_OFFSETS, CONSUMER_GROUPS, TRANSACTION_STATE].into_iter().all(is_internal));
        assert!(
            !["__debezium-heartbeat.shop", "__consumer_offsets2", "__", "rain"].into_iter().any(is_internal)
        );
    }
}
