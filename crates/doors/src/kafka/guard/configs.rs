//! Requests about settings: of topics, of groups, of the server.

use kafka_protocol::messages as wire;
use kafka_protocol::messages::alter_configs_response as altered;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::incremental_alter_configs_response as incremental;
use pluvio_access::Operation;

use super::{Guarded, Verdict, denied_message, take_denied};
use crate::kafka::codes::Code;
use crate::kafka::dispatch::Call;

const TOPIC: i8 = 2;
const GROUP: i8 = 32;

fn may(call: &Call, operation: Operation, kind: i8, name: &str) -> bool {
    match kind {
        TOPIC => call.rights.topic(operation, name),
        GROUP => call.rights.group(operation, name),
        _ => call.rights.cluster(operation),
    }
}

fn denied_code(kind: i8) -> i16 {
    let code = match kind {
        TOPIC => Code::TopicAuthorizationFailed,
        GROUP => Code::GroupAuthorizationFailed,
        _ => Code::ClusterAuthorizationFailed,
    };
    code.code()
}

impl Guarded for wire::DescribeConfigsRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let denied = take_denied(&mut self.resources, |it| {
            may(call, Operation::DescribeConfigs, it.resource_type, &it.resource_name)
        });
        Verdict::partly(self, |answer| {
            answer.results.extend(denied.into_iter().map(|it| {
                DescribeConfigsResult::default()
                    .with_error_code(denied_code(it.resource_type))
                    .with_error_message(denied_message())
                    .with_resource_type(it.resource_type)
                    .with_resource_name(it.resource_name)
            }));
        })
    }
}

impl Guarded for wire::AlterConfigsRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let denied = take_denied(&mut self.resources, |it| {
            may(call, Operation::AlterConfigs, it.resource_type, &it.resource_name)
        });
        Verdict::partly(self, |answer| {
            answer.responses.extend(denied.into_iter().map(|it| {
                altered::AlterConfigsResourceResponse::default()
                    .with_error_code(denied_code(it.resource_type))
                    .with_error_message(denied_message())
                    .with_resource_type(it.resource_type)
                    .with_resource_name(it.resource_name)
            }));
        })
    }
}

impl Guarded for wire::IncrementalAlterConfigsRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let denied = take_denied(&mut self.resources, |it| {
            may(call, Operation::AlterConfigs, it.resource_type, &it.resource_name)
        });
        Verdict::partly(self, |answer| {
            answer.responses.extend(denied.into_iter().map(|it| {
                incremental::AlterConfigsResourceResponse::default()
                    .with_error_code(denied_code(it.resource_type))
                    .with_error_message(denied_message())
                    .with_resource_type(it.resource_type)
                    .with_resource_name(it.resource_name)
            }));
        })
    }
}
