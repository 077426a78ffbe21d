//! What one peer may do.

use std::sync::Arc;

use pluvio_access::acl::CLUSTER;
use pluvio_access::{Operation, ResourceKind};

use crate::kafka::security::{Authentication, Security};

/// A peer's rights: who it is, from where, and whose rules count.
#[derive(Debug, Clone)]
pub(crate) struct Rights {
    /// `None`: there is no access control.
    security: Option<Arc<Security>>,
    /// As in a rule: `User:name`.
    principal: Arc<str>,
    /// An IP address.
    host: Arc<str>,
}

/// Who a peer is that did not prove who it is.
const ANONYMOUS: &str = "ANONYMOUS";

impl Rights {
    /// Everything at a door without authentication; else what the rules allow
    /// somebody unknown.
    pub fn of_unknown(security: Option<&Arc<Security>>, host: Arc<str>) -> Self {
        let limited = security.filter(|it| it.authentication != Authentication::None);
        match limited {
            Some(security) => Self::of_user(security, ANONYMOUS, host),
            None => Self { security: None, principal: format!("User:{ANONYMOUS}").into(), host },
        }
    }

    /// What the rules allow `user`; everything if it is a super user.
    pub fn of_user(security: &Arc<Security>, user: &str, host: Arc<str>) -> Self {
        let is_super = security.super_users.iter().any(|name| name == user);
        let security = (!is_super).then(|| Arc::clone(security));
        Self { security, principal: format!("User:{user}").into(), host }
    }

    /// Who it is, without `User:`.
    pub fn user(&self) -> &str {
        self.principal.strip_prefix("User:").unwrap_or(&self.principal)
    }

    /// Its IP address.
    pub fn host(&self) -> Arc<str> {
        Arc::clone(&self.host)
    }

    /// Whether there is anything it may not do.
    pub fn are_limited(&self) -> bool {
        self.security.is_some()
    }

    fn may(&self, operation: Operation, kind: ResourceKind, name: &str) -> bool {
        let Some(security) = &self.security else { return true };
        security.access.allows((&self.principal, &self.host), operation, kind, name)
    }

    /// Whether it may do this with a topic.
    pub fn topic(&self, operation: Operation, name: &str) -> bool {
        self.may(operation, ResourceKind::Topic, name)
    }

    /// Whether it may do this with a group.
    pub fn group(&self, operation: Operation, name: &str) -> bool {
        self.may(operation, ResourceKind::Group, name)
    }

    /// Whether it may do this with a transactional producer.
    pub fn transaction(&self, operation: Operation, name: &str) -> bool {
        self.may(operation, ResourceKind::TransactionalId, name)
    }

    /// Whether it may do this with the server.
    pub fn cluster(&self, operation: Operation) -> bool {
        self.may(operation, ResourceKind::Cluster, CLUSTER)
    }

    /// Whether it may do this with at least one topic.
    pub fn some_topic(&self, operation: Operation) -> bool {
        let Some(security) = &self.security else { return true };
        security.access.allows_some((&self.principal, &self.host), operation, ResourceKind::Topic)
    }

    /// Whether it may make this topic.
    pub fn create_topic(&self, name: &str) -> bool {
        self.cluster(Operation::Create) || self.topic(Operation::Create, name)
    }

    /// What it may do with a resource: a bit for each operation.
    pub fn operations(&self, kind: ResourceKind, name: &str) -> i32 {
        let may = kind.operations().iter().filter(|operation| self.may(**operation, kind, name));
        may.fold(0, |bits, operation| bits | 1 << operation.code())
    }
}
