"""A passport must be of the model that the plan names, of a plan that tests one, and signed by the coordinator of the record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tests.record.player as played
from tests.record.player import Player, failing
from wardround.record.passport import note_text
from wardround.record.verify import verify
from wardround.study.canonical import canonical, digest

FILE = digest(b"the model")


def folder(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    kind: str = "evaluation",
    plans: str = FILE,
    states: str = FILE,
    signer: str = "study",
    holds: Any = None,
) -> dict[str, str]:
    """Play a study that released a passport, and return what fails."""
    plan = canonical({"study": played.STUDY, "kind": kind, "phases": ["moments", "train"], "initial": {"file": plans}})
    monkeypatch.setattr(played, "PROTOCOL", plan)
    player = Player(release=False)
    player.play(path)
    stated: dict[str, Any] = {"passport": 1, "study": played.STUDY, "protocol_digest": digest(plan), "tested_model": {"digest": states}}
    note = player.logs[signer].signer.sign(note_text(stated))
    contents = {
        "passport.json": json.dumps({"passport": stated, "note": note}),
        "passport.html": "<html>",
        "result.json": json.dumps(holds or stated),
    }
    for name, text in contents.items():
        (path / name).write_text(text)
    (path / "model.safetensors").unlink(missing_ok=True)
    named = {
        part: digest(contents[name].encode())
        for name, part in (("passport.json", "passport"), ("passport.html", "page"), ("result.json", "result"))
    }
    player.add("study", "passport", model=FILE, **named)
    return failing(verify(player.export(path)))


def test_an_honest_passport_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder(tmp_path, monkeypatch) == {}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "training"}, "the plan tests no finished model"),
        ({"plans": digest(b"another")}, "another model than the plan names"),
        ({"states": digest(b"another")}, "states another plan or model"),
        ({"holds": {"study": "another"}}, "states something else than result.json: protocol_digest, study, tested_model"),
        ({"signer": "aarau"}, "signed by none of the expected keys"),
    ],
)
def test_a_passport_that_does_not_fit_the_record_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], says: str
) -> None:
    assert says in folder(tmp_path, monkeypatch, **change)["model"]
