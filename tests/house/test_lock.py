"""The lock holds what `pyproject.toml` asks for, by hash, and names no host and no machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.reading import ROOT, pyproject

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def pins(lock: str) -> dict[str, str]:
    """Return the version of every package in a lock."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ \\\n]+)", lock, re.MULTILINE))


def complaints(lock: str, project: dict[str, Any]) -> Iterator[str]:
    """Complain of what is missing, out of range, without a hash, or not fit for every machine."""
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    wanted += [line for extra in project["project"]["optional-dependencies"].values() for line in extra]
    found = pins(lock)
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        if name == "torch":
            continue
        if name not in found:
            yield f"{name} is in pyproject.toml and not in the lock; see CONTRIBUTING.md, The lock"
        elif found[name] not in requirement.specifier:
            yield f"the lock holds {name} {found[name]}, pyproject.toml wants {requirement.specifier}; see CONTRIBUTING.md, The lock"
    if "torch" in found or any(name.startswith("nvidia") for name in found):
        yield "torch and the libraries of its GPU builds do not belong in the lock; pip chooses the build"
    for block in re.split(r"^(?=\S)", lock, flags=re.MULTILINE):
        if "==" in block.partition("\n")[0] and "--hash=sha256:" not in block:
            yield f"{block.partition('=')[0]} has no hash"
    for line in lock.splitlines():
        if re.search(r"://|--(extra-)?index-url|--find-links|(^|\s)/", line):
            yield f"this line names a host or a path of one machine: {line}"


def test_the_lock_fits_pyproject_and_every_machine() -> None:
    assert list(complaints(LOCK, pyproject())) == []


def test_torch_is_the_version_that_pyproject_allows() -> None:
    (version,) = re.findall(r"^torch=torch==(\S+)$", (ROOT / "scripts" / "setup.sh").read_text(encoding="utf-8"), re.MULTILINE)
    (torch,) = (Requirement(line) for line in pyproject()["project"]["optional-dependencies"]["learn"] if line.startswith("torch"))
    assert version in torch.specifier
    (known,) = (row["version"] for row in pyproject()["tool"]["uv"]["dependency-metadata"] if row["name"] == "torch")
    assert version == known


def test_planted_faults_are_found() -> None:
    faults = {
        re.sub(r"^numpy==\S+", "numpy==1.0", LOCK, flags=re.MULTILINE): "numpy",
        LOCK.replace("polars==", "polarbears==", 1): "polars",
        LOCK + "torch==2.13.0 \\\n    --hash=sha256:00\n": "torch",
        LOCK + "left-pad==1.0\n": "left-pad",
        "--extra-index-url https://example.org/simple\n" + LOCK: "example.org",
        LOCK + "#   uv pip compile /home/me/wardround/pyproject.toml\n": "/home/me",
    }
    for lock, named in faults.items():
        (complaint,) = complaints(lock, pyproject())
        assert named in complaint
