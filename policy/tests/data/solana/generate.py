"""Writes messages.json: Solana messages with what the independent library `solders` says about them.

    python3 -m venv venv && venv/bin/pip install solders==0.29.0 && venv/bin/python generate.py > messages.json

The output is a function of this file and of the version of solders; nothing is drawn from outside.
"""
import json
import random
import struct
import sys

from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import request_heap_frame, set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, CompiledInstruction, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, from_bytes_versioned, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
import solders.system_program as system

rng = random.Random(20261120)
seed = lambda: bytes(rng.randrange(256) for _ in range(32))
key = lambda: Pubkey.from_bytes(seed())

TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022 = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
MEMO_1 = Pubkey.from_string("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo")
MEMO_2 = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXwDLGmfcHr")
BUDGET = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
SYSTEM = system.ID


def send(a, b, lamports):
    return system.transfer(system.TransferParams(from_pubkey=a, to_pubkey=b, lamports=lamports))


def token(code, source, mint, dest, authority, amount, decimals, program=TOKEN):
    metas = [AccountMeta(source, False, True)]
    data = struct.pack("<BQ", code, amount)
    if code == 12:
        metas.append(AccountMeta(mint, False, False))
        data += bytes([decimals])
    metas += [AccountMeta(dest, False, True), AccountMeta(authority, True, False)]
    return Instruction(program, data, metas)


def memo(text, program=MEMO_2, signer=None):
    return Instruction(program, text, [AccountMeta(signer, True, False)] if signer else [])


def compile_(payer, instructions, version):
    blockhash = Hash.from_bytes(seed())
    if version == "legacy":
        return bytes(Message.new_with_blockhash(instructions, payer, blockhash))
    return to_bytes_versioned(MessageV0.try_compile(payer, instructions, [], blockhash))


def understand(raw, wallet):
    """The library's reading of the bytes, or None where it or the chain's own checks refuse them."""
    try:
        message = from_bytes_versioned(raw)
        if to_bytes_versioned(message) != raw:
            return None
        signers = message.header.num_required_signatures
        VersionedTransaction.populate(message, [Signature.default()] * signers).sanitize()
    except Exception:
        return None
    keys = message.account_keys
    if type(message) is MessageV0:
        version = "v0"
        if message.address_table_lookups:
            return None
    elif type(message) is Message:
        version = "legacy"
    else:
        return None
    if signers != 1 or keys[0] != wallet or len(set(keys)) != len(keys):
        return None
    transfers, memos, limit, price = [], [], None, 0
    for compiled in message.instructions:
        program, data = keys[compiled.program_id_index], compiled.data
        accounts = [keys[i] for i in compiled.accounts]
        if program == SYSTEM:
            metas = [AccountMeta(a, i == 0, True) for i, a in enumerate(accounts)]
            if data[:4] != b"\x02\0\0\0" or len(data) != 12 or len(accounts) != 2 or accounts[0] != wallet:
                return None
            params = system.decode_transfer(Instruction(program, data, metas))
            transfers.append(["native", str(params["from_pubkey"]), str(params["to_pubkey"]), str(params["lamports"])])
        elif program == TOKEN:
            if len(data) != 10 or data[0] != 12 or len(accounts) != 4 or accounts[3] != wallet:
                return None
            amount = struct.unpack("<Q", data[1:9])[0]
            transfers.append(["spl:" + str(accounts[1]), str(accounts[0]), str(accounts[2]), str(amount)])
        elif program in (MEMO_1, MEMO_2):
            try:
                memos.append(data.decode())
            except UnicodeDecodeError:
                return None
        elif program == BUDGET:
            if data[:1] == b"\x02" and len(data) == 5:
                limit = struct.unpack("<I", data[1:])[0]
            elif data[:1] == b"\x03" and len(data) == 9:
                price = struct.unpack("<Q", data[1:])[0]
            else:
                return None
        else:
            return None
    if not transfers:
        return None
    units = limit if limit is not None else min(200_000 * len(message.instructions), 1_400_000)
    return {
        "version": version,
        "transfers": transfers,
        "memo": memos[0] if memos else None,
        "fee_max": str(5000 + -(-units * price // 1_000_000)),
        "blockhash": bytes(message.recent_blockhash).hex(),
    }


signer = Keypair.from_seed(seed())
wallet = signer.pubkey()
other = Keypair.from_seed(seed()).pubkey()
good, refused, mutated = [], [], []


def accept(name, instructions):
    for version in ("legacy", "v0"):
        raw = compile_(wallet, instructions, version)
        expected = understand(raw, wallet)
        assert expected is not None, name
        message = from_bytes_versioned(raw)
        transaction = VersionedTransaction(message, [signer])
        good.append({
            "name": f"{name}, {version}",
            "message": raw.hex(),
            "expected": expected,
            "signature": bytes(transaction.signatures[0]).hex(),
            "transaction": bytes(transaction).hex(),
        })


def refuse(name, why, raw):
    refused.append({"name": name, "why": why, "message": raw.hex()})


a, b, mint, source, dest = key(), key(), key(), key(), key()
accept("one transfer", [send(wallet, a, 1_500_000_000)])
accept("nothing at all", [send(wallet, a, 0)])
accept("the largest amount", [send(wallet, a, 2**64 - 1)])
accept("to itself", [send(wallet, wallet, 1)])
accept("three transfers", [send(wallet, a, 1), send(wallet, b, 2), send(wallet, a, 3)])
accept("memo, version 2", [send(wallet, a, 7), memo(b"invoice 7")])
accept("memo, version 1", [memo(b"first", MEMO_1), send(wallet, a, 7)])
accept("memo with its signer", [send(wallet, a, 7), memo("für Zoë \u202e".encode(), MEMO_2, wallet)])
accept("limit and price", [set_compute_unit_limit(450), set_compute_unit_price(1_000_001), send(wallet, a, 7)])
accept("price alone", [set_compute_unit_price(1), send(wallet, a, 7)])
accept("limit alone", [send(wallet, a, 7), set_compute_unit_limit(1_400_000)])
accept("price over many instructions", [set_compute_unit_price(2_000_000)] + [send(wallet, key(), i) for i in range(9)])
accept("tokens", [token(12, source, mint, dest, wallet, 2_500_000, 6)])
accept("tokens and coins", [token(12, source, mint, dest, wallet, 1, 0), send(wallet, a, 1), memo(b"both")])
accept("thirty-two transfers", [send(wallet, [a, b][i % 2], i) for i in range(32)])

one = [send(wallet, a, 5)]
refuse("another payer", "WalletNotPayer", compile_(other, [send(other, a, 5)], "legacy"))
refuse("a second signer pays out", "Signers", compile_(wallet, [send(other, a, 5)], "legacy"))
refuse("the wallet signs second", "Signers", compile_(other, one, "legacy"))
refuse("durable nonce", "DurableNonce", bytes(Message.new_with_nonce(one, wallet, b, wallet)))
refuse("create account", "Signers", compile_(wallet, [system.create_account(system.CreateAccountParams(
    from_pubkey=wallet, to_pubkey=a, lamports=1, space=0, owner=b))], "v0"))
refuse("assign the wallet", "UnknownInstruction", compile_(wallet, one + [system.assign(
    system.AssignParams(pubkey=wallet, owner=b))], "legacy"))
refuse("unchecked tokens", "UncheckedTokenTransfer", compile_(wallet, [token(3, source, mint, dest, wallet, 5, 0)], "v0"))
for code, name in ((4, "Approve"), (5, "Revoke"), (6, "SetAuthority"), (7, "MintTo"), (8, "Burn"), (9, "CloseAccount"), (13, "ApproveChecked"), (17, "SyncNative")):
    data = bytes([code]) + bytes(8)
    refuse(f"token {name}", "UnknownInstruction", compile_(wallet, [Instruction(TOKEN, data, [
        AccountMeta(source, False, True), AccountMeta(dest, False, True), AccountMeta(wallet, True, False)])], "legacy"))
refuse("Token-2022", "Token2022", compile_(wallet, [token(12, source, mint, dest, wallet, 5, 0, TOKEN_2022)], "v0"))
refuse("another authority", "Signers", compile_(wallet, [token(12, source, mint, dest, other, 5, 0)], "v0"))
unsigned = Instruction(TOKEN, struct.pack("<BQB", 12, 5, 0), [AccountMeta(x, False, False) for x in (source, mint, dest, other)])
refuse("an authority that does not sign", "AuthorityNotWallet", compile_(wallet, [unsigned], "v0"))
refuse("a multisig token authority", "InstructionAccounts", compile_(wallet, [Instruction(
    TOKEN, struct.pack("<BQB", 12, 5, 0), [AccountMeta(x, False, False) for x in (source, mint, dest, other)]
    + [AccountMeta(wallet, True, False)])], "v0"))
refuse("unknown program", "UnknownProgram", compile_(wallet, one + [Instruction(b, b"", [])], "legacy"))
refuse("stake program", "UnknownProgram", compile_(wallet, [Instruction(
    Pubkey.from_string("Stake11111111111111111111111111111111111111"), bytes(4), [])], "legacy"))
refuse("heap frame", "UnknownInstruction", compile_(wallet, [request_heap_frame(32768)] + one, "legacy"))
refuse("two limits", "Repeated", compile_(wallet, [set_compute_unit_limit(1), set_compute_unit_limit(2)] + one, "v0"))
refuse("two prices", "Repeated", compile_(wallet, [set_compute_unit_price(1), set_compute_unit_price(2)] + one, "v0"))
refuse("two memos", "Repeated", compile_(wallet, [memo(b"a"), memo(b"b")] + one, "v0"))
refuse("limit above the chain's", "InstructionData", compile_(wallet, [set_compute_unit_limit(1_400_001)] + one, "v0"))
refuse("price beyond any balance", "FeeTooLarge", compile_(
    wallet, [set_compute_unit_limit(1_400_000), set_compute_unit_price(2**64 - 1)] + one, "v0"))
refuse("memo that is not text", "MemoNotUtf8", compile_(wallet, one + [memo(b"\xff")], "v0"))
refuse("memo alone", "NoTransfer", compile_(wallet, [memo(b"hello")], "v0"))
refuse("nothing", "NoTransfer", compile_(wallet, [], "legacy"))
refuse("transfer with a third account", "InstructionAccounts", compile_(wallet, [Instruction(
    SYSTEM, struct.pack("<IQ", 2, 5), [AccountMeta(x, x == wallet, True) for x in (wallet, a, b)])], "v0"))
refuse("transfer with long data", "InstructionData", compile_(wallet, [Instruction(
    SYSTEM, struct.pack("<IQB", 2, 5, 0), [AccountMeta(x, x == wallet, True) for x in (wallet, a)])], "v0"))
refuse("transfer from elsewhere, unsigned", "NotFromWallet", compile_(wallet, [Instruction(
    SYSTEM, struct.pack("<IQ", 2, 5), [AccountMeta(x, False, True) for x in (b, a)])], "v0"))
refuse("thirty-three transfers", "TooManyTransfers", compile_(wallet, [send(wallet, a, i) for i in range(33)], "v0"))
refuse("too long for a packet", "TooLong", compile_(wallet, one + [memo(b"x" * 1000)], "v0"))
table = AddressLookupTableAccount(key(), [a, b])
refuse("lookup table", "LookupTables", to_bytes_versioned(
    MessageV0.try_compile(wallet, one, [table], Hash.from_bytes(seed()))))
base = compile_(wallet, one, "legacy")
v0 = compile_(wallet, one, "v0")
refuse("trailing byte", "Malformed", base + b"\0")
refuse("version 1", "UnknownVersion", b"\x81" + v0[1:])
refuse("version 127", "UnknownVersion", b"\xff" + v0[1:])
refuse("off-chain message", "UnknownVersion", b"\xffsolana offchain" + bytes(100))
refuse("long form of a length", "Length", base[:3] + b"\x83\x00" + base[4:])
refuse("a signed transaction instead of its message", "Malformed", bytes(VersionedTransaction.populate(
    from_bytes_versioned(base), [Signature.default()])))
refuse("empty", "Malformed", b"")
twice = bytearray(base)
twice[4 + 32:4 + 64] = twice[4:4 + 32]
refuse("the same account twice", "DuplicateAccount", bytes(twice))
program_payer = bytearray(base)
at = 4 + 96 + 32 + 1
program_payer[at] = 0
refuse("the payer as program", "ProgramIsPayer", bytes(program_payer))
beyond = bytearray(base)
beyond[at] = 3
refuse("a program that is not listed", "AccountIndex", bytes(beyond))
readonly_payer = bytearray(base)
readonly_payer[1] = 1
refuse("a read-only payer", "Header", bytes(readonly_payer))
many_readonly = bytearray(base)
many_readonly[2] = 3
refuse("more read-only accounts than accounts", "Header", bytes(many_readonly))
writable_program = bytearray(base)
writable_program[2] = 0
refuse("a writable program", "Access", bytes(writable_program))
readonly_destination = bytearray(base)
readonly_destination[2] = 2
refuse("a read-only destination", "Access", bytes(readonly_destination))
unused = Message.new_with_compiled_instructions(1, 0, 2, [wallet, a, b, SYSTEM], Hash.from_bytes(seed()), [
    CompiledInstruction(3, struct.pack("<IQ", 2, 5), bytes([0, 1]))])
refuse("an account without use", "UnusedAccount", bytes(unused))

sources = [bytes.fromhex(case["message"]) for case in good if "thirty" not in case["name"] and "many" not in case["name"]]
while len(mutated) < 400:
    raw = bytearray(rng.choice(sources))
    for _ in range(rng.choice((1, 1, 1, 2))):
        kind = rng.randrange(4)
        # Bytes of keys and hashes mostly change nothing of interest: aim at the rest as well.
        place = rng.choice((rng.randrange(len(raw)), rng.randrange(4), len(raw) - 1 - rng.randrange(min(len(raw), 24))))
        if kind == 0:
            raw[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            raw[place] = rng.choice((0, 1, 2, 3, 4, 0x7f, 0x80, 0x81, 0xff))
        elif kind == 2:
            del raw[place]
        else:
            raw.insert(place, rng.choice((0, 1, 2, 0x80)))
    expected = understand(bytes(raw), wallet)
    # Refusals are plenty: keep every reading, and as many refusals as there are readings and half again.
    readings = sum(1 for case in mutated if case["expected"])
    if expected is not None or len(mutated) - readings < 1.5 * readings + 5:
        mutated.append({"message": bytes(raw).hex(), "expected": expected})

json.dump({"wallet": bytes(wallet).hex(), "good": good, "refused": refused, "mutated": mutated}, sys.stdout, indent=0, ensure_ascii=True)
print()
