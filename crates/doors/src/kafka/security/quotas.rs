//! DescribeClientQuotas and AlterClientQuotas.

use std::sync::Arc;

use kafka_protocol::messages::alter_client_quotas_request as asked;
use kafka_protocol::messages::alter_client_quotas_response as altered;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response as described;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
};
use kafka_protocol::protocol::StrBytes;
use pluvio_access::{Access, Entity, QuotaChange, QuotaKey, QuotaName};

use crate::kafka::cluster::text;
use crate::kafka::codes::{self, Code};
use crate::kafka::configs::Refused;
use crate::kafka::dispatch::Call;

const USER: &str = "user";
const CLIENT: &str = "client-id";

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

fn access(call: &Call) -> Result<Arc<Access>, Refused> {
    let disabled = || (Code::SecurityDisabled, "this door keeps no quotas".to_owned());
    call.broker.options.security.as_ref().map(|it| Arc::clone(&it.access)).ok_or_else(disabled)
}

/// A part of a filter: which names of one kind it takes.
enum Wanted {
    Name(QuotaName),
    Any,
}

/// A filter of entities: what it wants of the user and of the client.
struct Filter {
    user: Option<Wanted>,
    client_id: Option<Wanted>,
    strict: bool,
}

impl Filter {
    fn new(components: &[ComponentData], strict: bool) -> Result<Self, Refused> {
        let mut filter = Self { user: None, client_id: None, strict };
        for component in components {
            let wanted = match (component.match_type, &component._match) {
                (EXACT, Some(name)) => Wanted::Name(QuotaName::Named(name.to_string())),
                (DEFAULT, _) => Wanted::Name(QuotaName::Default),
                (ANY, _) => Wanted::Any,
                _ => return Err((Code::InvalidRequest, "a part of the filter has no match".into())),
            };
            let place = match &*component.entity_type {
                USER => &mut filter.user,
                CLIENT => &mut filter.client_id,
                other => return Err(unknown_kind(other)),
            };
            if place.replace(wanted).is_some() {
                let message = format!("the filter names {} twice", &*component.entity_type);
                return Err((Code::InvalidRequest, message));
            }
        }
        Ok(filter)
    }

    fn takes(&self, entity: &Entity) -> bool {
        let fits = |wanted: &Option<Wanted>, name: &Option<QuotaName>| match (wanted, name) {
            (None, name) => !self.strict || name.is_none(),
            (Some(Wanted::Any), name) => name.is_some(),
            (Some(Wanted::Name(wanted)), name) => name.as_ref() == Some(wanted),
        };
        fits(&self.user, &entity.user) && fits(&self.client_id, &entity.client_id)
    }
}

fn unknown_kind(kind: &str) -> Refused {
    (Code::UnsupportedVersion, format!("there are no quotas by {kind:?}, only by {USER:?} and {CLIENT:?}"))
}

/// An entity as pairs of kind and name.
fn pairs(entity: &Entity) -> impl Iterator<Item = (StrBytes, Option<StrBytes>)> {
    let both = [(USER, &entity.user), (CLIENT, &entity.client_id)];
    let named = both.map(|(kind, name)| {
        let name = match name.as_ref()? {
            QuotaName::Default => None,
            QuotaName::Named(name) => Some(text(name)),
        };
        Some((StrBytes::from_static_str(kind), name))
    });
    named.into_iter().flatten()
}

/// Carries out a DescribeClientQuotas.
pub(crate) fn describe_quotas(
    call: &Call,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let found = Filter::new(&request.components, request.strict).and_then(|it| Ok((it, access(call)?)));
    let (filter, access) = match found {
        Ok(found) => found,
        Err((code, message)) => {
            return DescribeClientQuotasResponse::default()
                .with_error_code(code.code())
                .with_error_message(Some(text(&message)))
                .with_entries(None);
        }
    };
    let entries = access.quotas().into_iter().filter(|(entity, _)| filter.takes(entity));
    let entries = entries.map(|(entity, values)| {
        let entity = pairs(&entity).map(|(kind, name)| {
            described::EntityData::default().with_entity_type(kind).with_entity_name(name)
        });
        let values = values.iter().map(|(key, value)| {
            described::ValueData::default().with_key(text(key.name())).with_value(*value)
        });
        described::EntryData::default().with_entity(entity.collect()).with_values(values.collect())
    });
    DescribeClientQuotasResponse::default().with_entries(Some(entries.collect()))
}

/// Carries out an AlterClientQuotas: each entity on its own.
pub(crate) async fn alter_quotas(call: Call, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse {
    let mut entries = Vec::with_capacity(request.entries.len());
    for entry in request.entries {
        let done = alter_one(&call, &entry, request.validate_only).await;
        let entity = entry.entity.into_iter().map(|part| {
            altered::EntityData::default()
                .with_entity_type(part.entity_type)
                .with_entity_name(part.entity_name)
        });
        let result = altered::EntryData::default().with_entity(entity.collect());
        entries.push(match done {
            Ok(()) => result,
            Err((code, message)) => {
                result.with_error_code(code.code()).with_error_message(Some(text(&message)))
            }
        });
    }
    AlterClientQuotasResponse::default().with_entries(entries)
}

async fn alter_one(call: &Call, entry: &asked::EntryData, dry: bool) -> Result<(), Refused> {
    let mut entity = Entity { user: None, client_id: None };
    for part in &entry.entity {
        let name = part.entity_name.as_ref();
        let name = name.map_or(QuotaName::Default, |name| QuotaName::Named(name.to_string()));
        let place = match &*part.entity_type {
            USER => &mut entity.user,
            CLIENT => &mut entity.client_id,
            other => return Err(unknown_kind(other)),
        };
        if place.replace(name).is_some() {
            return Err((Code::InvalidRequest, "an entity names the same kind twice".into()));
        }
    }
    let changes = entry.ops.iter().map(|op| {
        let unknown = || {
            let known = QuotaKey::ALL.map(QuotaKey::name).join(", ");
            (Code::InvalidRequest, format!("there is no quota {:?} here; there are {known}", &*op.key))
        };
        let key = QuotaKey::of_name(&op.key).ok_or_else(unknown)?;
        Ok(QuotaChange { entity: entity.clone(), key, value: (!op.remove).then_some(op.value) })
    });
    let changes = changes.collect::<Result<Vec<_>, Refused>>()?;
    let access = access(call)?;
    let done = tokio::task::spawn_blocking(move || access.change_quotas(&changes, dry)).await;
    let failed = |_| (Code::UnknownServerError, "the change was given up".to_owned());
    done.map_err(failed)?.map_err(|error| (codes::of_access(&error), error.to_string()))
}
