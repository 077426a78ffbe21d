//! DescribeProducers, DescribeTransactions and ListTransactions.

use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::describe_transactions_response as described;
use kafka_protocol::messages::list_transactions_response as listed;
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest,
    DescribeTransactionsResponse, ListTransactionsRequest, ListTransactionsResponse, ProducerId, TopicName,
    TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use pluvio_eventlog::internal::CONSUMER_OFFSETS;
use pluvio_eventlog::{KnownProducer, Partition};
use regex::Regex;

use super::transaction::{NO_ID, State, Transaction};
use crate::kafka::cluster::text;
use crate::kafka::codes::Code;
use crate::kafka::dispatch::Call;

const STATES: [State; 6] = [
    State::Empty,
    State::Ongoing,
    State::PrepareCommit,
    State::PrepareAbort,
    State::CompleteCommit,
    State::CompleteAbort,
];
/// Longest pattern of transactional ids, in bytes.
const PATTERN_BYTES_MAX: usize = 1_024;

/// Carries out a DescribeProducers.
pub(crate) fn describe_producers(
    call: &Call,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let partitions = asked.partition_indexes.iter().map(|index| {
            let response = PartitionResponse::default().with_partition_index(*index);
            match call.broker.partition(&asked.name, *index) {
                Some(partition) => response.with_active_producers(producers(&partition)),
                None => response.with_error_code(Code::UnknownTopicOrPartition.code()),
            }
        });
        TopicResponse::default().with_partitions(partitions.collect()).with_name(asked.name)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn producers(partition: &Partition) -> Vec<ProducerState> {
    let one = |known: KnownProducer| {
        ProducerState::default()
            .with_producer_id(ProducerId(known.producer_id))
            .with_producer_epoch(i32::from(known.producer_epoch))
            .with_last_sequence(known.last_sequence.unwrap_or(-1))
            .with_last_timestamp(known.last_append_ms)
            .with_coordinator_epoch(0)
            .with_current_txn_start_offset(known.transaction_since.unwrap_or(-1))
    };
    partition.known_producers().into_iter().map(one).collect()
}

/// Carries out a DescribeTransactions.
pub(crate) fn describe_transactions(
    call: &Call,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.into_iter().map(|id| {
        let found = call.broker.transactions.find(&id).map(|slot| slot.now.lock().clone());
        match found {
            Ok(transaction) => describe(&transaction).with_transactional_id(id),
            Err(Code::InvalidProducerIdMapping) => described::TransactionState::default()
                .with_error_code(Code::TransactionalIdNotFound.code())
                .with_transactional_id(id),
            Err(code) => {
                described::TransactionState::default().with_error_code(code.code()).with_transactional_id(id)
            }
        }
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

fn describe(transaction: &Transaction) -> described::TransactionState {
    let touched = |name: &str, partitions: Vec<i32>| {
        described::TopicData::default().with_topic(TopicName(text(name))).with_partitions(partitions)
    };
    let topics = transaction.topics.iter();
    let mut topics: Vec<described::TopicData> =
        topics.map(|(name, it)| touched(name, it.partitions.iter().copied().collect())).collect();
    if !transaction.groups.is_empty() {
        topics.push(touched(CONSUMER_OFFSETS, vec![0]));
    }
    described::TransactionState::default()
        .with_transaction_state(text(transaction.state.name()))
        .with_transaction_timeout_ms(transaction.timeout_ms)
        .with_transaction_start_time_ms(transaction.started_ms)
        .with_producer_id(ProducerId(transaction.producer_id))
        .with_producer_epoch(transaction.producer_epoch)
        .with_topics(topics)
}

/// Which transactions are asked for.
struct Filter<'a> {
    states: Vec<State>,
    all_states: bool,
    request: &'a ListTransactionsRequest,
    pattern: Option<Regex>,
    now_ms: i64,
}

impl<'a> Filter<'a> {
    /// The filter, and the states it names that there are not.
    fn of(request: &'a ListTransactionsRequest, now_ms: i64) -> Result<(Self, Vec<StrBytes>), Code> {
        let state = |name: &StrBytes| STATES.into_iter().find(|state| *state.name() == **name);
        let unknown = request.state_filters.iter().filter(|name| state(name).is_none());
        let pattern = request.transactional_id_pattern.as_deref().filter(|pattern| !pattern.is_empty());
        let pattern = match pattern {
            Some(pattern) if pattern.len() > PATTERN_BYTES_MAX => return Err(Code::InvalidRegularExpression),
            // The whole id must fit, as in Kafka.
            Some(pattern) => {
                let whole = Regex::new(&format!("^(?:{pattern})$"));
                Some(whole.map_err(|_| Code::InvalidRegularExpression)?)
            }
            None => None,
        };
        let filter = Self {
            states: request.state_filters.iter().filter_map(state).collect(),
            all_states: request.state_filters.is_empty(),
            request,
            pattern,
            now_ms,
        };
        Ok((filter, unknown.cloned().collect()))
    }

    fn takes(&self, id: &str, transaction: &Transaction) -> bool {
        let producers = &self.request.producer_id_filters;
        let least_ms = self.request.duration_filter;
        let lasts = transaction.started_ms >= 0 && self.now_ms - transaction.started_ms > least_ms;
        transaction.producer_id != NO_ID
            && (self.all_states || self.states.contains(&transaction.state))
            && (producers.is_empty() || producers.contains(&ProducerId(transaction.producer_id)))
            && (least_ms < 0 || lasts)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
    }
}

/// Carries out a ListTransactions.
pub(crate) fn list_transactions(call: &Call, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let transactions = &call.broker.transactions;
    let (filter, unknown) = match Filter::of(&request, transactions.now_ms()) {
        Ok(filter) => filter,
        Err(code) => return ListTransactionsResponse::default().with_error_code(code.code()),
    };
    let mut states = Vec::new();
    for slot in transactions.all() {
        let now = slot.now.lock();
        if filter.takes(&slot.id, &now) {
            states.push(
                listed::TransactionState::default()
                    .with_transactional_id(TransactionalId(text(&slot.id)))
                    .with_producer_id(ProducerId(now.producer_id))
                    .with_transaction_state(text(now.state.name())),
            );
        }
    }
    states.sort_by(|one, other| one.transactional_id.0.cmp(&other.transactional_id.0));
    ListTransactionsResponse::default().with_unknown_state_filters(unknown).with_transaction_states(states)
}
