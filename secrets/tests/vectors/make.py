"""Makes sev1.json: known answers for the envelope and for wrapped scope keys.

Written from the format alone and on PyPI `cryptography`; it shares no code with the crate. The crate's
tests must reproduce these bytes. Run: pip install cryptography; python make.py > sev1.json
"""

import hashlib
import hmac
import json
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def hkdf(salt: bytes, secret: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-512; 32 bytes need one block only."""
    prk = hmac.new(salt or bytes(64), secret, hashlib.sha512).digest()
    return hmac.new(prk, info + b"\x01", hashlib.sha512).digest()[:32]


def pairs(values: dict[str, str]) -> bytes:
    out = struct.pack(">H", len(values))
    for key, value in sorted(values.items()):
        for text in (key.encode(), value.encode()):
            out += struct.pack(">H", len(text)) + text
    return out


def pad(text: bytes) -> bytes:
    """ISO/IEC 7816-4 up to a bucket: 64 bytes at least, then Padme."""
    length = max(64, len(text) + 1)
    exponent = length.bit_length() - 1
    kept = exponent.bit_length()
    mask = (1 << max(0, exponent - kept)) - 1
    return (text + b"\x80").ljust((length + mask) & ~mask, b"\x00")


def gcm(key: bytes, nonce: bytes, aad: bytes, text: bytes) -> bytes:
    return AESGCM(key).encrypt(nonce, text, aad)


def blob(v: dict) -> bytes:
    scope_key, suite = bytes.fromhex(v["scope_key"]), struct.pack(">H", 1)
    text, version = bytes.fromhex(v["plaintext"]), struct.pack(">I", v["secret_version"])
    values = {
        "product": "portcullis", "tenant": v["tenant"], "user": v["user"], "ext": v["ext"],
        "name": v["secret_name"], "purpose": v["purpose"],
    }
    v["context"] = sorted(values.items())
    context = pairs(values)
    salt_key = hkdf(b"", scope_key, b"portcullis/vault/v1/salt")
    hedge = bytes.fromhex(v["random"]) + struct.pack(">I", len(context)) + context + version + text
    salt = hmac.new(salt_key, hedge, hashlib.sha256).digest()
    tail = suite + hashlib.sha256(context).digest()
    key = hkdf(salt, scope_key, b"portcullis/vault/v1/key" + tail)
    commitment = hkdf(salt, scope_key, b"portcullis/vault/v1/commit" + tail)
    nonce = bytes.fromhex(v["nonce"])
    header = (b"SEV1" + suite + struct.pack(">H", 124) + bytes.fromhex(v["secret_id"]) + version
              + bytes.fromhex(v["sk_id"]) + struct.pack(">I", v["sk_ver"]) + salt + commitment + nonce)
    assert len(header) == 124
    v["header"] = {
        "magic": "SEV1", "suite": 1, "header_length": 124, "secret_id": v["secret_id"],
        "secret_version": v["secret_version"], "sk_id": v["sk_id"], "sk_ver": v["sk_ver"],
        "salt": salt.hex(), "commitment": commitment.hex(), "nonce": v["nonce"],
    }
    return header + gcm(key, nonce, header + context, pad(text))


def wrapped(v: dict) -> dict:
    kek, scope_key, row = bytes.fromhex(v["kek"]), bytes.fromhex(v["scope_key"]), v["row"]
    digest = hashlib.sha256(b"portcullis/vault/v1/sk\n" + pairs({
        "product": "portcullis", **row["scope"], "sk_id": row["sk_id"], "sk_ver": str(row["sk_ver"]),
    })).digest()
    salt_key = hkdf(b"", kek, b"portcullis/vault/v1/wrap/salt")
    salt = hmac.new(salt_key, bytes.fromhex(v["random"]) + digest + scope_key, hashlib.sha256).digest()
    key = hkdf(salt, kek, b"portcullis/vault/v1/wrap/key" + digest)
    commitment = hkdf(salt, kek, b"portcullis/vault/v1/wrap/commit" + digest)
    nonce = bytes.fromhex(v["nonce"])
    header = b"\x01" + salt + commitment + nonce
    row["kek_id"] = hkdf(b"", kek, b"portcullis/vault/v1/kek-id")[:16].hex()
    row["wrapped"] = (header + gcm(key, nonce, header + digest, scope_key + digest)).hex()
    return v


def filled(label: str, length: int) -> str:
    return hashlib.shake_128(label.encode()).digest(length).hex()


def case(number: int, name: str, plaintext: bytes, **other) -> dict:
    v = {
        "name": name, "tenant": "imp_t_acme", "user": "imp_u_alice", "ext": "mail",
        "secret_name": "smtp-password", "purpose": "secret",
        "scope_key": filled(f"sk{number}", 32), "sk_id": filled(f"id{number}", 16), "sk_ver": 1,
        "secret_id": filled(f"secret{number}", 16), "secret_version": 1,
        "random": filled(f"random{number}", 32), "nonce": filled(f"nonce{number}", 12),
        "plaintext": plaintext.hex(), **other,
    }
    v["blob"] = blob(v).hex()
    return v


def main() -> None:
    blobs = [
        case(1, "a password", b"correct horse battery staple"),
        case(2, "nothing", b""),
        case(3, "last length of the first bucket", b"x" * 63),
        case(4, "first length of the second bucket", b"x" * 64),
        case(5, "a capsule", b'{"principal":"..."}' * 60, purpose="capsule", secret_name="op-1"),
        case(6, "a later version under a later key", b"v9", secret_version=9, sk_ver=3),
        case(7, "names beyond ASCII", "grün".encode(), user="imp_u_zoë", secret_name="größe"),
    ]
    purposes = ["call-body", "confirmation", "deployment-key", "ledger-body", "field-key", "signing-key"]
    blobs += [
        case(number, f"purpose {purpose}", b"text of " + purpose.encode(), purpose=purpose)
        for number, purpose in enumerate(purposes, start=8)
    ]
    blobs += [
        case(14, "a tenant as a whole", b"shared", user="", ext="", purpose="signing-key"),
        case(15, "4 KiB", bytes(range(256)) * 16, purpose="ledger-body"),
        case(16, "the longest parts", b"x", tenant="t" * 1024, user="u" * 1024, ext="e" * 1024,
             secret_name="n" * 1024),
        case(17, "a plaintext that ends like padding", b"x\x80\x00\x00"),
        case(18, "highest versions", b"x", secret_version=2**32 - 1, sk_ver=2**32 - 1),
    ]
    scope_keys = [wrapped({
        "kek": filled(f"kek{n}", 32), "scope_key": filled(f"wsk{n}", 32),
        "random": filled(f"wrandom{n}", 32), "nonce": filled(f"wnonce{n}", 12),
        "row": {
            "sk_id": filled(f"wid{n}", 16), "scope": scope, "sk_ver": n, "kek_provider": "key-file",
            "kek_id": "", "kek_ver": 1, "wrapped": "", "state": "active",
        },
    }) for n, scope in enumerate([
        {"tenant": "imp_t_acme", "user": "imp_u_alice", "ext": "mail"},
        {"tenant": "default", "user": "", "ext": ""},
    ], start=1)]
    print(json.dumps({"blobs": blobs, "scope_keys": scope_keys}, indent=1, ensure_ascii=False))


main()
