use std::io;
use std::path::Path;
use std::sync::Arc;

use pluvio_access::{
    Access, AccessError, Acl, AclFilter, Entity, NameFilter, Operation, Pattern, Permission, QuotaChange,
    QuotaKey, QuotaName, ResourceKind, UserChange,
};
use pluvio_foundation::Disk;
use pluvio_foundation::random::SeededRandom;
use pluvio_testkit::SimDisk;
use pluvio_wire_kafka::sasl::{Credential, Hash};

pub fn open(disk: &SimDisk) -> Access {
    disk.create_dir_all(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    Access::open(Path::new("/data"), Arc::new(disk.clone())).unwrap()
}

pub fn credential(hash: Hash, password: &str) -> Credential {
    Credential::of_password(hash, password, b"0123456789abcdef".to_vec(), 4096)
}

pub fn set(name: &str, hash: Hash) -> UserChange {
    UserChange::Set { name: name.into(), credential: credential(hash, "wet weather") }
}

pub fn acl(name: &str, operation: Operation) -> Acl {
    Acl {
        resource: ResourceKind::Topic,
        name: name.into(),
        pattern: Pattern::Literal,
        principal: "User:kim".into(),
        host: "*".into(),
        operation,
        permission: Permission::Allow,
    }
}

pub fn all() -> AclFilter {
    AclFilter {
        resource: None,
        name: None,
        pattern: NameFilter::Any,
        principal: None,
        host: None,
        operation: None,
        permission: None,
    }
}

pub fn quota(user: Option<QuotaName>, value: Option<f64>) -> QuotaChange {
    QuotaChange { entity: Entity { user, client_id: None }, key: QuotaKey::ProducerByteRate, value }
}

const KIM: (&str, &str) = ("User:kim", "10.0.0.1");

#[test]
fn everything_survives_a_crash() {
    let disk = SimDisk::new();
    let access = open(&disk);
    access
        .change_users(&[set("kim", Hash::Sha256), set("kim", Hash::Sha512), set("tim", Hash::Sha256)])
        .unwrap();
    access.add_acls(vec![acl("orders", Operation::Read)]).unwrap()[0].as_ref().unwrap();
    access.change_quotas(&[quota(Some(QuotaName::Default), Some(1.5))], false).unwrap();
    drop(access);
    let access = open(&disk.crash(&SeededRandom::new(7)));
    assert_eq!(access.users().len(), 2);
    assert_eq!(access.credential("kim", Hash::Sha512).unwrap(), credential(Hash::Sha512, "wet weather"));
    assert!(access.any_credential("tim").unwrap().is_password("wet weather"));
    assert!(access.credential("tim", Hash::Sha512).is_none() && access.any_credential("jim").is_none());
    assert!(access.allows(KIM, Operation::Describe, ResourceKind::Topic, "orders"));
    assert_eq!(access.quota(QuotaKey::ProducerByteRate, "kim", "c").unwrap().value, 1.5);
}

#[test]
fn a_change_counts_only_once_it_is_on_disk() {
    let disk = SimDisk::new();
    let access = open(&disk);
    access.change_users(&[set("kim", Hash::Sha256)]).unwrap();
    disk.fail_sync(1, io::ErrorKind::StorageFull);
    let failed = access.change_users(&[set("tim", Hash::Sha256)]).unwrap_err();
    assert!(matches!(failed, AccessError::Io { .. }), "{failed}");
    assert_eq!(access.users().len(), 1);
    disk.fail_sync(1, io::ErrorKind::StorageFull);
    assert!(access.add_acls(vec![acl("orders", Operation::Read)]).is_err());
    assert!(!access.allows(KIM, Operation::Read, ResourceKind::Topic, "orders"));
}

#[test]
fn changes_are_all_or_none() {
    let access = open(&SimDisk::new());
    let missing = UserChange::RemoveAll { name: "nobody".into() };
    let failed = access.change_users(&[set("kim", Hash::Sha256), missing]).unwrap_err();
    assert!(matches!(&failed, AccessError::NoUser(name) if name == "nobody"));
    assert!(access.users().is_empty());
    let wrong = quota(Some(QuotaName::Named("tim".into())), Some(-1.0));
    assert!(access.change_quotas(&[quota(Some(QuotaName::Default), Some(1.0)), wrong], false).is_err());
    access.change_quotas(&[quota(Some(QuotaName::Default), Some(1.0))], true).unwrap();
    assert!(access.quotas().is_empty());
}

#[test]
fn a_user_goes_with_the_last_credential() {
    let access = open(&SimDisk::new());
    access.change_users(&[set("kim", Hash::Sha256), set("kim", Hash::Sha512)]).unwrap();
    let remove = |hash| access.change_users(&[UserChange::Remove { name: "kim".into(), hash }]);
    remove(Hash::Sha256).unwrap();
    assert_eq!(access.users(), [("kim".to_owned(), vec![(Hash::Sha512, 4096)])]);
    assert!(remove(Hash::Sha256).is_err());
    remove(Hash::Sha512).unwrap();
    assert!(access.users().is_empty());
}

#[test]
fn users_are_checked() {
    assert!(UserChange::password("kim", "short").is_err());
    let made = UserChange::password("kim", "long enough").unwrap();
    let access = open(&SimDisk::new());
    access.change_users(&made).unwrap();
    assert!(access.credential("kim", Hash::Sha512).unwrap().is_password("long enough"));
    let weak = Credential { iterations: 1000, ..credential(Hash::Sha256, "p") };
    for (name, credential) in [
        ("", credential(Hash::Sha256, "p")),
        ("*", credential(Hash::Sha256, "p")),
        ("a\nb", credential(Hash::Sha256, "p")),
        ("weak", weak),
    ] {
        assert!(
            access.change_users(&[UserChange::Set { name: name.into(), credential }]).is_err(),
            "{name:?}"
        );
    }
}

#[test]
fn rules_are_checked_found_and_removed() {
    let access = open(&SimDisk::new());
    let prefixed = Acl { pattern: Pattern::Prefixed, ..acl("ord", Operation::Write) };
    let added = access.add_acls(vec![
        acl("orders", Operation::Read),
        acl("*", Operation::Describe),
        prefixed.clone(),
        Acl { principal: "kim".into(), ..acl("a", Operation::Read) },
        Acl { resource: ResourceKind::Cluster, ..acl("a", Operation::Create) },
        acl("a", Operation::ClusterAction),
    ]);
    let added: Vec<bool> = added.unwrap().iter().map(Result::is_ok).collect();
    assert_eq!(added, [true, true, true, false, false, false]);
    let named = |pattern| AclFilter { name: Some("orders".into()), pattern, ..all() };
    assert_eq!(access.acls(&all()).len(), 3);
    assert_eq!(access.acls(&named(NameFilter::Match)).len(), 3);
    assert_eq!(access.acls(&named(NameFilter::Any)).len(), 1);
    assert_eq!(access.acls(&named(NameFilter::Exactly(Pattern::Prefixed))).len(), 0);
    let writes = AclFilter { operation: Some(Operation::Write), ..all() };
    assert_eq!(
        access.remove_acls(&[writes, named(NameFilter::Any)]).unwrap(),
        [vec![prefixed], vec![acl("orders", Operation::Read)]]
    );
    assert_eq!(access.acls(&all()), [acl("*", Operation::Describe)]);
}

#[test]
fn processes_share_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let lock = std::fs::File::create(folder.path().join("access.lock")).unwrap();
        Access::open(folder.path(), Arc::new(pluvio_foundation::RealDisk)).unwrap().shared(lock)
    };
    let (one, other) = (open(), open());
    one.change_users(&[set("kim", Hash::Sha256)]).unwrap();
    assert!(other.users().is_empty());
    other.refresh().unwrap();
    assert_eq!(other.users().len(), 1);
    one.change_users(&[set("tim", Hash::Sha256)]).unwrap();
    // A change is made to what is there, not to what was read before.
    other.change_users(&[set("jim", Hash::Sha256)]).unwrap();
    one.refresh().unwrap();
    assert_eq!(one.users().len(), 3);
    std::fs::write(folder.path().join("access.json"), "{").unwrap();
    assert!(one.refresh().is_err());
    assert_eq!(one.users().len(), 3);
}
