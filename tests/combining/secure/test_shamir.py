from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.combining.secure.exchange import counted
from wardround.combining.secure.shamir import PRIME, SECRET_BYTES, SHARE_BYTES, join, split

SECRETS = st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES)


@given(SECRETS, st.data())
def test_any_threshold_of_shares_gives_the_secret_back(secret: bytes, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 50))
    threshold = data.draw(st.integers(1, count))
    shares = split(secret, threshold, count)
    points = data.draw(st.permutations(range(1, count + 1)))[:threshold]
    assert [len(share) for share in shares] == [SHARE_BYTES] * count
    assert join({point: shares[point - 1] for point in points}) == secret


@pytest.mark.parametrize("secret", [bytes(SECRET_BYTES), b"\xff" * SECRET_BYTES, bytes(SECRET_BYTES - 1) + b"\x01"])
def test_extreme_secrets_come_back_from_all_shares_and_from_just_enough(secret: bytes) -> None:
    shares = dict(enumerate(split(secret, 4, 7), start=1))
    assert join(shares) == secret
    assert join({point: shares[point] for point in (7, 2, 5, 4)}) == secret


@given(SECRETS)
def test_one_share_too_few_does_not_give_the_secret(secret: bytes) -> None:
    shares = split(secret, 3, 5)
    with pytest.raises(ValueError, match="do not belong together"):
        join({1: shares[0], 4: shares[3]})


def test_the_modulus_is_prime() -> None:
    # Fermat's test to many bases: each share but nought then has an inverse, and nothing of the secret shows in a factor
    assert PRIME.bit_length() == 521 and all(pow(base, PRIME - 1, PRIME) == 1 for base in range(2, 40))


def test_the_shares_are_the_values_of_a_polynomial_with_the_secret_at_nought() -> None:
    entropy = counted("x")
    slope, bend = (int.from_bytes(entropy(72), "big") % PRIME for _ in range(2))
    secret = b"s" * SECRET_BYTES
    for point, share in enumerate(split(secret, 3, 5, counted("x")), start=1):
        assert int.from_bytes(share, "big") == (int.from_bytes(secret, "big") + slope * point + bend * point**2) % PRIME


def test_with_one_share_too_few_every_secret_is_as_likely() -> None:
    # Two of three shares and any secret at all fix one polynomial: a third share that fits can always be made up.
    shares = split(b"s" * SECRET_BYTES, 3, 3)
    for other in (bytes(SECRET_BYTES), b"t" * SECRET_BYTES):
        at = {0: int.from_bytes(other, "big"), 1: int.from_bytes(shares[0], "big"), 2: int.from_bytes(shares[1], "big")}
        third = 0
        for point, value in at.items():
            rest = [two for two in at if two != point]
            third += value * math.prod(3 - two for two in rest) * pow(math.prod(point - two for two in rest), -1, PRIME)
        assert join({1: shares[0], 2: shares[1], 3: (third % PRIME).to_bytes(SHARE_BYTES, "big")}) == other


def test_two_splits_of_a_secret_share_nothing() -> None:
    first, second = split(bytes(SECRET_BYTES), 2, 3), split(bytes(SECRET_BYTES), 2, 3)
    assert not set(first) & set(second)
    with pytest.raises(ValueError, match="do not belong together"):
        join({1: first[0], 2: second[1]})


@given(st.integers(0, 2), st.integers(0, 8 * SHARE_BYTES - 8))
def test_an_altered_share_never_gives_the_secret(which: int, bit: int) -> None:
    secret = b"s" * SECRET_BYTES
    shares = dict(enumerate(split(secret, 3, 3, counted("x")), start=1))
    shares[which + 1] = (int.from_bytes(shares[which + 1], "big") ^ 1 << bit).to_bytes(SHARE_BYTES, "big")
    with contextlib.suppress(ValueError):
        assert join(shares) != secret


@pytest.mark.parametrize(
    ("secret", "threshold", "count"),
    [(bytes(31), 2, 3), (bytes(33), 2, 3), (b"", 2, 3), (bytes(32), 0, 3), (bytes(32), 4, 3), (bytes(32), 1, 0)],
)
def test_other_lengths_and_thresholds_are_refused(secret: bytes, threshold: int, count: int) -> None:
    with pytest.raises(ValueError, match="a secret has 32 bytes"):
        split(secret, threshold, count)
