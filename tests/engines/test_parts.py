"""Parts over a real hub: what is there is not fetched again, what was altered is found, and nothing is written over."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engines.federated import new_centre, open_protocol
from wardround.coordinator.folder import Folder
from wardround.engines import hub, hubkeys, parts
from wardround.engines.connection import PING, PINGS, Connection, Missing
from wardround.engines.keeper import Keeper
from wardround.engines.parts import SIZE, Body
from wardround.engines.presence import LEASE
from wardround.engines.subjects import PARTS, Subjects
from wardround.study.errors import StoreError, Unreachable, VerificationError
from wardround.study.files import LARGE, Kept, blocks

SUBJECTS = Subjects("small")
UNDER = SUBJECTS.parts
UPLOAD = 8 * 2**20


class Counting(Connection):
    """A connection that notes which parts it fetched and stored, and may be told to break after some."""

    def __init__(self, folder: Folder) -> None:
        self.fetched: list[str] = []
        self.stored: list[str] = []
        self.left = 10**9
        super().__init__(folder.settings.own_url, folder.authority, hubkeys.seed(folder.hub_key("coordinator")), "coordinator")

    async def direct(self, stream: str, subject: str, timeout: float = 2.0) -> bytes:
        if self.left <= 0:
            raise Missing
        self.left -= 1
        self.fetched.append(subject)
        return await super().direct(stream, subject, timeout)

    async def store(self, subject: str, data: bytes | memoryview, once: bool = False, timeout: float = 2.0) -> None:
        self.stored.append(subject)
        await super().store(subject, data, once, timeout)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    folder = new_centre(tmp_path_factory.mktemp("parts") / "centre", open_protocol())
    keeper = Keeper(folder, lambda text: None)
    yield folder
    keeper.close()


@pytest.fixture
def link(served: Folder) -> Iterator[Counting]:
    made = Counting(served)
    hub.lay_out(made, hub.streams(SUBJECTS, ["slot001"], 10**9, UPLOAD))
    made.api(f"$JS.API.STREAM.PURGE.{PARTS}")
    yield made
    made.close()


def made_up(size: int, seed: int = 0) -> bytes:
    return hashlib.shake_256(bytes([seed])).digest(size)


def whole(found: bytes | Kept) -> bytes:
    return b"".join(blocks(found))


def subject(body: Body, number: int) -> str:
    return f"{UNDER}.{body.group}.{body.parts[number]}"


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(0, 3))
def test_a_name_depends_on_the_bytes_and_not_on_the_pieces(pieces: list[bytes], extra: int) -> None:
    long = [*pieces, made_up(extra * SIZE // 2)]
    data = b"".join(long)
    body = Body.of(long)
    assert body == Body.of([data])
    assert body.size == len(data)
    assert list(body.parts) == [hashlib.sha256(data[at : at + SIZE]).hexdigest() for at in range(0, len(data), SIZE)]
    assert Body.described(body.describe()) == body


@given(st.integers(1, 4 * SIZE), st.data())
def test_another_byte_gives_another_name(size: int, data: st.DataObject) -> None:
    good = bytearray(made_up(size))
    before = Body.of([bytes(good)])
    place = data.draw(st.integers(0, size - 1))
    good[place] ^= data.draw(st.integers(1, 255))
    after = Body.of([bytes(good)])
    assert after.group != before.group
    assert [one == other for one, other in zip(before.parts, after.parts, strict=True)].count(False) == 1
    assert before.parts[place // SIZE] != after.parts[place // SIZE]


@pytest.mark.parametrize("size", [0, 1, SIZE - 1, SIZE, SIZE + 1, 5 * SIZE + 7])
def test_bytes_come_back_as_they_were_put(link: Counting, tmp_path: Path, size: int) -> None:
    data = made_up(size)
    body = parts.put_data(link, UNDER, data)
    assert body == Body.of([data])
    assert whole(parts.get(link, PARTS, UNDER, body, tmp_path)) == data
    assert len(link.fetched) == len(body.parts) == -(-size // SIZE)


def test_what_is_large_comes_into_a_file(link: Counting, tmp_path: Path) -> None:
    data = made_up(LARGE)
    (tmp_path / "data").write_bytes(data)
    body = parts.put_data(link, UNDER, Kept(tmp_path / "data"))
    found = parts.get(link, PARTS, UNDER, body, tmp_path / "room")
    assert isinstance(found, Kept) and found.path.parent == tmp_path / "room"
    assert found.path.read_bytes() == data
    assert found.path.stat().st_mode & 0o777 == 0o600


def test_a_transfer_that_was_cut_goes_on_where_it_was(link: Counting, tmp_path: Path) -> None:
    data, path = made_up(20 * SIZE + 5), tmp_path / "model"
    body = parts.put_data(link, UNDER, data)
    link.left = 9
    with pytest.raises(Unreachable):
        parts.get_into(link, PARTS, UNDER, body, path)
    first, link.fetched, link.left = link.fetched, [], 10**9
    held = path.read_bytes()
    there = {
        number for number, name in enumerate(body.parts) if hashlib.sha256(held[number * SIZE : (number + 1) * SIZE]).hexdigest() == name
    }
    assert 0 < len(there) <= 9 == len(first)
    parts.get_into(link, PARTS, UNDER, body, path)
    assert path.read_bytes() == data
    assert sorted(link.fetched) == sorted(subject(body, number) for number in range(len(body.parts)) if number not in there)


def test_parts_that_rotted_on_the_disk_are_fetched_again(link: Counting, tmp_path: Path) -> None:
    data, path = made_up(6 * SIZE), tmp_path / "model"
    body = parts.put_data(link, UNDER, data)
    spoilt = bytearray(data + b"and more than there should be")
    spoilt[4 * SIZE + 17] ^= 1
    path.write_bytes(spoilt)
    parts.get_into(link, PARTS, UNDER, body, path)
    assert path.read_bytes() == data
    assert link.fetched == [subject(body, 4)]


def test_a_whole_file_is_not_fetched_again(link: Counting, tmp_path: Path) -> None:
    data, path = made_up(3 * SIZE + 1), tmp_path / "model"
    body = parts.put_data(link, UNDER, data)
    path.write_bytes(data)
    parts.get_into(link, PARTS, UNDER, body, path)
    assert link.fetched == []


@pytest.mark.parametrize("number", [0, 2, 3])
def test_an_altered_part_is_refused(link: Counting, tmp_path: Path, number: int) -> None:
    data = made_up(3 * SIZE + 9)
    body = Body.of([data])
    for place in range(4):
        part = bytearray(data[place * SIZE : (place + 1) * SIZE])
        part[-1] ^= place == number
        link.run(link.store(subject(body, place), bytes(part)))
    with pytest.raises(VerificationError, match="not what its name says"):
        parts.get(link, PARTS, UNDER, body, tmp_path)
    with pytest.raises(VerificationError, match="not what its name says"):
        parts.get_into(link, PARTS, UNDER, body, tmp_path / "model")
    assert hashlib.sha256((tmp_path / "model").read_bytes()).digest() != hashlib.sha256(data).digest()


@pytest.mark.parametrize(("stored", "stated"), [(SIZE, SIZE - 1), (5, 6), (6, 5), (0, 1)])
def test_a_part_of_another_length_than_was_said_is_refused(link: Counting, tmp_path: Path, stored: int, stated: int) -> None:
    part = made_up(stored, 1)
    body = Body(stated, (hashlib.sha256(part).hexdigest(),))
    link.run(link.store(subject(body, 0), part))
    with pytest.raises(VerificationError):
        parts.get(link, PARTS, UNDER, body, tmp_path)


def test_a_part_that_is_not_there_is_missed_at_once(link: Counting, tmp_path: Path) -> None:
    data = made_up(3 * SIZE)
    body = Body.of([data])
    link.run(link.store(subject(body, 0), data[:SIZE]))
    with pytest.raises(Unreachable, match="does not have all"):
        parts.get(link, PARTS, UNDER, body, tmp_path)


def test_a_part_is_written_once(link: Counting, tmp_path: Path) -> None:
    data = made_up(2 * SIZE)
    body = parts.put_data(link, UNDER, data)
    link.run(link.store(subject(body, 0), b"something else", once=True))
    with pytest.raises(StoreError):
        link.run(link.store(subject(body, 0), b"something else"))
    assert whole(parts.get(link, PARTS, UNDER, body, tmp_path)) == data
    assert parts.put_data(link, UNDER, data) == body
    assert link.api(f"$JS.API.STREAM.INFO.{PARTS}")["state"]["messages"] == 2


def test_a_site_cannot_put_up_more_than_was_agreed(link: Counting) -> None:
    under = SUBJECTS.uploads("slot001")
    parts.put_data(link, under, made_up(UPLOAD // 2, 1))
    with pytest.raises(StoreError, match="no room"):
        parts.put_data(link, under, made_up(UPLOAD, 2))
    link.api("$JS.API.STREAM.PURGE.UP_slot001")
    parts.put_data(link, under, made_up(UPLOAD // 2, 2))
    link.api("$JS.API.STREAM.PURGE.UP_slot001")


@pytest.mark.parametrize(("quick", "slow", "most"), [(1e9, 1e9, parts.WINDOW), (0.0, 0.0, 1)])
def test_a_quick_line_has_several_parts_under_way_and_a_slow_one_has_one(
    monkeypatch: pytest.MonkeyPatch, quick: float, slow: float, most: int
) -> None:
    monkeypatch.setattr(parts, "QUICK", quick)
    monkeypatch.setattr(parts, "SLOW", slow)
    under_way, seen, done = 0, 0, []

    async def work(item: int) -> None:
        nonlocal under_way, seen
        under_way += 1
        seen = max(seen, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        done.append(item)

    asyncio.run(parts._windowed(work, range(40)))
    assert (seen, sorted(done)) == (most, list(range(40)))


def test_the_first_part_that_fails_ends_those_under_way() -> None:
    ended = []

    async def work(item: int) -> None:
        try:
            await asyncio.sleep(0.001 if item < 6 else 60)
            if item == 5:
                raise Unreachable("gone", "")
        except asyncio.CancelledError:
            ended.append(item)
            raise

    with pytest.raises(Unreachable):
        asyncio.run(parts._windowed(work, range(40)))
    assert ended
    assert min(ended) > 5


def test_a_part_on_a_slow_line_holds_up_no_beat_for_so_long_that_its_site_counts_as_lost() -> None:
    assert min(LEASE, PING * PINGS) > 8 * SIZE / 1e6  # seconds at 1 Mbit/s


def test_a_connection_that_is_closed_says_so(link: Counting) -> None:
    link.close()
    with pytest.raises(Unreachable, match="closed"):
        parts.put_data(link, UNDER, made_up(10))
