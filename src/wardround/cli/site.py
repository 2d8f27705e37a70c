"""`wardround site`: describe one hospital's data, and hold it against a study's contract."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wardround.cli import member, say
from wardround.cli.study import write_new

if TYPE_CHECKING:
    from wardround.data.report import CheckReport
    from wardround.study.protocol import Contract, Field, Protocol

app = typer.Typer(
    help="Take part in a study as a hospital: describe data, join, approve, run.", no_args_is_help=True, rich_markup_mode=None
)
member.add_to(app)


@app.command()
def new(
    study: Annotated[Path, typer.Option("--study", help="The study file, whose contract is to be met.")],
    path: Annotated[Path, typer.Argument(help="File to write; it must not exist yet.")] = Path("site.toml"),
    table: Annotated[str, typer.Option(help="The hospital's table, relative to the site file.")] = "patients.csv",
) -> None:
    """Write a commented site file with a line for each field of a study's contract."""
    from wardround.simulation import load_study

    write_new(path, site_text(site_name(path.stem), load_study(study).protocol.contract, table))
    say.line(f"Wrote {path}. Name your columns in it, then run: wardround site check {path} --study {study}")


@app.command()
def check(
    site: Annotated[Path, typer.Argument(help="The site file, or the folder of a hospital that has joined.")] = Path("."),
    study: Annotated[Path | None, typer.Option("--study", help="The study file; not needed in a folder that has joined.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check a hospital's data against a study's contract: counts of what does not fit, never a value; counts under 10 are not shown.

    In a folder that has joined, also say what would leave, and which of the hospital's rules forbid it. Exits with 0 when the hospital can
    take part, with 1 when it cannot yet. Nothing is written and nothing leaves.
    """
    from wardround.data.load import inspect
    from wardround.data.site_file import load_site
    from wardround.study.errors import DataError
    from wardround.study.findings import FileRefused

    protocol, file = _asked(site, study)
    try:
        report = inspect(load_site(file), protocol).report
    except FileRefused as refused:
        say.findings(refused, json)
        raise typer.Exit(say.NO) from None
    except DataError as error:
        say.complain(error, json)
        raise typer.Exit(say.NO) from None
    broken = member.what_would_leave(site, quiet=json) if study is None else []
    _print_report(report, json)
    raise typer.Exit(say.NO if report.errors or broken else say.OK)


def _asked(site: Path, study: Path | None) -> tuple[Protocol, Path]:
    """Return the plan and the site file: those of a folder that has joined, or as they were named."""
    from wardround.simulation import load_study
    from wardround.site.folder import SiteFolder

    if study is not None:
        return load_study(study).protocol, site
    return SiteFolder(site).protocol, site / "site.toml"


def site_name(text: str) -> str:
    """Return a text as a site's name: letters of the alphabet, digits, dot, minus and underscore, a letter first, 64 at most.

    Example:
        >>> site_name("Köln Süd"), site_name("2nd ward")
        ('Koln-Sud', 'site-2nd-ward')
    """
    import unicodedata

    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", plain).strip("-.")
    return (name if re.match("[A-Za-z]", name) else f"site-{name}".strip("-"))[:64]


def site_text(name: str, contract: Contract, table: str) -> str:
    """Return the text of a site file for a contract; it holds as it stands for a table whose columns have the fields' own names.

    Args:
        name: of the site.
        contract: of the study.
        table: path of the hospital's table, relative to the site file.
    """
    if any(field.type == "image" for field in contract.fields.values()):
        return _images_text(name, contract)
    specials = [(name, what) for name, what in ((contract.patient, "whose row it is"), (contract.time, "time of the row")) if name]
    lines = [
        f"name = {_quoted(name):<30}  # unique in the study",
        "",
        "[source]                               # where the rows are",
        'kind = "table"                         # CSV, TSV or Parquet',
        f"path = {_quoted(table)}                  # relative to this file",
        '# separator = ";"                      # comma if not said otherwise',
        '# decimal = ","                        # decimal mark of numbers',
        '# encoding = "latin-1"                 # utf-8 if not said otherwise; Excel often writes cp1252',
        '# missing = ["NA", "-9"]               # texts that mean missing; an empty cell always does',
        "# header = false                       # then columns are named by number, from 0: age = 3",
        "",
        "# Left the contract's field, right your column; a line can go where they are the same. Codes: left yours, right the contract's.",
        '# For another unit write: field = { column = "...", unit = "g/L" }; where that needs knowledge of the substance: factor = ...',
        "[map]",
        *(f"{_key(name)} = {_quoted(name)}   # {what}" for name, what in specials),
        *(_field_line(name, field) for name, field in contract.fields.items()),
        "",
        "# [split]                              # only where you bring your own training and test part",
        '# column = "set"',
        '# train = ["train"]',
        '# test = ["test"]',
        *(_CONSENT if contract.patient else ()),
    ]
    return "\n".join(lines) + "\n"


def _images_text(name: str, contract: Contract) -> str:
    """Return the text of a site file for a contract with images."""
    specials = [(name, what) for name, what in ((contract.patient, "whose row it is"), (contract.time, "time of the row")) if name]
    lines = [
        f"name = {_quoted(name):<30}  # unique in the study",
        "",
        "[source]                               # where the images are",
        'kind = "images"                        # a folder of PNG and JPEG files with a manifest, or one .npz file',
        'path = "images"                        # the folder, relative to this file; or path = "images.npz"',
        'manifest = "manifest.csv"              # in the folder: a table with one row an image',
        '# prefix = "png/"                      # goes before each file name of the manifest',
        '# suffix = ".png"                      # goes after it',
        '# parts = ["train", "test"]            # of an .npz file with arrays such as train_images',
        "",
        "# Left the contract's field, right your column; an image's column has the file names. Where your images differ, write what helps",
        '# beside column: resize = "pad" (aspect kept), "crop" or "stretch"; channels = "convert"; rescale = [0, 4095]; invert = true',
        "[map]",
        *(f"{_key(special)} = {_quoted(special)}   # {what}" for special, what in specials),
        *(_field_line(one, field) for one, field in contract.fields.items()),
        "",
        "# [split]                              # only where you bring your own training and test part",
        '# column = "part"',
        '# train = ["train"]',
        '# test = ["test"]',
        *(_CONSENT if contract.patient else ()),
    ]
    return "\n".join(lines) + "\n"


_CONSENT = (
    "",
    "# [consent]                            # only where patients have opted out",
    '# opt_out = "opt-out.txt"              # one identifier a line; read anew for each snapshot, never copied or sent',
    '# column = "MRN"                       # where the list is a table',
)


def _field_line(name: str, field: Field) -> str:
    about = f"{field.description}, " if field.description else ""
    if field.shape is not None and field.intensity is not None:
        channels = "1 channel" if field.shape[0] == 1 else f"{field.shape[0]} channels"
        size, (low, high) = " x ".join(map(str, field.shape[1:])), field.intensity
        return f"{_key(name)} = {{ column = {_quoted(name)} }}   # {about}{channels}, {size} pixels, intensities {low:g} to {high:g}"
    if field.range is None:
        codes = ", ".join(f"{_key(code)} = {_quoted(code)}" for code in field.codes or ())
        return f"{_key(name)} = {{ column = {_quoted(name)}, codes = {{ {codes} }} }}   # {about}{len(field.codes or ())} codes"
    unit = "" if field.unit == "1" else f" {field.unit}"
    return f"{_key(name)} = {_quoted(name)}   # {about}{field.range[0]:g} to {field.range[1]:g}{unit}"


def _key(name: str) -> str:
    """Return a name as a TOML key."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _quoted(text: str) -> str:
    """Return a TOML string; JSON's escapes are TOML's."""
    import json

    return json.dumps(text, ensure_ascii=False)


def _print_report(report: CheckReport, json: bool) -> None:
    if json:
        say.document({"ok": not report.errors, **report.describe()})
        return
    say.line(str(report))
    say.line(f"{report.site}: {'cannot take part yet' if report.errors else 'can take part'}.", bold=True)
