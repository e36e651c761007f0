"""Opens the vectors of sev1.json; written from vectors/FORMAT.md alone, on PyPI `cryptography`.

Run: python open_sev1.py sev1.json
"""

import hashlib
import hmac
import json
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Refused(Exception):
    """The blob or the row is not what it is opened for."""


def hkdf(salt: bytes | None, secret: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA512(), 32, salt, info).derive(secret)


def encode(pairs: dict[str, str]) -> bytes:
    out = len(pairs).to_bytes(2, "big")
    for key in sorted(pairs):
        for text in (key.encode(), pairs[key].encode()):
            out += len(text).to_bytes(2, "big") + text
    return out


def unpad(padded: bytes) -> bytes:
    text = padded.rstrip(b"\x00")
    if not text.endswith(b"\x80"):
        raise Refused("padding")
    return text[:-1]


def gcm_open(key: bytes, nonce: bytes, aad: bytes, sealed: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except InvalidTag as why:
        raise Refused("tag") from why


def open_blob(scope_key: bytes, sk_ver: int, context: dict[str, str], blob: bytes) -> bytes:
    if len(blob) < 204 or blob[:4] != b"SEV1" or blob[4:8] != bytes([0, 1, 0, 124]):
        raise Refused("not a blob of this format")
    header, sealed = blob[:124], blob[124:]
    if int.from_bytes(header[44:48], "big") != sk_ver:
        raise Refused("version of the scope key")
    salt, commitment, nonce = header[48:80], header[80:112], header[112:124]
    encoded = encode(context)
    tail = (1).to_bytes(2, "big") + hashlib.sha256(encoded).digest()
    mine = hkdf(salt, scope_key, b"portcullis/vault/v1/commit" + tail)
    if not hmac.compare_digest(mine, commitment):
        raise Refused("commitment")
    key = hkdf(salt, scope_key, b"portcullis/vault/v1/key" + tail)
    return unpad(gcm_open(key, nonce, header + encoded, sealed))


def unwrap_key_file(kek: bytes, row: dict) -> bytes:
    bound = hashlib.sha256(b"portcullis/vault/v1/sk\n" + encode({
        "ext": row["scope"]["ext"], "product": "portcullis", "sk_id": row["sk_id"],
        "sk_ver": str(row["sk_ver"]), "tenant": row["scope"]["tenant"], "user": row["scope"]["user"],
    })).digest()
    wrapped = bytes.fromhex(row["wrapped"])
    if len(wrapped) != 157 or wrapped[0] != 1:
        raise Refused("not a wrapped key of this format")
    head, sealed = wrapped[:77], wrapped[77:]
    salt, commitment, nonce = head[1:33], head[33:65], head[65:77]
    mine = hkdf(salt, kek, b"portcullis/vault/v1/wrap/commit" + bound)
    if not hmac.compare_digest(mine, commitment):
        raise Refused("commitment")
    key = hkdf(salt, kek, b"portcullis/vault/v1/wrap/key" + bound)
    text = gcm_open(key, nonce, head + bound, sealed)
    if not hmac.compare_digest(text[32:], bound):
        raise Refused("another scope's key")
    return text[:32]


def refuses(work, what: str) -> None:
    try:
        work()
    except Refused:
        return
    sys.exit(f"opened, and should not: {what}")


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1:]


def check_blob(v: dict) -> None:
    context, blob, key = dict(v["context"]), bytes.fromhex(v["blob"]), bytes.fromhex(v["scope_key"])
    if open_blob(key, v["sk_ver"], context, blob) != bytes.fromhex(v["plaintext"]):
        sys.exit(f"another plaintext: {v['name']}")
    for at in range(0, len(blob), 1 + len(blob) // 300):
        refuses(lambda: open_blob(key, v["sk_ver"], context, flipped(blob, at)), f"{v['name']}, byte {at}")
    for pair in context:
        moved = {**context, pair: context[pair] + "x"}
        refuses(lambda: open_blob(key, v["sk_ver"], moved, blob), f"{v['name']}, another {pair}")


def check_row(v: dict) -> None:
    kek, row = bytes.fromhex(v["kek"]), v["row"]
    if unwrap_key_file(kek, row) != bytes.fromhex(v["scope_key"]):
        sys.exit("another scope key")
    wrapped = bytes.fromhex(row["wrapped"])
    for at in range(len(wrapped)):
        altered = {**row, "wrapped": flipped(wrapped, at).hex()}
        refuses(lambda: unwrap_key_file(kek, altered), f"row, byte {at}")
    other = {**row, "scope": {**row["scope"], "tenant": "another"}}
    refuses(lambda: unwrap_key_file(kek, other), "row of another tenant")


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        vectors = json.load(file)
    for v in vectors["blobs"]:
        check_blob(v)
    for v in vectors["scope_keys"]:
        check_row(v)
    print(f"{len(vectors['blobs'])} blobs and {len(vectors['scope_keys'])} rows open")


main()
