"""A preflight between hospitals over a real hub: the same verdicts as here; hospitals see no other's name, and each finds itself."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.engines.federated import Federation, Gate, new_centre
from tests.engines.test_own_figures import ended
from tests.learning.preflight.hospitals import FIELDS, compared, found, hospitals, plan
from tests.site.counted import policy, put
from wardround import centre, hospital
from wardround.bringing import prepare
from wardround.coordinator import events
from wardround.data.snapshot import read_snapshot
from wardround.learning.preflight.unnamed import unnamed
from wardround.pages.preflight import table_of
from wardround.serving import Serving
from wardround.site.folder import SiteFolder
from wardround.study.protocol import Protocol

CARD = '[label_card]\nsource = "ward round of {0}"\ncoding = "own list"\n'


def served(stack: ExitStack, path: Path, agreed: Protocol, given: dict[str, list[dict[str, str]]]) -> Federation:
    """Serve a preflight on loopback with hospitals that joined, prepared their rows and approved."""
    made, seen = new_centre(path / "centre", agreed), list[events.Event]()
    here = Federation(made, Serving(made, 0, seen.append), {}, seen)
    stack.callback(lambda: here.serving.close())
    for site, listed in given.items():
        folder = path / f"of {site}" / site
        folder.mkdir(parents=True)
        put(folder, [{"patient": f"{site}-{number}", **row} for number, row in enumerate(listed)])
        (folder / "policy.toml").write_text(policy())
        (folder / "site.toml").write_text(f'name = "{site}"\n[source]\nkind = "table"\npath = "rows.csv"\n{CARD.format(site)}')
        (folder / "invite").write_bytes(centre.invite(made, site, 1))
        hospital.join(folder, folder / "invite")
        prepare(SiteFolder(folder))
        hospital.approve(SiteFolder(folder), "officer")
        here.gates[site] = Gate(site, SiteFolder(folder), read_snapshot(SiteFolder(folder).snapshot), made.protocol)
        stack.callback(here.gates[site].stop)
        here.gates[site].start()
    return here


def bare(table: Any) -> Any:
    """Return a table's fields, which do not know how hospitals were reached."""
    return json.loads(json.dumps(table["fields"]))


def test_hospitals_are_compared_over_the_hub(tmp_path: Path) -> None:
    given = hospitals(3)
    given["site1"] = [{**row, "age": f"{12 * float(row['age']):g}"} for row in given["site1"]]
    agreed = plan(FIELDS)
    with ExitStack() as stack:
        made = served(stack, tmp_path, agreed, given)
        released = table_of(ended(made))
        own = {site: json.loads((gate.folder.path / "result.json").read_bytes()) for site, gate in made.gates.items()}
        pages = {site: (gate.folder.path / "report.html").read_text() for site, gate in made.gates.items()}
        assert not any(gate.failed for gate in made.gates.values())
    assert released is not None and released["unnamed"]
    assert bare(released) == bare(unnamed(compared(agreed, given)))
    assert [(field, kind) for field, _, kind, _ in found(released, "clash")] == [("age", "unit")]
    assert not any(site in json.dumps(released["fields"]) + json.dumps(released["hospitals"]) for site in given)
    for site, result in own.items():
        copy = table_of(result)
        assert copy is not None
        assert set(copy["hospitals"]) & given.keys() == {site}
        assert copy["hospitals"][site]["card"]["source"] == f"ward round of {site}"
        assert [at for _, at, _, _ in found(copy, "clash")] == (["site1"] if site == "site1" else [_other(copy, site)])
        assert f"This is the copy of {site}" in pages[site]


def _other(copy: Any, site: str) -> str:
    """Return under which letter the hospital that clashes stands in another's copy."""
    (name,) = [at for _, at, _, _ in found(copy, "clash")]
    assert name != site and name.startswith("Hospital ")
    return name
