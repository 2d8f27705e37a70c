"""Read one PNG or JPEG file as an array, or say why not; nothing in such a file is trusted.

A file's size in pixels is looked at before anything is unpacked, since a small file can claim a picture that fills the memory. What a
camera or an export wrote about orientation is followed. Where red, green and blue are the same everywhere a picture counts as grey, and an
alpha channel that hides nothing goes: neither loses anything.

Source: PNG (W3C, third edition), 11.2.1 (bit depth and colour type in bytes 24 and 25); Pillow 12.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wardround.study.errors import MissingExtra
from wardround.study.interfaces import Flaw

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 100_000_000
"""Pixels that a picture may have; the largest radiographs have 20 million."""

_MOST_BYTES = 2**30
_PNG = b"\x89PNG\r\n\x1a\n"

ABSENT = Flaw("are not there", "Check the paths in the manifest; they are relative to the folder, and prefix and suffix go around them.")
DENIED = Flaw("may not be read by this user", "Give this user access to the files.")
STRANGE = Flaw("are no PNG or JPEG files", "Export them as PNG (8 or 16 bit), or leave these rows out.")
BROKEN = Flaw("are damaged or cut off", "Export or copy them again, or leave these rows out.")
HUGE = Flaw(f"claim more than {MOST_PIXELS // 1_000_000} million pixels", "Look at these files; no radiograph is that large.")
DEEP = Flaw("are in colour with 16 bits, of which 8 would be lost", "Export them as 16-bit grey or 8-bit colour.")
CLEAR = Flaw("are partly transparent", "Export them without transparency; what lies behind is not known here.")


def needs_imaging() -> None:
    """Refuse to go on without the library that reads pictures.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise MissingExtra("Reading PNG and JPEG files needs Pillow.", "pip install 'wardround[imaging]'") from error


def picture(path: Path) -> np.ndarray | Flaw:
    """Return a file's pixels, uint8 or uint16 [channels, height, width], or what is wrong with the file.

    Args:
        path: of a file inside the hospital's folder.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with path.open("rb") as file:
            head = file.read(26)
            file.seek(0, 2)
            if file.tell() > _MOST_BYTES:
                return HUGE
            file.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's own words may hold the path; sizes are looked at below
                if head[:8] == _PNG:
                    with Image.open(file, formats=("PNG",)) as image:
                        image.verify()  # the checksums, of which unpacking alone passes over some
                    file.seek(0)
                with Image.open(file, formats=("PNG", "JPEG")) as image:
                    return _pixels(image, head)
    except FileNotFoundError:
        return ABSENT
    except PermissionError:
        return DENIED
    except Image.DecompressionBombError:
        return HUGE
    except UnidentifiedImageError:
        return BROKEN if head[:8] == _PNG or head[:3] == b"\xff\xd8\xff" else STRANGE
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError):
        return BROKEN  # what Pillow raises on damaged files depends on where the damage is


def _pixels(image: Image.Image, head: bytes) -> np.ndarray | Flaw:
    """Return the pixels of a file that was opened and is not unpacked yet."""
    from PIL import ImageOps

    if image.width * image.height > MOST_PIXELS:
        return HUGE
    if head[:8] == _PNG and head[24] == 16 and head[25] != 0:
        return DEEP
    image.load()
    turned = ImageOps.exif_transpose(image)
    if turned.mode.startswith("I"):  # 16 bits
        return np.asarray(turned).astype(np.uint16)[None]
    if turned.mode == "1":
        turned = turned.convert("L")
    elif turned.mode in ("P", "PA") or "transparency" in turned.info:
        turned = turned.convert("RGBA" if turned.mode == "PA" or "transparency" in turned.info else "RGB")
    values = np.asarray(turned)
    return _without_nothing(values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0), turned.mode)


def _without_nothing(values: np.ndarray, mode: str) -> np.ndarray | Flaw:
    """Return pixels without an alpha channel that hides nothing, and in grey where there is no colour."""
    if mode in ("LA", "RGBA"):
        if values[-1].min() < 255:
            return CLEAR
        values = values[:-1]
    if len(values) == 3 and np.array_equal(values[0], values[1]) and np.array_equal(values[0], values[2]):
        values = values[:1]
    return np.ascontiguousarray(values)
