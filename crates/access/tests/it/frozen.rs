//! The sample in `tests/formats/v1/access` must still load and be written as
//! it is. It was made by `write_the_sample`, which is not run any more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pluvio_access::{Access, AccessError, Acl, Operation, Pattern, Permission, QuotaName, ResourceKind};
use pluvio_foundation::RealDisk;
use pluvio_wire_kafka::sasl::Hash;

use crate::store::{acl, all, quota, set};

fn sample() -> PathBuf {
    PathBuf::from("../../tests/formats/v1/access")
}

fn fill(folder: &Path) {
    let access = Access::open(folder, Arc::new(RealDisk)).unwrap();
    access
        .change_users(&[set("kim", Hash::Sha256), set("kim", Hash::Sha512), set("Zoë", Hash::Sha256)])
        .unwrap();
    let deny = Acl {
        pattern: Pattern::Prefixed,
        permission: Permission::Deny,
        host: "10.0.0.7".into(),
        ..acl("secret-", Operation::All)
    };
    let cluster = Acl {
        resource: ResourceKind::Cluster,
        principal: "User:*".into(),
        ..acl("kafka-cluster", Operation::IdempotentWrite)
    };
    access.add_acls(vec![acl("orders", Operation::Read), deny, cluster]).unwrap();
    let named = Some(QuotaName::Named("kim".into()));
    access
        .change_quotas(&[quota(named, Some(1024.0)), quota(Some(QuotaName::Default), Some(0.5))], false)
        .unwrap();
}

#[test]
#[ignore = "writes the sample"]
fn write_the_sample() {
    std::fs::create_dir_all(sample()).unwrap();
    fill(&sample());
}

#[test]
fn the_frozen_sample_still_loads() {
    let access = Access::open(&sample(), Arc::new(RealDisk)).unwrap();
    assert_eq!(access.users().len(), 2);
    assert!(access.credential("kim", Hash::Sha512).unwrap().is_password("wet weather"));
    assert_eq!(access.acls(&all()).len(), 3);
    assert_eq!(access.quotas().len(), 2);
    let copy = tempfile::tempdir().unwrap();
    fill(copy.path());
    let read = |folder: &Path| std::fs::read(folder.join("access.json")).unwrap();
    assert_eq!(read(copy.path()), read(&sample()));
}

#[test]
fn files_of_another_version_or_none_of_ours_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.json");
    for (text, reason) in [
        ("{", "EOF"),
        (r#"{"version": 2, "people": []}"#, "version is 2"),
        (
            r#"{"version":1,"users":[{"name":"kim","credentials":[{"mechanism":"MD5","iterations":1,"salt":"","stored_key":"","server_key":""}]}],"acls":[],"quotas":[]}"#,
            "MD5",
        ),
        (
            r#"{"version":1,"users":[],"acls":[{"resource":"SHED","name":"a","pattern":"LITERAL","principal":"User:a","host":"*","operation":"READ","permission":"ALLOW"}],"quotas":[]}"#,
            "SHED",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = Access::open(folder.path(), Arc::new(RealDisk)).unwrap_err();
        assert!(matches!(error, AccessError::Corrupt { .. }));
        assert!(error.to_string().contains("access.json") && error.to_string().contains(reason), "{error}");
    }
}
