"""Checks what the demo, or the demo of a key's life, released with libraries that know nothing of Quorate.

solders reads the Solana transactions, eth-account recovers the senders of the Ethereum transactions, bip-utils derives the
wallets' addresses from the root keys by BIP 32. Bitcoin's own consensus code runs the Bitcoin transactions in the
end-to-end tests (bitcoinconsensus); here they are only held against the addresses.
"""

import json
import sys

from bip_utils import Bip32KeyData, Bip32Slip10Secp256k1, EthAddrEncoder, P2TRAddrEncoder, P2WPKHAddrEncoder
from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes
from solders.message import to_bytes_versioned
from solders.transaction import VersionedTransaction

HRP = {"bitcoin:mainnet": "bc", "bitcoin:testnet": "tb", "bitcoin:signet": "tb", "bitcoin:regtest": "bcrt"}


def derived(wallet):
    """The address of a secp256k1 wallet, from its root key alone."""
    data = Bip32KeyData(chain_code=bytes.fromhex(wallet["root_chain_code"]))
    root = Bip32Slip10Secp256k1.FromPublicKey(bytes.fromhex(wallet["root_public_key"]), data)
    key = root
    for step in wallet["path"].split("/")[1:]:
        key = key.ChildKey(int(step))
    public = key.PublicKey().KeyObject()
    chain = wallet["chain"]
    if chain.startswith("ethereum:"):
        return EthAddrEncoder.EncodeKey(public)
    encoder = P2TRAddrEncoder if wallet["scheme"] == "bip340" else P2WPKHAddrEncoder
    return encoder.EncodeKey(public, hrp=HRP[chain])


def solana(request, wallets):
    signed = bytes.fromhex(request["signed_tx"])
    transaction = VersionedTransaction.from_bytes(signed)
    message = to_bytes_versioned(transaction.message)
    addresses = {wallet["address"] for wallet in wallets}
    return {
        "re-encodes byte for byte": bytes(transaction) == signed,
        "carries the submitted message": message == bytes.fromhex(request["unsigned_tx"]),
        "is paid by a wallet of the demo": str(transaction.message.account_keys[0]) in addresses,
        "signature verifies": transaction.verify_with_results() == [True],
        "same signature as reported": bytes(transaction.signatures[0]) == bytes.fromhex(request["signature"]),
    }


def ethereum(request, wallets):
    signed = HexBytes(request["signed_tx"])
    fields = TypedTransaction.from_bytes(signed).as_dict()
    sender = Account.recover_transaction(signed)
    return {
        "recovers to a wallet of the demo": sender in {wallet["address"] for wallet in wallets},
        "is for the wallet's chain": "ethereum:%d" % int(fields["chainId"]) == request["chain"],
        "s is in the lower half": int(fields["s"]) <= 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0,
    }


def bitcoin(request, wallets):
    signed = bytes.fromhex(request["signed_tx"])
    return {
        "has a witness": signed[4:6] == b"\x00\x01",
        "carries every signature": all(bytes.fromhex(s) in signed for s in request["signatures"]),
        "signs two inputs": len(request["signatures"]) == 2,
    }


def lifecycle(steps):
    """The keys and chain codes of every step are those of the first, and the epoch only grows."""
    facts = ("name", "public_key", "chain_code")
    first = [[key[fact] for fact in facts] for key in steps[0]["keys"]]
    for before, after in zip(steps, steps[1:]):
        now = [[key[fact] for fact in facts] for key in after["keys"]]
        yield after["step"], {
            "the same public keys as at the beginning": now == first,
            "another epoch than before": all(
                new["epoch"] > old["epoch"] for old, new in zip(before["keys"], after["keys"])
            ),
        }


def main(path: str) -> int:
    with open(path, encoding="utf-8") as handle:
        demo = json.load(handle)
    good = True

    def report(name, checks):
        nonlocal good
        for check, ok in checks.items():
            print(f"{name}: {check}: {'yes' if ok else 'NO'}")
            good = good and ok

    families = {"solana": solana, "ethereum": ethereum, "bitcoin": bitcoin}
    counts = dict.fromkeys(families, 0)
    for wallet in demo["wallets"]:
        if wallet["scheme"] != "ed25519":
            report(wallet["name"], {"address equals an independent BIP 32 derivation": derived(wallet) == wallet["address"]})
    steps = demo.get("lifecycle", [])
    if steps:
        roots = {wallet["root_public_key"] for wallet in demo["wallets"]}
        report("lifecycle", {"wallets are those of the keys": roots == {key["public_key"] for key in steps[0]["keys"]}})
        for step, checks in lifecycle(steps):
            report(step, checks)
        for step in steps:
            signed = {r["chain"].split(":")[0] for r in demo["requests"]
                      if r["outcome"] == "released" and r["name"].startswith(step["step"] + "-")}
            report(step["step"], {"every chain was signed for": signed == set(families)})
    for request in demo["requests"]:
        if request["outcome"] == "released":
            family = request["chain"].split(":")[0]
            wallets = [wallet for wallet in demo["wallets"] if wallet["chain"] == request["chain"]]
            report(request["name"], families[family](request, wallets))
            counts[family] += 1
        else:
            report(request["name"], {"refused without a signature": not (request["signature"] or request["signed_tx"])})
    report("demo", {f"released something on {family}": count > 0 for family, count in counts.items()})
    report("demo", {check["name"]: check["ok"] for check in demo["checks"]})
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
