//! What the examples share: the connection file that `quorate demo --keep-running` writes.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use client::{Client, Options, Signer};
use ed25519_dalek::SigningKey;

/// The connection file, read: names and paths, no secrets.
pub(crate) struct Demo(BTreeMap<String, String>);

impl Demo {
    /// Reads the file named on the command line, or `quorate-demo.toml`.
    pub(crate) fn read() -> Result<Self, Box<dyn Error>> {
        let path = std::env::args()
            .nth(1)
            .unwrap_or_else(|| "quorate-demo.toml".to_owned());
        let text = std::fs::read_to_string(&path)
            .map_err(|e| format!("{path}: {e}; start `quorate demo --keep-running` first"))?;
        Ok(Self(toml::from_str(&text)?))
    }

    /// One of its values.
    pub(crate) fn get(&self, key: &str) -> Result<&str, Box<dyn Error>> {
        let value = self.0.get(key).map(String::as_str);
        Ok(value.ok_or_else(|| format!("the connection file has no {key}"))?)
    }

    /// Connects, and takes a wallet of the cluster in the place of a local key.
    pub(crate) async fn signer(&self, wallet: &str) -> Result<Signer, Box<dyn Error>> {
        let options = Options::beside(Path::new(self.get("cluster")?), "client");
        let client = Client::connect(&options).await?;
        let key = initiator_key(self.get("initiator_key")?)?;
        let signer = Signer::new(client, self.get(wallet)?, self.get("initiator")?, key).await?;
        Ok(signer.with_patience(Duration::from_secs(60)))
    }
}

/// A key file of the demo: 64 hexadecimal digits. Production keeps this key in the backend's secret store.
fn initiator_key(path: &str) -> Result<SigningKey, Box<dyn Error>> {
    let mut seed = [0; 32];
    hex::decode_to_slice(std::fs::read_to_string(path)?.trim_end(), &mut seed)?;
    Ok(SigningKey::from_bytes(&seed))
}

/// Eight random bytes, which keep two runs of an example apart where a chain would give a fresh value.
pub(crate) fn fresh() -> Result<[u8; 8], Box<dyn Error>> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
