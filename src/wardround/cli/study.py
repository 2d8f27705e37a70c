"""`wardround study`: write a study, check it, describe its file to an editor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wardround.cli import say
from wardround.cli.estimate import estimate
from wardround.cli.feasibility import feasibility
from wardround.cli.partition import partition
from wardround.cli.preflight import preflight
from wardround.cli.rehearse import study_rehearse

if TYPE_CHECKING:
    from wardround.study.protocol import Protocol

app = typer.Typer(help="Write a study, check it, describe its file to an editor.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def new(
    path: Annotated[Path, typer.Argument(help="File to write; it must not exist yet.")] = Path("study.toml"),
    template: Annotated[
        str, typer.Option(help="Kind of study: binary, image, multiclass, multilabel, ordinal, regression or statistics.")
    ] = "binary",
) -> None:
    """Write a commented study file to start from."""
    from wardround.study.protocol.templates import template as text_of

    write_new(path, text_of(template))
    say.line(f"Wrote {path}. Edit it, then run: wardround study check {path}")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The study file.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check a study file and print the one-page summary that a data-protection officer reads.

    Exits with 0 when the study can be run, with 1 when something is wrong with it: every finding is listed with line, key and remedy.
    """
    from textwrap import fill

    from wardround.learning.finished import inputs_of
    from wardround.learning.inputs import input_names
    from wardround.simulation import load_study
    from wardround.study.findings import FileRefused
    from wardround.study.protocol.summary import as_text, summary

    try:
        protocol = load_study(file).protocol
    except FileRefused as refused:
        say.findings(refused, json)
        raise typer.Exit(say.NO) from None
    inputs = list(inputs_of(protocol)) if protocol.evaluates else input_names(protocol.contract)
    parts, warnings = summary(protocol), _warnings(protocol)
    if json:
        page = [{"title": part.title, "lines": list(part.lines)} for part in parts]
        model = {"inputs": inputs, "outputs": protocol.outputs}
        facts = {"study": protocol.study, "digest": protocol.digest, "summary": page, **model, "warnings": warnings}
        say.document({"ok": True, "file": str(file), "findings": [], **facts})
        return
    for part in parts:
        title, _, lines = as_text([part], say.width()).partition("\n")
        say.line(title, bold=True)
        say.line(lines)
    if protocol.kind != "statistics":
        outputs = "1 number" if protocol.outputs == 1 else f"{protocol.outputs} numbers"
        image = protocol.contract.image
        received = f"an image, {image}" if image is not None else f"{len(inputs)} columns, in this order: {', '.join(inputs)}"
        columns = f"The model receives {received}. It gives {outputs} for each {'row' if image is None else 'image'}."
        say.line(fill(columns, say.width(), break_on_hyphens=False) + "\n")
    for warning in warnings:
        say.line(f"Warning: {warning}", bold=True)
    say.line(f"{file}: this study can be run.")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a study file, with the plugins installed here, for an editor to check against while you type."""
    from wardround.study.protocol.schema import study_schema

    say.document(study_schema())


@app.command()
def stop(
    folder: Annotated[Path, typer.Argument(help="The coordinator's folder.")],
    reason: Annotated[str, typer.Option(help="One line; stands in the record.")] = "no reason given",
) -> None:
    """Stop a study that is served: the round that runs is closed, and the next one waits."""
    from wardround.coordinator.folder import Folder

    Folder(folder).insist()
    Folder(folder).stopped.write_text(reason + "\n", encoding="utf-8")
    say.line(f"Stopped after the round that runs now. To go on: wardround study resume {folder}")


@app.command()
def resume(folder: Annotated[Path, typer.Argument(help="The coordinator's folder.")]) -> None:
    """Let a stopped study go on."""
    from wardround.coordinator.folder import Folder

    Folder(folder).insist()
    Folder(folder).stopped.unlink(missing_ok=True)
    say.line("The study goes on.")


app.command()(feasibility)
app.command()(preflight)
app.command()(estimate)
app.command()(partition)
app.command(name="rehearse")(study_rehearse)


def write_new(path: Path, text: str) -> None:
    """Write a file that must not exist yet.

    Raises:
        StoreError: it exists; choose another name.
    """
    from wardround.study.errors import StoreError

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise StoreError(f"{path} exists already.", "Name another file, or remove this one first.") from None


def _warnings(protocol: Protocol) -> list[str]:
    from datetime import date

    from wardround.study.protocol.templates import left_to_fill_in

    left = [f"{key} still says {text!r}, as the template does; fill it in." for key, text in left_to_fill_in(protocol).items()]
    expires = protocol.parties.expires
    over = [f"the study expired on {expires.isoformat()}; no hospital will answer."] if expires and expires < date.today() else []
    return left + over
