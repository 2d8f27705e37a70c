from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from tests.combining.secure.golden import ATTEMPTS, FOLDER, SUMS, written
from wardround.study.canonical import canonical


def golden(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize("name", SUMS)
def test_every_message_has_the_golden_bytes(name: str) -> None:
    assert written(name) == (FOLDER / f"{name}.json").read_text()


def test_no_other_vectors_lie_there() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {"README.md", *(f"{name}.json" for name in SUMS)}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_the_golden_totals_are_plain_sums(name: str) -> None:
    found, (names, gone) = golden(name), ATTEMPTS[name]
    here = [place for place, site in enumerate(names, start=1) if site not in gone.get("answer", ())]
    assert len(found["masked"]["small"]) == len(here)
    for tensor, total in found["total"].items():
        parts = [SUMS[name](place)[tensor] for place in here]
        assert [int(value) for value in total] == np.sum(parts, axis=0, dtype=parts[0].dtype).reshape(-1).tolist()


@pytest.mark.parametrize("name", ATTEMPTS)
def test_the_golden_sums_can_be_masked_by_hand(name: str) -> None:
    found = golden(name)
    for place, (tensor, bits) in enumerate((("small", 8), ("large", 16)) if name == "narrow" else (("small", 32), ("large", 64))):
        for site, masked in found["masked"][tensor].items():
            plain = [int(value) for value in found["sites"][site]["sums"][tensor]]
            for sign, key in found["sites"][site]["masks"]:
                cipher = Cipher(AES(bytes.fromhex(key)), CTR(place.to_bytes(8, "big") + bytes(8))).encryptor()
                stream = cipher.update(bytes(len(plain) * bits // 8))
                words = [int.from_bytes(stream[at : at + bits // 8], "little") for at in range(0, len(stream), bits // 8)]
                plain = [(value + sign * word) % 2**bits for value, word in zip(plain, words, strict=True)]
            assert plain == [int(value) for value in masked]


@pytest.mark.parametrize("name", ATTEMPTS)
def test_the_golden_bonds_are_digests_of_what_they_bind(name: str) -> None:
    found = golden(name)
    adverts = json.loads(found["passed on"]["shares"]["aarau"])["adverts"]
    for bond, named in (
        (found["bond"], {"secure sum": 1, **found["task"]}),
        (found["listed"], {"bond": found["bond"], "adverts": adverts}),
    ):
        assert bond == "sha256:" + hashlib.sha256(canonical(named)).hexdigest()
