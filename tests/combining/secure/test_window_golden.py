"""The golden bytes of a sum of one message are what the page for reviewers says, by other means than the code that made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.combining.secure.golden import ABSENT, FOLDER, NARROW, ONE_MESSAGE, SUMS, sums
from tests.combining.secure.one_message import HELPING, NAMES

GOLDEN: dict[str, Any] = json.loads((FOLDER / f"{ONE_MESSAGE}.json").read_text())
BOND = GOLDEN["bond"]
HERE = tuple(site for site in NAMES if site != ABSENT)
SIGNED = {"kind": "application/vnd.wardround.secure-sum+json", "bond": BOND}
TENSORS = (("small", 32), ("large", 64))


def json_of(value: Any) -> bytes:
    """Return JSON with sorted keys, no spaces, and no character escaped that need not be."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def key_of(secret: bytes, use: str, *names: str) -> bytes:
    return HKDF(SHA256(), 32, None, json_of({"bond": BOND, "use": use, "names": list(names)})).derive(secret)


def stream(key: str, tensor: int, bits: int, count: int) -> list[int]:
    data = Cipher(AES(bytes.fromhex(key)), CTR(tensor.to_bytes(8, "big") + bytes(8))).encryptor().update(bytes(count * bits // 8))
    return [int.from_bytes(data[at : at + bits // 8], "little") for at in range(0, len(data), bits // 8)]


def verify(site: str, signature: str, payload: Mapping[str, Any]) -> None:
    identity = bytes.fromhex(GOLDEN["sites"][site]["identity"])
    Ed25519PublicKey.from_public_bytes(identity).verify(bytes.fromhex(signature), json_of({**SIGNED, **payload}))


def added(arrays: list[list[str]], signs: list[int], bits: int) -> list[int]:
    """Return the sum of arrays, each added or taken away, as signed integers."""
    total = [sum(sign * int(value) for sign, value in zip(signs, column, strict=True)) for column in zip(*arrays, strict=True)]
    return [(value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1) for value in total]


def test_the_bond_is_the_digest_of_what_it_binds() -> None:
    assert "sha256:" + hashlib.sha256(json_of({"secure sum": 1, **GOLDEN["task"]})).hexdigest() == BOND


@pytest.mark.parametrize("helper", HELPING)
def test_a_helper_signs_its_key(helper: str) -> None:
    (said,) = json.loads(GOLDEN["said"]["keys"][helper])["helpers"]
    public = X25519PrivateKey.from_private_bytes(bytes.fromhex(GOLDEN["sites"][helper]["channel"])).public_key()
    named = {"site": helper, "identity": GOLDEN["sites"][helper]["identity"], "channel": public.public_bytes_raw().hex()}
    verify(helper, said.pop("signature"), {"stage": "helper keys", **named})
    assert said == named
    relay = json.loads(GOLDEN["passed on"]["answer"])
    assert [one["site"] for one in relay["helpers"]] == list(HELPING)


@pytest.mark.parametrize(("site", "at"), list(product(HERE, range(3))))
def test_a_helper_finds_its_two_seeds_in_a_parcel(site: str, at: int) -> None:
    parcel, helper = bytes.fromhex(GOLDEN["said"]["answer"][site]["parcel"]), HELPING[at]
    assert len(parcel) == 500
    head, signer, rest = parcel[:128], parcel[128:224], parcel[224:]
    verify(site, signer[32:].hex(), {"stage": "parcel", "site": site, "head": head.hex()})
    assert signer[:32].hex() == GOLDEN["sites"][site]["identity"]
    own = rest[92 * at : 92 * (at + 1)]
    assert json.loads(GOLDEN["passed on"]["agree"][helper])["parcels"][site] == (head + signer + own).hex()
    secret = X25519PrivateKey.from_private_bytes(bytes.fromhex(GOLDEN["sites"][helper]["channel"]))
    key = key_of(secret.exchange(X25519PublicKey.from_public_bytes(head[:32])), "helper", *sorted((site, helper)))
    text = AESGCM(key).decrypt(own[:12], own[12:], json_of({"bond": BOND, "from": site, "to": helper}))
    classes = [number for number in range(3) if number != at]
    assert [text[:32].hex(), text[32:].hex()] == [GOLDEN["sites"][site]["seeds"][number] for number in classes]


@pytest.mark.parametrize(("site", "number"), list(product(HERE, range(3))))
def test_a_parcel_commits_to_each_seed_and_masks_come_from_them(site: str, number: int) -> None:
    seed = bytes.fromhex(GOLDEN["sites"][site]["seeds"][number])
    about = json_of({"bond": BOND, "what": "class seed", "names": [site, str(number)]})
    head = bytes.fromhex(GOLDEN["said"]["answer"][site]["parcel"])[:128]
    assert head[32 * (1 + number) : 32 * (2 + number)] == hashlib.sha256(about + seed).digest()
    assert GOLDEN["sites"][site]["masks"][number] == key_of(seed, "class", site).hex()


@pytest.mark.parametrize("site", HERE)
def test_what_a_site_gives_is_its_sums_and_three_masks(site: str) -> None:
    for place, (tensor, bits) in enumerate(TENSORS):
        plain = GOLDEN["sites"][site]["sums"][tensor]
        assert [int(value) for value in plain] == sums(NAMES.index(site) + 1)[tensor].reshape(-1).tolist()
        masks = [stream(key, place, bits, len(plain)) for key in GOLDEN["sites"][site]["masks"]]
        masked = [sum(int(value) for value in column) % 2**bits for column in zip(plain, *masks, strict=True)]
        assert masked == [int(value) for value in GOLDEN["said"]["answer"][site]["masked"][tensor]]


@pytest.mark.parametrize("helper", HELPING)
def test_helpers_sign_the_commitments_of_all_whose_parcels_came(helper: str) -> None:
    (signature,) = json.loads(GOLDEN["said"]["agree"][helper])["signature"].values()
    parcels = {site: GOLDEN["said"]["answer"][site]["parcel"][64:256] for site in HERE}
    verify(helper, signature, {"stage": "agree", "parcels": parcels})
    for asked in GOLDEN["passed on"]["open"][helper].values():
        assert json.loads(asked)["signatures"][helper] == signature


def test_two_helpers_reveal_each_class_and_the_same() -> None:
    for number in range(3):
        holders = [helper for at, helper in enumerate(HELPING) if at != number]
        assert [helper for helper in HELPING if str(number) in GOLDEN["said"]["open"][helper]] == holders
        for place, (tensor, bits) in enumerate(TENSORS):
            first, second = (GOLDEN["said"]["open"][helper][str(number)][tensor] for helper in holders)
            assert first == second
            streams = [stream(GOLDEN["sites"][site]["masks"][number], place, bits, len(first)) for site in HERE]
            assert [int(value) for value in first] == [sum(column) % 2**bits for column in zip(*streams, strict=True)]


@pytest.mark.parametrize(("tensor", "bits"), TENSORS)
def test_the_total_is_what_is_left_and_the_plain_sum(tensor: str, bits: int) -> None:
    hidden = [GOLDEN["said"]["answer"][site]["masked"][tensor] for site in HERE]
    revealed = [GOLDEN["said"]["open"][HELPING[(number + 1) % 3]][str(number)][tensor] for number in range(3)]
    total = [int(value) for value in GOLDEN["total"][tensor]]
    assert total == added(hidden + revealed, [1] * len(HERE) + [-1] * 3, bits)
    parts = [sums(place)[tensor] for place, site in enumerate(NAMES, start=1) if site in HERE]
    assert total == np.sum(parts, axis=0, dtype=parts[0].dtype).reshape(-1).tolist()


def test_sums_of_8_and_16_bits_are_masked_and_opened_in_the_same_way() -> None:
    golden = json.loads((FOLDER / f"{NARROW}.json").read_text())
    for place, (tensor, bits) in enumerate((("small", 8), ("large", 16))):
        masks = {site: [stream(key, place, bits, len(golden["total"][tensor])) for key in golden["sites"][site]["masks"]] for site in HERE}
        for site in HERE:
            own = SUMS[NARROW](NAMES.index(site) + 1)[tensor].reshape(-1).tolist()
            masked = [int(value) for value in golden["said"]["answer"][site]["masked"][tensor]]
            assert masked == [sum(column) % 2**bits for column in zip(own, *masks[site], strict=True)]
        parts = [SUMS[NARROW](NAMES.index(site) + 1)[tensor] for site in HERE]
        assert [int(value) for value in golden["total"][tensor]] == np.sum(parts, axis=0, dtype=parts[0].dtype).reshape(-1).tolist()
