"""Put together what an evaluation study came to: its part of `result.json`, and the signed passport of the model.

The passport is the statement that others are handed: `passport.json` holds it with the coordinator's signature, `passport.html` shows it.
The signature is a signed note, which other people's tools open too; digests of both files stand in the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from wardround.learning.algorithms.assess import HELD, MODEL, TOOK_PART
from wardround.learning.assessed import AT_HALF, BEYOND, WITHHELD, against_bar, algorithm, beyond, figures, judged
from wardround.learning.evaluation import Estimate, Verdict, replicated
from wardround.learning.finished import inputs_of
from wardround.privacy.disclosure import held_totals
from wardround.record.note import Signer
from wardround.record.passport import note_text
from wardround.record.passport import statement as statement
from wardround.study.arrays import Arrays, under
from wardround.study.protocol import Protocol

FEW = {
    1: "Only one site took part: the totals are that site's own figures.",
    2: "Two sites took part: each of them can take its own sums off the totals and so knows the other's.",
}


def over_all(protocol: Protocol, total: Arrays) -> dict[str, Any]:
    """Return what a result says of the tested model over all sites.

    Args:
        protocol: the signed plan.
        total: results of the study's phase.
    """
    found = figures(protocol, total)
    metrics, options = found.pop("metrics", {}), algorithm(protocol).options
    sites, held = int(total[TOOK_PART]), round(float(total[HELD][0]))
    return {
        "tested_model": tested_model(protocol),
        "took_part": {"sites": sites, **({"held_everything_back": held} if held else {})},
        "bar": None if options.bar is None else {"metric": protocol.primary, "value": options.bar},
        "verdict": _verdict(protocol, total, bool(metrics)),
        **found,
        "metrics": {MODEL: {"all": metrics, "sites": {}}},
        "paired": {},
        "verdicts": {},
        "verdict_notes": {},
        "warnings": _warnings(protocol, total, sites, held, bool(metrics)),
    }


def with_sites(protocol: Protocol, result: Mapping[str, Any], kept: Mapping[str, Arrays]) -> dict[str, Any]:
    """Return a result with each site's own figures beside those over all; for a simulation, which shows all.

    Args:
        protocol: the signed plan.
        result: of the study, with what `over_all` gives.
        kept: by site, the sums that it kept.
    """
    found = by_site(protocol, kept)
    metrics = {MODEL: {**result["metrics"][MODEL], "sites": found.pop("sites")}}
    del found["tested"]
    tested = {site: round(float(under(sums, MODEL)["patients"][0])) for site, sums in kept.items()}
    return {**result, "metrics": metrics, "sites": _counts(result["sites"], tested, protocol.privacy.smallest_count), **found}


def _counts(sites: Mapping[str, Mapping[str, Any]], tested: Mapping[str, int], least: int) -> dict[str, dict[str, Any]]:
    """Return what a result says of each site's patients with how many it tested, where neither gives a small count away.

    The tested of all sites are known, so that a site's follow from the others'; a snapshot less the tested are the patients whom the site
    declared as training patients of this model. Where few of these are anywhere, no site's counts are told.

    Args:
        sites: by site, what is said of its snapshot.
        tested: by site, how many patients.
        least: k.
    """
    names = sorted(sites.keys() & tested.keys())
    declared = [one["patients"] - tested[site] for site in names if isinstance((one := sites[site]).get("patients"), int)]
    if any(0 < count < least for count in declared):
        return {site: {"patients": WITHHELD, "examples": WITHHELD, "source": one["source"]} for site, one in sites.items()}
    hidden = held_totals(np.array([tested[site] for site in names]), least)
    hidden |= np.array([sites[site].get("patients") == WITHHELD for site in names], dtype=bool)
    if 0 < sum(tested[site] for site, hide in zip(names, hidden, strict=True) if hide) < least:
        hidden[:] = True
    told = {site: tested[site] for site, hide in zip(names, hidden, strict=True) if not hide}
    return {site: {**one, **({"test": told[site]} if site in told else {})} for site, one in sites.items()}


def by_site(protocol: Protocol, kept: Mapping[str, Arrays]) -> dict[str, Any]:
    """Return each site's metrics and verdict, and how many patients it tested, where that may be told.

    Args:
        protocol: the signed plan.
        kept: by site, the sums that it kept.
    """
    found = {site: figures(protocol, sums) for site, sums in kept.items()}
    apart = {site: one for site, sums in kept.items() if (one := against_bar(protocol, under(sums, MODEL))) is not None}
    said = judged(protocol, {site: one for site, one in apart.items() if "metrics" in found[site]})
    few = "fewer patients than may be told were tested there, in all or of a class"
    said |= {site: Verdict("cannot_say", few) for site in apart.keys() - said.keys()}
    said |= {
        site: Verdict("cannot_say", BEYOND) for site in said if "metrics" in found[site] and beyond(protocol, under(kept[site], MODEL))
    }
    return {
        "sites": {site: _beside(one["metrics"]) for site, one in sorted(found.items()) if "metrics" in one},
        "tested": {site: one["patients"]["all"] for site, one in found.items() if "metrics" in one},
        "verdicts": {site: one.word for site, one in sorted(said.items())},
        "verdict_notes": {site: one.note for site, one in sorted(said.items())},
    }


def _beside(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return a site's metrics as they may stand beside those over all: errors at one half are left out, which could be subtracted."""
    return {name: one for name, one in metrics.items() if name not in AT_HALF}


def own(protocol: Protocol, result: Mapping[str, Any], site: str, kept: Arrays) -> dict[str, Any]:
    """Return what one hospital's own copy of a result shows beside the totals: its own figures, from the sums that it kept.

    Args:
        protocol: the signed plan.
        result: as it was released.
        site: whose copy it is.
        kept: its own sums.
    """
    found = figures(protocol, kept)
    mine = by_site(protocol, {site: kept})
    told = {**result["metrics"][MODEL]["sites"], **mine["sites"]}
    verdicts, notes = ({**mine[part], **result[part]} for part in ("verdicts", "verdict_notes"))
    return {"own": found, "metrics": {MODEL: {**result["metrics"][MODEL], "sites": told}}, "verdicts": verdicts, "verdict_notes": notes}


def tested_model(protocol: Protocol) -> dict[str, Any]:
    """Return which model is tested, by the digest of its file."""
    model = protocol.model
    return {
        "kind": model.kind,
        "file": model.file,
        "digest": protocol.initial.get("file"),
        "trained_on": model.trained_on,
        "inputs": list(inputs_of(protocol)),
    }


def signed(stated: Mapping[str, Any], signer: Signer) -> dict[str, Any]:
    """Return the passport: the statement, the signer's key, and a signed note that names the statement's digest."""
    return {"passport": dict(stated), "vkey": signer.vkey, "note": signer.sign(note_text(stated))}


def _verdict(protocol: Protocol, total: Arrays, told: bool) -> dict[str, Any]:
    """Return the verdict over all sites, in one word and with the reason."""
    apart = against_bar(protocol, under(total, MODEL))
    if apart is None:
        return {"word": None, "note": "the plan states no bar"}
    if not told:
        return {"word": "cannot_say", "note": "too few patients to tell anything"}
    if beyond(protocol, under(total, MODEL)):
        return {"word": "cannot_say", "note": BEYOND}
    (found,) = judged(protocol, {"all": apart}).values()
    return {"word": found.word, "note": found.note}


def _warnings(protocol: Protocol, total: Arrays, sites: int, held: int, told: bool) -> list[str]:
    """Return what a reader must know before anything else."""
    found = [FEW[sites - held]] if sites - held in FEW else []
    if held:
        least = protocol.privacy.smallest_count
        found.append(
            f"{held} of {sites} sites held everything back, with fewer than {least} patients in all or of a class; they are in no figure."
        )
    if not told:
        return [
            *found,
            f"Fewer than {protocol.privacy.smallest_count} patients were tested, in all or of a class: no figure is given ({WITHHELD}).",
        ]
    whole = under(total, MODEL)
    if beyond(protocol, whole):
        found.append(f"M{BEYOND[1:]}: the figures can be far from those of the model's own scores.")
    chance = protocol.question_plugin.chance(under(whole, "test"))[protocol.primary]
    gain = protocol.direction * (np.atleast_1d(replicated(protocol, whole)[protocol.primary]) - chance)
    low = Estimate.of(gain).low
    if low is None or low <= 0:
        name = protocol.primary.replace("_", " ")
        found.append(f"The model is not shown to be better than guessing: by guessing, {name} would be {chance:.3f} on these patients.")
    return found
