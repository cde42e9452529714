//! Ethereum and Bitcoin through the whole system, and what the chains say of it.

use std::time::Instant;

use bitcoin::{
    Amount, OutPoint, Psbt, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute,
    bip32::{ChildNumber, DerivationPath, Fingerprint},
    transaction::Version,
};
use cli::{
    local::{Key, LocalCluster},
    people,
    sample::{self, SampleAsset, SampleWallet},
    transactions::{TOKEN_GAS, TRANSFER_GAS, erc20_transfer, ethereum},
};
use client::{Client, Error, Fix, Order, Released, keys};
use ed25519_dalek::SigningKey;
use policy::chain::{Address, BitcoinAddress, BitcoinScript, Network};

use crate::{
    verdicts::{Anvil, bitcoin_accepts},
    world::{PATIENCE, bare},
};

const ETHER: u64 = 1_000_000_000_000_000_000;
const PAYEE: [u8; 20] = [0xee; 20];
const TOKEN: [u8; 20] = [0x70; 20];
const VAULT: BitcoinScript = BitcoinScript::P2wsh([0xaa; 32]);

/// A cluster with one ECDSA key, a child of which is an Ethereum wallet and another one a Bitcoin wallet.
struct Chains {
    cluster: LocalCluster,
    client: Client,
    initiator: SigningKey,
    key: Key,
    _dir: tempfile::TempDir,
}

fn wallet(id: &str, key: &Key, path: &str, chain: &str, to: Address, max_fee: u64) -> SampleWallet {
    SampleWallet {
        id: id.to_owned(),
        key_id: key.id,
        path: path.to_owned(),
        chain: chain.to_owned(),
        kinds: vec!["transfer"],
        max_fee,
        addresses: vec![("payee".to_owned(), to.to_string())],
        assets: vec![SampleAsset {
            name: "native".to_owned(),
            daily: 10 * ETHER,
            large: 9 * ETHER,
        }],
        lock: "1s".to_owned(),
        window: "24h".to_owned(),
    }
}

impl Chains {
    async fn new() -> Self {
        let (cluster, dir) = bare().await;
        let key = cluster
            .create_key_of("ecdsa", "ecdsa")
            .await
            .expect("a key");
        let mut sample = cluster.made().sample.clone();
        let (payee, vault) = (
            Address::Ethereum(PAYEE),
            Address::Bitcoin(BitcoinAddress::new(Network::Regtest, VAULT)),
        );
        let mut eth = wallet("eth", &key, "m/0/0", "ethereum:31337", payee, ETHER / 100);
        eth.kinds.push("erc20_transfer");
        eth.assets.push(SampleAsset {
            name: format!("erc20:{}", Address::Ethereum(TOKEN)),
            // Two of three nodes sign, so each lets two thirds of it through.
            daily: 10_000,
            large: 1_000,
        });
        sample.wallets.push(eth);
        sample.wallets.push(wallet(
            "btc",
            &key,
            "m/1/0",
            "bitcoin:regtest",
            vault,
            10_000,
        ));
        cluster.install(&sample).await.expect("the policy");
        Self {
            client: cluster.client("client").await.expect("a client"),
            initiator: people::read_key(&cluster.layout().initiator_key()).expect("the initiator"),
            cluster,
            key,
            _dir: dir,
        }
    }

    async fn pay(&self, wallet: &str, name: &str, raw: &[u8]) -> Result<Released, Error> {
        let order = Order::new(wallet, raw.to_vec(), name, sample::INITIATOR);
        let prepared = self.client.prepare(&order, &self.initiator).await?;
        self.client.submit(&prepared).await?;
        self.client.wait(prepared.id(), PATIENCE).await
    }
}

fn eth_transfer(nonce: u64, value: u64) -> Vec<u8> {
    ethereum(31_337, nonce, TRANSFER_GAS, PAYEE, value, Vec::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ethereum_node_mines_what_two_nodes_sign_also_after_one_died() {
    let mut chains = Chains::new().await;
    let own = chains.client.wallet("eth").await.expect("the wallet");
    assert_eq!(
        own.address,
        chains
            .key
            .public
            .address("ethereum:1", &keys::path("m/0/0").expect("a path"))
            .expect("an address")
    );
    let first = chains
        .pay("eth", "first", &eth_transfer(0, ETHER / 10))
        .await
        .expect("released");
    let tokens = ethereum(31_337, 1, TOKEN_GAS, TOKEN, 0, erc20_transfer(PAYEE, 900));
    let second = chains
        .pay("eth", "tokens", &tokens)
        .await
        .expect("released");

    chains.cluster.crash_node(3).expect("it ran");
    let started = Instant::now();
    let third = chains
        .pay("eth", "third", &eth_transfer(2, ETHER / 10))
        .await
        .expect("released by the two that are left");
    assert_eq!(third.status().signers, [1, 2]);
    eprintln!("signed {:?} after a node died", started.elapsed());

    if let Some(anvil) = Anvil::start() {
        anvil.fund(&own.address);
        anvil.token(&Address::Ethereum(TOKEN).to_string());
        for end in [&first, &second, &third] {
            anvil.mines(end.signed_tx(), &own.address);
        }
        let payee = Address::Ethereum(PAYEE).to_string();
        assert_eq!(anvil.balance(&payee), u128::from(ETHER / 5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bitcoins_consensus_code_accepts_inputs_at_two_child_keys() {
    let chains = Chains::new().await;
    let key = &chains.key.public;
    let script = |text: &str| {
        let child = key
            .child(&keys::path(text).expect("a path"))
            .expect("a child");
        let address = child.address("bitcoin:regtest").expect("an address");
        let Ok(Address::Bitcoin(address)) = Address::parse(&address) else {
            panic!("a bitcoin address");
        };
        (child, address.script().to_script())
    };
    // The transactions that paid the wallet, whole, as a wallet's index has them.
    let paid = |script: &ScriptBuf, satoshi: u64| Transaction {
        version: Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn::default()],
        output: vec![TxOut {
            value: Amount::from_sat(satoshi),
            script_pubkey: script.clone(),
        }],
    };
    let (_, own) = script("m/1/0");
    let (below, receiving) = script("m/1/0/0/4");
    let previous = [paid(&own, 60_000), paid(&receiving, 50_000)];
    let build = |fee: u64| {
        let mut psbt = Psbt::from_unsigned_tx(Transaction {
            version: Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: previous
                .iter()
                .map(|tx| TxIn {
                    previous_output: OutPoint::new(tx.compute_txid(), 0),
                    script_sig: ScriptBuf::new(),
                    sequence: Sequence::MAX,
                    witness: Witness::new(),
                })
                .collect(),
            output: vec![
                TxOut {
                    value: Amount::from_sat(70_000),
                    script_pubkey: VAULT.to_script(),
                },
                TxOut {
                    value: Amount::from_sat(40_000 - fee),
                    script_pubkey: own.clone(),
                },
            ],
        })
        .expect("unsigned");
        for (input, tx) in psbt.inputs.iter_mut().zip(&previous) {
            input.non_witness_utxo = Some(tx.clone());
        }
        let steps: Vec<ChildNumber> = below
            .path()
            .indices()
            .iter()
            .map(|index| ChildNumber::Normal { index: *index })
            .collect();
        psbt.inputs[1].bip32_derivation.insert(
            bitcoin::secp256k1::PublicKey::from_slice(below.public_key()).expect("a point"),
            (Fingerprint::default(), DerivationPath::from(steps)),
        );
        psbt
    };
    let psbt = build(1_000).serialize();
    let end = chains
        .pay("btc", "withdrawal", &psbt)
        .await
        .expect("released");
    assert_eq!(end.signatures().len(), 2);
    bitcoin_accepts(&psbt, end.signed_tx());

    let mut blind = build(2_000);
    blind.inputs[0].witness_utxo = Some(previous[0].output[0].clone());
    blind.inputs[0].non_witness_utxo = None;
    let refused = chains.pay("btc", "without", &blind.serialize()).await;
    assert!(
        matches!(refused, Err(Error::Fix(Fix::Malformed { .. }))),
        "a p2wpkh input without its whole previous transaction: {refused:?}"
    );
}
