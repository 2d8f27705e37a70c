"""Read a hospital's own rules, `policy.toml`, and hold a study against them: what is not allowed there does not happen.

Every rule that a study needs must stand in the file: a rule that is missing allows nothing. A refusal names the rule, so that both sides
know what to talk about.
"""

from __future__ import annotations

import datetime
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from wardround.record.note import fingerprint
from wardround.site.limits import Limits, limits_text
from wardround.study.errors import PolicyRefused, ProtocolError
from wardround.study.layout import Layout
from wardround.study.protocol import Protocol
from wardround.study.protocol.section import Section

FILE = "policy.toml"
Leaving = Literal["sums", "counts", "record", "results"]
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"
_HOURS = f"{_TIME}-({_TIME}|24:00)"
_ACCEPTED = "([A-Za-z][A-Za-z0-9_.-]{0,63}) +((?:[0-9A-Fa-f]{4} ?){8})"
_EXAMPLE = '"north 0123 4567 89ab cdef 0123 4567 89ab cdef"'


class Rules(Section):
    """Be `policy.toml`.

    Attributes:
        purposes: for which a model may be trained; compared with the protocol's purpose, capitals aside, `*` for any text.
        models: kinds of models; `*` for any.
        sources: kinds of sources that rows may come from.
        min_patients: fewest patients in the snapshot.
        rounds: most answers that one phase may ask for.
        hours: when answers may leave, local time, such as "20:00-06:00"; "any" for always.
        may_leave: "sums" over patients; "counts" (histograms and tallies in plain sums); "record" (a copy of this site's log at the end);
            "results" (this site's own test figures at the end, where the protocol wants them).
        release: "auto"; "first-round" or "every" hold answers until a person has looked.
        sites: with whose sums this hospital's may be added up in a secure sum: names with fingerprints, or `*` alone for whoever the
            coordinating centre admits; needed for such studies only.
        statistics: how much studies of statistics may ask of these patients; needed for such studies only.
    """

    purposes: tuple[str, ...]
    models: tuple[str, ...]
    sources: tuple[str, ...]
    min_patients: Annotated[int, Field(ge=1)]
    rounds: Annotated[int, Field(ge=1)]
    hours: str
    may_leave: tuple[Leaving, ...]
    release: Literal["auto", "first-round", "every"]
    sites: tuple[str, ...] = ()
    statistics: Limits | None = None

    @field_validator("hours")
    @classmethod
    def _hours(cls, value: str) -> str:
        if value != "any" and re.fullmatch(_HOURS, value) is None:
            raise ValueError("write two times, such as 20:00-06:00, or any")
        return value

    @field_validator("sites")
    @classmethod
    def _sites(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in value:
            if len(value) > 1:
                raise ValueError('write either hospitals or "*", which stands for whoever the coordinating centre admits')
            return value
        named = [re.fullmatch(_ACCEPTED, one) for one in value]
        if not all(named):
            raise ValueError(f'write each hospital as {_EXAMPLE}, its name and fingerprint, or "*" alone')
        return tuple(f"{one[1]} {' '.join(re.findall('....', one[2].replace(' ', '').lower()))}" for one in named if one)

    def complaints(self, protocol: Protocol, source: str, patients: int) -> Iterator[tuple[str, str]]:
        """Yield each rule that a study breaks at this site, and how; what can be known before the first round."""
        if not _fits(protocol.question.purpose, self.purposes):
            yield "purposes", "the protocol's purpose is not among those allowed"
        if not _fits(protocol.model.kind, self.models):
            yield "models", f"models of kind {protocol.model.kind} are not allowed"
        if not _fits(source, self.sources):
            yield "sources", f"rows from a {source} source may not be used"
        if patients < self.min_patients:
            yield "min_patients", f"the snapshot has fewer than {self.min_patients} patients"
        for algorithm in protocol.algorithms:
            if algorithm.leaves()[0] > self.rounds:
                yield "rounds", f"{algorithm.phase} may ask {algorithm.leaves()[0]} times; {self.rounds} are allowed"
        if "sums" not in self.may_leave:
            yield "may_leave", "sums over patients may not leave"
        if protocol.privacy.counts and not protocol.hides and "counts" not in self.may_leave:
            yield "may_leave", "the protocol lets counts leave in plain sums, and this site does not"
        if protocol.tells and "results" not in self.may_leave:
            yield "may_leave", "the protocol lets this hospital's own test figures leave (evaluation.site_results), and this site does not"
        if protocol.hides and not self.sites:
            yield "sites", f'no hospital is named whose sums may be added to this one\'s; write sites = [{_EXAMPLE}, ...], or ["*"]'

    def accepts(self, name: str, identity: str) -> bool:
        """Say whether this hospital's sums may be added up with those of another.

        Args:
            name: of the other.
            identity: its public signing key, hex.
        """
        return "*" in self.sites or f"{name} {fingerprint(identity)}" in self.sites

    def permit(self, protocol: Protocol, layout: Layout, source: str, patients: int, now: datetime.datetime) -> None:
        """Let something be answered, or refuse it.

        Raises:
            PolicyRefused: it names the rule.
        """
        broken = list(self.complaints(protocol, source, patients))
        if not protocol.hides and any(term.kind == "count" and term.shape for term in layout) and "counts" not in self.may_leave:
            broken.append(("may_leave", "counts in plain sums may not leave"))
        if not self.open_at(now.time()):
            broken.append(("hours", f"answers leave between {self.hours} only"))
        for rule, why in broken:
            remedy = f"Talk to the hospital about {rule} in its {FILE}."
            raise PolicyRefused(f"the site's rule {rule} forbids it: {why}", remedy)

    def open_at(self, time: datetime.time) -> bool:
        """Say whether answers may leave at this time of day."""
        if self.hours == "any":
            return True
        first, last = self.hours.split("-")
        now = time.strftime("%H:%M")
        return first <= now < last if first <= last else now >= first or now < last

    def holds(self, earlier: int) -> bool:
        """Say whether an answer waits for a person.

        Args:
            earlier: answers of this study that a person has let out already.
        """
        return self.release == "every" or (self.release == "first-round" and earlier == 0)


def read_rules(path: Path) -> Rules:
    """Read a policy file.

    Raises:
        ProtocolError: it is not there, or not right; names the rule.
    """
    remedy = "Allow there what this hospital allows; until then nothing leaves."
    try:
        return Rules.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise ProtocolError(f"{path} cannot be read ({error.strerror}).", remedy) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"{path} is not TOML ({error}).", remedy) from error
    except ValidationError as error:
        found = error.errors(include_input=False)
        wrong = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in found if one["type"] != "missing"]
        missing = ", ".join(str(one["loc"][0]) for one in found if one["type"] == "missing")
        what = wrong[0] if wrong else f"{missing}: missing, so nothing is allowed"
        raise ProtocolError(f"{path}: {what}.", remedy) from error


def rules_text(protocol: Protocol) -> str:
    """Return a policy file that allows nothing yet; what this study would need stands beside each rule, as a comment."""
    needs = max(algorithm.leaves()[0] for algorithm in protocol.algorithms)
    leaving = [
        "sums",
        *(["counts"] if protocol.privacy.counts and not protocol.hides else []),
        *(["results"] if protocol.tells else []),
        "record",
    ]
    return f"""# What this hospital allows. A rule that is missing or commented out allows nothing; the study waits until you allow it.
# After each rule stands what the study {protocol.study} would need.

# purposes = [{json.dumps(protocol.question.purpose, ensure_ascii=False)}]
# models = [{json.dumps(protocol.model.kind)}]
# sources = ["table"]
# min_patients = 20              # fewest patients in the snapshot
# rounds = {needs:<22} # most answers that one phase may ask for
# hours = "any"                  # or such as "20:00-06:00", local time
# may_leave = {json.dumps(leaving)}
#     sums: additive sums over patients; counts: histograms in plain sums; record: a copy of this site's log, when the study ends
{_RESULTS if protocol.tells else ""}\
# release = "first-round"        # auto, first-round or every: which answers wait until a person has looked
{_SITES if protocol.hides else ""}{limits_text(protocol)}"""


_RESULTS = "#     results: this hospital's own test figures, when the study ends\n"

_SITES = """# sites = ["NAME FINGERPRINT"]   # with whose sums this hospital's may be added up: one entry for each other hospital
#     each reads you the fingerprint that its 'wardround site status' prints, by telephone; "*" alone: whoever the coordinating centre
#     admits, which could then invent hospitals, and so see this one's sums
"""


def _fits(text: str, allowed: tuple[str, ...]) -> bool:
    """Say whether a text is one of those allowed, capitals aside; a star in these stands for any text, and nothing else does."""
    patterns = (".*".join(re.escape(part) for part in one.casefold().split("*")) for one in allowed)
    return any(re.fullmatch(pattern, text.casefold(), re.DOTALL) for pattern in patterns)
