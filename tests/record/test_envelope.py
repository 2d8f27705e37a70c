from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.record.player import key
from wardround.record import envelope
from wardround.study.errors import VerificationError

KEY = key("person")
PUBLIC = KEY.public_key()


def test_the_signed_bytes_are_those_of_the_specification() -> None:
    assert (
        envelope.pre_authentication("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert envelope.pre_authentication("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


@given(st.binary(min_size=1, max_size=200))
def test_seal_then_open_gives_the_payload(payload: bytes) -> None:
    assert envelope.open(envelope.seal(envelope.APPROVAL, payload, KEY), envelope.APPROVAL, PUBLIC) == payload


@given(st.data())
def test_any_altered_character_of_an_envelope_is_refused(data: st.DataObject) -> None:
    sealed = envelope.seal(envelope.APPROVAL, b'{"role":"lead"}', KEY)
    holder, name = data.draw(
        st.sampled_from(
            [(sealed, "payload"), (sealed, "payloadType"), (sealed["signatures"][0], "keyid"), (sealed["signatures"][0], "sig")]
        )
    )
    text = holder[name]
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters(min_codepoint=32, max_codepoint=126).filter(lambda one: one != text[place]))
    holder[name] = text[:place] + letter + text[place + 1 :]
    with pytest.raises(VerificationError):
        envelope.open(sealed, envelope.APPROVAL, PUBLIC)


def broken_envelopes() -> list[Any]:
    good = envelope.seal(envelope.APPROVAL, b"x", KEY)
    out: list[Any] = [
        {},
        {**good, "extra": 1},
        {**good, "payload": 3},
        {**good, "signatures": []},
        {**good, "signatures": good["signatures"] * 2},
    ]
    out += [{**good, "signatures": "text"}, {**good, "signatures": ["text"]}]
    for change in ({"sig": 3}, {"more": 1}, {"sig": "AAAA"}):
        bad = copy.deepcopy(good)
        bad["signatures"][0].update(change)
        out.append(bad)
    return out


@pytest.mark.parametrize("broken", broken_envelopes())
def test_envelopes_of_another_form_are_refused(broken: Any) -> None:
    with pytest.raises(VerificationError):
        envelope.open(broken, envelope.APPROVAL, PUBLIC)


def test_another_key_and_another_kind_are_refused() -> None:
    sealed = envelope.seal(envelope.APPROVAL, b"x", KEY)
    with pytest.raises(VerificationError):
        envelope.open(sealed, envelope.APPROVAL, key("other").public_key())
    with pytest.raises(VerificationError):
        envelope.open(sealed, envelope.CLOSING, PUBLIC)


@given(st.binary(max_size=100), st.integers(0, 127))
def test_detached_signatures_are_bound_to_kind_payload_and_key(payload: bytes, place: int) -> None:
    signature = envelope.sign(KEY, envelope.UPDATE, payload)
    envelope.check(PUBLIC, envelope.UPDATE, payload, signature)
    altered = signature[:place] + ("0" if signature[place] != "0" else "1") + signature[place + 1 :]
    for attempt in (
        (PUBLIC, envelope.CLOSING, payload, signature),
        (PUBLIC, envelope.UPDATE, payload + b"x", signature),
        (key("other").public_key(), envelope.UPDATE, payload, signature),
        (PUBLIC, envelope.UPDATE, payload, altered),
        (PUBLIC, envelope.UPDATE, payload, signature.upper()),
        (PUBLIC, envelope.UPDATE, payload, "no hex"),
        (PUBLIC, envelope.UPDATE, payload, ""),
    ):
        if attempt[3] == signature and attempt[:3] == (PUBLIC, envelope.UPDATE, payload):
            continue
        with pytest.raises(VerificationError):
            envelope.check(*attempt)
