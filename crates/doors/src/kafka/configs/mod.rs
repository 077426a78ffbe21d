//! DescribeConfigs, AlterConfigs and IncrementalAlterConfigs. Each topic
//! setting has one definition; settings of Kafka's that have only one value
//! here are shown with it and cannot be changed.

mod broker_settings;
mod topic_settings;

use kafka_protocol::messages::alter_configs_response as altered;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_response as incremental;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;
use pluvio_eventlog::TopicConfig;

use super::broker::{Broker, blocking};
use super::cluster::text;
use super::codes::{self, Code};
use super::dispatch::Call;
pub(crate) use topic_settings::{Change, Setting, apply, settings};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

/// An error for a client: code and what to do.
pub(crate) type Refused = (Code, String);

/// Carries out a DescribeConfigs.
pub(crate) fn describe(call: &Call, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let synonyms = request.include_synonyms;
    let results = request.resources.into_iter().map(|resource| {
        let wanted = Wanted { resource: &resource, version: call.version(), synonyms };
        let result = DescribeConfigsResult::default().with_resource_type(resource.resource_type);
        let result = match describe_one(&call.broker, &wanted) {
            Ok(configs) => result.with_configs(configs),
            Err((code, message)) => {
                result.with_error_code(code.code()).with_error_message(Some(text(&message)))
            }
        };
        result.with_resource_name(resource.resource_name)
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// What is asked about one resource.
struct Wanted<'a> {
    resource: &'a DescribeConfigsResource,
    version: i16,
    synonyms: bool,
}

impl Wanted<'_> {
    fn has(&self, name: &str) -> bool {
        match &self.resource.configuration_keys {
            None => true,
            Some(keys) => keys.iter().any(|key| &**key == name),
        }
    }

    fn entry(&self, setting: &Setting, source: i8) -> DescribeConfigsResourceResult {
        let value = Some(text(&setting.value));
        let mut entry = DescribeConfigsResourceResult::default()
            .with_name(text(setting.name))
            .with_value(value.clone())
            .with_read_only(setting.read_only)
            .with_config_source(source);
        if self.synonyms {
            let synonym = DescribeConfigsSynonym::default()
                .with_name(text(setting.name))
                .with_value(value)
                .with_source(source);
            entry = entry.with_synonyms(vec![synonym]);
        }
        if self.version >= 3 {
            entry = entry
                .with_config_type(setting.kind as i8)
                .with_documentation(Some(StrBytes::from_static_str(setting.meaning)));
        }
        entry
    }
}

fn describe_one(broker: &Broker, wanted: &Wanted<'_>) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    let name = &*wanted.resource.resource_name;
    match wanted.resource.resource_type {
        TOPIC => {
            let topic = broker.log.topic(name).ok_or_else(|| no_topic(name))?;
            let present = settings(&topic.config(), broker.log.options());
            let entries = present.iter().filter(|setting| wanted.has(setting.name));
            Ok(entries.map(|setting| wanted.entry(setting, source_of(setting))).collect())
        }
        BROKER if name.is_empty() || name.parse() == Ok(broker.options.node_id) => {
            let present = broker_settings::of_broker(&broker.options, broker.log.options());
            let entries = present.iter().filter(|setting| wanted.has(setting.name));
            Ok(entries.map(|setting| wanted.entry(setting, SOURCE_STATIC)).collect())
        }
        BROKER => Err((Code::InvalidRequest, format!("there is no broker {name}"))),
        other => Err((Code::InvalidRequest, format!("resource type {other} has no configuration here"))),
    }
}

/// Where the value of a topic's setting comes from.
pub(crate) fn source_of(setting: &Setting) -> i8 {
    if setting.given { SOURCE_TOPIC } else { SOURCE_DEFAULT }
}

fn no_topic(name: &str) -> Refused {
    (Code::UnknownTopicOrPartition, format!("topic {name:?} does not exist"))
}

/// Carries out an AlterConfigs: settings not named go back to their defaults.
pub(crate) async fn alter(call: Call, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let changes = resource.configs.into_iter().map(|config| (config.name, config.value));
        let changes = changes.map(|(name, value)| (name.to_string(), set(value)));
        let target = Target { kind: resource.resource_type, name: &resource.resource_name };
        let from = Some(call.broker.log.options().topic.clone());
        let done = change(&call, &target, from, changes.collect(), request.validate_only).await;
        let (code, message) = told(done);
        responses.push(
            altered::AlterConfigsResourceResponse::default()
                .with_error_code(code)
                .with_error_message(message)
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name),
        );
    }
    AlterConfigsResponse::default().with_responses(responses)
}

/// Carries out an IncrementalAlterConfigs: settings not named stay.
pub(crate) async fn alter_incrementally(
    call: Call,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let changes = resource.configs.into_iter().map(|config| {
            let change = match config.config_operation {
                0 => set(config.value),
                1 => Change::Reset,
                2 => Change::Append(config.value.unwrap_or_default().to_string()),
                3 => Change::Subtract(config.value.unwrap_or_default().to_string()),
                other => Change::Unknown(other),
            };
            (config.name.to_string(), change)
        });
        let target = Target { kind: resource.resource_type, name: &resource.resource_name };
        let done = change(&call, &target, None, changes.collect(), request.validate_only).await;
        let (code, message) = told(done);
        responses.push(
            incremental::AlterConfigsResourceResponse::default()
                .with_error_code(code)
                .with_error_message(message)
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name),
        );
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

fn set(value: Option<StrBytes>) -> Change {
    value.map_or(Change::Reset, |value| Change::Set(value.to_string()))
}

fn told(done: Result<(), Refused>) -> (i16, Option<StrBytes>) {
    match done {
        Ok(()) => (0, None),
        Err((code, message)) => (code.code(), Some(text(&message))),
    }
}

/// The resource whose settings change.
struct Target<'a> {
    kind: i8,
    name: &'a str,
}

/// Changes a topic's settings, beginning with `from` or with what it has.
async fn change(
    call: &Call,
    target: &Target<'_>,
    from: Option<TopicConfig>,
    changes: Vec<(String, Change)>,
    validate_only: bool,
) -> Result<(), Refused> {
    if target.kind != TOPIC {
        let reason = "only topics are configured over this protocol; see the server's configuration file";
        return Err((Code::InvalidRequest, reason.into()));
    }
    let topic = call.broker.log.topic(target.name).ok_or_else(|| no_topic(target.name))?;
    if topic.is_internal() {
        return Err((Code::InvalidTopicException, format!("topic {:?} is internal", target.name)));
    }
    let mut config = from.unwrap_or_else(|| topic.config());
    for (name, change) in changes {
        apply(&mut config, call.broker.log.options(), &name, &change)
            .map_err(|reason| (Code::InvalidConfig, reason))?;
    }
    if validate_only {
        return Ok(());
    }
    let (log, name) = (call.broker.log.clone(), target.name.to_owned());
    blocking(move || log.alter_topic(&name, config)).await.map_err(|error| {
        let code = match &error {
            pluvio_eventlog::LogError::InvalidTopic { .. } => Code::InvalidConfig,
            other => codes::of_log(other),
        };
        (code, error.to_string())
    })?;
    tracing::info!(topic = target.name, "topic settings changed");
    Ok(())
}
