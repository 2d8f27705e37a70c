from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wardround.combining.secure import keys
from wardround.study.canonical import canonical

# RFC 7748, section 6.1
ALICE = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
BOB = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
SHARED = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
NAMES = ("alice", "bob")

# u = 0, 1, p - 1, p, p + 1 and the two points of order 8
SMALL = [
    bytes(32).hex(),
    "01" + "00" * 31,
    "ec" + "ff" * 30 + "7f",
    "ed" + "ff" * 30 + "7f",
    "ee" + "ff" * 30 + "7f",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
]


def expanded(secret: bytes, info: bytes) -> bytes:
    """Return the first 32 bytes of RFC 5869 with SHA-256 and no salt, written out."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def test_public_keys_are_those_of_the_standard() -> None:
    assert keys.public_of(ALICE).hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert keys.public_of(BOB).hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"


def test_both_sites_derive_the_key_of_the_standard() -> None:
    expected = expanded(SHARED, canonical({"bond": "b", "use": "mask", "names": ["alice", "bob"]}))
    assert keys.agreed(ALICE, keys.public_of(BOB), "b", "mask", NAMES) == expected
    assert keys.agreed(BOB, keys.public_of(ALICE), "b", "mask", ("bob", "alice")) == expected


def test_another_bond_use_or_name_gives_another_key() -> None:
    public = keys.public_of(BOB)
    found = {
        keys.agreed(ALICE, public, bond, use, names)
        for bond in ("b", "c")
        for use in ("mask", "channel")
        for names in (NAMES, ("alice", "bobby"), ("carol", "bob"))
    }
    assert len(found) == 12


def test_names_cannot_be_pushed_together() -> None:
    assert keys.derived(ALICE, "b", "self", "ab", "c") != keys.derived(ALICE, "b", "self", "a", "bc")
    assert keys.derived(ALICE, "b", "self", "ab") != keys.derived(ALICE, "bself", "", "ab")


@pytest.mark.parametrize("public", SMALL)
def test_a_point_of_small_order_is_refused(public: str) -> None:
    with pytest.raises(ValueError):
        keys.agreed(ALICE, bytes.fromhex(public), "b", "mask", NAMES)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_public_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError):
        keys.agreed(ALICE, b"x" * length, "b", "mask", NAMES)


def test_a_commitment_is_bound_to_what_it_is_of() -> None:
    found = keys.commitment("b", "seed share", "alice", "bob", value=b"v")
    assert found == hashlib.sha256(b'{"bond":"b","names":["alice","bob"],"what":"seed share"}v').hexdigest()
    others = [
        keys.commitment("c", "seed share", "alice", "bob", value=b"v"),
        keys.commitment("b", "key share", "alice", "bob", value=b"v"),
        keys.commitment("b", "seed share", "bob", "alice", value=b"v"),
        keys.commitment("b", "seed share", "alice", "bob", value=b"w"),
    ]
    assert len({found, *others}) == 5


def test_what_is_locked_is_unlocked() -> None:
    sealed = keys.lock(ALICE, b"n" * 12, b"text", b"about")
    assert sealed[:12] == b"n" * 12 and len(sealed) == 12 + 4 + 16
    assert keys.unlock(ALICE, sealed, b"about") == b"text"


@pytest.mark.parametrize("place", range(12 + 4 + 16))
def test_no_byte_of_a_sealed_text_can_be_altered(place: int) -> None:
    sealed = bytearray(keys.lock(ALICE, b"n" * 12, b"text", b"about"))
    sealed[place] ^= 1
    with pytest.raises(ValueError, match="sealed for somebody else, or altered"):
        keys.unlock(ALICE, bytes(sealed), b"about")


def test_another_key_another_purpose_or_a_cut_text_does_not_open() -> None:
    sealed = keys.lock(ALICE, b"n" * 12, b"text", b"about")
    for key, text, about in ((BOB, sealed, b"about"), (ALICE, sealed, b"else"), (ALICE, sealed[:-1], b"about"), (ALICE, b"", b"about")):
        with pytest.raises(ValueError):
            keys.unlock(key, text, about)


def test_a_signature_is_its_owners_under_its_bytes_and_nothing_else() -> None:
    key, other = (Ed25519PrivateKey.from_private_bytes(seed) for seed in (ALICE, BOB))
    who, stranger = (one.public_key().public_bytes_raw().hex() for one in (key, other))
    signature = keys.sign(key, b"text")
    assert keys.signed(who, b"text", signature)
    assert not keys.signed(stranger, b"text", signature)
    assert not keys.signed(who, b"text ", signature)
    assert not keys.signed(who, b"text", keys.sign(other, b"text"))
    for broken in (signature[:-2], signature + "00", "", "zz" * 64, "00" * 64):
        assert not keys.signed(who, b"text", broken)
    for nobody in ("", "ff" * 32, "00" * 31, "zz" * 32):
        assert not keys.signed(nobody, b"text", signature)
