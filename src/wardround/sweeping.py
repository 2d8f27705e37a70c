"""Compare methods over seeds: each a whole simulated study, side by side, in one table with intervals.

Everything is checked before anything runs. A run that is finished is not run again: the same call goes on where it was interrupted, and a
method that is added later costs its own runs only. What does not depend on the method (each site's own model, the pooled one and the like)
is trained once for each seed, beside one method that is named, and every method is compared with it on the same patients.

Example:
    >>> methods = {"FedAvg": {}, "FedProx": {"phases": {"train": {"kind": "fedprox", "mu": 0.01}}}}
    >>> sweep("study.toml", sites, methods, seeds=range(5), out="sweep")  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

from wardround.comparing import Run
from wardround.data.site_file import SiteFile, load_site
from wardround.replicates import read_replicates
from wardround.study.arrays import arrays_digest, to_bytes
from wardround.study.canonical import digest_json
from wardround.study.errors import ProtocolError, StoreError, WardroundError
from wardround.study.findings import nearest
from wardround.study.protocol import Protocol
from wardround.sweptable import Table, tabled
from wardround.sweptrun import DONE, Slot
from wardround.variants import tables_of, variant

if TYPE_CHECKING:
    from wardround.simulation import Study

Say = Callable[[str], None]
MOST_WORKERS = 64


@dataclass(frozen=True, eq=False)
class Job:
    """Hold one run of a sweep: a method, a seed, what is to be run and where."""

    method: str
    seed: int
    protocol: Protocol
    folder: Path
    digest: str


def _nothing(_: str) -> None:
    return


def sweep(
    study: Study | Protocol | str | Path,
    sites: Sequence[str | Path | SiteFile],
    methods: Mapping[str, Mapping[str, Any]],
    seeds: Iterable[int] = range(5),
    workers: int = 2,
    out: str | Path = "sweep",
    *,
    baselines: str | None = None,
    say: Say = _nothing,
) -> Table:
    """Run every method with every seed and return one table.

    Args:
        study: a study, its protocol, or the path of `study.toml`.
        sites: site files, read or as paths; the same for all runs.
        methods: by name: what it changes in the study, nested like its tables (`wardround.variants`).
        seeds: in place of `evaluation.seed`; they change initial parameters, training, and splits that the sites do not state.
        workers: runs side by side, each a process of its own with one arithmetic thread.
        out: folder for the runs and the table; the same call goes on there.
        baselines: the method beside which each site's own model and `evaluation.compare` are trained; the first where none is named.
        say: is told of every run that ends.

    Raises:
        ProtocolError: a method, a seed or a site file is wrong; nothing has run.
        StoreError: the folder cannot be written.
        WardroundError: a run failed that the others are compared with, or all runs of a method that is the only one.
    """
    protocol = _read(study)
    files = [one if isinstance(one, SiteFile) else load_site(Path(one)) for one in sites]
    first = _beside(methods, baselines)
    if not 1 <= workers <= MOST_WORKERS:
        raise ProtocolError(f"{workers} runs side by side are not possible.", f"Use 1 to {MOST_WORKERS}; more than cores gain nothing.")
    folder = Path(out)
    jobs = _jobs(protocol, files, methods, list(seeds), first, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        failed = _run(jobs, files, workers, say)
        table = Table(_found(protocol, jobs, failed, first), folder)
        (folder / "table.json").write_text(table.json(), encoding="utf-8")
        (folder / "table.md").write_text(table.markdown(), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{folder} cannot be written ({error.strerror}).", "Check path, rights and free space, then go on.") from error
    return table


def _read(study: Study | Protocol | str | Path) -> Protocol:
    """Return the study's protocol.

    Raises:
        ProtocolError: it trains nothing, or holds a researcher's own objects, which another process does not have.
    """
    from wardround.simulation import Study, load_study

    if not isinstance(study, Study | Protocol):
        study = load_study(study)
    protocol = study.protocol if isinstance(study, Study) else study
    if not protocol.trains or protocol.unregistered:
        raise ProtocolError("A sweep compares registered methods of studies that train.", "Run this study with wardround.simulate.")
    return protocol


def _beside(methods: Mapping[str, Mapping[str, Any]], baselines: str | None) -> str:
    """Return the method beside which comparators are trained; refuse names that cannot stand in a table or as folders."""
    if not methods:
        raise ProtocolError("methods: names none.", "Give at least one, such as methods={'FedAvg': {}}.")
    for name in methods:
        if not name.strip() or len(name) > 80 or not name.isprintable():
            raise ProtocolError(f"methods: {name!r} is no name.", "Use 1 to 80 printable letters.")
    slugs = [_slug(name) for name in methods]
    for name, slug in zip(methods, slugs, strict=True):
        if slugs.count(slug) > 1:
            raise ProtocolError(f"methods: {name!r} and another one would have the folder {slug!r}.", "Make the names differ in letters.")
    if baselines is not None and baselines not in methods:
        raise ProtocolError(f"baselines: there is no method {baselines!r}.", nearest(baselines, methods))
    return next(iter(methods)) if baselines is None else baselines


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "method"


def _jobs(
    protocol: Protocol, files: Sequence[SiteFile], methods: Mapping[str, Mapping[str, Any]], seeds: list[int], first: str, folder: Path
) -> list[Job]:
    """Return all runs, those first that the others are compared with; every protocol is checked here.

    Raises:
        ProtocolError: a method's changes cannot be carried out, or seeds are no seeds.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise ProtocolError("seeds: names none, or one twice.", "Give different whole numbers, such as seeds=range(5).")
    tables, jobs = tables_of(protocol), []
    brought = digest_json([[one.model_dump(mode="json"), *_stamps(one)] for one in files])
    for name in sorted(methods, key=lambda one: one != first):
        agreed = variant(tables, methods[name], f"method {name}", lean=name != first)
        if agreed.giving("judgement") is None or agreed.giving("model") is None:
            raise ProtocolError(f"method {name}: trains or tests nothing.", "Keep a training phase and a phase of kind 'evaluate'.")
        _alike(protocol, agreed, methods[name], name)
        if agreed.model.start:
            if agreed.model.start != protocol.model.start:
                raise ProtocolError(f"method {name}: starts from another file than the study.", "Name the same file, or sweep apart.")
            agreed = agreed.bringing(protocol.checkpoint, "start")
        for seed in seeds:
            seeded = agreed.changed(evaluation=_seeded(agreed, seed))
            digest = digest_json([seeded.digest, brought, *([arrays_digest(seeded.checkpoint)] if seeded.model.start else [])])
            place = folder / _slug(name) / f"seed-{seed}-{digest.removeprefix('sha256:')[:8]}"
            jobs.append(Job(name, seed, seeded, place, digest))
    return jobs


def _alike(protocol: Protocol, agreed: Protocol, changes: Mapping[str, Any], name: str) -> None:
    """Refuse a method that is judged in another way than the study says: nothing would pair, or a wish would be passed over."""
    told = {"replicates": agreed.evaluation.replicates != protocol.evaluation.replicates, "metrics": agreed.primary != protocol.primary}
    told["seed"] = "seed" in (changes.get("evaluation") or {})
    for key in (key for key, differs in told.items() if differs):
        what = {"metrics": "names another metric first than the study", "seed": "is given by seeds, for all methods"}
        message = (
            f"method {name}: evaluation.{key} {what.get(key, 'is another than the study has')}, and methods are compared with one another."
        )
        raise ProtocolError(message, "Leave it out of the method, and change the study (or seeds) for all.")


def _seeded(protocol: Protocol, seed: int) -> Any:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**53:
        raise ProtocolError(f"seeds: {seed!r} is no seed.", "Give whole numbers, 0 or more.")
    return protocol.evaluation.model_copy(update={"seed": seed})


def _stamps(site: SiteFile) -> Iterator[str]:
    """Yield what tells whether a site's data changed: a file's digest; of a folder, names, sizes and times of change."""
    paths = [site.source.options.get("path"), None if site.consent is None else site.consent.opt_out]
    for path in (Path(one) for one in paths if one):
        if path.is_file():
            with path.open("rb") as file:
                yield hashlib.file_digest(file, "sha256").hexdigest()
        elif path.is_dir():
            listed = [(one.relative_to(path).as_posix(), one.stat()) for one in sorted(path.rglob("*")) if one.is_file()]
            yield digest_json([[name, found.st_size, str(found.st_mtime_ns)] for name, found in listed])


def _run(jobs: Sequence[Job], files: Sequence[SiteFile], workers: int, say: Say) -> dict[Job, WardroundError]:
    """Run what is not finished, some side by side; return what failed."""
    waiting = [job for job in jobs if not _finished(job)]
    sites = [file.model_dump(mode="json") for file in files]
    failed: dict[Job, WardroundError] = {}
    slots: Queue[Slot] = Queue()
    every = [Slot() for _ in range(min(workers, len(waiting)))]
    for slot in every:
        slots.put(slot)
    pool = ThreadPoolExecutor(max(len(every), 1))
    try:
        running = {pool.submit(_one, job, sites, slots): job for job in waiting}
        for at, ended in enumerate(as_completed(running), len(jobs) - len(waiting) + 1):
            job = running[ended]
            try:
                say(f"{job.method}, seed {job.seed}: {ended.result():.0f} s ({at} of {len(jobs)} runs)")
            except WardroundError as error:
                failed[job] = error
                say(f"{job.method}, seed {job.seed}: failed: {error} ({at} of {len(jobs)} runs)")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for slot in every:
            slot.end()
        pool.shutdown()
    return failed


def _finished(job: Job) -> bool:
    try:
        return bool(json.loads((job.folder / DONE).read_text(encoding="utf-8"))["digest"] == job.digest)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _one(job: Job, sites: list[dict[str, Any]], slots: Queue[Slot]) -> float:
    """Run one job in a process that is free; return its seconds.

    Raises:
        WardroundError: it failed; says why.
    """
    asked = {"protocol": job.protocol.model_dump(mode="json"), "sites": sites, "out": str(job.folder.resolve()), "digest": job.digest}
    if job.protocol.model.start:
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        start = job.folder.with_suffix(".start")
        start.write_bytes(to_bytes(job.protocol.checkpoint))
        asked["start"] = str(start.resolve())
    slot = slots.get()
    try:
        return slot.run(asked)
    finally:
        slots.put(slot)


def _found(protocol: Protocol, jobs: Sequence[Job], failed: Mapping[Job, WardroundError], first: str) -> dict[str, Any]:
    """Return the table's figures.

    Raises:
        WardroundError: what the others are compared with failed.
    """
    for job, error in failed.items():
        if job.method == first:
            remedy = f"{error.remedy} The other methods are compared with this one's local and pooled models."
            raise WardroundError(f"{job.method}, seed {job.seed}: {error.message}", remedy)
    told = [{"method": job.method, "seed": job.seed, "error": one.message, "remedy": one.remedy} for job, one in failed.items()]
    runs: dict[str, list[Run]] = {job.method: [] for job in jobs}
    for job in jobs:
        if job not in failed:
            runs[job.method].append(_load(job))
    plans = {job.method: job.protocol for job in jobs}
    return {**tabled(protocol, plans, runs, first), "seeds": list(dict.fromkeys(job.seed for job in jobs)), "failed": told}


def _load(job: Job) -> Run:
    result = json.loads((job.folder / "result.json").read_text(encoding="utf-8"))
    return Run(job.seed, read_replicates(job.folder), result)
