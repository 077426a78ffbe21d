//! CreateAcls, DescribeAcls, DeleteAcls.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
use kafka_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use kafka_protocol::messages::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest,
    DescribeAclsResponse,
};
use kafka_protocol::protocol::StrBytes;
use pluvio_access::{
    Access, AccessError, Acl, AclFilter, NameFilter, Operation, Pattern, Permission, ResourceKind,
};

use super::Authentication;
use crate::kafka::cluster::text;
use crate::kafka::codes::{self, Code};
use crate::kafka::configs::Refused;
use crate::kafka::dispatch::Call;

/// In a filter: all of them.
const ANY: i8 = 1;
/// In a filter: rules that would match a resource of the name.
const MATCH: i8 = 2;

/// The rules, if there are any that count.
fn access(call: &Call) -> Result<Arc<Access>, Refused> {
    let security = call.broker.options.security.as_ref();
    let limited = security.filter(|it| it.authentication != Authentication::None);
    let disabled = || {
        let message = "access rules count only where clients must prove who they are; set kafka_auth";
        (Code::SecurityDisabled, message.to_owned())
    };
    limited.map(|it| Arc::clone(&it.access)).ok_or_else(disabled)
}

fn refused(error: &AccessError) -> Refused {
    tracing::warn!(%error, "a change of access was refused");
    (codes::of_access(error), error.to_string())
}

/// Changes access where waiting for the disk holds up nobody else.
async fn change<T: Send + 'static>(
    access: Arc<Access>,
    work: impl FnOnce(&Access) -> Result<T, AccessError> + Send + 'static,
) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(move || work(&access)).await;
    let failed = |_| (Code::UnknownServerError, "the change was given up".to_owned());
    done.map_err(failed)?.map_err(|error| refused(&error))
}

/// Carries out a CreateAcls.
pub(crate) async fn create_acls(call: Call, request: CreateAclsRequest) -> CreateAclsResponse {
    let count = request.creations.len();
    let parsed: Vec<Result<Acl, Refused>> = request.creations.iter().map(acl).collect();
    let all: Vec<Acl> = parsed.iter().filter_map(|acl| acl.as_ref().ok().cloned()).collect();
    let added = match access(&call) {
        Ok(access) => change(access, move |access| access.add_acls(all)).await,
        Err(refused) => Err(refused),
    };
    let results: Vec<Result<(), Refused>> = match added {
        Err(refused) => vec![Err(refused); count],
        Ok(added) => {
            let mut added = added.into_iter().map(|result| result.map_err(|error| refused(&error)));
            parsed.into_iter().map(|acl| acl.and_then(|_| added.next().unwrap_or(Ok(())))).collect()
        }
    };
    let results = results.into_iter().map(|result| {
        let (code, message) = told(result.err());
        AclCreationResult::default().with_error_code(code).with_error_message(message)
    });
    CreateAclsResponse::default().with_results(results.collect())
}

fn told(refused: Option<Refused>) -> (i16, Option<StrBytes>) {
    match refused {
        None => (0, None),
        Some((code, message)) => (code.code(), Some(text(&message))),
    }
}

fn invalid(what: &str, code: i8) -> Refused {
    (Code::InvalidRequest, format!("{what} {code} does not exist here"))
}

fn acl(asked: &AclCreation) -> Result<Acl, Refused> {
    let AclCreation { resource_type, resource_pattern_type, operation, permission_type, .. } = *asked;
    let unknown = |what, code| move || invalid(what, code);
    Ok(Acl {
        resource: ResourceKind::of_code(resource_type).ok_or_else(unknown("resource type", resource_type))?,
        name: asked.resource_name.to_string(),
        pattern: Pattern::of_code(resource_pattern_type)
            .ok_or_else(unknown("pattern type", resource_pattern_type))?,
        principal: asked.principal.to_string(),
        host: asked.host.to_string(),
        operation: Operation::of_code(operation).ok_or_else(unknown("operation", operation))?,
        permission: Permission::of_code(permission_type)
            .ok_or_else(unknown("permission type", permission_type))?,
    })
}

/// The value of a code in a filter, `None` for all.
fn chosen<T>(what: &str, code: i8, of_code: fn(i8) -> Option<T>) -> Result<Option<T>, Refused> {
    match code {
        ANY => Ok(None),
        code => of_code(code).map(Some).ok_or_else(|| invalid(what, code)),
    }
}

fn filter(asked: &DeleteAclsFilter) -> Result<AclFilter, Refused> {
    let owned = |text: &Option<StrBytes>| text.as_ref().map(StrBytes::to_string);
    let pattern = match asked.pattern_type_filter {
        ANY => NameFilter::Any,
        MATCH => NameFilter::Match,
        code => NameFilter::Exactly(Pattern::of_code(code).ok_or_else(|| invalid("pattern type", code))?),
    };
    Ok(AclFilter {
        resource: chosen("resource type", asked.resource_type_filter, ResourceKind::of_code)?,
        name: owned(&asked.resource_name_filter),
        pattern,
        principal: owned(&asked.principal_filter),
        host: owned(&asked.host_filter),
        operation: chosen("operation", asked.operation, Operation::of_code)?,
        permission: chosen("permission type", asked.permission_type, Permission::of_code)?,
    })
}

/// Carries out a DescribeAcls.
pub(crate) fn describe_acls(call: &Call, request: DescribeAclsRequest) -> DescribeAclsResponse {
    let asked = DeleteAclsFilter::default()
        .with_resource_type_filter(request.resource_type_filter)
        .with_resource_name_filter(request.resource_name_filter)
        .with_pattern_type_filter(request.pattern_type_filter)
        .with_principal_filter(request.principal_filter)
        .with_host_filter(request.host_filter)
        .with_operation(request.operation)
        .with_permission_type(request.permission_type);
    let found = filter(&asked).and_then(|filter| Ok(access(call)?.acls(&filter)));
    let acls = match found {
        Ok(acls) => acls,
        Err(refused) => {
            let (code, message) = told(Some(refused));
            return DescribeAclsResponse::default().with_error_code(code).with_error_message(message);
        }
    };
    let mut resources: BTreeMap<(i8, String, i8), Vec<AclDescription>> = BTreeMap::new();
    for acl in acls {
        let description = AclDescription::default()
            .with_principal(text(&acl.principal))
            .with_host(text(&acl.host))
            .with_operation(acl.operation.code())
            .with_permission_type(acl.permission.code());
        let resource = (acl.resource.code(), acl.name, acl.pattern.code());
        resources.entry(resource).or_default().push(description);
    }
    let resources = resources.into_iter().map(|((kind, name, pattern), acls)| {
        DescribeAclsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(&name))
            .with_pattern_type(pattern)
            .with_acls(acls)
    });
    DescribeAclsResponse::default().with_resources(resources.collect())
}

/// Carries out a DeleteAcls.
pub(crate) async fn delete_acls(call: Call, request: DeleteAclsRequest) -> DeleteAclsResponse {
    let count = request.filters.len();
    let filters: Result<Vec<AclFilter>, Refused> = request.filters.iter().map(filter).collect();
    let removed = match (filters, access(&call)) {
        (Ok(filters), Ok(access)) => change(access, move |access| access.remove_acls(&filters)).await,
        (Err(refused), _) | (_, Err(refused)) => Err(refused),
    };
    let results = match removed {
        Ok(removed) => removed
            .into_iter()
            .map(|acls| {
                let matching = acls.into_iter().map(matching_acl);
                DeleteAclsFilterResult::default().with_matching_acls(matching.collect())
            })
            .collect(),
        Err(refused) => {
            let (code, message) = told(Some(refused));
            let result = DeleteAclsFilterResult::default().with_error_code(code).with_error_message(message);
            vec![result; count]
        }
    };
    DeleteAclsResponse::default().with_filter_results(results)
}

fn matching_acl(acl: Acl) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl::default()
        .with_resource_type(acl.resource.code())
        .with_resource_name(text(&acl.name))
        .with_pattern_type(acl.pattern.code())
        .with_principal(text(&acl.principal))
        .with_host(text(&acl.host))
        .with_operation(acl.operation.code())
        .with_permission_type(acl.permission.code())
}
