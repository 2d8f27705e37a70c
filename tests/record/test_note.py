from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.record.player import key
from wardround.record import note
from wardround.record.note import Checkpoint, Signer, VerifierKey
from wardround.study.errors import VerificationError

GOLDEN = json.loads((Path(__file__).parents[1] / "vectors/record/note.json").read_text())
SIGNER = Signer("study.example/aarau", key("aarau"))
TEXT = Checkpoint("study.example/aarau", 3, "ab" * 32).text()


def test_a_note_of_the_go_documentation_opens() -> None:
    peter = VerifierKey.parse(GOLDEN["vkey"])
    assert peter.text == GOLDEN["vkey"]
    assert note.open(GOLDEN["note"], [peter]) == GOLDEN["text"]


def test_sign_then_open_gives_the_text() -> None:
    signed = SIGNER.sign(TEXT)
    assert note.open(signed.encode(), [VerifierKey.parse(SIGNER.vkey)]) == TEXT
    assert Checkpoint.parse(TEXT) == Checkpoint("study.example/aarau", 3, "ab" * 32)


@given(st.data())
def test_any_flipped_byte_is_refused(data: st.DataObject) -> None:
    signed = bytearray(SIGNER.sign(TEXT).encode())
    place = data.draw(st.integers(0, len(signed) - 1))
    signed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(VerificationError):
        note.open(bytes(signed), [SIGNER.verifier])


@given(st.data())
def test_any_flipped_byte_in_a_verifier_key_is_refused_or_names_another_key(data: st.DataObject) -> None:
    text = bytearray(SIGNER.vkey.encode())
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] ^= data.draw(st.integers(1, 127))
    with pytest.raises((VerificationError, UnicodeDecodeError)):
        VerifierKey.parse(text.decode())


@given(st.binary(max_size=300))
def test_rubbish_is_refused_and_nothing_else_happens(rubbish: bytes) -> None:
    with pytest.raises(VerificationError):
        note.open(rubbish, [SIGNER.verifier])
    with pytest.raises(VerificationError):
        VerifierKey.parse(rubbish.decode("latin-1"))


def test_signatures_of_strangers_are_passed_over_but_do_not_count() -> None:
    stranger = Signer("elsewhere.example", key("stranger"))
    both = SIGNER.sign(TEXT) + stranger.sign(TEXT).rpartition("\n\n")[2]
    assert note.open(both, [SIGNER.verifier]) == TEXT
    with pytest.raises(VerificationError, match="none of the expected"):
        note.open(stranger.sign(TEXT), [SIGNER.verifier])
    impostor = Signer(SIGNER.name, key("stranger"))
    with pytest.raises(VerificationError, match="none of the expected"):
        note.open(impostor.sign(TEXT), [SIGNER.verifier])


def test_a_wrong_signature_of_a_known_key_refuses_the_whole_note() -> None:
    line = SIGNER.sign("another text\n").rpartition("\n\n")[2]
    with pytest.raises(VerificationError, match="wrong"):
        note.open(SIGNER.sign(TEXT) + line, [SIGNER.verifier])


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\u00a0b", "line\n"])
def test_names_that_a_note_cannot_carry_are_refused(name: str) -> None:
    with pytest.raises(VerificationError, match="cannot name"):
        _ = Signer(name, key("x")).vkey


@pytest.mark.parametrize("text", ["", "\n", "no end", "bell\x07\n", "tab\t\n", "lone \ud800\n"])
def test_texts_that_a_note_cannot_carry_are_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        SIGNER.sign(text)


@pytest.mark.parametrize(
    "text",
    [
        "a\n03\n{}\n",
        "a\n-3\n{}\n",
        "a\n\n{}\n",
        "\n3\n{}\n",
        "a\n3\n{}",
        "a\n3\n{}\nextension\n",
        "a\n3\nAAAA\n",
        "a\n99999999999999999999\n{}\n",
    ],
)
def test_checkpoints_have_one_spelling(text: str) -> None:
    with pytest.raises(VerificationError):
        Checkpoint.parse(text.format(base64.b64encode(bytes(32)).decode()))


def test_base64_has_one_spelling() -> None:
    assert note.decode64("YQ==", "x") == b"a"
    for other in ("YR==", "YQ", "YQ==\n", " YQ==", "Y-==", "é", ""):
        with pytest.raises(VerificationError):
            note.decode64(other, "x")


def test_openssl_verifies_a_checkpoint(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed (apt-get install openssl)")
    text, ((_, _, signature),) = note.parse(SIGNER.sign(TEXT))
    (tmp_path / "text").write_text(text)
    (tmp_path / "key").write_bytes(SIGNER.verifier.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for content, expected in ((signature, 0), (bytes([signature[0] ^ 1]) + signature[1:], 1)):
        (tmp_path / "signature").write_bytes(content)
        command = [openssl, "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "key", "-in", "text", "-sigfile", "signature"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        if b"rawin" in done.stderr:
            pytest.skip("this openssl is too old to verify Ed25519 (needs 1.1.1 or newer)")
        assert done.returncode == expected


def test_a_fingerprint_is_eight_groups_of_four_and_the_openssl_digest_of_what_is_written() -> None:
    assert note.fingerprint("00" * 32) == "60e0 5bd1 b195 af2f 9411 2fa7 197a 5c88"
    assert note.fingerprint(SIGNER.vkey) != note.fingerprint(SIGNER.vkey + "0")
