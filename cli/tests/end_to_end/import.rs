//! A known key comes in: only where every node's operator has allowed exactly this key, and with the children it always had.

use std::{fs, path::Path};

use bitcoin::bip32::{DerivationPath, Xpriv};
use bitcoin::secp256k1::Secp256k1;
use cli::local::LocalCluster;
use client::keys::path;

use crate::verbs::{ok, quorate};
use crate::world::QUORATE;

/// The first test vector of BIP 39.
const WORDS: &str =
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
const PATH: &str = "m/44'/60'/0'/0";

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_imported_where_every_operator_has_allowed_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut cluster =
        LocalCluster::create(Path::new(QUORATE), &dir.path().join("c"), false).expect("a cluster");
    cluster.start().await.expect("all services come up");
    let root = cluster.layout().root().to_owned();
    let words = root.join("words.txt");
    fs::write(&words, WORDS).expect("a file");
    let words = words.to_str().expect("a path").to_owned();
    let import = |name: &str, more: &[&str]| {
        let mut args = vec!["key", "import", name, "--scheme", "ecdsa", "--json"];
        args.extend(["--mnemonic-file", &words, "--path", PATH]);
        args.extend(more);
        quorate(&root, &args)
    };
    // An independent derivation of the same key.
    let mnemonic = bip39::Mnemonic::parse_normalized(WORDS).expect("words");
    let master = Xpriv::new_master(bitcoin::NetworkKind::Main, &mnemonic.to_seed_normalized(""));
    let steps: DerivationPath = PATH.parse().expect("a path");
    let curve = Secp256k1::new();
    let account = master.and_then(|master| master.derive_priv(&curve, &steps));
    let account = bitcoin::bip32::Xpub::from_priv(&curve, &account.expect("a key"));

    let shown = ok(&import("old", &["--dry-run"]));
    let public_key = account.public_key.to_string();
    assert_eq!(shown["public_key"], public_key.as_str());
    let refused = import("old", &[]);
    assert!(!refused.status.success(), "no operator has allowed it");
    let said = String::from_utf8_lossy(&refused.stdout).into_owned()
        + &String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("has not allowed the import"), "{said}");

    for index in cluster.indexes() {
        cluster.crash_node(index).expect("it stops");
        let file = root.join(format!("node-{index}/node.toml"));
        let text = fs::read_to_string(&file).expect("a configuration");
        fs::write(&file, format!("import = \"old-1 {public_key}\"\n{text}")).expect("written");
        cluster.start_node(index).expect("it starts");
    }
    cluster.connected(3).await.expect("all are back");
    let done = ok(&import("old-1", &[]));
    assert_eq!(done["public_key"], public_key.as_str());
    assert_eq!(done["imported"], true);
    assert_eq!(done["refreshed"], true, "what the dealer dealt is replaced");
    assert!(
        done["warning"]
            .as_str()
            .is_some_and(|text| text.contains("signing alone"))
    );

    // Its children are what they were: the public key and the chain code are those of the wallet it came from.
    let client = cluster.client("operator").await.expect("an operator");
    let info = client.key("old-1").await.expect("the key");
    assert!(info.imported && info.epoch == 1);
    let key = client::PublicKey::decode(&info.public_package).expect("a record");
    let child = key.child(&path("m/7").expect("a path")).expect("a child");
    let seventh = account
        .derive_pub(&curve, &[bitcoin::bip32::ChildNumber::from(7)])
        .expect("a child");
    assert_eq!(
        hex::encode(child.public_key()),
        seventh.public_key.to_string()
    );

    // The consent is for one key of one name, once.
    for name in ["old-1", "hot"] {
        assert!(!import(name, &[]).status.success());
    }

    // As a Taproot key it gets the tweak that makes its usual address.
    for index in cluster.indexes() {
        cluster.crash_node(index).expect("it stops");
        let file = root.join(format!("node-{index}/node.toml"));
        let text = fs::read_to_string(&file).expect("a configuration");
        fs::write(&file, text.replacen("old-1 ", "tap ", 1)).expect("written");
        cluster.start_node(index).expect("it starts");
    }
    cluster.connected(3).await.expect("all are back");
    let args = ["key", "import", "tap", "--scheme", "bip340", "--json"];
    let more = ["--mnemonic-file", &words, "--path", PATH];
    let done = ok(&quorate(&root, &[args.as_slice(), &more].concat()));
    let internal = account.public_key.x_only_public_key().0;
    let (output, _) = bitcoin::key::TapTweak::tap_tweak(internal, &curve, None);
    let shown = done["public_key"].as_str().expect("hexadecimal");
    assert!(shown.ends_with(&output.to_x_only_public_key().to_string()));

    // Wrong words, a wrong path and a seed where a scalar is wanted are refused before anything is dealt.
    fs::write(root.join("wrong.txt"), WORDS.replace("about", "above")).expect("a file");
    fs::write(root.join("scalar.txt"), "ff".repeat(32)).expect("a file");
    let wrong = root.join("wrong.txt");
    let scalar = root.join("scalar.txt");
    let (wrong, scalar) = (
        wrong.to_str().expect("a path"),
        scalar.to_str().expect("a path"),
    );
    for args in [
        &[
            "--scheme",
            "ecdsa",
            "--mnemonic-file",
            wrong,
            "--path",
            PATH,
        ][..],
        &[
            "--scheme",
            "ecdsa",
            "--mnemonic-file",
            &words,
            "--path",
            "m/x",
        ],
        &[
            "--scheme",
            "ed25519",
            "--mnemonic-file",
            &words,
            "--path",
            PATH,
        ],
        &["--scheme", "ed25519", "--secret-file", scalar],
    ] {
        let mut all = vec!["key", "import", "other"];
        all.extend(args);
        assert_eq!(quorate(&root, &all).status.code(), Some(3), "{args:?}");
    }
}
