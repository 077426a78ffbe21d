//! Who may do what, and how fast: users with their credentials, access rules,
//! quotas, in one durable file that every door can use.
//!
//! Promises: a change is on disk before it counts, whole or not at all; no
//! password is ever stored, only what checks one; what no rule allows is
//! denied; every list has a limit.
//! It knows no connection: who somebody is, is found out at a door.

pub mod acl;
pub mod error;
pub mod quotas;
mod record;
mod rules;
pub mod store;
pub mod users;

pub use acl::{Acl, AclFilter, NameFilter, Operation, Pattern, Permission, ResourceKind};
pub use error::AccessError;
pub use quotas::{Entity, QuotaChange, QuotaKey, QuotaName};
pub use store::Access;
pub use users::UserChange;
