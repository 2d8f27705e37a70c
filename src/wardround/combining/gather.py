"""Ask the sites, admit their answers, and name whoever is missing: what every combiner does first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wardround.study.interfaces import Admit, Engine, Read, T
from wardround.study.task import Refusal, Task, Update

Refusals = list[Refusal]
Admitted = Iterator[tuple[Update, T]]
"""Updates, each with what it holds."""

LATE = "See that the site's gate runs and reaches the coordinator; the study goes on while the quorum holds."


def gather(engine: Engine, tasks: Sequence[Task], admit: Admit, read: Read[T], due: float, refusals: Refusals) -> Admitted[T]:
    """Yield each admitted update with what it holds, as they come; each site once.

    Args:
        engine: carries tasks and answers.
        tasks: one a site.
        admit: holds an update against its task.
        read: makes of a body what it holds.
        due: seconds until whoever has not answered counts as absent.
        refusals: gets a refusal for each site that is not among the admitted.
    """
    waiting = {(task.digest, task.site): task for task in tasks}
    engine.send(tasks)
    for reply in engine.receive(due):
        task = waiting.pop((reply.task, reply.site), None)
        if task is None:
            continue  # a repeat, or an answer to another round: the first one stands
        admitted = reply if isinstance(reply, Refusal) else admit(task, reply, read)
        if isinstance(admitted, Refusal):
            refusals.append(admitted)
        elif isinstance(reply, Update):
            yield reply, admitted
    refusals += [Refusal(task.digest, task.site, "deadline", f"no answer within {due:g} s", LATE, again=True) for task in waiting.values()]
