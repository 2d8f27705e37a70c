"""Keys as the hub writes them; what is none never comes near its configuration."""

from __future__ import annotations

import pytest

from wardround.engines.hubkeys import is_public, public, seed

KEY = public(bytes(range(32)))


def test_a_key_is_written_as_the_hub_does() -> None:
    assert seed(bytes(range(32))).startswith("SU")
    assert len(KEY) == 56 and is_public(KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "U" + "X" * 55,
        KEY[:-1],
        KEY + "A",
        KEY.lower(),
        "A" + KEY[1:],
        KEY[:30] + ("A" if KEY[30] != "A" else "B") + KEY[31:],
        KEY[:50] + '" } ]\n',
        seed(bytes(range(32))),
    ],
)
def test_what_is_no_key_is_known(text: str) -> None:
    assert not is_public(text)
