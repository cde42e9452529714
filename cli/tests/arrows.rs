//! The crates depend on each other only along the architecture's one-way arrows.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Who may use whom (docs/architecture, section 2). Everything absent is forbidden.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let base = ["mpc-core", "policy", "proto"];
    let all = [
        "mpc-core",
        "policy",
        "proto",
        "signer-node",
        "coordinator",
        "client",
    ];
    BTreeMap::from([
        ("mpc-core", BTreeSet::new()),
        ("policy", BTreeSet::new()),
        ("proto", BTreeSet::from(["mpc-core", "policy"])),
        ("signer-node", BTreeSet::from(base)),
        ("coordinator", BTreeSet::from(base)),
        ("client", BTreeSet::from(["proto", "policy"])),
        ("cli", BTreeSet::from(all)),
        ("benches", BTreeSet::from(all)),
    ])
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .expect("cargo metadata of the workspace");
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let allowed = allowed();
    assert_eq!(
        ours,
        allowed.keys().copied().collect(),
        "every crate of the workspace stands in the table"
    );

    let mut forbidden = Vec::new();
    let mut seen = 0;
    for package in &metadata.packages {
        let from = package.name.as_str();
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            if dependency.kind != DependencyKind::Normal || !ours.contains(to) {
                continue;
            }
            seen += 1;
            if !allowed[from].contains(to) {
                forbidden.push(format!("{from} -> {to}"));
            }
        }
    }
    assert!(seen >= 10, "the arrows were really read: {seen}");
    assert!(
        forbidden.is_empty(),
        "arrows against the architecture: {forbidden:?}"
    );
}

/// What the other families of protocols are built from, and the arithmetic that they need.
const OF_OTHER_FAMILIES: [&str; 14] = [
    "cggmp21",
    "cggmp24",
    "curv-kzen",
    "fast-paillier",
    "gmp-mpfr-sys",
    "kzen-paillier",
    "libpaillier",
    "multi-party-ecdsa",
    "paillier",
    "paillier-zk",
    "rug",
    "synedrion",
    "tss-esapi",
    "unknown_order",
];

#[test]
fn a43_nothing_of_the_paillier_family_is_in_the_product() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .other_options(vec!["--offline".to_owned(), "--locked".to_owned()])
        .exec()
        .expect("cargo metadata with what the lock file names");
    let nodes = &metadata.resolve.as_ref().expect("a resolved graph").nodes;
    let needs: BTreeMap<_, _> = nodes.iter().map(|node| (&node.id, &node.deps)).collect();
    let mut reached = BTreeSet::new();
    let mut open: Vec<_> = metadata
        .packages
        .iter()
        .filter(|package| package.name.as_str() == "cli")
        .map(|package| &package.id)
        .collect();
    while let Some(id) = open.pop() {
        if !reached.insert(id) {
            continue;
        }
        let normal = needs[id].iter().filter(|dependency| {
            let mut kinds = dependency.dep_kinds.iter();
            kinds.any(|one| one.kind == DependencyKind::Normal)
        });
        open.extend(normal.map(|dependency| &dependency.pkg));
    }
    let names = metadata
        .packages
        .iter()
        .filter(|package| reached.contains(&package.id));
    let names: BTreeSet<&str> = names.map(|package| package.name.as_str()).collect();
    assert!(names.contains("k256") && names.len() > 100, "{names:?}");
    let found: Vec<&str> = OF_OTHER_FAMILIES
        .into_iter()
        .filter(|name| names.contains(name))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}
