"""`wardround study partition`: divide one source over simulated hospitals, for experiments."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from wardround.cli import say

_OWN = ("source", "study", "by", "sites", "out", "seed", "least", "test")
"""What has an option of its own on the command line."""


def partition(
    study: Annotated[Path, typer.Argument(help="The study file.")],
    site: Annotated[Path, typer.Argument(help="A site file with all patients.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the site files; empty, or with an earlier partition, which is replaced.")],
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="iid, labels, quantity, column or shift; several where they go together. [labels]"),
    ] = None,
    sites: Annotated[int, typer.Option(min=0, help="How many hospitals; 0 for 10, or with a column as many as it has values.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    least: Annotated[int, typer.Option(min=1, help="Fewest patients of a hospital.")] = 10,
    test: Annotated[str, typer.Option(help="own, or central: the stated test part is dealt out whole, each patient tested once.")] = "own",
    option: Annotated[list[str] | None, typer.Option("--set", help="An option of a way of dividing, such as alpha=0.5.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print partition.json on standard output.")] = False,
) -> None:
    """Divide the patients of one source over simulated hospitals and write their site files: by labels, sizes, instruments or a column.

    Patients are divided, never rows of one patient. The same seed gives the same files.
    """
    from json import loads

    from wardround.partitioning import partition as divide
    from wardround.study.errors import ProtocolError

    if test not in ("own", "central"):
        raise ProtocolError(f"--test: {test!r} is not possible.", "Use own or central.")
    where = cast(Literal["own", "central"], test)
    divide(site, study, by or ["labels"], sites or None, out, seed=seed, least=least, test=where, **dict(_options(option or [])))
    found: dict[str, Any] = loads((out / "partition.json").read_text(encoding="utf-8"))
    if json:
        say.document(found)
        return
    for one in found["sites"]:
        parts = ", ".join(f"{count} {part}" for part, count in one["parts"].items())
        classes = "".join(f", {code}: {count}" for code, count in one["classes"].items())
        say.line(f"{one['file']}: {one['patients']} patients ({parts}){classes}")
    say.line(f"Wrote {len(found['sites'])} simulated hospitals into {out}.")


def _options(texts: Iterable[str]) -> Iterable[tuple[str, Any]]:
    """Yield name and value of each option: a number where it is one, else text."""
    import tomllib

    from wardround.study.errors import ProtocolError

    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier() or name in _OWN:
            raise ProtocolError(f"--set: {text!r} is no option.", "Write its name, = and its value, such as --set alpha=0.5")
        try:
            yield name, tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            yield name, value
