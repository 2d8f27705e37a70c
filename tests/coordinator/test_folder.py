"""A coordinating centre's folder says what is wrong with it, and keeps its secrets to itself."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engines.federated import new_centre, open_protocol
from wardround.coordinator.folder import INITIAL, PROTOCOL, SETTINGS, Folder, Settings, settings_text, write_secret
from wardround.study.errors import ProtocolError, StoreError, VerificationError

VALUES: dict[str, Any] = {"name": "centre", "address": "127.0.0.1", "port": 4222, "names": ["hub.example"], "slots": 8}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_centre(tmp_path_factory.mktemp("centre") / "made", open_protocol()).path


@pytest.fixture
def made(template: Path, tmp_path: Path) -> Path:
    """Return a folder that a test may spoil."""
    import shutil

    return Path(shutil.copytree(template, tmp_path / "made"))


def test_a_fresh_folder_is_whole(made: Path) -> None:
    folder = Folder(made)
    assert folder.protocol.canonical == (made / PROTOCOL).read_bytes()
    assert set(folder.initial) and folder.settings.name == "centre"
    assert folder.signer.name == "centre/small"
    assert len({folder.hub_key("coordinator"), folder.hub_key("admin"), folder.key.private_bytes_raw()}) == 3


def test_secrets_are_for_this_user_only(made: Path) -> None:
    assert {path.name for path in (made / "keys").iterdir()} == {"identity", "coordinator", "admin"}
    secret = [*(made / "keys").iterdir(), made / "hub" / "server.key", made / "hub" / "nats.conf", made / "enrolment.sqlite"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (made, made / "keys", made / "hub")} == {0o700}


def test_a_secret_is_not_written_over(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", b"first")
    with pytest.raises(FileExistsError):
        write_secret(tmp_path / "key", b"second")
    assert (tmp_path / "key").read_bytes() == b"first"


def test_another_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a coordinator's folder") as error:
        Folder(tmp_path).settings  # noqa: B018
    assert "init" in error.value.remedy
    with pytest.raises(StoreError):
        Folder(tmp_path).protocol  # noqa: B018


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("port = 0", "port"),
        ("port = 65536", "port"),
        ("slots = 0", "slots"),
        ("slots = 1000", "slots"),
        ("names = []", "names"),
        ('names = ["two words"]', "names"),
        ('names = ["köln"]', "names"),
        ("max_store = 0", "max_store"),
        ('address = "a b"', "address"),
        ('address = "127.0.0.1\\"\\nhttp: 8222"', "address"),
        ('sauce = "red"', "sauce"),
    ],
)
def test_a_setting_that_cannot_be_is_named(made: Path, line: str, named: str) -> None:
    lines = [one for one in (made / SETTINGS).read_text().splitlines() if not one.startswith(f"{named} ")]
    (made / SETTINGS).write_text("\n".join([*lines, line]))
    with pytest.raises(ProtocolError, match=named):
        Folder(made).settings  # noqa: B018


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "0", "0.0", "::0", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0"])
def test_no_setting_makes_the_hub_listen_everywhere(made: Path, address: str) -> None:
    text = (made / SETTINGS).read_text().replace('address = "127.0.0.1"', f'address = "{address}"')
    assert address in text
    (made / SETTINGS).write_text(text)
    with pytest.raises(ProtocolError, match="address"):
        Folder(made).settings  # noqa: B018


def test_settings_that_are_not_toml_are_an_error_with_a_remedy(made: Path) -> None:
    (made / SETTINGS).write_bytes(b"name = \xff")
    with pytest.raises(ProtocolError, match="is not TOML"):
        Folder(made).settings  # noqa: B018


def test_other_initial_parameters_than_the_plan_s_are_refused(made: Path) -> None:
    data = (made / INITIAL).read_bytes()
    (made / INITIAL).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(VerificationError, match="not what the protocol names"):
        Folder(made).initial  # noqa: B018


@pytest.mark.parametrize(
    ("address", "names", "url", "listen", "sites"),
    [
        ("10.0.0.1", ["hub.example", "10.0.0.1"], "", "10.0.0.1:4222", "tls://hub.example:4222"),
        ("fe80::1", ["fe80::1"], "", "[fe80::1]:4222", "tls://[fe80::1]:4222"),
        ("10.0.0.1", ["hub.example"], "tls://far.example:5", "10.0.0.1:4222", "tls://far.example:5"),
        ("10.0.0.1", ["fe80::1"], "tls://far.example:5", "10.0.0.1:4222", "tls://far.example:5"),
    ],
)
def test_how_the_hub_is_called(address: str, names: list[str], url: str, listen: str, sites: str) -> None:
    settings = Settings.model_validate({**VALUES, "address": address, "names": names, "url": url})
    assert (settings.listen, settings.site_url) == (listen, sites)
    assert settings.own_url == (url or f"tls://{listen}")


@given(
    st.fixed_dictionaries(
        {
            "name": st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,20}", fullmatch=True),
            "address": st.sampled_from(["127.0.0.1", "hub.example", "fe80::1"]),
            "port": st.integers(1, 65535),
            "names": st.lists(st.sampled_from(["hub.example", "10.1.2.3", "a-b.example"]), min_size=1, max_size=3),
            "slots": st.integers(1, 999),
        }
    )
)
def test_the_text_that_is_written_says_what_was_meant(values: dict[str, Any]) -> None:
    read = Settings.model_validate(tomllib.loads(settings_text(values)))
    assert {name: getattr(read, name) for name in values} == {**values, "names": tuple(values["names"])}
    assert (read.url, read.binary) == ("", "")
