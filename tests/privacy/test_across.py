"""Two studies of changing patients at one site: no class of fewer than k follows from a table of each, whoever came or went."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround.privacy.across import gone, laid_beside, nearly_the_same, places, pseudonyms
from wardround.privacy.disclosure import held_back

KEY = bytes(range(32))


@st.composite
def two_studies(draw: st.DrawFn) -> tuple[dict[int, int], dict[int, int], int]:
    """Return for each study the cell of each of its patients, and k; patients are in both, or in one of them."""
    patients = st.dictionaries(st.integers(0, 60), st.integers(0, 4), min_size=1)
    return draw(patients), draw(patients), draw(st.integers(2, 6))


@settings(max_examples=300)
@given(two_studies())
def test_what_two_studies_tell_apart_is_nobody_or_k_patients(drawn: tuple[dict[int, int], dict[int, int], int]) -> None:
    before, now, least = drawn
    first, second = ({name: one for name, one in zip(which, pseudonyms(KEY, map(str, which)), strict=True)} for which in (before, now))
    cells = np.array(list(before.values()), dtype=np.int64)
    kept = held_back(cells, 5, np.arange(len(cells)), least)
    told = {name: -1 if kept[cell] else cell for name, cell in before.items()}
    if len(before) < least or all(cell < 0 for cell in told.values()):
        return  # nothing was told
    cohort = np.array(sorted(first.values()), dtype=np.uint64)
    names = {number: name for name, number in first.items()}
    here = np.array(list(second.values()), dtype=np.uint64)
    where = places(np.append(here, gone(here, [cohort])), cohort)
    earlier = laid_beside(where, np.array([told[names[one]] for one in cohort]))
    cells = np.array(list(now.values()), dtype=np.int64)
    held = held_back(cells, 5, np.arange(len(cells)), least, earlier=[earlier], floor=least)
    shown = {name: -1 if held[cell] else cell for name, cell in now.items()}
    if all(cell < 0 for cell in shown.values()):
        return
    classes: dict[tuple[int, int], int] = {}
    for name in before.keys() | now.keys():  # worked out without any of the code above
        one = (told.get(name, -2), shown.get(name, -2))
        classes[one] = classes.get(one, 0) + 1
    if any(0 < len(one - other) < least for one, other in ((before.keys(), now.keys()), (now.keys(), before.keys()))):
        return  # such a study is refused
    atoms, sizes = list(classes), np.array(list(classes.values()))
    assert all(size >= least for (_, there), size in classes.items() if there != -2), classes
    away = [place for place, (_, there) in enumerate(atoms) if there == -2]
    answers = [[atom[which] == cell for atom in atoms] for which in (0, 1) for cell in {atom[which] for atom in atoms} - {-2}]
    space = np.linalg.svd(np.array(answers, dtype=float), full_matrices=False)
    axes = space[2][space[1] > 1e-9]
    for chosen in product((0.0, 1.0), repeat=len(away)):
        wanted = np.zeros(len(atoms))
        wanted[away] = chosen
        if 0 < wanted @ sizes < least:
            assert np.linalg.norm(wanted - axes.T @ (axes @ wanted)) > 1e-6, "how many have gone follows by adding and subtracting"


def test_a_table_is_told_again_but_for_what_lost_few() -> None:
    then = np.repeat(np.arange(20), 50)
    lost = np.isin(np.arange(1000), [3, 60, 110, 160, 210, 260, 310, 360, 410, 460, 510, 511])  # eleven cells lose one, or two
    earlier = np.append(then[~lost], then[lost])
    held = held_back(then[~lost], 20, np.arange(988), 10, earlier=[earlier], floor=10)
    assert held.tolist() == [True] * 11 + [False] * 9
    lost[:50] = True  # a whole cell has gone
    held = held_back(then[~lost], 20, np.arange(939), 10, earlier=[np.append(then[~lost], then[lost])], floor=10)
    assert held[:11].all() and not held[11:].any()


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)), st.integers(1, 9))
def test_patients_are_nearly_the_same_where_few_came_or_went(now: set[int], then: set[int], least: int) -> None:
    one, other = (np.array(sorted(which), dtype=np.uint64) for which in (now, then))
    assert nearly_the_same(one, other, least) == any(0 < len(part) < least for part in (now - then, then - now))


def test_a_pseudonym_is_of_its_key() -> None:
    one, again, other = pseudonyms(KEY, ["mrn1"]), pseudonyms(KEY, ["mrn1"]), pseudonyms(bytes(32), ["mrn1"])
    assert one == again and one != other and one.dtype == np.uint64
