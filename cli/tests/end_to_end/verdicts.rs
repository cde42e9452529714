//! What the chains themselves say of a released transaction: Bitcoin's consensus code, and a real Ethereum node on loopback.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bitcoin::{Psbt, Transaction, TxOut, consensus};
use bitcoinconsensus::{Utxo, VERIFY_ALL_PRE_TAPROOT, VERIFY_TAPROOT, verify_with_flags};
use serde_json::{Value, json};

/// Has Bitcoin's consensus code run every input of the signed transaction against what the PSBT says it spends.
pub(crate) fn bitcoin_accepts(psbt: &[u8], signed: &[u8]) {
    let psbt = Psbt::deserialize(psbt).expect("a psbt");
    let tx: Transaction = consensus::deserialize(signed).expect("a transaction");
    assert_eq!(
        tx.compute_txid(),
        psbt.unsigned_tx.compute_txid(),
        "what was signed is what was asked for"
    );
    let spent: Vec<TxOut> = psbt
        .iter_funding_utxos()
        .map(|output| output.expect("what each input spends").clone())
        .collect();
    let verdict = |signed: &[u8]| {
        let utxos: Vec<Utxo> = spent
            .iter()
            .map(|output| Utxo {
                script_pubkey: output.script_pubkey.as_bytes().as_ptr(),
                script_pubkey_len: u32::try_from(output.script_pubkey.len()).expect("short"),
                value: i64::try_from(output.value.to_sat()).expect("coins"),
            })
            .collect();
        spent.iter().enumerate().all(|(index, output)| {
            let script = output.script_pubkey.as_bytes();
            let (value, flags) = (
                output.value.to_sat(),
                VERIFY_ALL_PRE_TAPROOT | VERIFY_TAPROOT,
            );
            verify_with_flags(script, value, signed, Some(&utxos), index, flags).is_ok()
        })
    };
    assert!(verdict(signed), "bitcoin's consensus code accepts it");
    let mut other = tx;
    other.output[0].value = bitcoin::Amount::from_sat(other.output[0].value.to_sat() - 1);
    assert!(
        !verdict(&consensus::serialize(&other)),
        "and would not accept another amount"
    );
}

/// A real Ethereum node on loopback.
pub(crate) struct Anvil {
    process: Child,
    address: SocketAddr,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

impl Anvil {
    /// Starts one, or says why there is none.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = program() else {
            eprintln!(
                "skipped: no anvil here; `npm install @foundry-rs/anvil@1.7.1` and set QUORATE_ANVIL to its binary"
            );
            return None;
        };
        let address = cli::local::free_address().expect("a port");
        let process = Command::new(program)
            .args(["--host", "127.0.0.1", "--silent", "--chain-id", "31337"])
            .args(["--port", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("anvil starts");
        let anvil = Self { process, address };
        let until = Instant::now() + Duration::from_secs(30);
        while anvil.try_call("eth_chainId", &json!([])).is_none() {
            assert!(Instant::now() < until, "anvil answers");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(anvil)
    }

    pub(crate) fn call(&self, method: &str, params: &Value) -> Value {
        let answer = self.try_call(method, params).expect("anvil answers");
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    fn try_call(&self, method: &str, params: &Value) -> Option<Value> {
        let body =
            json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .ok()?;
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let (start, end) = (body.find('{')?, body.rfind('}')?);
        serde_json::from_str(&body[start..=end]).ok()
    }

    /// Gives an account coins, out of nothing.
    pub(crate) fn fund(&self, address: &str) {
        self.call("anvil_setBalance", &json!([address, "0x8ac7230489e80000"]));
    }

    /// Puts a contract that says yes to everything at an address.
    pub(crate) fn token(&self, address: &str) {
        self.call("anvil_setCode", &json!([address, "0x600160005260206000f3"]));
    }

    /// Sends a signed transaction and asserts that it was mined, without error and from this account.
    pub(crate) fn mines(&self, signed: &[u8], from: &str) -> Value {
        let raw = format!("0x{}", hex::encode(signed));
        let hash = self.call("eth_sendRawTransaction", &json!([raw]));
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let receipt = self.call("eth_getTransactionReceipt", &json!([hash]));
            if !receipt.is_null() {
                assert_eq!(receipt["status"], "0x1", "{receipt}");
                let sender = receipt["from"].as_str().expect("a sender");
                assert_eq!(sender.to_lowercase(), from.to_lowercase());
                return receipt;
            }
            assert!(Instant::now() < until, "{hash} is mined");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn balance(&self, address: &str) -> u128 {
        let balance = self.call("eth_getBalance", &json!([address, "latest"]));
        let digits = balance
            .as_str()
            .expect("a balance")
            .trim_start_matches("0x");
        u128::from_str_radix(digits, 16).expect("a number")
    }
}

fn program() -> Option<PathBuf> {
    if let Some(path) = env::var_os("QUORATE_ANVIL") {
        return Some(path.into());
    }
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join("anvil"))
        .find(|path| Path::is_file(path))
}
