//! Which crate may depend on which. Imports point down: a crate uses crates of
//! lower layers, and among those only the ones listed for it.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use crate::none;

/// A crate, its layer, and the workspace crates it may depend on (all names
/// without `pluvio-`). What each layer is for stands in ARCHITECTURE.md.
struct Place {
    name: &'static str,
    layer: u8,
    may_use: &'static [&'static str],
}

const STORES: u8 = 2;
const MOVERS: u8 = 5;

#[rustfmt::skip]
const PLACES: &[Place] = &[
    Place { name: "foundation", layer: 0, may_use: &[] },
    Place { name: "wire-kafka", layer: 1, may_use: &["foundation"] },
    Place { name: "formats", layer: 1, may_use: &["foundation"] },
    Place { name: "config", layer: 1, may_use: &["foundation"] },
    Place { name: "eventlog", layer: STORES, may_use: &["foundation", "wire-kafka"] },
    // A log elsewhere.
    Place { name: "kafka-client", layer: STORES, may_use: &["foundation", "wire-kafka"] },
    Place { name: "keytables", layer: STORES, may_use: &["foundation"] },
    Place { name: "lake", layer: STORES, may_use: &["foundation"] },
    Place { name: "access", layer: STORES, may_use: &["foundation", "wire-kafka"] },
    Place { name: "catalog", layer: 3, may_use: &["foundation", "config"] },
    Place { name: "query", layer: 4, may_use: &["foundation", "config", "formats", "wire-kafka", "eventlog", "kafka-client", "keytables", "lake", "catalog"] },
    // Doors see the log and who may use it, no other store and nothing that knows a schema.
    Place { name: "doors", layer: MOVERS, may_use: &["foundation", "wire-kafka", "eventlog", "access"] },
    // Feeds append what does not come through a door.
    Place { name: "feeds", layer: MOVERS, may_use: &["foundation", "formats", "wire-kafka", "eventlog", "catalog"] },
    Place { name: "engine", layer: MOVERS, may_use: &["foundation", "formats", "wire-kafka", "eventlog", "kafka-client", "keytables", "lake", "catalog", "query"] },
    // Serving reads through query only.
    Place { name: "serving", layer: MOVERS, may_use: &["foundation", "catalog", "query"] },
    // All of it without doors.
    Place { name: "embedded", layer: 6, may_use: &["foundation", "config", "wire-kafka", "eventlog", "keytables", "catalog", "query", "feeds", "engine"] },
    Place { name: "pluvio", layer: 7, may_use: &["foundation", "config", "formats", "wire-kafka", "eventlog", "kafka-client", "keytables", "access", "catalog", "query", "doors", "engine", "embedded", "serving"] },
    // Beside the layers: nothing but tests uses these.
    Place { name: "testkit", layer: 1, may_use: &["foundation"] },
    Place { name: "tidy", layer: 7, may_use: &[] },
];

/// May depend on DataFusion and Delta Lake directly.
const QUERY_ENGINE_USERS: &[&str] = &["query", "engine", "lake", "serving"];
const QUERY_ENGINE_CRATES: &[&str] = &["datafusion", "deltalake"];

fn workspace() -> Metadata {
    let manifest = "../../Cargo.toml";
    MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap()
}

fn short(name: &str) -> &str {
    name.strip_prefix("pluvio-").unwrap_or(name)
}

fn place(name: &str) -> Option<&'static Place> {
    PLACES.iter().find(|place| place.name == name)
}

/// The workspace crates a package names, each with how it needs them.
fn edges(package: &Package) -> impl Iterator<Item = (&str, DependencyKind)> {
    let own = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
    own.map(|dependency| (short(&dependency.name), dependency.kind))
}

#[test]
fn every_crate_has_its_place() {
    let metadata = workspace();
    let lost = metadata.packages.iter().filter(|package| place(short(&package.name)).is_none());
    let lost: Vec<_> = lost.map(|package| package.name.to_string()).collect();
    none(&lost, "Give the crate a layer and its edges in PLACES (crates/tidy/tests/it/layers.rs).");
    let gone = PLACES
        .iter()
        .filter(|place| !metadata.packages.iter().any(|package| short(&package.name) == place.name));
    none(
        &gone.map(|place| place.name.to_owned()).collect::<Vec<_>>(),
        "No such crate: remove it from PLACES.",
    );
}

#[test]
fn every_edge_is_allowed() {
    let metadata = workspace();
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let Some(place) = place(short(&package.name)) else { continue };
        for (used, kind) in edges(package) {
            // A test may put together what lies below the crate it tests.
            let below = self::place(used).is_some_and(|used| used.layer < place.layer);
            let allowed = place.may_use.contains(&used) || (below && kind == DependencyKind::Development);
            if !allowed {
                findings.push(format!("{} -> {used}", place.name));
            }
        }
    }
    none(
        &findings,
        "Imports point down, movers do not know each other, stores do not know each other, and testkit is only a \
         dev-dependency. Pass the data through a lower layer; if the design itself changed, change PLACES and \
         ARCHITECTURE.md together.",
    );
}

#[test]
fn the_table_keeps_the_layers() {
    let layer = |name: &str| place(name).map(|place| place.layer).unwrap();
    let mut findings = Vec::new();
    for place in PLACES {
        for used in place.may_use {
            if layer(used) >= place.layer {
                findings.push(format!(
                    "{} (layer {}) -> {used} (layer {})",
                    place.name,
                    place.layer,
                    layer(used)
                ));
            }
        }
    }
    none(&findings, "PLACES itself must point down.");
}

#[test]
fn the_query_engine_stays_where_it_is() {
    let metadata = workspace();
    let mut findings = Vec::new();
    for package in
        metadata.packages.iter().filter(|package| !QUERY_ENGINE_USERS.contains(&short(&package.name)))
    {
        for dependency in &package.dependencies {
            let of_engine = QUERY_ENGINE_CRATES.iter().any(|name| dependency.name.starts_with(name));
            if of_engine {
                findings.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    none(
        &findings,
        "DataFusion and Delta types stay in query, engine, lake and serving: pass Arrow types on.",
    );
}

#[test]
fn every_crate_keeps_the_lints() {
    let metadata = workspace();
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        if !manifest.contains("[lints]\nworkspace = true") {
            findings.push(package.manifest_path.to_string());
        }
    }
    none(&findings, "Add `[lints]` with `workspace = true` to the manifest.");
}
