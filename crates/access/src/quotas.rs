//! How much a user or a client may use, and which quota counts for whom: the
//! most specific one, in Kafka's order.

use std::collections::BTreeMap;

use crate::AccessError;

/// Most entities with quotas.
pub const QUOTAS_MAX: usize = 10_000;
/// Longest name in an entity, in bytes.
const NAME_BYTES_MAX: usize = 512;

/// A name in an entity, or whoever has no quota by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaName {
    /// Whoever has none by name.
    Default,
    /// This one.
    Named(String),
}

/// Whom a quota is for: a user, a client's name for itself, or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// The user.
    pub user: Option<QuotaName>,
    /// The client.
    pub client_id: Option<QuotaName>,
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaKey {
    /// Bytes of records produced in a second.
    ProducerByteRate,
    /// Bytes of records fetched in a second.
    ConsumerByteRate,
}

impl QuotaKey {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::ProducerByteRate, Self::ConsumerByteRate];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProducerByteRate => "producer_byte_rate",
            Self::ConsumerByteRate => "consumer_byte_rate",
        }
    }

    /// The key with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }
}

/// Sets or removes one value of an entity.
#[derive(Debug, Clone, PartialEq)]
pub struct QuotaChange {
    /// Whose.
    pub entity: Entity,
    /// Which.
    pub key: QuotaKey,
    /// The new value; `None` removes it.
    pub value: Option<f64>,
}

/// The values of all entities.
pub(crate) type Quotas = BTreeMap<Entity, BTreeMap<QuotaKey, f64>>;

impl QuotaChange {
    pub(crate) fn apply(&self, quotas: &mut Quotas) -> Result<(), AccessError> {
        check(&self.entity)?;
        match self.value {
            None => {
                if let Some(values) = quotas.get_mut(&self.entity) {
                    values.remove(&self.key);
                    if values.is_empty() {
                        quotas.remove(&self.entity);
                    }
                }
            }
            Some(value) if value.is_finite() && value > 0.0 => {
                if !quotas.contains_key(&self.entity) && quotas.len() >= QUOTAS_MAX {
                    return Err(AccessError::Limit { what: "quotas", count_max: QUOTAS_MAX });
                }
                quotas.entry(self.entity.clone()).or_default().insert(self.key, value);
            }
            Some(value) => {
                let name = self.key.name();
                return Err(AccessError::Invalid(format!("{name} = {value}: a quota is a number above 0")));
            }
        }
        Ok(())
    }
}

fn check(entity: &Entity) -> Result<(), AccessError> {
    if entity.user.is_none() && entity.client_id.is_none() {
        return Err(AccessError::Invalid("a quota is for a user, a client-id or both".into()));
    }
    for name in [&entity.user, &entity.client_id].into_iter().flatten() {
        let QuotaName::Named(name) = name else { continue };
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            let message = format!("the name of an entity must have 1 to {NAME_BYTES_MAX} bytes");
            return Err(AccessError::Invalid(message));
        }
    }
    Ok(())
}

/// The quota that counts for a user and a client: its value, and whether the
/// user and the client each have a share of their own of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effective {
    /// The value.
    pub value: f64,
    /// Whether each user has a share of its own.
    pub by_user: bool,
    /// Whether each client has a share of its own.
    pub by_client: bool,
}

pub(crate) fn effective(quotas: &Quotas, key: QuotaKey, user: &str, client_id: &str) -> Option<Effective> {
    if quotas.is_empty() {
        return None;
    }
    let (user, client) = (QuotaName::Named(user.to_owned()), QuotaName::Named(client_id.to_owned()));
    let users = [Some(user), Some(QuotaName::Default), None];
    let clients = [Some(client), Some(QuotaName::Default), None];
    for user in users {
        for client_id in clients.clone() {
            let entity = Entity { user: user.clone(), client_id };
            if let Some(value) = quotas.get(&entity).and_then(|values| values.get(&key)) {
                let (by_user, by_client) = (entity.user.is_some(), entity.client_id.is_some());
                return Some(Effective { value: *value, by_user, by_client });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Option<QuotaName> {
        Some(QuotaName::Named(name.into()))
    }

    fn change(user: Option<QuotaName>, client_id: Option<QuotaName>, value: f64) -> QuotaChange {
        let entity = Entity { user, client_id };
        QuotaChange { entity, key: QuotaKey::ProducerByteRate, value: Some(value) }
    }

    #[test]
    fn the_most_specific_quota_counts() {
        let default = Some(QuotaName::Default);
        let order = [
            change(None, default.clone(), 8.0),
            change(None, named("c"), 7.0),
            change(default.clone(), None, 6.0),
            change(default.clone(), default.clone(), 5.0),
            change(default.clone(), named("c"), 4.0),
            change(named("kim"), None, 3.0),
            change(named("kim"), default, 2.0),
            change(named("kim"), named("c"), 1.0),
        ];
        let mut quotas = Quotas::new();
        let find = |quotas: &Quotas| effective(quotas, QuotaKey::ProducerByteRate, "kim", "c");
        assert_eq!(find(&quotas), None);
        for change in order {
            change.apply(&mut quotas).unwrap();
            assert_eq!(find(&quotas).map(|found| found.value), change.value);
        }
        let found = effective(&quotas, QuotaKey::ProducerByteRate, "tim", "other").unwrap();
        assert_eq!((found.value, found.by_user, found.by_client), (5.0, true, true));
        assert_eq!(effective(&quotas, QuotaKey::ConsumerByteRate, "kim", "c"), None);
    }

    #[test]
    fn values_are_checked_and_removed() {
        let mut quotas = Quotas::new();
        assert!(change(None, None, 1.0).apply(&mut quotas).is_err());
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(change(named("kim"), None, wrong).apply(&mut quotas).is_err());
        }
        change(named("kim"), None, 1.0).apply(&mut quotas).unwrap();
        QuotaChange { value: None, ..change(named("kim"), None, 0.0) }.apply(&mut quotas).unwrap();
        assert!(quotas.is_empty());
    }
}
