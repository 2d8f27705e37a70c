"""Make a virtual environment for each rival, once, outside the repository, with pip as its documents say."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

PACKAGES = {
    "flower": ("flwr==1.41.0", "numpy"),
    "nvflare": ("nvflare>=2.9,<2.10", "numpy"),
    "tenseal": ("tenseal==0.3.18", "numpy"),
    "lifelines": ("lifelines==0.30.3",),
}
"""None needs torch for arrays of numpy. Flower 1.42 asks for a newer certifi than our index has."""
NAMED = ("flwr", "nvflare", "tenseal", "lifelines", "numpy", "cryptography", "grpcio")


def prepare(rival: str, work: Path) -> tuple[Path, dict[str, str]]:
    """Return a rival's interpreter and the exact versions beside it; install them if they are not there.

    Args:
        rival: "flower", "nvflare", "tenseal" or "lifelines".
        work: folder for the environments; one that is half made is made anew.
    """
    folder, python = work / rival, work / rival / "bin" / "python"
    finished = folder / "installed.json"
    if not finished.exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", "--quiet", *PACKAGES[rival]], check=True, stdout=sys.stderr)
        listed = subprocess.run([*pip, "list", "--format", "json"], check=True, stdout=subprocess.PIPE, text=True).stdout
        versions = {one["name"]: one["version"] for one in json.loads(listed) if one["name"] in NAMED}
        finished.write_text(json.dumps({"python": sys.version.split()[0], **versions}))
    return python, json.loads(finished.read_text())
