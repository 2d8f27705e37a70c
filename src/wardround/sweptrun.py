"""Run the studies of a sweep in processes of their own, so that several run side by side and one that fails takes no other with it.

What is to be run comes as a line of JSON on standard input, what became of it goes as a line to standard output; nothing else passes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from wardround.data.site_file import SiteFile
from wardround.replicates import FILE
from wardround.simulation import simulate
from wardround.study.arrays import from_bytes
from wardround.study.errors import StoreError, WardroundError
from wardround.study.protocol import Protocol

DONE = "run.json"


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run one study and say that it is finished.

    Args:
        job: "protocol", "sites" (contents of site files), "out" (folder), "digest" (of all that decides the result), and maybe "start" (a
            file with parameters to start from).

    Raises:
        WardroundError: the study cannot be run; what was done so far stays.
    """
    folder = Path(job["out"])
    sites = [SiteFile.model_validate(one) for one in job["sites"]]
    protocol = Protocol.model_validate(job["protocol"])
    if "start" in job:
        protocol = protocol.bringing(from_bytes(Path(job["start"]).read_bytes()), "start")
    found = simulate(protocol, sites, folder, replicates=True)
    if not (folder / FILE).exists():
        raise StoreError(f"{folder} holds a run that was not part of a sweep.", "Choose another folder for the sweep, or remove this one.")
    shutil.rmtree(folder / "snapshots", ignore_errors=True)  # of a finished run nothing is answered any more
    done = {"digest": job["digest"], "seconds": found.result["seconds"]["this_run"]}
    (folder / DONE).write_text(json.dumps(done) + "\n", encoding="utf-8")
    return done


def main() -> None:
    """Run the jobs on standard input, one a line, and answer each with a line; an error becomes a sentence and a remedy."""
    for line in sys.stdin:
        print(json.dumps(_answered(json.loads(line))), flush=True)


def _answered(job: dict[str, Any]) -> dict[str, Any]:
    try:
        return run(job)
    except WardroundError as error:
        return {"error": error.message, "remedy": error.remedy}
    except OSError as error:
        return {"error": f"{error.filename or 'A file'}: {error.strerror}.", "remedy": "Check path, rights and free space, then try again."}
    except Exception as error:  # an edge: a foreign error's text may hold a patient's value, so its kind alone is told
        remedy = "Run this study alone with wardround.simulate to see where."
        return {"error": f"The program itself failed: {type(error).__name__}.", "remedy": remedy}


class Slot:
    """Hold a process that carries out runs one after the other: starting one, with its libraries, takes seconds."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._ended = False

    def run(self, asked: Mapping[str, Any]) -> float:
        """Carry out one run, in a new process where there is none that lives; return its seconds.

        Raises:
            WardroundError: it failed; says why.
        """
        if self._ended:
            raise WardroundError("The sweep was stopped.", "The same call goes on.")
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-m", "wardround.sweptrun"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, process_group=0
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        except (OSError, ValueError):
            code = self._process.wait()
            raise WardroundError(f"The run's process ended with {code}.", "Look at memory and disk, then go on.") from None
        if "error" in answer:
            raise WardroundError(answer["error"], answer["remedy"])
        return float(answer["seconds"])

    def end(self) -> None:
        """End the process, also in the middle of a run: that one goes on where it was when the sweep does."""
        self._ended = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()


if __name__ == "__main__":
    main()
