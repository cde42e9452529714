//! Ethereum and Bitcoin under the same policy: nobody, two of three and a lock, or never.

use std::time::Instant;

use client::{Order, Prepared, State};
use policy::{
    chain::{Address, BitcoinAddress, BitcoinScript, Network},
    statement::SignedStatement,
};

use super::{LOCK, PATIENCE, Story};
use crate::{
    fail::Fail,
    local::Key,
    sample::{self, SampleAsset, SampleWallet},
    transactions::{
        TOKEN_GAS, TRANSFER_GAS, Withdrawal, erc20_approve_all, erc20_transfer, ethereum,
    },
};

/// The Ethereum wallet, a child of the ECDSA key.
pub(in crate::demo) const ETHEREUM: &str = "eth-hot";
/// The Bitcoin wallet, a child of the BIP 340 key.
pub(in crate::demo) const BITCOIN: &str = "btc-hot";
const PATH: &str = "m/0/0";
const CHAIN_ID: u64 = 31_337;
const ETHER: u64 = 1_000_000_000_000_000_000;
const COIN: u64 = 100_000_000;
const TOKEN_UNIT: u64 = 1_000_000;
/// On the allow-lists.
const EXCHANGE: [u8; 20] = [0xee; 20];
const VAULT: [u8; 32] = [0xaa; 32];
/// Not on them.
const STRANGER: [u8; 20] = [0x66; 20];
/// A token with six decimals.
const TOKEN: [u8; 20] = [0x70; 20];

const fn network(script: BitcoinScript) -> BitcoinAddress {
    BitcoinAddress::new(Network::Regtest, script)
}

/// Where withdrawals go: somebody else's script.
const fn vault() -> BitcoinAddress {
    network(BitcoinScript::P2wsh(VAULT))
}

pub(in crate::demo) fn ethereum_wallet(key: &Key) -> SampleWallet {
    SampleWallet {
        id: ETHEREUM.to_owned(),
        key_id: key.id,
        path: PATH.to_owned(),
        chain: format!("ethereum:{CHAIN_ID}"),
        kinds: vec!["transfer", "erc20_transfer"],
        max_fee: 10_000_000_000_000_000,
        addresses: vec![(
            "exchange".to_owned(),
            Address::Ethereum(EXCHANGE).to_string(),
        )],
        assets: vec![
            SampleAsset {
                name: "native".to_owned(),
                daily: 5 * ETHER,
                large: ETHER,
            },
            SampleAsset {
                name: format!("erc20:{}", Address::Ethereum(TOKEN)),
                daily: 50_000 * TOKEN_UNIT,
                large: 1_000 * TOKEN_UNIT,
            },
        ],
        lock: format!("{}s", LOCK.as_secs()),
    }
}

pub(in crate::demo) fn bitcoin_wallet(key: &Key) -> SampleWallet {
    SampleWallet {
        id: BITCOIN.to_owned(),
        key_id: key.id,
        path: PATH.to_owned(),
        chain: "bitcoin:regtest".to_owned(),
        kinds: vec!["transfer"],
        max_fee: 50_000,
        addresses: vec![("vault".to_owned(), Address::Bitcoin(vault()).to_string())],
        assets: vec![SampleAsset {
            name: "native".to_owned(),
            daily: 2 * COIN,
            large: COIN / 2,
        }],
        lock: format!("{}s", LOCK.as_secs()),
    }
}

/// A transfer that needs nobody.
pub(in crate::demo) fn small_ether(nonce: u64) -> Vec<u8> {
    ethereum(
        CHAIN_ID,
        nonce,
        TRANSFER_GAS,
        EXCHANGE,
        ETHER / 1000,
        Vec::new(),
    )
}

/// A withdrawal of two coins that needs nobody.
pub(in crate::demo) fn small_withdrawal(key: &Key, number: u8) -> Result<Vec<u8>, Fail> {
    Withdrawal {
        key: &key.public,
        path: PATH.to_owned(),
        coins: vec![(COIN / 100, None), (COIN / 200, Some("0/7"))],
        to: vault(),
        amount: COIN / 80,
        fee: 2_000,
        number,
    }
    .psbt()
}

/// What a running demonstration tells the examples: destinations that its policy allows.
pub(in crate::demo) fn destinations() -> [(&'static str, String); 4] {
    [
        ("solana_to", bs58::encode(super::EXCHANGE).into_string()),
        ("ethereum_to", Address::Ethereum(EXCHANGE).to_string()),
        ("token", Address::Ethereum(TOKEN).to_string()),
        ("bitcoin_to", Address::Bitcoin(vault()).to_string()),
    ]
}

/// A request that waits for people and time.
struct Waiting {
    name: &'static str,
    raw: Vec<u8>,
    prepared: Prepared,
    started: Instant,
}

impl Story<'_> {
    pub(super) async fn other_chains(&mut self) -> Result<(), Fail> {
        self.report
            .title("0.2 ETH to the exchange need nobody: an EIP-1559 transfer by two nodes");
        let raw = ethereum(CHAIN_ID, 0, TRANSFER_GAS, EXCHANGE, ETHER / 5, Vec::new());
        self.pay("ethereum-transfer", ETHEREUM, raw).await?;

        self.report.title(
            "25,000 tokens (ERC-20) and 0.8 BTC (two inputs, change) need 2 of 3 people and the lock",
        );
        let tokens = erc20_transfer(EXCHANGE, 25_000 * TOKEN_UNIT);
        let tokens = ethereum(CHAIN_ID, 1, TOKEN_GAS, TOKEN, 0, tokens);
        let tokens = self
            .wait_for_people("erc20-transfer", ETHEREUM, tokens)
            .await?;
        let coins = self.withdrawal(1, COIN * 8 / 10)?;
        let coins = self
            .wait_for_people("bitcoin-withdrawal", BITCOIN, coins)
            .await?;
        for waiting in [tokens, coins] {
            self.released_after_the_lock(waiting).await?;
        }

        self.report.title("What no approval can move");
        let raw = ethereum(CHAIN_ID, 2, TRANSFER_GAS, STRANGER, ETHER / 5, Vec::new());
        self.denied_raw("ethereum-not-on-allow-list", ETHEREUM, raw)
            .await?;
        let raw = ethereum(
            CHAIN_ID,
            2,
            TOKEN_GAS,
            TOKEN,
            0,
            erc20_approve_all(EXCHANGE),
        );
        self.denied_raw("ethereum-unlimited-approve", ETHEREUM, raw)
            .await?;
        let raw = self.withdrawal(2, COIN * 15 / 10)?;
        self.denied_raw("bitcoin-over-limit", BITCOIN, raw).await
    }

    /// A withdrawal of two coins, one of them at a child of the wallet, with change to another child.
    fn withdrawal(&self, number: u8, amount: u64) -> Result<Vec<u8>, Fail> {
        Withdrawal {
            key: &self.taproot.public,
            path: PATH.to_owned(),
            coins: vec![(COIN, None), (COIN * 7 / 10, Some("0/7"))],
            to: vault(),
            amount,
            fee: 2_000,
            number,
        }
        .psbt()
    }

    async fn prepared(&self, name: &str, wallet: &str, raw: &[u8]) -> Result<Prepared, Fail> {
        let order = Order::new(wallet, raw.to_vec(), name, sample::INITIATOR);
        Ok(self.client.prepare(&order, &self.initiator).await?)
    }

    /// A payment that needs nobody.
    async fn pay(&mut self, name: &'static str, wallet: &str, raw: Vec<u8>) -> Result<(), Fail> {
        let started = Instant::now();
        let prepared = self.prepared(name, wallet, &raw).await?;
        self.client.submit(&prepared).await?;
        let end = self.client.wait(prepared.id(), PATIENCE).await?;
        let chain = self.client.wallet(wallet).await?.chain;
        self.report.released(name, &chain, &raw, &end, started);
        self.report.check(
            name,
            true,
            format!(
                "released by nodes {:?}, {} verified here",
                end.status().signers,
                signatures(end.signatures().len())
            ),
        );
        Ok(())
    }

    /// Submits, shows what everybody sees, and has two people approve it.
    async fn wait_for_people(
        &mut self,
        name: &'static str,
        wallet: &str,
        raw: Vec<u8>,
    ) -> Result<Waiting, Fail> {
        let started = Instant::now();
        let prepared = self.prepared(name, wallet, &raw).await?;
        let status = self.client.submit(&prepared).await?;
        let waits = status.state == State::Announced;
        let review = self.client.review(prepared.id()).await?;
        for line in review.lines() {
            self.report.say(&format!("| {line}"));
        }
        let approvals: Vec<SignedStatement> = self.approvals(&review)?;
        for approval in &approvals {
            self.client.decide(prepared.id(), approval).await?;
        }
        if !waits {
            self.report
                .check(name, false, format!("it did not wait: {}", status.state));
        }
        Ok(Waiting {
            name,
            raw,
            prepared,
            started,
        })
    }

    async fn released_after_the_lock(&mut self, waiting: Waiting) -> Result<(), Fail> {
        let Waiting {
            name,
            raw,
            prepared,
            started,
        } = waiting;
        let end = self.client.wait(prepared.id(), PATIENCE).await?;
        let waited = started.elapsed();
        let chain = self.client.wallet(&end.status().wallet).await?.chain;
        self.report.released(name, &chain, &raw, &end, started);
        self.report.check(
            name,
            waited >= LOCK,
            format!(
                "two people approved; released {:.2} s after it was announced, {} verified here",
                waited.as_secs_f64(),
                signatures(end.signatures().len())
            ),
        );
        Ok(())
    }

    /// Submits a payment that must be denied.
    async fn denied_raw(
        &mut self,
        name: &'static str,
        wallet: &str,
        raw: Vec<u8>,
    ) -> Result<(), Fail> {
        let started = Instant::now();
        let prepared = self.prepared(name, wallet, &raw).await?;
        let chain = self.client.wallet(wallet).await?.chain;
        self.refusal(name, &chain, raw, &prepared, started).await
    }
}

fn signatures(count: usize) -> String {
    match count {
        1 => "signature".to_owned(),
        count => format!("{count} signatures"),
    }
}
