//! Decides by the rules, as Kafka's own authorizer does: a rule that denies
//! goes before all that allow, and what nothing allows is denied. Being allowed
//! to read, write, delete or alter includes looking it up; being allowed to
//! change settings includes reading them.

use std::collections::{BTreeSet, HashMap};

use crate::acl::{ANY_HOST, ANY_NAME, ANY_PRINCIPAL, Acl, Operation, Pattern, Permission, ResourceKind};

/// Rules, found by what they are about.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rules {
    literal: HashMap<ResourceKind, HashMap<String, Vec<Acl>>>,
    prefixed: HashMap<ResourceKind, HashMap<String, Vec<Acl>>>,
    /// The lengths of prefixes there are, in bytes.
    lengths: HashMap<ResourceKind, BTreeSet<usize>>,
}

/// Who does something, and from where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Actor<'a> {
    pub principal: &'a str,
    pub host: &'a str,
}

impl Rules {
    pub fn new(acls: &BTreeSet<Acl>) -> Self {
        let mut rules = Self::default();
        for acl in acls {
            let by_kind = match acl.pattern {
                Pattern::Literal => &mut rules.literal,
                Pattern::Prefixed => {
                    rules.lengths.entry(acl.resource).or_default().insert(acl.name.len());
                    &mut rules.prefixed
                }
            };
            by_kind.entry(acl.resource).or_default().entry(acl.name.clone()).or_default().push(acl.clone());
        }
        rules
    }

    /// The rules that are about this resource.
    fn about<'a>(&'a self, kind: ResourceKind, name: &'a str) -> impl Iterator<Item = &'a Acl> {
        let literal = self.literal.get(&kind);
        let exact = literal.and_then(|names| names.get(name)).into_iter().flatten();
        let any = literal.and_then(|names| names.get(ANY_NAME)).filter(|_| name != ANY_NAME);
        let prefixed = self.prefixed.get(&kind);
        let lengths = self.lengths.get(&kind).into_iter().flatten();
        let beginnings = lengths.filter_map(|length| name.get(..*length));
        let by_prefix = beginnings.filter_map(move |prefix| prefixed?.get(prefix)).flatten();
        exact.chain(any.into_iter().flatten()).chain(by_prefix)
    }

    /// Whether `actor` may do `operation` on the resource.
    pub fn allows(&self, actor: Actor<'_>, operation: Operation, kind: ResourceKind, name: &str) -> bool {
        let mut allowed = false;
        for acl in self.about(kind, name).filter(|acl| concerns(acl, actor)) {
            match acl.permission {
                Permission::Deny if covers_denied(acl.operation, operation) => return false,
                Permission::Allow => allowed |= covers_allowed(acl.operation, operation),
                Permission::Deny => {}
            }
        }
        allowed
    }

    /// Whether `actor` may do `operation` on at least one resource of a kind,
    /// there or yet to be made.
    pub fn allows_some(&self, actor: Actor<'_>, operation: Operation, kind: ResourceKind) -> bool {
        let both = [(&self.literal, Pattern::Literal), (&self.prefixed, Pattern::Prefixed)];
        let all = both.iter().filter_map(|(kinds, _)| kinds.get(&kind)).flat_map(HashMap::values).flatten();
        let of_actor: Vec<&Acl> = all.filter(|acl| concerns(acl, actor)).collect();
        let denied: Vec<&&Acl> = of_actor
            .iter()
            .filter(|acl| acl.permission == Permission::Deny && covers_denied(acl.operation, operation))
            .collect();
        let dominated = |acl: &Acl| {
            denied.iter().any(|deny| match deny.pattern {
                Pattern::Literal => {
                    deny.name == ANY_NAME || (deny.name == acl.name && acl.pattern == Pattern::Literal)
                }
                Pattern::Prefixed => acl.name.starts_with(&deny.name),
            })
        };
        of_actor.iter().any(|acl| {
            acl.permission == Permission::Allow && covers_allowed(acl.operation, operation) && !dominated(acl)
        })
    }
}

fn concerns(acl: &Acl, actor: Actor<'_>) -> bool {
    (acl.principal == actor.principal || acl.principal == ANY_PRINCIPAL)
        && (acl.host == actor.host || acl.host == ANY_HOST)
}

fn covers_denied(of_rule: Operation, asked: Operation) -> bool {
    of_rule == asked || of_rule == Operation::All
}

fn covers_allowed(of_rule: Operation, asked: Operation) -> bool {
    use Operation::{All, Alter, AlterConfigs, Delete, Describe, DescribeConfigs, Read, Write};
    let includes = match asked {
        Describe => matches!(of_rule, Read | Write | Delete | Alter),
        DescribeConfigs => of_rule == AlterConfigs,
        _ => false,
    };
    of_rule == asked || of_rule == All || includes
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIM: Actor<'static> = Actor { principal: "User:kim", host: "10.0.0.1" };

    fn acl(name: &str, operation: Operation) -> Acl {
        Acl {
            resource: ResourceKind::Topic,
            name: name.into(),
            pattern: Pattern::Literal,
            principal: KIM.principal.into(),
            host: ANY_HOST.into(),
            operation,
            permission: Permission::Allow,
        }
    }

    fn rules(acls: &[Acl]) -> Rules {
        Rules::new(&acls.iter().cloned().collect())
    }

    fn may(rules: &Rules, operation: Operation, name: &str) -> bool {
        rules.allows(KIM, operation, ResourceKind::Topic, name)
    }

    #[test]
    fn what_nothing_allows_is_denied() {
        let none = rules(&[]);
        assert!(!may(&none, Operation::Describe, "a"));
        let one = rules(&[acl("a", Operation::Read)]);
        assert!(may(&one, Operation::Read, "a") && may(&one, Operation::Describe, "a"));
        assert!(!may(&one, Operation::Write, "a") && !may(&one, Operation::Read, "b"));
        assert!(!one.allows(KIM, Operation::Read, ResourceKind::Group, "a"));
        let other = Actor { principal: "User:tim", ..KIM };
        assert!(!one.allows(other, Operation::Read, ResourceKind::Topic, "a"));
    }

    #[test]
    fn operations_include_others() {
        for operation in [Operation::Write, Operation::Delete, Operation::Alter, Operation::All] {
            assert!(may(&rules(&[acl("a", operation)]), Operation::Describe, "a"), "{operation:?}");
        }
        assert!(may(&rules(&[acl("a", Operation::AlterConfigs)]), Operation::DescribeConfigs, "a"));
        assert!(!may(&rules(&[acl("a", Operation::AlterConfigs)]), Operation::Describe, "a"));
        assert!(!may(&rules(&[acl("a", Operation::Describe)]), Operation::Read, "a"));
        // A denial of looking up is none of reading.
        let deny = Acl { permission: Permission::Deny, ..acl("a", Operation::Describe) };
        let both = rules(&[deny, acl("a", Operation::Read)]);
        assert!(may(&both, Operation::Read, "a") && !may(&both, Operation::Describe, "a"));
    }

    #[test]
    fn a_denial_goes_first() {
        let deny = |name: &str| Acl { permission: Permission::Deny, ..acl(name, Operation::All) };
        let both = rules(&[acl("*", Operation::All), deny("secret")]);
        assert!(may(&both, Operation::Read, "open") && !may(&both, Operation::Read, "secret"));
        let prefixed = Acl { pattern: Pattern::Prefixed, ..deny("sec") };
        assert!(!may(&rules(&[acl("secret", Operation::Read), prefixed]), Operation::Read, "secret"));
    }

    #[test]
    fn patterns_principals_and_hosts() {
        let prefixed = |name: &str| Acl { pattern: Pattern::Prefixed, ..acl(name, Operation::Read) };
        let some = rules(&[prefixed("orders-"), prefixed("o"), prefixed("ü")]);
        assert!(may(&some, Operation::Read, "orders-1") && may(&some, Operation::Read, "o"));
        assert!(!may(&some, Operation::Read, "a") && !may(&some, Operation::Read, "é"));
        assert!(may(&some, Operation::Read, "über"));
        let anybody = Acl { principal: ANY_PRINCIPAL.into(), ..acl("a", Operation::Read) };
        assert!(may(&rules(&[anybody]), Operation::Read, "a"));
        let elsewhere = Acl { host: "10.0.0.2".into(), ..acl("a", Operation::Read) };
        assert!(!may(&rules(&[elsewhere]), Operation::Read, "a"));
        let here = Acl { host: KIM.host.into(), ..acl("a", Operation::Read) };
        assert!(may(&rules(&[here]), Operation::Read, "a"));
    }

    #[test]
    fn some_resource_of_a_kind() {
        let some = |acls: &[Acl]| rules(acls).allows_some(KIM, Operation::Write, ResourceKind::Topic);
        let deny = |name: &str| Acl { permission: Permission::Deny, ..acl(name, Operation::Write) };
        assert!(some(&[acl("a", Operation::Write)]));
        assert!(!some(&[acl("a", Operation::Read)]));
        assert!(!some(&[acl("a", Operation::Write), deny("a")]));
        assert!(some(&[acl("a", Operation::Write), deny("b")]));
        assert!(!some(&[acl("a", Operation::Write), deny("*")]));
        assert!(some(&[acl("*", Operation::Write), deny("b")]));
        assert!(!some(&[acl("ab", Operation::Write), Acl { pattern: Pattern::Prefixed, ..deny("a") }]));
    }
}
