"""Check that the plan is the one that was recorded, and that every site that answered had signed it before the first round."""

from __future__ import annotations

from wardround.record import envelope
from wardround.record.bundle import PROTOCOL, RECORD
from wardround.record.checks.evidence import Evidence
from wardround.record.entries import Entry
from wardround.record.report import Line, Problem, Verdict, counted
from wardround.study.canonical import canonical, digest
from wardround.study.errors import VerificationError


def protocol(evidence: Evidence) -> Line:
    """Check that protocol.json is what the study log and every entry of every site name."""
    study, problems = evidence.study, []
    recorded = list(study.of("protocol"))
    if not recorded or recorded[0][0] != 0:
        problems.append(Problem("the study log does not begin with the protocol", study.where(0)))
    for index, _ in recorded[1:]:
        problems.append(Problem("the protocol is recorded a second time", study.where(index)))
    if evidence.protocol != digest(evidence.bundle.protocol):
        problems.append(Problem("it is not the protocol that the study log names", f"{RECORD}/{PROTOCOL}"))
    for log in (study, *evidence.sites.values()):
        for index, entry in log.of("approval", "egress", "approval_seen"):
            if entry["protocol"] != evidence.protocol:
                problems.append(Problem(f"{entry['site']} names another protocol", log.where(index)))
    return Line.of("protocol", problems, f"protocol.json is the plan that was recorded, {evidence.protocol}.")


def approvals(evidence: Evidence) -> Line:
    """Check that every site that answered had signed the protocol, and the coordinator had seen it, before the first round opened."""
    study = evidence.study
    first_round = next((index for index, _ in study.of("round_open")), len(study.entries))
    answered = {entry["site"] for _, entry in study.of("ingress")} | {site for site, log in evidence.sites.items() if any(log.of("egress"))}
    problems = evidence.unseen()
    for site in sorted(answered):
        problems += _approval(evidence, site) if site not in evidence.apart else []
        seen = [(index, entry) for index, entry in study.of("approval_seen") if entry["site"] == site]
        if not seen or seen[0][0] > first_round:
            where = study.where(seen[0][0]) if seen else study.files.place
            problems.append(Problem(f"the approval of {site} was not seen before the first round", where))
        joins = [index for index, entry in study.of("join") if entry["site"] == site]
        if not joins or joins[0] > first_round:
            problems.append(Problem(f"{site} did not join before the first round", study.where(joins[0]) if joins else study.files.place))
        for index, entry in seen:
            if site not in evidence.apart and not _is_approval(evidence, site, entry):
                problems.append(Problem(f"it is not the approval in the log of {site}", study.where(index)))
    if not answered:
        problems.append(Problem("no site has answered yet", study.files.place, Verdict.INCOMPLETE))
    return Line.of(
        "approvals", problems, f"{counted(len(answered), 'site')} answered, and each had signed the protocol before the first round."
    )


def _approval(evidence: Evidence, site: str) -> list[Problem]:
    """Return what is wrong with a site's own approvals."""
    log = evidence.log_of(site)
    problems = []
    first_answer = next((index for index, _ in log.of("egress")), len(log.entries))
    found = list(log.of("approval"))
    if not found or found[0][0] > first_answer:
        problems.append(Problem(f"{site} did not approve before it answered", log.where(first_answer)))
    for index, entry in found:
        expected = canonical({"protocol": entry["protocol"], "site": site, "role": entry["role"]})
        try:
            genuine = log.vkey is not None and envelope.open(entry["envelope"], envelope.APPROVAL, log.vkey.public) == expected
        except VerificationError:
            genuine = False
        if not genuine:
            problems.append(Problem(f"the signature of {site} does not approve this protocol", log.where(index)))
    return problems


def _is_approval(evidence: Evidence, site: str, seen: Entry) -> bool:
    """Say whether the coordinator names an approval that stands in the site's log."""
    log = evidence.log_of(site)
    return any(log.leaves[index] == seen["entry"] and index < seen["head"][0] for index, _ in log.of("approval"))
