"""Answer asks in a process of its own: snapshot in, sums out, through a pipe. Run as `python -m wardround.learning.worker`."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from wardround.data.snapshot import read_snapshot
from wardround.study.arrays import from_bytes, keep, size_of, to_bytes
from wardround.study.dataset import Dataset
from wardround.study.files import LARGE, Kept
from wardround.study.frames import read_frame, write_frame
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Ask, Refusal


def serve(incoming: IO[bytes], outgoing: IO[bytes]) -> None:
    """Answer one frame after the other until the other side closes the pipe."""
    first = read_frame(incoming)
    if first is None:
        return
    protocol = Protocol.model_validate(json.loads(first[1][0])["protocol"])
    held: dict[str, tuple[str, Dataset]] = {}
    while (frame := read_frame(incoming)) is not None:
        header, bodies = frame
        site = header["site"]
        try:
            if site not in held or held[site][0] != header["snapshot"]:
                held.pop(site, None)  # whoever withdrew is in the older one
                held[site] = header["snapshot"], read_snapshot(Path(header["snapshot"]))
            mine = {phase: from_bytes(body) for phase, body in zip(header["mine"], bodies[1:], strict=True)}
            algorithm = protocol.by_phase[header["phase"]]
            ask = Ask.from_wire(Kept(Path(header["ask"])) if "ask" in header else bodies[0])
            answer, proposal = algorithm.answer(ask, held[site][1], mine, Stream(bytes.fromhex(header["private"])))
            kept = [] if proposal is None else [to_bytes(proposal)]
            if "ask" in header and size_of(answer.sums) >= LARGE:  # the gate takes a large answer array by array, from beside the ask
                path = keep(answer.sums, Path(header["ask"]).with_suffix(".answer")).path
                write_frame(outgoing, {"answer": str(path)}, [b"", *kept])
            else:
                write_frame(outgoing, {}, [to_bytes(answer.sums), *kept])
        except Exception as error:
            refusal = Refusal.of(site, error)
            write_frame(outgoing, {"reason": refusal.reason, "remedy": refusal.remedy, "kind": type(error).__name__}, [])


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):  # the other side has gone: nobody is left to tell
        serve(sys.stdin.buffer, sys.stdout.buffer)
