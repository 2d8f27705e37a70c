"""What is handed out to run wardround as a service, and the pages that explain it, name commands and paths that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from tests.docs.write_help import help_text
from tests.house.reading import ROOT

DEPLOY = ROOT / "deploy"
UNITS = (DEPLOY / "wardround-site.service", DEPLOY / "wardround-coordinator.service")
CONTAINER = DEPLOY / "Containerfile"
PAGES = (ROOT / "docs" / "hospital.md", ROOT / "docs" / "coordinator.md")
VOLUME = "/var/lib/wardround"


def unit(path: Path) -> ConfigParser:
    """Read a unit; a key that stands twice in a section is an error."""
    parser = ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as the library's manual says
    parser.read_string(path.read_text(encoding="utf-8"))
    return parser


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a container file with what stands after them."""
    joined = re.sub(r"\\\n\s*", "", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def commands(text: str) -> Iterator[str]:
    """Yield each use of the program in a text: the words after its name, up to the end of the line or of the code."""
    groups = "site|coordinator|study|doctor|verify|simulate|report|next"
    for line in text.replace("\\\n#", "").splitlines():
        for found in re.finditer(rf"(?:^|[\s/`'])(?:wardround|wr) ((?:{groups})(?: [^`#]*?)?)(?=$|`|#|;| {{3,}}|\s*&&)", line):
            yield found[1].strip()


def wrong(words: str) -> str:
    """Return what is wrong with a use of the program, or nothing: unknown commands, unknown options."""
    from wardround.cli.main import app

    command: Any = get_command(app)
    path: list[str] = []
    for word in words.split():
        inner = getattr(command, "commands", {}).get(word)
        if inner is None:
            break
        command, path = inner, [*path, word]
    if hasattr(command, "commands"):
        return f"{words}: no such command"
    help_text(app, tuple(path))
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    unknown = {option for option in re.findall(r"(?<=\s)--[a-z-]+", words) if option not in known}
    return f"{words}: no option {', '.join(sorted(unknown))}" if unknown else ""


@pytest.mark.parametrize("path", [*UNITS, CONTAINER, *PAGES], ids=lambda path: path.name)
def test_every_command_that_is_named_exists(path: Path) -> None:
    found = list(commands(path.read_text(encoding="utf-8")))
    assert len(found) >= 2
    assert [complaint for words in found if (complaint := wrong(words))] == []


def test_a_command_that_does_not_exist_is_noticed() -> None:
    text = "#   wardround site join X      and      /opt/wardround/bin/wardround site fly\nrun `wardround coordinator status --loud`"
    assert [wrong(words) for words in commands(text)] == [
        "",
        "site fly: no such command",
        "coordinator status --loud: no option --loud",
    ]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_is_hardened_and_ends_its_worker(path: Path) -> None:
    read = unit(path)
    service = dict(read["Service"])
    assert set(read.sections()) == {"Unit", "Service", "Install"}
    wanted = {
        "User": "wardround",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "PrivateTmp": "yes",
        "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
        "CapabilityBoundingSet": "",
        "KillSignal": "SIGTERM",
        "KillMode": "mixed",
        "Restart": "always",
        "RestartPreventExitStatus": "0",
    }
    assert {key: service.get(key) for key in wanted} == wanted
    assert not [key for key in service if key.startswith("Environment")], "the program reads nothing there, and secrets would show"


def test_a_hospital_starts_again_only_after_its_lease_is_over() -> None:
    from wardround.engines.presence import LEASE

    assert int(unit(UNITS[0])["Service"]["RestartSec"]) > LEASE


def test_paths_and_user_agree() -> None:
    steps = instructions(CONTAINER.read_text(encoding="utf-8"))
    entry = next(rest for name, rest in steps if name == "ENTRYPOINT")
    assert [rest for name, rest in steps if name in ("WORKDIR", "VOLUME")][-2:] == [VOLUME, VOLUME]
    for path in UNITS:
        service = unit(path)["Service"]
        program, *words = service["ExecStart"].split()
        assert entry == f'["{program}"]'
        assert wrong(" ".join(words)) == ""
        assert service["WorkingDirectory"] == service["ReadWritePaths"] == words[-1]
        assert Path(words[-1]).parent == Path(VOLUME)
        assert f"wr {' '.join(words).replace(f'{VOLUME}/', '')}\n" in CONTAINER.read_text(encoding="utf-8")
        assert service["User"] == next(rest for name, rest in steps if name == "USER")
        named = set(re.findall(r"/(?:opt|var/lib)/wardround[\w./-]*", path.read_text(encoding="utf-8")))
        assert {one for one in named if one.startswith("/opt")} <= {"/opt/wardround", program, str(Path(program).with_name("pip"))}
        assert {one for one in named if one.startswith("/var")} <= {VOLUME, words[-1]}


def test_the_image_takes_named_files_and_no_secret() -> None:
    steps = instructions(CONTAINER.read_text(encoding="utf-8"))
    copied = [word for name, rest in steps if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]]
    assert set(copied) == {"pyproject.toml", "README.md", "LICENSE", "NOTICE", "src"}
    assert all((ROOT / name).exists() for name in copied)
    assert not {name for name, _ in steps} & {"ADD", "ARG", "ENV"}
    users = [rest for name, rest in steps if name == "USER"]
    assert users == ["wardround"]
    assert any("[learn,hub]" in rest for name, rest in steps if name == "RUN")
