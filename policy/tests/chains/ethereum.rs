//! Ethereum: published vectors, another implementation's transactions, calls down to the last bit, and every refusal.

use alloy_primitives::{Address as EthereumAddress, U256, keccak256};
use alloy_rlp::Encodable;
use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use policy::amount::Amount;
use policy::chain::{Address, Asset, Chain, Kind};
use policy::ethereum::Refusal;
use policy::transaction::{
    self, AssembleError, Hash, RootKey, Scheme, Transaction, Tweak, assemble, decode,
};
use proptest::prelude::*;

/// The secret key of EIP-155's example and of the transactions below.
fn secret() -> SigningKey {
    SigningKey::from_slice(&[0x46; 32]).unwrap()
}

fn keys() -> RootKey {
    RootKey {
        scheme: Scheme::Ecdsa,
        public_key: secret()
            .verifying_key()
            .to_sec1_point(true)
            .as_bytes()
            .to_vec(),
    }
}

const WALLET: &str = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F";
const TO: [u8; 20] = [0x35; 20];
const TOKEN: &str = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";

fn token() -> [u8; 20] {
    match Address::parse(TOKEN).unwrap() {
        Address::Ethereum(bytes) => bytes,
        other => panic!("{other}"),
    }
}

/// Signs the one task with a key that lies in one place: r, s and the recovery id.
fn sign(decoded: &Transaction) -> Vec<u8> {
    let [task] = decoded.tasks.as_slice() else {
        panic!("one signature");
    };
    assert_eq!(
        (task.scheme, task.hash, task.tweak),
        (Scheme::Ecdsa, Hash::Keccak256, Tweak::None)
    );
    let digest = keccak256(&task.message);
    let (signature, id) = secret().sign_prehash_recoverable(digest.as_slice());
    [signature.to_bytes().as_slice(), &[id.to_byte()]].concat()
}

fn read(chain: u64, raw: &[u8]) -> Result<Transaction, Refusal> {
    match decode(Chain::Ethereum(chain), raw, &keys(), &[]) {
        Ok(decoded) => Ok(decoded),
        Err(transaction::Refusal::Ethereum(refusal)) => Err(refusal),
        Err(other) => panic!("{other}"),
    }
}

/// An unsigned transaction, written here item by item.
#[derive(Clone, Debug)]
struct Draft {
    kind: u8,
    chain: u64,
    nonce: u64,
    tip: u128,
    price: u128,
    gas: u64,
    to: Vec<u8>,
    value: U256,
    data: Vec<u8>,
    listed: Vec<([u8; 20], Vec<[u8; 32]>)>,
}

impl Draft {
    fn new(kind: u8) -> Self {
        Self {
            kind,
            chain: 1,
            nonce: 7,
            tip: 2,
            price: 30,
            gas: 21_000,
            to: TO.to_vec(),
            value: U256::from(5),
            data: Vec::new(),
            listed: Vec::new(),
        }
    }

    fn call(data: Vec<u8>) -> Self {
        Self {
            to: token().to_vec(),
            value: U256::ZERO,
            data,
            ..Self::new(2)
        }
    }

    fn items(&self) -> Vec<Vec<u8>> {
        let number = |value: &dyn Encodable| {
            let mut out = Vec::new();
            value.encode(&mut out);
            out
        };
        let mut items = Vec::new();
        if self.kind > 0 {
            items.push(number(&self.chain));
        }
        items.push(number(&self.nonce));
        if self.kind == 2 {
            items.push(number(&self.tip));
        }
        items.push(number(&self.price));
        items.push(number(&self.gas));
        items.push(number(&self.to.as_slice()));
        items.push(number(&self.value));
        items.push(number(&self.data.as_slice()));
        if self.kind > 0 {
            let entries: Vec<Vec<u8>> = self
                .listed
                .iter()
                .map(|(address, keys)| {
                    let keys: Vec<Vec<u8>> =
                        keys.iter().map(|key| number(&key.as_slice())).collect();
                    list(&[number(&address.as_slice()), list(&keys)])
                })
                .collect();
            items.push(list(&entries));
        } else {
            items.extend([number(&self.chain), vec![0x80], vec![0x80]]);
        }
        items
    }

    fn write(&self) -> Vec<u8> {
        self.wrap(&self.items())
    }

    fn wrap(&self, items: &[Vec<u8>]) -> Vec<u8> {
        let mut out = list(items);
        if self.kind > 0 {
            out.insert(0, self.kind);
        }
        out
    }
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let payload = items.concat();
    let mut out = Vec::new();
    alloy_rlp::Header {
        list: true,
        payload_length: payload.len(),
    }
    .encode(&mut out);
    out.extend(payload);
    out
}

fn word_address(address: [u8; 20]) -> Vec<u8> {
    [&[0; 12][..], &address].concat()
}

fn call(signature: &str, words: &[Vec<u8>]) -> Vec<u8> {
    [&keccak256(signature)[..4], &words.concat()].concat()
}

fn number(value: u64) -> Vec<u8> {
    [&[0; 24][..], &value.to_be_bytes()].concat()
}

/// Signing payload, signed transaction and its hash. The first is the example of EIP-155 itself; the others were made with
/// eth-account 0.14.0 (Python), which shares no code with this. All with the secret key 0x4646…46.
const VECTORS: [(&str, u64, &str, &str, &str); 4] = [
    (
        "EIP-155",
        1,
        "ec098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080018080",
        "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83",
        "33469b22e9f636356c4160a87eb19df52b7412e8eac32a4a55ffe88ea8350788",
    ),
    (
        "EIP-2930 with an access list",
        5,
        "01f89f05078506fc23ac008357b58494811a752c8cd697e3cb27279c330d1ada745a8d7b881bc16d674ec8000080f872f85994dedededededededededededededededededededef842a00000000000000000000000000000000000000000000000000000000000000003a00000000000000000000000000000000000000000000000000000000000000007d694bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbc0",
        "01f8e205078506fc23ac008357b58494811a752c8cd697e3cb27279c330d1ada745a8d7b881bc16d674ec8000080f872f85994dedededededededededededededededededededef842a00000000000000000000000000000000000000000000000000000000000000003a00000000000000000000000000000000000000000000000000000000000000007d694bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbc080a0fbc46acd550168f3212f0b2a94edc7c454132146eb7edef246667c0f5604aa73a016b22746425c1b4c0ebd46b20b28e15ace0cbe7633ccab42e77a022f5ec2aa1e",
        "411e64acad7da6812b1197a047541ce7c0d89f2986c51f1eb1b019b4e9b31f34",
    ),
    (
        "EIP-1559 with an access list",
        1337,
        "02f8a4820539808477359400852e90edd000830186a09409616c3d61b3331fc4109a9e41a8bdb7d9776609865af3107a400080f872f85994dedededededededededededededededededededef842a00000000000000000000000000000000000000000000000000000000000000003a00000000000000000000000000000000000000000000000000000000000000007d694bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbc0",
        "02f8e7820539808477359400852e90edd000830186a09409616c3d61b3331fc4109a9e41a8bdb7d9776609865af3107a400080f872f85994dedededededededededededededededededededef842a00000000000000000000000000000000000000000000000000000000000000003a00000000000000000000000000000000000000000000000000000000000000007d694bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbc001a0f0e8e17ef8dcf84060bad17aa866aa1b79ab8325b260f8e9e9f617b99d15f323a0572e23f5046215a6c0300ac950852672d311d1b78249724e0393c9d4025740b0",
        "52654a853aafc209416c106cb2729f937c82d3ea9c5a47c9a6ee8244c154abfd",
    ),
    (
        "EIP-1559, ERC-20 transfer",
        1,
        "02f86b0182012c0185174876e80082fde894a0b86991c6218b36c1d19d4a2e9eb0ce3606eb4880b844a9059cbb0000000000000000000000003535353535353535353535353535353535353535000000000000000000000000000000000000000000000000000000000016e360c0",
        "02f8ae0182012c0185174876e80082fde894a0b86991c6218b36c1d19d4a2e9eb0ce3606eb4880b844a9059cbb0000000000000000000000003535353535353535353535353535353535353535000000000000000000000000000000000000000000000000000000000016e360c080a06caf48aff491b04661ef3dbcc33535c57272cf81519ab75836ea631193ba042aa033d948cecbcd195880b544fffd7aafac1dc5b3c619c89c711f7ec32f1aec74ec",
        "1b69a876ff8195c921020cb215e130514a338614174da091d9075ca641908636",
    ),
];

#[test]
fn published_transactions_are_signed_to_the_same_bytes() {
    for (name, chain, payload, signed, hash) in VECTORS {
        let raw = hex::decode(payload).unwrap();
        let decoded = read(chain, &raw).unwrap_or_else(|e| panic!("{name}: {e}"));
        let chain = Chain::Ethereum(chain);
        let made = assemble(chain, &raw, &keys(), &[], &[sign(&decoded)]).unwrap();
        assert_eq!(hex::encode(&made), signed, "{name}");
        assert_eq!(hex::encode(keccak256(&made)), hash, "{name}");
    }
}

#[test]
fn eip_155s_example_hashes_to_the_published_digest() {
    let raw = hex::decode(VECTORS[0].2).unwrap();
    let decoded = read(1, &raw).unwrap();
    assert_eq!(
        hex::encode(keccak256(&decoded.tasks[0].message)),
        "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"
    );
    let [transfer] = decoded.transfers.as_slice() else {
        panic!("one transfer");
    };
    assert_eq!(transfer.from, Address::parse(WALLET).unwrap());
    assert_eq!(transfer.to, Address::Ethereum(TO));
    assert_eq!(
        transfer.amount,
        Amount::parse("1000000000000000000").unwrap()
    );
    assert_eq!(
        (transfer.kind, transfer.asset),
        (Kind::Transfer, Asset::Native)
    );
    // 21000 units at 20 gwei.
    assert_eq!(decoded.fee_max, Amount::parse("420000000000000").unwrap());
}

/// Block 12 965 000's neighbourhood on the main network: a transaction that was mined, and who sent it.
#[test]
fn a_transaction_of_the_main_network_comes_out_as_it_was_mined() {
    let draft = Draft {
        nonce: 0x42,
        tip: 0x3b9a_ca00,
        price: 0x4_a817_c800,
        gas: 44_386,
        to: hex::decode("6069a6c32cf691f5982febae4faf8a6f3ab2f0f6").unwrap(),
        value: U256::ZERO,
        data: hex::decode("a22cb4650000000000000000000000005eee75727d804a2b13038928d36f8b188945a57a0000000000000000000000000000000000000000000000000000000000000000").unwrap(),
        ..Draft::new(2)
    };
    let raw = draft.write();
    let digest = keccak256(&raw);
    assert_eq!(
        hex::encode(digest),
        "0d5688ac3897124635b6cf1bc0e29d6dfebceebdc10a54d74f2ef8b56535b682"
    );
    let both = hex::decode("840cfc572845f5786e702984c2a582528cad4b49b2a10b9db1be7fca9005856525e7109ceb98168d95b09b18bbf6b685130e0562f233877d492b94eee0c5b6d1").unwrap();
    let signature = Signature::from_slice(&both).unwrap();
    let id = RecoveryId::from_byte(0).unwrap();
    let key = VerifyingKey::recover_from_prehash(digest.as_slice(), &signature, id).unwrap();
    let keys = RootKey {
        scheme: Scheme::Ecdsa,
        public_key: key.to_sec1_point(true).as_bytes().to_vec(),
    };
    let chain = Chain::Ethereum(1);
    let decoded = decode(chain, &raw, &keys, &[]).unwrap();
    assert_eq!(
        decoded.transfers[0].from.to_string().to_lowercase(),
        "0xdd6b8b3dc6b7ad97db52f08a275ff4483e024cea"
    );
    let signed = assemble(chain, &raw, &keys, &[], &[[both, vec![0]].concat()]).unwrap();
    assert_eq!(
        hex::encode(keccak256(signed)),
        "0ec0b6a2df4d87424e5f6ad2a654e27aaeb7dac20ae9e8385cc09087ad532ee0"
    );
}

#[test]
fn a102_a_token_transfer_moves_the_token_and_not_the_coin() {
    let raw = hex::decode(VECTORS[3].2).unwrap();
    let decoded = read(1, &raw).unwrap();
    let [transfer] = decoded.transfers.as_slice() else {
        panic!("one transfer");
    };
    assert_eq!(transfer.kind, Kind::Erc20Transfer);
    assert_eq!(transfer.asset, Asset::Erc20(token()));
    assert_eq!(transfer.to, Address::Ethereum(TO));
    assert_eq!(transfer.amount, Amount::from_u64(1_500_000));
    let words = decoded.rendering.join("\n");
    for word in [
        TOKEN,
        "1500000",
        "0x3535353535353535353535353535353535353535",
        "nonce 300",
    ] {
        assert!(words.contains(word), "{word} is missing in\n{words}");
    }
}

#[test]
fn a102_leave_to_spend_counts_as_spending_all_of_it() {
    let spender = word_address(TO);
    let owner = word_address([9; 20]);
    let all = vec![0xff; 32];
    let end = [number(1), number(27), vec![1; 32], vec![2; 32]];
    let permit = [&[owner.clone(), spender.clone(), number(500)], &end[..]].concat();
    let dai = [
        &[owner, spender.clone(), number(0), number(0), number(1)],
        &end[1..],
    ]
    .concat();
    let permit2 = [
        word_address(token()),
        spender.clone(),
        [&[0; 12][..], &[0xff; 20]].concat(),
        number(9),
    ];
    for (signature, words, amount) in [
        (
            "approve(address,uint256)",
            vec![spender.clone(), all],
            Amount::MAX,
        ),
        (
            "approve(address,uint256)",
            vec![spender.clone(), number(0)],
            Amount::ZERO,
        ),
        (
            "increaseAllowance(address,uint256)",
            vec![spender.clone(), number(500)],
            Amount::from_u64(500),
        ),
        (
            "increaseApproval(address,uint256)",
            vec![spender.clone(), number(500)],
            Amount::from_u64(500),
        ),
        (
            "setApprovalForAll(address,bool)",
            vec![spender, number(1)],
            Amount::MAX,
        ),
        (
            "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
            permit,
            Amount::from_u64(500),
        ),
        (
            "permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)",
            dai,
            Amount::MAX,
        ),
        (
            "approve(address,address,uint160,uint48)",
            permit2.to_vec(),
            Amount::MAX,
        ),
    ] {
        let decoded = read(1, &Draft::call(call(signature, &words)).write()).unwrap();
        let [transfer] = decoded.transfers.as_slice() else {
            panic!("one transfer");
        };
        assert_eq!(transfer.kind, Kind::Erc20Approve, "{signature}");
        assert_eq!(transfer.asset, Asset::Erc20(token()), "{signature}");
        assert_eq!(transfer.to, Address::Ethereum(TO), "{signature}");
        assert_eq!(transfer.amount, amount, "{signature}");
    }
}

#[test]
fn a102_arguments_are_those_of_the_abi_to_the_last_bit() {
    for signature in ["transfer(address,uint256)", "approve(address,uint256)"] {
        let data = call(signature, &[word_address(TO), number(5)]);
        assert!(read(1, &Draft::call(data.clone()).write()).is_ok());
        for at in 4..16 {
            let mut dirty = data.clone();
            dirty[at] = 1;
            let found = read(1, &Draft::call(dirty).write());
            assert!(matches!(found, Err(Refusal::Arguments { .. })), "byte {at}");
        }
        for len in 4..data.len() {
            let found = read(1, &Draft::call(data[..len].to_vec()).write());
            assert!(
                matches!(found, Err(Refusal::Arguments { .. })),
                "{len} bytes"
            );
        }
        let long = [data.as_slice(), &[0]].concat();
        let found = read(1, &Draft::call(long).write());
        assert!(matches!(found, Err(Refusal::Arguments { .. })));
        let coins = Draft {
            value: U256::from(1),
            ..Draft::call(data)
        };
        let found = read(1, &coins.write());
        assert!(matches!(found, Err(Refusal::ValueWithToken { .. })));
    }
    for len in 1..4 {
        assert_eq!(
            read(1, &Draft::call(vec![0xa9; len]).write()),
            Err(Refusal::DataTooShort { len })
        );
    }
}

#[test]
fn a102_calls_that_wrap_others_are_unknown() {
    for signature in [
        "multicall(bytes[])",
        "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)",
        "delegate(address)",
    ] {
        let data = call(signature, &[word_address(TO), number(5)]);
        let decoded = read(1, &Draft::call(data.clone()).write()).unwrap();
        let [transfer] = decoded.transfers.as_slice() else {
            panic!("one transfer");
        };
        assert_eq!(transfer.kind, Kind::ContractCall);
        assert_eq!(
            transfer.selector.unwrap().to_string(),
            format!("0x{}", hex::encode(&data[..4]))
        );
        assert_eq!(transfer.to, Address::Ethereum(token()));
    }
}

#[test]
fn a102_types_that_are_not_signed() {
    for (kind, why) in [
        (3_u8, "they carry blobs"),
        (4, "they hand the account over to a contract"),
        // What EIP-7702 hashes for an authorisation starts with 5, EIP-191 and EIP-712 with 0x19.
        (5, "the type is not known here"),
        (0x19, "the type is not known here"),
        (0, "the type is not known here"),
    ] {
        let mut raw = Draft::new(2).write();
        raw[0] = kind;
        assert_eq!(read(1, &raw), Err(Refusal::Type { number: kind, why }));
    }
    for kind in 0..3 {
        let creation = Draft {
            to: Vec::new(),
            ..Draft::new(kind)
        };
        assert_eq!(read(1, &creation.write()), Err(Refusal::Creation));
    }
}

#[test]
fn a102_the_chain_id_is_there_and_the_wallets() {
    for kind in 0..3 {
        let raw = Draft::new(kind).write();
        assert!(read(1, &raw).is_ok());
        assert_eq!(
            read(2, &raw),
            Err(Refusal::ChainId {
                expected: 2,
                got: 1
            })
        );
    }
    // Before EIP-155: six fields, good on every chain. And with chain id zero.
    let draft = Draft::new(0);
    let items = draft.items();
    assert_eq!(read(1, &list(&items[..6])), Err(Refusal::NoChainId));
    let zero = Draft { chain: 0, ..draft };
    assert_eq!(read(1, &zero.write()), Err(Refusal::NoChainId));
}

#[test]
fn a_tip_above_the_whole_price_is_refused() {
    let draft = Draft {
        tip: 31,
        ..Draft::new(2)
    };
    assert_eq!(read(1, &draft.write()), Err(Refusal::Priority));
}

#[test]
fn the_fee_is_bounded_by_all_the_gas_at_the_highest_price() {
    let draft = Draft {
        gas: u64::MAX,
        price: u128::MAX,
        ..Draft::new(2)
    };
    let decoded = read(1, &draft.write()).unwrap();
    let product = U256::from(u64::MAX) * U256::from(u128::MAX);
    assert_eq!(decoded.fee_max.to_be_bytes(), product.to_be_bytes::<32>());
}

#[test]
fn a100_only_the_one_encoding_is_read() {
    for kind in 0..3 {
        let draft = Draft::new(kind);
        let raw = draft.write();
        for end in 0..raw.len() {
            assert!(read(1, &raw[..end]).is_err(), "type {kind}, {end} bytes");
        }
        let long = [raw.as_slice(), &[0x80]].concat();
        assert!(read(1, &long).is_err());
        // A number with a zero in front, a string for a short number, one field more, a list for a string.
        for (at, item) in [
            (0, vec![0x82, 0, 7]),
            (0, vec![0x81, 7]),
            (0, vec![0xc1, 7]),
            (3, vec![0xb8, 2, 0x52, 8]),
        ] {
            let mut items = draft.items();
            items[at] = item;
            assert!(
                read(1, &draft.wrap(&items)).is_err(),
                "type {kind}, item {at}"
            );
        }
        let mut items = draft.items();
        items.push(vec![0x80]);
        assert!(read(1, &draft.wrap(&items)).is_err());
        // An address of 19 bytes.
        let short = Draft {
            to: vec![1; 19],
            ..draft
        };
        assert!(read(1, &short.write()).is_err());
    }
    // A signed transaction is no signing payload.
    for (name, chain, _, signed, _) in VECTORS {
        assert!(
            read(chain, &hex::decode(signed).unwrap()).is_err(),
            "{name}"
        );
    }
}

#[test]
fn signatures_of_another_form_are_not_put_in() {
    let chain = Chain::Ethereum(1);
    let raw = Draft::new(2).write();
    let good = sign(&read(1, &raw).unwrap());
    let mut high = good.clone();
    let s = U256::from_be_slice(&good[32..64]);
    let order = U256::from_str_radix(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        16,
    )
    .unwrap();
    high[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    let mut id = good.clone();
    id[64] = 2;
    for bad in [
        high,
        id,
        good[..64].to_vec(),
        [good.as_slice(), &[0]].concat(),
    ] {
        let made = assemble(chain, &raw, &keys(), &[], &[bad]);
        assert!(matches!(
            made,
            Err(AssembleError::Signature { index: 0, .. })
        ));
    }
    assert_eq!(
        assemble(chain, &raw, &keys(), &[], &[]),
        Err(AssembleError::Count { needed: 1, got: 0 })
    );
}

#[test]
fn keys_of_other_schemes_are_refused() {
    for scheme in [Scheme::Bip340, Scheme::Ed25519] {
        let keys = RootKey { scheme, ..keys() };
        let found = decode(Chain::Ethereum(1), &Draft::new(2).write(), &keys, &[]);
        assert_eq!(found, Err(transaction::Refusal::Key));
    }
}

fn drafts() -> impl Strategy<Value = Draft> {
    let listed = prop::collection::vec(
        (
            any::<[u8; 20]>(),
            prop::collection::vec(any::<[u8; 32]>(), 0..3),
        ),
        0..3,
    );
    (
        (0_u8..3, 1_u64.., any::<u64>(), any::<u64>(), any::<u64>()),
        (any::<u64>(), any::<[u8; 20]>(), any::<[u8; 32]>(), listed),
        prop_oneof![
            Just(Vec::new()),
            prop::collection::vec(any::<u8>(), 4..200),
            (any::<[u8; 20]>(), any::<u64>()).prop_map(|(to, amount)| call(
                "transfer(address,uint256)",
                &[word_address(to), number(amount)]
            )),
        ],
    )
        .prop_map(
            |((kind, chain, nonce, tip, more), (gas, to, value, listed), data)| {
                let token = data.starts_with(&[0xa9, 0x05, 0x9c, 0xbb]);
                Draft {
                    kind,
                    chain,
                    nonce,
                    tip: tip.into(),
                    price: u128::from(tip) + u128::from(more),
                    gas,
                    to: to.to_vec(),
                    value: if token {
                        U256::ZERO
                    } else {
                        U256::from_be_bytes(value)
                    },
                    data,
                    listed,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Signed and put together, a transaction recovers to the wallet, and another implementation reads what was built.
    #[test]
    fn what_is_built_is_what_is_decoded_and_recovers_to_the_wallet(draft in drafts()) {
        use alloy_consensus::{Transaction as _, TxEnvelope};
        use alloy_rlp::Decodable as _;

        let raw = draft.write();
        let decoded = read(draft.chain, &raw).unwrap();
        let fee = U256::from(draft.gas) * U256::from(draft.price);
        prop_assert_eq!(decoded.fee_max.to_be_bytes(), fee.to_be_bytes::<32>());
        let [transfer] = decoded.transfers.as_slice() else { panic!("one transfer") };
        match transfer.kind {
            Kind::Transfer | Kind::ContractCall => {
                prop_assert_eq!(transfer.amount.to_be_bytes(), draft.value.to_be_bytes::<32>());
                let to = <[u8; 20]>::try_from(draft.to.as_slice()).unwrap();
                prop_assert_eq!(transfer.to, Address::Ethereum(to));
            }
            Kind::Erc20Transfer => {
                let word = transfer.amount.to_be_bytes();
                prop_assert_eq!(word.as_slice(), &draft.data[36..68]);
            }
            other => panic!("{other}"),
        }
        let signature = sign(&decoded);
        let signed = assemble(Chain::Ethereum(draft.chain), &raw, &keys(), &[], &[signature]).unwrap();
        // Between nodes, a typed transaction travels as a string.
        let mut sent = signed.clone();
        if draft.kind > 0 {
            sent.clear();
            signed.as_slice().encode(&mut sent);
        }
        let bytes = &mut sent.as_slice();
        let envelope = TxEnvelope::decode(bytes).unwrap();
        prop_assert!(bytes.is_empty());
        prop_assert_eq!(*envelope.tx_hash(), keccak256(&signed));
        prop_assert_eq!(envelope.chain_id(), Some(draft.chain));
        prop_assert_eq!(envelope.nonce(), draft.nonce);
        prop_assert_eq!(envelope.value(), draft.value);
        prop_assert_eq!(envelope.input().as_ref(), draft.data.as_slice());
        let given = envelope.signature();
        let digest = envelope.signature_hash();
        let both = Signature::from_slice(&given.as_bytes()[..64]).unwrap();
        let id = RecoveryId::from_byte(u8::from(given.v())).unwrap();
        let key = VerifyingKey::recover_from_prehash(digest.as_slice(), &both, id).unwrap();
        let point = key.to_sec1_point(false);
        let sender = EthereumAddress::from_raw_public_key(&point.as_bytes()[1..]);
        prop_assert_eq!(sender.to_checksum(None), WALLET);
    }

    /// Whatever is changed in the bytes: it is refused, or other bytes are signed.
    #[test]
    fn a100_no_two_payloads_are_signed_as_one(draft in drafts(), at in any::<prop::sample::Index>(), flip in 1_u8..=255) {
        let raw = draft.write();
        let mut changed = raw.clone();
        let at = at.index(raw.len());
        changed[at] ^= flip;
        if let Ok(after) = read(draft.chain, &changed) {
            prop_assert_eq!(&after.tasks[0].message, &changed);
            prop_assert_ne!(&after.tasks[0].message, &raw);
        }
    }

    #[test]
    fn the_decoder_is_total(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(1, &bytes);
    }
}
