from __future__ import annotations

import hashlib
import hmac

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.hospital import protocol
from wardround.data.splits import by_column, by_hash, numbered, positions, renumbered, stated_roles
from wardround.study.dataset import ROLES
from wardround.study.protocol import Evaluation
from wardround.study.streams import Stream

EVALUATION = protocol().evaluation
NAMES = st.lists(st.text(max_size=12), unique=True)


@given(NAMES)
def test_the_position_is_an_hmac_of_the_identifier(names: list[str]) -> None:
    key = Stream.public(42).child("split", "paper").key
    expected = [int.from_bytes(hmac.digest(key, name.encode(), "sha256")[:8], "big") >> 11 for name in names]
    assert (positions(names, "paper", 42) * 2.0**53).tolist() == expected


def test_one_patient_has_a_known_position() -> None:
    key = hmac.digest(hashlib.sha256(b"wardround/public/42").digest(), b"\0\0\0\5split\0\0\0\5paper", "sha256")
    word = hmac.digest(key, b"MRN00001", "sha256")[:8]
    assert positions(["MRN00001"], "paper", 42)[0] == (int.from_bytes(word, "big") >> 11) / 2**53


@given(NAMES, st.randoms(use_true_random=False))
def test_neither_order_nor_company_moves_a_patient(names: list[str], random: object) -> None:
    shuffled = sorted(names, key=lambda name: hashlib.md5((repr(random) + name).encode()).digest())
    together = dict(zip(names, by_hash(positions(names, "s", 1), EVALUATION).tolist(), strict=True))
    for name, role in zip(shuffled, by_hash(positions(shuffled, "s", 1), EVALUATION).tolist(), strict=True):
        assert together[name] == role
        assert by_hash(positions([name], "s", 1), EVALUATION).tolist() == [role]


@pytest.mark.parametrize(("validation", "test"), [(0.2, 0.2), (0.1, 0.3), (0.5, 0.05)])
def test_shares_are_near_what_was_agreed(validation: float, test: float) -> None:
    evaluation = Evaluation(metrics=("auroc",), validation=validation, test=test)
    roles = by_hash(positions((f"patient {number}" for number in range(20_000)), "s", 3), evaluation)
    shares = np.bincount(roles, minlength=3) / len(roles)
    # Four standard deviations of a share of 20,000.
    assert shares == pytest.approx([1 - validation - test, validation, test], abs=0.015)


def test_seed_and_study_change_the_split() -> None:
    names = [str(number) for number in range(1000)]
    one = by_hash(positions(names, "s", 1), EVALUATION)
    for study, seed in (("s", 2), ("t", 1)):
        assert 0.3 < (one == by_hash(positions(names, study, seed), EVALUATION)).mean() < 0.7


def test_a_column_states_the_parts_and_validation_is_carved_from_training() -> None:
    patient, once = numbered(str(number // 2) for number in range(4000))
    stated = stated_roles(("A" if number < 3000 else "C" for number in range(4000)), {"A": "train", "C": "test"})
    u = positions(once, "s", 1)
    roles, torn = by_column(stated, patient, u, 0.25)
    assert torn == 0
    assert (roles[1500:] == ROLES.index("test")).all()
    assert np.array_equal(roles[:1500] == ROLES.index("validation"), u[:1500] < 0.25)
    assert (roles[:1500] == ROLES.index("validation")).mean() == pytest.approx(0.25, abs=0.05)
    assert (by_column(stated, patient, u, 0.0)[0][:1500] == ROLES.index("train")).all()


def test_patients_in_two_parts_are_counted() -> None:
    stated = np.array([0, 2, 0, 0, 1, 2, -1], dtype=np.int8)
    patient = np.array([0, 0, 1, 1, 2, 2, 3])
    assert by_column(stated, patient, np.ones(4), 0.2)[1] == 2


def test_a_value_that_names_no_part_is_marked() -> None:
    assert stated_roles(["A", "B", None], {"A": "validation"}).tolist() == [1, -1, -1]


@given(st.lists(st.sampled_from("abcdefgh"), max_size=30))
def test_rows_of_a_patient_share_a_number_and_training_comes_first(names: list[str]) -> None:
    patient, once = numbered(names)
    assert [once[number] for number in patient] == names
    roles = np.array([ord(name) % 3 for name in once], dtype=np.int8)
    new = renumbered(patient, roles)
    assert sorted(set(new.tolist())) == list(range(len(once)))
    by_number = {int(number): ord(name) % 3 for number, name in zip(new, names, strict=True)}
    assert [by_number[number] for number in sorted(by_number)] == sorted(by_number.values())
    assert all((new[row] == new[other]) == (names[row] == names[other]) for row in range(len(names)) for other in range(row))
