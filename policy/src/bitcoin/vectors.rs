//! The numbers published with BIP 143 and BIP 341, on what is signed for one input.

use bitcoin::{
    Amount, ScriptBuf, Transaction, TxOut,
    consensus::deserialize,
    hashes::{Hash as _, sha256d},
    sighash::SighashCache,
};

use super::{Spend, task};
use crate::transaction::{Hash, Scheme, Task, Tweak};

fn transaction(hex: &str) -> Transaction {
    deserialize(&hex::decode(hex).unwrap()).unwrap()
}

fn output(satoshi: u64, script: &str) -> TxOut {
    TxOut {
        value: Amount::from_sat(satoshi),
        script_pubkey: ScriptBuf::from_hex(script).unwrap(),
    }
}

/// The task of one input of a transaction that spends these outputs.
fn sign(
    transaction: &Transaction,
    spent: &[TxOut],
    input: usize,
    all: bool,
    scheme: Scheme,
) -> Task {
    let spend = Spend {
        previous: spent.get(input).unwrap().clone(),
        path: Vec::new(),
        key: Vec::new(),
        all,
    };
    let spent: Vec<&TxOut> = spent.iter().collect();
    let mut cache = SighashCache::new(transaction);
    task(&mut cache, &spent, input, &spend, scheme).unwrap()
}

/// BIP 143, "Native P2WPKH", its second input.
#[test]
fn bip_143() {
    let transaction = transaction(
        "0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f0000000000eeffffffef51e1b804cc89d182d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206000000001976a9148280b37df378db99f66f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa815988ac11000000",
    );
    let spent = [
        // Its first input is not of this kind, and the digest of the second says nothing about it.
        output(625_000_000, "51"),
        output(600_000_000, "00141d0f172a0ecb48aee1be1f2687d2963ae33f71a1"),
    ];
    let task = sign(&transaction, &spent, 1, false, Scheme::Ecdsa);
    assert_eq!((task.hash, task.tweak), (Hash::DoubleSha256, Tweak::None));
    assert_eq!(
        hex::encode(sha256d::Hash::hash(&task.message).to_byte_array()),
        "c37af31116d1b27caf68aae9e3ac82f1477929014d5b917657d0eb49478cb670"
    );
    let preimage = hex::encode(&task.message);
    for part in [
        "96b827c8483d4e9b96712b6713a7b68d6e8003a781feba36c31143470b4efd37",
        "52b0a642eea2fb7ae638c36f6252b6750293dbe574a806984b8e4d8548339a3b",
        "1976a9141d0f172a0ecb48aee1be1f2687d2963ae33f71a188ac",
        "863ef3e1a92afbfdb97f31ad0fc7683ee943e9abcf2501590ff8f6551f47e5e5",
    ] {
        assert!(preimage.contains(part), "{part}");
    }
    assert!(preimage.ends_with("1100000001000000"));
}

/// BIP 341's wallet test vectors, `keyPathSpending`: the inputs with the signature hash types that are signed here.
#[test]
fn bip_341() {
    let transaction = transaction(
        "02000000097de20cbff686da83a54981d2b9bab3586f4ca7e48f57f5b55963115f3b334e9c010000000000000000d7b7cab57b1393ace2d064f4d4a2cb8af6def61273e127517d44759b6dafdd990000000000fffffffff8e1f583384333689228c5d28eac13366be082dc57441760d957275419a418420000000000fffffffff0689180aa63b30cb162a73c6d2a38b7eeda2a83ece74310fda0843ad604853b0100000000feffffffaa5202bdf6d8ccd2ee0f0202afbbb7461d9264a25e5bfd3c5a52ee1239e0ba6c0000000000feffffff956149bdc66faa968eb2be2d2faa29718acbfe3941215893a2a3446d32acd050000000000000000000e664b9773b88c09c32cb70a2a3e4da0ced63b7ba3b22f848531bbb1d5d5f4c94010000000000000000e9aa6b8e6c9de67619e6a3924ae25696bb7b694bb677a632a74ef7eadfd4eabf0000000000ffffffffa778eb6a263dc090464cd125c466b5a99667720b1c110468831d058aa1b82af10100000000ffffffff0200ca9a3b000000001976a91406afd46bcdfd22ef94ac122aa11f241244a37ecc88ac807840cb0000000020ac9a87f5594be208f8532db38cff670c450ed2fea8fcdefcc9a663f78bab962b0065cd1d",
    );
    let spent = [
        output(
            420_000_000,
            "512053a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343",
        ),
        output(
            462_000_000,
            "5120147c9c57132f6e7ecddba9800bb0c4449251c92a1e60371ee77557b6620f3ea3",
        ),
        output(
            294_000_000,
            "76a914751e76e8199196d454941c45d1b3a323f1433bd688ac",
        ),
        output(
            504_000_000,
            "5120e4d810fd50586274face62b8a807eb9719cef49c04177cc6b76a9a4251d5450e",
        ),
        output(
            630_000_000,
            "512091b64d5324723a985170e4dc5a0f84c041804f2cd12660fa5dec09fc21783605",
        ),
        output(378_000_000, "00147dd65592d0ab2fe0d0257d571abf032cd9db93dc"),
        output(
            672_000_000,
            "512075169f4001aa68f15bbed28b218df1d0a62cbbcf1188c6665110c293c907b831",
        ),
        output(
            546_000_000,
            "5120712447206d7a5238acc7ff53fbe94a3b64539ad291c7cdbc490b7577e4b17df5",
        ),
        output(
            588_000_000,
            "512077e30a5522dd9f894c3f8b8bd4c4b2cf82ca7da8a3ea6a239655c39c050ab220",
        ),
    ];
    for (input, all, digest) in [
        (
            3,
            true,
            "bf013ea93474aa67815b1b6cc441d23b64fa310911d991e713cd34c7f5d46669",
        ),
        (
            4,
            false,
            "4f900a0bae3f1446fd48490c2958b5a023228f01661cda3496a11da502a7f7ef",
        ),
    ] {
        let task = sign(&transaction, &spent, input, all, Scheme::Bip340);
        assert_eq!((task.hash, task.tweak), (Hash::None, Tweak::TaprootKeyPath));
        assert_eq!(hex::encode(&task.message), digest, "input {input}");
        let other = sign(&transaction, &spent, input, !all, Scheme::Bip340);
        assert_ne!(hex::encode(&other.message), digest, "input {input}");
    }
}
