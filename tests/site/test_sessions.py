"""Whom a site has met stays so, whatever rows it brings later."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from wardround.site.sessions import Sessions


def test_a_key_that_was_met_stays_whichever_snapshot_the_site_brings() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        first, later = (Sessions(connection, ("protocol", "north", snapshot)) for snapshot in ("one", "two"))
        first.meet({"south": "aa", "east": "bb"})
        later.meet({"south": "cc", "west": "dd"})
        assert first.met() == later.met() == {"south": "aa", "east": "bb", "west": "dd"}
        assert Sessions(connection, ("other", "north", "one")).met() == {}
        assert Sessions(connection, ("protocol", "south", "one")).met() == {}
