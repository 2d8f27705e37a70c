"""Set up the hospitals of a simulation on one machine, run the study among them, and write down what came of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wardround import resumed
from wardround.combining.ruled import Ruled
from wardround.coordinator import events
from wardround.coordinator.followed import book_of
from wardround.coordinator.rounds import Step, run_study
from wardround.coordinator.store import Store, sentences
from wardround.data.load import Prepared, prepare
from wardround.data.site_file import SiteFile, load_site
from wardround.engines.inprocess import InProcess, Place
from wardround.learning.finished import digests
from wardround.outcome import SiteFacts, outcome, released_phase
from wardround.publish import left_by, publish
from wardround.record.log import Log
from wardround.record.note import Signer
from wardround.replicates import judged_again, shared_weights, write_replicates
from wardround.site.folder import remove_snapshots
from wardround.site.gate import Brought, Site
from wardround.site.keys import SiteKeys
from wardround.site.policy import Policy
from wardround.site.renewal import Pending
from wardround.site.state import SiteState
from wardround.study.arrays import Arrays, from_bytes, to_bytes, under
from wardround.study.canonical import digest, digest_json
from wardround.study.errors import ProtocolError, StoreError
from wardround.study.interfaces import Combiner, Engine, Model, Rule
from wardround.study.plugins import find
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Done, SiteWork, State

if TYPE_CHECKING:
    from wardround.study.interfaces import Algorithm

ROLE = "simulation"
ANEW = "Start anew with another output folder, or remove this one."


class SimulatedStudy:
    """Hold one study in one folder, with all its sites.

    Args:
        protocol: complete, without initial parameters.
        sites: site files, read or as paths.
        folder: for state, record and results.
        store: the folder's database.
        aggregator: an own rule, or None.
        model: an own model, or None.
        workers: worker processes; 0 for none.
        watch: is told what happens.
        replicates: whether the run is to be compared with others (`wardround.replicates`).
    """

    def __init__(
        self,
        protocol: Protocol,
        sites: Sequence[str | Path | SiteFile],
        folder: Path,
        store: Store,
        aggregator: Rule | None,
        model: Model | None,
        workers: int,
        watch: events.Watch,
        replicates: bool = False,
    ) -> None:
        """Read the sites, make or find initial parameters and keys, and check that the folder belongs to this study and this data."""
        self._began = time.perf_counter()
        self.folder, self.store, self.watch, self._workers = folder, store, watch, workers
        self._rule, self._replicates = aggregator, replicates
        files = _site_files(sites)
        _enough(protocol, files)
        protocol = _with_own(protocol, aggregator, model)
        self._same("own", _own_code(aggregator, model), "The own rule or model is another one than this folder was started with.")
        self.initial = self._initial(protocol)
        self.protocol = protocol.changed(initial=digests(protocol, self.initial))
        self._same("protocol", self.protocol.canonical, "The protocol is another one than this folder was started with.")
        self.prepared: dict[str, Prepared] = {}
        for file in files:
            place = self._snapshots(file.name)
            self.prepared[file.name] = prepare(file, self.protocol, place, resumed.secret(self.protocol, file.name))
        self._before, self._newer = self._known(files)
        self.sources = {file.name: file.source.kind for file in files}
        for name, one in self.prepared.items():
            for finding in one.report.findings:
                if finding.level == "warning":
                    watch(events.Note(f"{name}: {finding.sentence}"))

    def run(self) -> dict[str, Any]:
        """Run what is left to run and return the contents of `result.json`."""
        released = self.store.meta("released")
        if released is not None:
            self.watch(events.Note("This study is finished; nothing is left to run."))
            return self._finished(released.decode())
        places, log, key = self._places()
        engine = self._engine(places)
        identities = {name: place.site.keys.public for name, place in places.items()}
        book = book_of(self.protocol, self.initial, self.store, log, key, identities, self.watch)
        self.watch(events.StudyStarted(self.protocol.study, tuple(one.phase for one in self.protocol.algorithms), engine.sites()))
        try:
            steps = [Step(algorithm, self._combiner(algorithm)) for algorithm in self.protocol.algorithms]
            earlier = run_study(self.protocol, steps, engine, book, self.initial)
        finally:
            engine.close()
        trained = time.perf_counter()
        if self.protocol.evaluation.compare:
            self.watch(events.Note(f"result: made here for comparison: {', '.join(self.protocol.evaluation.compare).replace('_', ' ')}"))
        result = self._outcome(places, log, earlier, trained)
        egress = {name: place.site.log for name, place in places.items()}
        publish(self.folder, self.protocol, self.store, log, egress, released_phase(self.protocol, earlier), result)
        return result

    def _finished(self, released: str) -> dict[str, Any]:
        """Return the released result.

        Raises:
            StoreError: `result.json` is gone or is not the one that was released.
        """
        missing = [name for name in left_by(self.protocol) if not (self.folder / name).exists()]
        if missing:
            message = f"{self.folder}: this study is finished, and {', '.join(missing)} is gone."
            raise StoreError(message, f"Put it back from a copy. {ANEW}")
        with sentences():
            text = (self.folder / "result.json").read_bytes()
        if digest(text) != released:
            message = f"{self.folder / 'result.json'} is not the result that was released."
            raise StoreError(message, f"Run: wardround verify {self.folder}. {ANEW}")
        found: dict[str, Any] = json.loads(text)
        return found

    def _engine(self, places: Mapping[str, Place]) -> Engine:
        return InProcess(self.protocol, places, self._workers)

    def _combiner(self, algorithm: Algorithm) -> Combiner:
        return self.protocol.combiner if self._rule is None else Ruled(self._rule)

    def _initial(self, protocol: Protocol) -> Arrays:
        """Return the initial parameters: those the folder was started with, else new ones."""
        kept = self.store.meta("initial")
        if protocol.evaluates:
            self._same("initial", to_bytes(protocol.brought), "The model's file is another one than this folder was started with.")
            return protocol.brought
        if kept is not None:
            return from_bytes(kept)
        from wardround.learning.network import initial_parameters

        made = initial_parameters(protocol)
        self.store.put_meta("initial", to_bytes(made))
        return made

    def _same(self, key: str, value: bytes, difference: str) -> None:
        """Keep a value, or refuse to go on when another one was kept."""
        kept = self.store.meta(key)
        if kept is None:
            self.store.put_meta(key, value)
        elif kept != value:
            raise StoreError(f"{self.folder}: {difference}", ANEW)

    def _snapshots(self, site: str) -> Path:
        return self.folder / "snapshots" / site

    def _known(self, files: Sequence[SiteFile]) -> tuple[dict[str, str], dict[str, Pending]]:
        """Return the snapshot that each site brought so far, and those that the plan lets take their place; refuse other differences."""
        now = {name: one.digest for name, one in sorted(self.prepared.items())}
        kept = self.store.meta("data")
        if kept is None:
            self.store.put_meta("data", json.dumps(now).encode())
            return now, {}
        before: dict[str, str] = json.loads(kept)
        if before.keys() != now.keys():
            raise StoreError(f"{self.folder}: {resumed.OTHERS}", ANEW)
        changed = [file for file in files if before[file.name] != now[file.name]]
        places = {file.name: self._snapshots(file.name) / before[file.name].removeprefix("sha256:") for file in changed}
        return before, {
            file.name: resumed.newer(self.protocol, file, self.prepared[file.name], places[file.name], ANEW) for file in changed
        }

    def _places(self) -> tuple[dict[str, Place], Log, Ed25519PrivateKey]:
        """Return the sites' gates, the study log and the coordinator's key; on the first run everybody joins and approves."""
        study, new = self.protocol.study, self.store.meta("coordinator key") is None
        key = Ed25519PrivateKey.from_private_bytes(self._kept("coordinator key", lambda: Ed25519PrivateKey.generate().private_bytes_raw()))
        signer = Signer(f"coordinator.simulation/{study}", key)
        log = Log(self.store.connection, signer.name, signer, study)
        if new:
            initial, unregistered = dict(self.protocol.initial), list(self.protocol.unregistered)
            log.append("protocol", protocol=self.protocol.digest, initial=initial, unregistered=unregistered, coordinator=signer.vkey)
        places = {name: self._place(name, prepared, key, log, new) for name, prepared in sorted(self.prepared.items())}
        if not new:
            turns = [kept for one in self.protocol.algorithms if (kept := self.store.state(one.phase)) is not None]
            log.append("resumed", phase=turns[0][0].phase if turns else "start", round=turns[0][0].round if turns else 0)
        self.store.put_meta("data", json.dumps({name: one.digest for name, one in sorted(self.prepared.items())}).encode())
        self.store.commit()
        for name in self._newer:
            remove_snapshots(self._snapshots(name), {self.prepared[name].digest})
        return places, log, key

    def _place(self, name: str, prepared: Prepared, coordinator: Ed25519PrivateKey, log: Log, new: bool) -> Place:
        private = Stream.public(self.protocol.evaluation.seed).child("simulated secret", name)
        keys = SiteKeys.from_bytes(self._kept(f"keys of {name}", lambda: SiteKeys.new(private).to_bytes()))
        signer = Signer(f"{name}.simulation/{self.protocol.study}", keys.signing)
        egress = Log(self.store.connection, signer.name, signer, self.protocol.study)
        policy = Policy(approved=frozenset({self.protocol.digest}), simulation=True)
        state = SiteState(self.store.connection, self.protocol.digest, name, self._before[name])
        examples = len(prepared.dataset.rows("train"))
        site = Site(name, self.protocol, keys, policy, state, egress, coordinator.public_key(), examples)
        if new:
            log.append("join", site=name, vkey=signer.vkey)
            rows, patients = len(prepared.dataset), prepared.dataset.patients
            entry, head = site.join(Brought(prepared.digest, patients, examples, self.sources[name], rows, prepared.withdrew), ROLE)
            log.append("approval_seen", site=name, protocol=self.protocol.digest, entry=entry, head=list(head))
        if name in self._newer:
            site = resumed.moved(site, self._newer[name])
        return Place(site, prepared.dataset, prepared.folder)

    def _kept(self, key: str, new: Any) -> bytes:
        """Return what is kept under a name, making it the first time."""
        value = self.store.meta(key)
        if value is None:
            value = bytes(new())
            self.store.put_meta(key, value)
        return value

    def _outcome(self, places: Mapping[str, Place], log: Log, earlier: Mapping[str, Done], trained: float) -> dict[str, Any]:
        """Judge the model beside its comparators and return the contents of `result.json`."""
        from wardround.learning.comparators import compare

        sums: dict[str, Mapping[str, Arrays]] = {}
        evaluation = self.protocol.giving("judgement")
        if evaluation is not None and self.protocol.evaluates:
            own = {name: place.site.state.mine() for name, place in places.items()}
            sums["model"] = {name: kept[evaluation] for name, kept in own.items() if evaluation in kept}
        elif evaluation is not None:
            algorithm = self.protocol.by_phase[evaluation]
            state = algorithm.begin(self.protocol, earlier, Stream.public(0))
            assert isinstance(state, State)
            ask = algorithm.ask(state)
            own = {name: place.site.state.mine() for name, place in places.items()}
            here = {name: kept[evaluation] for name, kept in own.items() if evaluation in kept}
            key = (self.protocol.study, evaluation, 0, ask.digest)
            work = {name: SiteWork(places[name].data, own[name], places[name].site.keys.private.child(*key)) for name in here}
            if self._replicates:
                work = shared_weights(work)
                here = judged_again(algorithm, ask, work)
            for model in sorted({name.split("/")[0] for kept in here.values() for name in kept}):
                sums[model] = {name: found for name, kept in here.items() if (found := under(kept, model))}
            sums.update(compare(self.protocol, work, earlier) if work else {})
            if self._replicates:
                write_replicates(self.folder, self.protocol, sums, {name: place.data for name, place in places.items()})
        synthetic = {name: find("source", kind).synthetic for name, kind in self.sources.items()}
        facts = {name: SiteFacts(place.data, place.snapshot, self.sources[name], synthetic[name]) for name, place in places.items()}
        named = ("phase", "round", "site", "where", "reason", "remedy")
        refusals = [{key: entry[key] for key in named} for entry in log.entries() if entry["t"] == "refusal"]
        history = self.store.history()
        rounds = sum(row["seconds"] for row in history)
        seconds = {"rounds": rounds, "judging": time.perf_counter() - trained, "this_run": time.perf_counter() - self._began}
        return outcome(self.protocol, facts, earlier, sums, history, refusals, seconds)


def _site_files(sites: Sequence[str | Path | SiteFile]) -> list[SiteFile]:
    files = [one if isinstance(one, SiteFile) else load_site(Path(one)) for one in sites]
    names = [file.name.casefold() for file in files]
    for file in files:
        if names.count(file.name.casefold()) > 1:
            raise ProtocolError(f"Two site files have the name {file.name!r}.", "Give every site its own name.")
    return files


def _enough(protocol: Protocol, files: Sequence[SiteFile]) -> None:
    if len(files) > protocol.bounds.sites:
        raise ProtocolError(
            f"{len(files)} sites are more than bounds.sites = {protocol.bounds.sites}.", "Raise bounds.sites in the study file."
        )
    if len(files) < protocol.rounds.quorum:
        remedy = "Add sites, or lower rounds.quorum in the study file."
        raise ProtocolError(f"{len(files)} sites can never meet the quorum of {protocol.rounds.quorum}.", remedy)


def _with_own(protocol: Protocol, aggregator: Rule | None, model: Model | None) -> Protocol:
    if model is not None:
        protocol = protocol.with_model(model)
    if aggregator is None:
        return protocol
    rounds = protocol.rounds.model_copy(update={"combine": "plain"})  # an own rule sees each site's update
    return protocol.changed(unregistered=(*protocol.unregistered, "aggregator"), rounds=rounds)


def _own_code(aggregator: Rule | None, model: Model | None) -> bytes:
    """Return what tells own objects apart as far as that can be seen from outside: class, settings and structure."""
    parts = [f"{type(one).__module__}.{type(one).__qualname__} {vars(one)!r}" for one in (aggregator, model) if one is not None]
    return digest_json([re.sub(r" at 0x[0-9a-f]+", "", part) for part in parts]).encode()
