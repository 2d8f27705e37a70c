"""Pictures on paper for the tests of the loader: a contract with an image, a folder of made-up files with a manifest, and a site file."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.data import hospital
from wardround.data.contract_check import Checked
from wardround.data.load import inspect
from wardround.data.site_file import SiteFile, load_site
from wardround.study.protocol import Protocol

SIZE = 20


def contract(*shape: int, intensity: Sequence[float] = (0, 255), **further: Any) -> dict[str, Any]:
    """Return a contract with one image `film`, one label `ill` and patients."""
    film = {"type": "image", "shape": list(shape or (1, SIZE, SIZE)), "intensity": list(intensity)}
    return {"patient": "patient", "label": "ill", "fields": {"film": film, "ill": {"type": "code", "codes": [0, 1]}, **further}}


def plan(*shape: int, intensity: Sequence[float] = (0, 255), patient: str | None = "patient", **tables: Any) -> Protocol:
    """Return a protocol with that contract."""
    base = hospital.protocol().model_dump()
    return Protocol.model_validate({**base, "contract": {**contract(*shape, intensity=intensity), "patient": patient}, **tables})


def pixels(seed: int = 0, high: int = 255, size: tuple[int, ...] = (SIZE, SIZE)) -> np.ndarray:
    """Return a picture that uses the whole range."""
    found = np.random.default_rng(seed).integers(0, high + 1, size).astype(np.uint8 if high < 256 else np.uint16)
    found.reshape(-1)[:2] = 0, high
    return found


def encoded(array: np.ndarray, kind: str = "PNG", mode: str | None = None) -> bytes:
    """Return a picture's file."""
    out = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(out, kind)
    return out.getvalue()


def png_header(width: int, height: int, depth: int = 8, colour: int = 0) -> bytes:
    """Return a PNG file that claims a size and has hardly any content."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def site(
    folder: Path, files: Mapping[str, bytes], columns: Mapping[str, Sequence[object]] | None = None, film: str = "", rest: str = ""
) -> SiteFile:
    """Write files, a manifest with a row for each (or these columns), and a site file.

    Args:
        folder: gets all of them.
        files: by name.
        columns: of the manifest.
        film: what the site file says of the image beside its column.
        rest: further lines of the site file.
    """
    place = folder / "films"
    place.mkdir(exist_ok=True)
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    names = list(files)
    columns = columns or {
        "file": names,
        "patient": [f"MRN{row}" for row in range(len(names))],
        "ill": [row % 2 for row in range(len(names))],
    }
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (place / "manifest.csv").write_text("\n".join(lines) + "\n")
    text = ['name = "north"', "[source]", 'kind = "images"', 'path = "films"', "[map]", f'film = {{ column = "file"{film} }}', rest]
    (folder / "site.toml").write_text("\n".join(text))
    return load_site(folder / "site.toml")


def arrays(
    folder: Path, options: str = "", rest: str = "", named: Mapping[str, np.ndarray] | None = None, **further: np.ndarray
) -> SiteFile:
    """Write arrays into an `.npz` file, and a site file that maps `film` to `images` and `ill` to `labels`."""
    everything: dict[str, Any] = {**(named or {}), **further}
    np.savez_compressed(folder / "films.npz", **everything)
    text = [
        'name = "north"',
        "[source]",
        'kind = "images"',
        'path = "films.npz"',
        options,
        "[map]",
        'film = "images"',
        'ill = "labels"',
        rest,
    ]
    (folder / "site.toml").write_text("\n".join(text))
    return load_site(folder / "site.toml")


def errors(checked: Checked, field: str = "film") -> list[str]:
    """Return what stops the site because of a field."""
    return [str(one) for one in checked.report.errors if one.field == field]


def warnings(checked: Checked) -> list[str]:
    """Return what is told and does not stop it."""
    return [str(one) for one in checked.report.findings if one.level == "warning"]


def looked_at(one: SiteFile, protocol: Protocol | None = None) -> Checked:
    """Return what a check finds."""
    return inspect(one, protocol or plan())
