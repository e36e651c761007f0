"""Checks the export of a log with PyPI `pymerkle` and `cryptography`, which share no code with Portcullis.

Run: python verify.py FOLDER VKEY
"""

import base64
import hashlib
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pymerkle import InmemoryTree

WIDTH = 256


class Rejected(Exception):
    """The export is not what the log signed."""


def open_note(note: str, vkey: str) -> list[str]:
    """The lines of the text, when the key signed it (c2sp.org/signed-note)."""
    name, key_id, encoded = vkey.split("+", 2)
    key = base64.b64decode(encoded, validate=True)
    if hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() != key_id or key[0] != 1:
        raise Rejected("the key is not in its form")
    if not note.endswith("\n"):
        raise Rejected("the note ends within a line")
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    for line in signatures.splitlines():
        dash, signer, signature = line.split(" ")
        raw = base64.b64decode(signature, validate=True)
        if dash == "\u2014" and signer == name and raw[:4].hex() == key_id:
            try:
                Ed25519PublicKey.from_public_bytes(key[1:]).verify(raw[4:], text.encode())
            except InvalidSignature as why:
                raise Rejected("the signature does not fit the text") from why
            if text.split("\n")[0] != name:
                raise Rejected("the head of another log")
            return text.splitlines()
    raise Rejected("the key did not sign the note")


def tile_name(kind: str, index: int, width: int) -> str:
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    return f"tile/{kind}/{'/'.join(groups)}" + (f".p/{width}" if width < WIDTH else "")


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as why:
        raise Rejected(f"{path}: {why}") from why


def records(folder: Path, size: int) -> list[bytes]:
    found = []
    for index in range(-(-size // WIDTH)):
        width = min(WIDTH, size - index * WIDTH)
        bundle = read(folder / tile_name("entries", index, width))
        at = 0
        for _ in range(width):
            length = int.from_bytes(bundle[at : at + 2], "big")
            at += 2 + length
            if length == 0 or at > len(bundle):
                raise Rejected("a bundle ends within a record")
            found.append(bundle[at - length : at])
        if at != len(bundle):
            raise Rejected("a bundle has more records than it may")
    return found


def check_tiles(folder: Path, leaves: list[bytes]) -> None:
    hashes, level = leaves, 0
    while hashes:
        for index in range(-(-len(hashes) // WIDTH)):
            part = hashes[index * WIDTH : (index + 1) * WIDTH]
            if read(folder / tile_name(str(level), index, len(part))) != b"".join(part):
                raise Rejected(f"tile {index} of level {level} is not what the records give")
        full = len(hashes) // WIDTH
        hashes = [root_of(hashes[n * WIDTH : (n + 1) * WIDTH]) for n in range(full)]
        level += 1


def root_of(hashes: list[bytes]) -> bytes:
    """The root over the hashes of complete subtrees."""
    tree = InmemoryTree(algorithm="sha256")
    while len(hashes) > 1:
        hashes = [tree.hash_pair(hashes[n], hashes[n + 1]) for n in range(0, len(hashes), 2)]
    return hashes[0]


def check_proofs(folder: Path, tree: InmemoryTree, vkey: str) -> int:
    files = sorted(folder.glob("proofs/*.tlog-proof"))
    for file in files:
        head, _, checkpoint = file.read_text().partition("\n\n")
        # Whatever the `extra` line carries, nothing vouches for it.
        title, index, *hashes = [line for line in head.split("\n") if not line.startswith("extra ")]
        size = int(open_note(checkpoint, vkey)[1])
        path = tree.prove_inclusion(int(index.removeprefix("index ")) + 1, size).path
        if title != "c2sp.org/tlog-proof@v1" or [base64.b64decode(h) for h in hashes] != path[1:]:
            raise Rejected(f"{file} is not the proof of the record")
    return len(files)


def main() -> None:
    folder, vkey = Path(sys.argv[1]), sys.argv[2]
    try:
        _, size, root, *_ = open_note(read(folder / "checkpoint").decode(), vkey)
        tree = InmemoryTree(algorithm="sha256")
        tree.append_entries(records(folder, int(size)))
        if tree.get_root() != base64.b64decode(root):
            raise Rejected("the records do not give the signed root")
        check_tiles(folder, [tree.get_leaf(n + 1) for n in range(int(size))])
        proofs = check_proofs(folder, tree, vkey)
    except Rejected as why:
        sys.exit(f"rejected: {why}")
    print(f"{size} records and {proofs} proofs under {root}")


if __name__ == "__main__":
    main()
