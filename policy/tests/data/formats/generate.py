"""Writes formats.json: intents, approvals and their hashes, computed from the documented formats alone.

    python3 -m venv venv && venv/bin/pip install solders==0.29.0 && venv/bin/python generate.py > formats.json

Only the Ed25519 signatures come from a library; every byte of the encodings and hashes is put together here, so that the
formats cannot drift without a test noticing.
"""
import hashlib
import json
import struct
import sys

from solders.keypair import Keypair

sha = lambda data: hashlib.sha256(data).digest()
sized = lambda data: struct.pack(">I", len(data)) + data


def tagged(tag, encoded):
    prefix = sha(b"quorate/policy/v1/" + tag)
    return sha(prefix + prefix + encoded)


NOW = 1_796_083_200_000
initiator = Keypair.from_seed(bytes([3] * 32))
approver = Keypair.from_seed(bytes([4] * 32))

raw_tx = bytes(range(100))
intent = b"".join([
    b"\x01", sized(b"c-01"), bytes([5] * 32), sized(b"hot-sol"), sized(b"solana:devnet"), sized(raw_tx),
    sized(b"svc:payout"), sized(b"order 17"), struct.pack(">QQ", NOW, NOW + 3_600_000), sized(b"rent"),
])
request = tagged(b"intent", sized(intent))
intent_hash = tagged(b"intent/signature", sized(request))
signed_intent = intent + bytes(initiator.sign_message(intent_hash))

lines = ["first line", "second line"]
display = tagged(b"display", struct.pack(">I", len(lines)) + b"".join(sized(line.encode()) for line in lines))
policy = tagged(b"policy", sized(b"schema = 1\n"))
text = f"""quorate/approval/v1
cluster: c-01
request: {request.hex()}
decision: approve
policy: {policy.hex()}
display: {display.hex()}
wallet: hot-sol
person: alice
credential: laptop
nonce: {'07' * 16}
issued: 2026-12-01T00:00:00Z
expires: 2026-12-01T01:00:00Z
line: first line
line: second line
""".encode()
statement_hash = tagged(b"statement", sized(text))
signed_approval = b"\x01" + sized(text) + sized(b"alice") + sized(b"laptop") + b"\x01" + bytes(approver.sign_message(statement_hash))

json.dump({
    "raw_tx": raw_tx.hex(),
    "intent": intent.hex(),
    "request": request.hex(),
    "raw_digest": tagged(b"raw-transaction", sized(b"solana:devnet") + sized(raw_tx)).hex(),
    "signed_intent": signed_intent.hex(),
    "initiator_key": bytes(initiator.pubkey()).hex(),
    "policy_text": "schema = 1\n",
    "policy_hash": policy.hex(),
    "lines": lines,
    "display": display.hex(),
    "approval_text": text.decode(),
    "approval_hash": statement_hash.hex(),
    "signed_approval": signed_approval.hex(),
    "approver_key": bytes(approver.pubkey()).hex(),
}, sys.stdout, indent=1)
print()
