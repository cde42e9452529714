"""Checks the demo's released transactions with a Solana library that knows nothing of Quorate."""

import json
import sys

from solders.message import to_bytes_versioned
from solders.transaction import VersionedTransaction


def main(path: str) -> int:
    with open(path, encoding="utf-8") as handle:
        demo = json.load(handle)
    wallets = {wallet["address"] for wallet in demo["wallets"]}
    released = [r for r in demo["requests"] if r["outcome"] == "released"]
    for request in released:
        signed = bytes.fromhex(request["signed_tx"])
        transaction = VersionedTransaction.from_bytes(signed)
        message = to_bytes_versioned(transaction.message)
        checks = {
            "re-encodes byte for byte": bytes(transaction) == signed,
            "carries the submitted message": message == bytes.fromhex(request["unsigned_tx"]),
            "is paid by a wallet of the demo": str(transaction.message.account_keys[0]) in wallets,
            "signature verifies": transaction.verify_with_results() == [True],
            "same signature as reported": bytes(transaction.signatures[0]) == bytes.fromhex(request["signature"]),
        }
        for name, ok in checks.items():
            print(f"{request['name']}: {name}: {'yes' if ok else 'NO'}")
        if not all(checks.values()):
            return 1
    if not released:
        print("the demo released nothing")
        return 1
    leaked = [r["name"] for r in demo["requests"] if r["outcome"] != "released" and (r["signature"] or r["signed_tx"])]
    if leaked:
        print(f"a refused request carries a signature: {leaked}")
        return 1
    failed = [c["name"] for c in demo["checks"] if not c["ok"]]
    print(f"{len(released)} released transactions accepted by solders, {len(demo['checks']) - len(failed)} checks ok")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
