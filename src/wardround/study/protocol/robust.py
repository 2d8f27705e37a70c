"""Say what a robust rule needs of a plan, and in plain words what it promises: so many hostile sites, and no more.

A robust rule is a combiner that tells by `fewest` how many sites a round needs against so many hostile ones. It sees each site's update.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wardround.study.findings import Finding
from wardround.study.plugins import find, names

if TYPE_CHECKING:
    from wardround.study.protocol.protocol import Protocol
    from wardround.study.protocol.sections import Rounds


def is_robust(rounds: Rounds) -> bool:
    """Say whether a rule that withstands hostile sites combines the updates."""
    return hasattr(find("combiner", rounds.combine, "rounds.combine"), "fewest")


def options(rounds: Rounds) -> dict[str, Any]:
    """Return the options of a robust rule; none of another combiner."""
    return {"hostile": max(rounds.hostile, 1), "mixing": rounds.mixing} if is_robust(rounds) else {}


def contradictions(protocol: Protocol) -> Iterator[Finding]:
    """Yield a finding for what a robust rule cannot do, a round too small for it, and for keys of it where there is none."""
    rounds = protocol.rounds
    if protocol.stop.rollback is not None and protocol.model.private:
        wrong = "a hospital's private parts stay as its last round left them, and cannot be taken back with the others."
        yield Finding("stop.rollback", wrong, "Leave it out, or leave out model.private.")
    if not is_robust(rounds):
        yield from _no_rule(protocol)
        return
    if not protocol.trains:
        wrong = f"{rounds.combine!r} combines updates of a model, and this study trains none."
        yield Finding("rounds.combine", wrong, 'Write combine = "plain" or "secure".')
        return
    fewest = find("combiner", rounds.combine).fewest
    if rounds.hostile == 0:
        most = next((count for count in range(rounds.quorum, 0, -1) if fewest(count) <= rounds.quorum), 0)
        remedy = f"Write hostile = 1, at most {most}." if most else f"Write hostile = 1, and quorum = {fewest(1)} or more."
        yield Finding("rounds.hostile", f"{rounds.combine!r} must know how many sites may be hostile.", remedy)
    elif fewest(rounds.hostile) > rounds.quorum:
        wrong = f"{rounds.combine!r} withstands {rounds.hostile} hostile sites only in a round of {fewest(rounds.hostile)} or more."
        yield Finding("rounds.quorum", wrong, f"Write quorum = {fewest(rounds.hostile)}, or fewer hostile sites.")
    if protocol.codec_plugin is not None and protocol.codec_plugin.adds:
        wrong = "it sends numbers that mean something only once they are added, and a rule judges each hospital's update by itself."
        yield Finding("codec.kind", wrong, 'Write kind = "float16" or "bfloat16", or leave this table out.')
    yield from _past_it(protocol)
    if protocol.model.normalise == "combat":
        wrong = "'combat' rests on sums that a hostile site can falsify, and no rule judges them."
        yield Finding("model.normalise", wrong, 'Write normalise = "federated", "site" or "none".')


def _past_it(protocol: Protocol) -> Iterator[Finding]:
    """Yield a finding for each phase that makes what is released of sums that a rule does not judge."""
    for phase in protocol.phases:
        kind = find("algorithm", phase.kind, f"phases.{phase.name}.kind")
        if not getattr(kind, "ruled", True):
            wrong = f"{phase.kind!r} rests on sums that a hostile site can falsify, and {protocol.rounds.combine!r} does not judge them."
            works = '"moments", whose figures are voted on' if kind.gives == "norm" else '"fedavg" or "fedprox"'
            yield Finding(f"phases.{phase.name}.kind", wrong, f"Write kind = {works}.")


def _no_rule(protocol: Protocol) -> Iterator[Finding]:
    """Yield a finding where keys of a robust rule stand beside another combiner."""
    rules = ", ".join(name for name in names("combiner") if hasattr(find("combiner", name), "fewest"))
    for key, told in (("hostile", protocol.rounds.hostile > 0), ("mixing", not protocol.rounds.mixing)):
        if told:
            hides = ", and hides from it what a rule must see" if protocol.hides else ""
            wrong = f"combine = {protocol.rounds.combine!r} is no robust rule{hides}."
            yield Finding(f"rounds.{key}", wrong, f"Leave it out, or write combine = one of: {rules}.")


def said(protocol: Protocol) -> Iterator[str]:
    """Yield what the page for the data-protection officer says of it."""
    if not is_robust(protocol.rounds):
        return
    many = "one hostile hospital" if protocol.rounds.hostile == 1 else f"up to {protocol.rounds.hostile} hostile hospitals"
    yield f"A rule ({protocol.rounds.combine}) combines the hospitals' updates so that {many} cannot bend the model."
    yield "For that the coordinator looks at each hospital's update by itself. Each hospital counts once, whatever its size."
