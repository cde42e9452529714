//! Policy documents that this program writes: the first one of a new cluster, and the demo's.

use std::fmt::Write as _;

use policy::{credential::CredentialKey, time};

/// The group that the sample people form.
pub const GROUP: &str = "treasury";
/// The credential that a sample person signs with.
pub const CREDENTIAL: &str = "key";
/// The machine that asks for payments.
pub const INITIATOR: &str = "backend";

/// A person of a sample policy.
#[derive(Clone, Debug)]
pub struct SamplePerson {
    /// The person's id.
    pub id: String,
    /// The credentials, with their ids.
    pub credentials: Vec<(String, CredentialKey)>,
}

/// A wallet of a sample policy and what may be done with it.
#[derive(Clone, Debug)]
pub struct SampleWallet {
    /// Its id.
    pub id: String,
    /// Its key.
    pub key_id: [u8; 32],
    /// Which child of that key, such as `m/0/0`.
    pub path: String,
    /// Its chain.
    pub chain: String,
    /// What it may do.
    pub kinds: Vec<&'static str>,
    /// The highest fee of one transaction.
    pub max_fee: u64,
    /// Where it may pay to, with a label each.
    pub addresses: Vec<(String, String)>,
    /// What it holds.
    pub assets: Vec<SampleAsset>,
    /// How long a large payment waits, for example `3s`.
    pub lock: String,
    /// The window of its limits, for example `24h`.
    pub window: String,
}

/// An asset of a sample wallet, in base units.
#[derive(Clone, Debug)]
pub struct SampleAsset {
    /// Its name in the policy.
    pub name: String,
    /// What may leave in one window of the wallet, fees included.
    pub daily: u64,
    /// Above this amount two people must approve and the wallet's lock must pass.
    pub large: u64,
}

impl SampleWallet {
    /// A wallet on a local Solana cluster that may spend `daily` lamports in 24 hours and up to `large` at a time without
    /// anybody.
    #[must_use]
    pub fn solana(
        id: &str,
        key_id: [u8; 32],
        to: (&str, [u8; 32]),
        (daily, large): (u64, u64),
        lock: &str,
    ) -> Self {
        Self {
            id: id.to_owned(),
            key_id,
            path: "m".to_owned(),
            chain: "solana:localnet".to_owned(),
            kinds: vec!["transfer"],
            max_fee: 1_000_000,
            addresses: vec![(to.0.to_owned(), bs58::encode(to.1).into_string())],
            assets: vec![SampleAsset {
                name: "native".to_owned(),
                daily,
                large,
            }],
            lock: lock.to_owned(),
            window: "24h".to_owned(),
        }
    }
}

/// What goes into a sample policy.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The cluster.
    pub cluster: String,
    /// From when on it holds, in Unix milliseconds.
    pub not_before_ms: u64,
    /// The delay of loosening the policy, for example `24h`.
    pub loosen_delay: String,
    /// The delay of lifting a freeze.
    pub unfreeze_delay: String,
    /// How many people loosen the policy or lift a freeze.
    pub quorum: u16,
    /// How many people may have a key handed out; 0 for nobody.
    pub exports: u16,
    /// The people.
    pub people: Vec<SamplePerson>,
    /// The initiator's public key.
    pub initiator: [u8; 32],
    /// Wallets; none yet in a new cluster.
    pub wallets: Vec<SampleWallet>,
}

impl Sample {
    /// The document's text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _infallible = self.write(&mut text);
        text
    }

    fn write(&self, to: &mut String) -> std::fmt::Result {
        writeln!(
            to,
            "# Who may move what. Everything that no rule allows is refused."
        )?;
        writeln!(to, "schema = 1\npolicy_id = \"{GROUP}\"\nversion = 1")?;
        writeln!(to, "cluster_id = \"{}\"", self.cluster)?;
        writeln!(
            to,
            "not_before = \"{}\"\n",
            time::format_utc(self.not_before_ms)
        )?;
        let quorum = |min| format!("quorum = [{{ group = \"{GROUP}\", min = {min} }}]");
        writeln!(to, "[governance]")?;
        writeln!(to, "tighten = {{ {} }}", quorum(1))?;
        writeln!(
            to,
            "loosen = {{ {}, delay = \"{}\" }}",
            quorum(self.quorum),
            self.loosen_delay
        )?;
        if self.exports > 0 {
            writeln!(to, "export = {{ {} }}", quorum(self.exports))?;
        }
        writeln!(to, "freeze = {{ any_of = [\"{GROUP}\"] }}")?;
        writeln!(
            to,
            "unfreeze = {{ {}, delay = \"{}\" }}",
            quorum(self.quorum),
            self.unfreeze_delay
        )?;
        for person in &self.people {
            writeln!(
                to,
                "\n[[person]]\nid = \"{}\"\ngroups = [\"{GROUP}\"]",
                person.id
            )?;
            for (id, key) in &person.credentials {
                writeln!(to, "[[person.credential]]\nid = \"{id}\"")?;
                writeln!(to, "kind = \"{}\"\nkey = \"{}\"", key.kind(), key)?;
            }
        }
        writeln!(
            to,
            "\n[[machine]]\nid = \"{INITIATOR}\"\ngroups = [\"services\"]"
        )?;
        writeln!(to, "key = \"{}\"", hex::encode(self.initiator))?;
        for wallet in &self.wallets {
            wallet.write(self.not_before_ms, to)?;
        }
        if self.wallets.is_empty() {
            to.push_str(TEMPLATE);
        }
        Ok(())
    }
}

impl SampleWallet {
    fn write(&self, added_ms: u64, to: &mut String) -> std::fmt::Result {
        let Self {
            id,
            chain,
            lock,
            window,
            ..
        } = self;
        let added = time::format_utc(added_ms);
        let quoted = |names: &mut dyn Iterator<Item = &str>| {
            names
                .map(|name| format!("\"{name}\""))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let kinds = quoted(&mut self.kinds.iter().copied());
        let assets = quoted(&mut self.assets.iter().map(|asset| asset.name.as_str()));
        writeln!(
            to,
            "\n[[wallet]]\nid = \"{id}\"\nkey_id = \"{}\"\npath = \"{}\"",
            hex::encode(self.key_id),
            self.path
        )?;
        writeln!(
            to,
            "chain = \"{chain}\"\nkinds = [{kinds}]\nmax_fee = \"{}\"",
            self.max_fee
        )?;
        for (label, address) in &self.addresses {
            writeln!(
                to,
                "\n[[address]]\nlabel = \"{label}\"\nchain = \"{chain}\""
            )?;
            writeln!(to, "to = \"{address}\"\nassets = [{assets}]")?;
            writeln!(to, "added = \"{added}\"\nusable_after = \"{added}\"")?;
        }
        writeln!(to, "\n[[rule]]\nid = \"{id}-payouts\"\neffect = \"allow\"")?;
        writeln!(
            to,
            "match = {{ wallet = \"{id}\", kind = [{kinds}], to = \"allowlist\", initiator = [\"{INITIATOR}\"] }}"
        )?;
        writeln!(to, "limits = [")?;
        for asset in &self.assets {
            writeln!(
                to,
                "  {{ scope = \"wallet\", window = \"{window}\", asset = \"{}\", max = \"{}\" }},",
                asset.name, asset.daily
            )?;
        }
        writeln!(to, "]")?;
        for (number, asset) in (1_u32..).zip(&self.assets) {
            writeln!(
                to,
                "\n[[rule]]\nid = \"{id}-large-{number}\"\neffect = \"allow\""
            )?;
            writeln!(
                to,
                "match = {{ wallet = \"{id}\", to = \"allowlist\", asset = \"{}\", amount_over = \"{}\" }}",
                asset.name, asset.large
            )?;
            writeln!(
                to,
                "require = [{{ group = \"{GROUP}\", min = 2, exclude = \"initiator\" }}]"
            )?;
            writeln!(to, "delay = \"{lock}\"\nexpires = \"24h\"")?;
        }
        Ok(())
    }
}

/// What a new cluster's document still lacks, ready to be filled in.
const TEMPLATE: &str = r#"
# After `quorate key create hot`, name the key in a wallet, list where it may pay to, and allow it:
#
# [[wallet]]
# id = "hot"
# key_id = "..."                      # 64 hexadecimal digits, printed by `quorate key create`
# # path = "m/0/0"                    # a child of that key, see `quorate key address`; without it the key itself
# chain = "solana:devnet"             # or "ethereum:1", "bitcoin:mainnet"
# kinds = ["transfer"]
# max_fee = "1000000"                 # lamports
#
# [[address]]
# label = "exchange"
# chain = "solana:devnet"
# to = "..."                          # base58
# assets = ["native"]
# added = "2026-11-20T00:00:00Z"
# usable_after = "2026-11-22T00:00:00Z"
#
# [[rule]]
# id = "payouts"
# effect = "allow"
# match = { wallet = "hot", kind = ["transfer"], to = "allowlist", initiator = ["backend"] }
# limits = [{ scope = "wallet", window = "24h", asset = "native", max = "50000000000" }]
#
# [[rule]]
# id = "large"
# effect = "allow"
# match = { wallet = "hot", to = "allowlist", asset = "native", amount_over = "5000000000" }
# require = [{ group = "treasury", min = 2, exclude = "initiator" }]
# delay = "30m"
# expires = "24h"
"#;

#[cfg(test)]
mod tests {
    use policy::document::Document;

    use super::*;

    fn sample(wallets: Vec<SampleWallet>) -> Sample {
        let people = ["alice", "bob", "carol"]
            .into_iter()
            .map(|id| SamplePerson {
                id: id.to_owned(),
                credentials: vec![(CREDENTIAL.to_owned(), key())],
            })
            .collect();
        Sample {
            cluster: "c-01".to_owned(),
            not_before_ms: 1_700_000_000_000,
            loosen_delay: "24h".to_owned(),
            unfreeze_delay: "0s".to_owned(),
            exports: 0,
            quorum: 2,
            people,
            initiator: crate::people::generate_key()
                .expect("randomness")
                .verifying_key()
                .to_bytes(),
            wallets,
        }
    }

    fn key() -> CredentialKey {
        let key = crate::people::generate_key().expect("randomness");
        CredentialKey::Ed25519(key.verifying_key().to_bytes())
    }

    #[test]
    fn what_is_written_parses() {
        Document::parse(sample(vec![]).render().as_bytes()).expect("the document of a new cluster");
        let mut wallet = SampleWallet::solana("hot", [7; 32], ("exchange", [9; 32]), (10, 5), "3s");
        let text = sample(vec![wallet.clone()]).render();
        Document::parse(text.as_bytes()).expect("a document with a wallet");
        wallet.chain = "ethereum:31337".to_owned();
        wallet.path = "m/0/0".to_owned();
        wallet.kinds = vec!["transfer", "erc20_transfer"];
        wallet.addresses[0].1 = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed".to_owned();
        wallet.assets.push(SampleAsset {
            name: "erc20:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed".to_owned(),
            daily: 10,
            large: 5,
        });
        let text = sample(vec![wallet]).render();
        Document::parse(text.as_bytes()).expect("a document with a wallet");
    }

    #[test]
    fn the_template_is_what_it_says() {
        let commented: String = TEMPLATE
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| !line.starts_with("After "))
            .map(|line| format!("{line}\n"))
            .collect();
        let address = bs58::encode([9; 32]).into_string();
        let filled = commented
            .replacen("\"...\"", &format!("\"{}\"", hex::encode([7; 32])), 1)
            .replacen("\"...\"", &format!("\"{address}\""), 1);
        let text = format!("{}\n{filled}", sample(vec![]).render());
        Document::parse(text.as_bytes()).expect("the template, filled in");
    }
}
