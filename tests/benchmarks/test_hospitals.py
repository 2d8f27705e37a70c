from __future__ import annotations

from pathlib import Path

from benchmarks.parts import clean, hospitals
from benchmarks.parts.hospitals import Shape
from wardround import load_study


def test_the_same_shape_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        hospitals.write(tmp_path / name, Shape(sites=2, classes=3))
    written = {name: {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab"}
    assert written["a"] == written["b"] and len(written["a"]) == 5


def test_every_kind_of_clean_run_is_another_and_can_be_read(tmp_path: Path) -> None:
    kinds = clean.kinds(20)
    assert len({kind.name for kind in kinds}) == len({kind.shape.seed for kind in kinds}) == 20
    for kind in kinds:
        made = hospitals.write(tmp_path / kind.name, kind.shape)
        assert load_study(made.study).protocol.evaluation.seed == kind.shape.seed
        assert len(made.sites) == kind.shape.sites


def test_a_run_that_loses_messages_and_is_interrupted_still_ends(tmp_path: Path) -> None:
    shape = Shape(sites=4, patients=40, rounds=2)
    done = clean.make(clean.Kind("x", shape, lost=0.3, interrupted=(2, 1)), tmp_path)
    assert done.result["refusals"] and done.result["model_digest"]
    entries = (done.folder / "record" / "study" / "entries.jsonl").read_text()
    assert entries.count('"t":"resumed"') >= 2
