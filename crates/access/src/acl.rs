//! Access rules: one principal, from one host or any, may or may not do one
//! operation on one resource or on those whose names begin alike. The words
//! and their codes are Kafka's.

/// Declares an enum whose values have Kafka's codes and names.
macro_rules! coded {
    ($(#[$meta:meta])* $name:ident { $($(#[$of:meta])* $value:ident = $code:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$of])* $value = $code,)* }

        impl $name {
            /// All values, by code.
            pub const ALL: &'static [Self] = &[$(Self::$value,)*];

            /// Its code on the wire.
            pub fn code(self) -> i8 {
                self as i8
            }

            /// Its name as Kafka's tools write it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$value => $text,)* }
            }

            /// The value with this code.
            pub fn of_code(code: i8) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.code() == code)
            }

            /// The value with this name.
            pub fn of_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }
        }
    };
}

coded! {
    /// What a rule is about.
    ResourceKind {
        /// A topic.
        Topic = 2, "TOPIC";
        /// A consumer group.
        Group = 3, "GROUP";
        /// The server; its only name is [`CLUSTER`].
        Cluster = 4, "CLUSTER";
        /// The name of a transactional producer.
        TransactionalId = 5, "TRANSACTIONAL_ID";
        /// A delegation token.
        DelegationToken = 6, "DELEGATION_TOKEN";
        /// A user.
        User = 7, "USER";
    }
}

coded! {
    /// How a rule names its resource.
    Pattern {
        /// By its whole name, or all by `*`.
        Literal = 3, "LITERAL";
        /// By how the name begins.
        Prefixed = 4, "PREFIXED";
    }
}

coded! {
    /// What somebody does.
    Operation {
        /// Anything.
        All = 2, "ALL";
        /// Reads records, joins groups, commits offsets.
        Read = 3, "READ";
        /// Writes records.
        Write = 4, "WRITE";
        /// Makes.
        Create = 5, "CREATE";
        /// Deletes.
        Delete = 6, "DELETE";
        /// Changes.
        Alter = 7, "ALTER";
        /// Looks up.
        Describe = 8, "DESCRIBE";
        /// What brokers do among themselves.
        ClusterAction = 9, "CLUSTER_ACTION";
        /// Reads settings.
        DescribeConfigs = 10, "DESCRIBE_CONFIGS";
        /// Changes settings.
        AlterConfigs = 11, "ALTER_CONFIGS";
        /// Writes idempotently.
        IdempotentWrite = 12, "IDEMPOTENT_WRITE";
        /// Makes delegation tokens.
        CreateTokens = 13, "CREATE_TOKENS";
        /// Looks up delegation tokens.
        DescribeTokens = 14, "DESCRIBE_TOKENS";
        /// Commits in two phases.
        TwoPhaseCommit = 15, "TWO_PHASE_COMMIT";
    }
}

coded! {
    /// Whether a rule allows or denies.
    Permission {
        /// It denies, whatever else allows.
        Deny = 2, "DENY";
        /// It allows.
        Allow = 3, "ALLOW";
    }
}

/// The one name of the server as a resource.
pub const CLUSTER: &str = "kafka-cluster";
/// As a resource's name: all of them.
pub const ANY_NAME: &str = "*";
/// As a principal: all of them.
pub const ANY_PRINCIPAL: &str = "User:*";
/// As a host: all of them.
pub const ANY_HOST: &str = "*";

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Acl {
    /// What it is about.
    pub resource: ResourceKind,
    /// The name or its beginning.
    pub name: String,
    /// Which of the two.
    pub pattern: Pattern,
    /// Who, as `User:name`.
    pub principal: String,
    /// From where: an IP address or `*`.
    pub host: String,
    /// What is done.
    pub operation: Operation,
    /// Whether that is allowed or denied.
    pub permission: Permission,
}

impl ResourceKind {
    /// The operations that exist for it.
    pub fn operations(self) -> &'static [Operation] {
        use Operation as O;
        match self {
            Self::Topic => &[
                O::Read,
                O::Write,
                O::Create,
                O::Delete,
                O::Alter,
                O::Describe,
                O::DescribeConfigs,
                O::AlterConfigs,
            ],
            Self::Group => &[O::Read, O::Delete, O::Describe, O::DescribeConfigs, O::AlterConfigs],
            Self::Cluster => &[
                O::Create,
                O::Alter,
                O::Describe,
                O::ClusterAction,
                O::DescribeConfigs,
                O::AlterConfigs,
                O::IdempotentWrite,
            ],
            Self::TransactionalId => &[O::Write, O::Describe, O::TwoPhaseCommit],
            Self::DelegationToken => &[O::Describe],
            Self::User => &[O::CreateTokens, O::DescribeTokens],
        }
    }
}

/// Which names a filter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameFilter {
    /// The name exactly, in a rule of either pattern.
    Any,
    /// Whatever would match a resource of this name.
    Match,
    /// The name exactly, in a rule of this pattern.
    Exactly(Pattern),
}

/// Chooses rules; `None` takes all.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields are those of a rule")]
pub struct AclFilter {
    pub resource: Option<ResourceKind>,
    pub name: Option<String>,
    pub pattern: NameFilter,
    pub principal: Option<String>,
    pub host: Option<String>,
    pub operation: Option<Operation>,
    pub permission: Option<Permission>,
}

impl AclFilter {
    /// Whether it chooses this rule.
    pub fn takes(&self, acl: &Acl) -> bool {
        self.resource.is_none_or(|it| it == acl.resource)
            && self.takes_name(acl)
            && self.principal.as_ref().is_none_or(|it| *it == acl.principal)
            && self.host.as_ref().is_none_or(|it| *it == acl.host)
            && self.operation.is_none_or(|it| it == acl.operation)
            && self.permission.is_none_or(|it| it == acl.permission)
    }

    fn takes_name(&self, acl: &Acl) -> bool {
        let pattern = match self.pattern {
            NameFilter::Exactly(pattern) => pattern == acl.pattern,
            NameFilter::Any | NameFilter::Match => true,
        };
        let name = self.name.as_ref().is_none_or(|name| match (self.pattern, acl.pattern) {
            (NameFilter::Match, Pattern::Prefixed) => name.starts_with(&acl.name),
            (NameFilter::Match, Pattern::Literal) => *name == acl.name || acl.name == ANY_NAME,
            _ => *name == acl.name,
        });
        pattern && name
    }
}
