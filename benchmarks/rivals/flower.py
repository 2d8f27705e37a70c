"""Run Flower: a SuperLink and SuperNodes with TLS and signed requests, without telemetry, update checks or installs at run time.

Settings beyond the tutorial: SuperExec polls every 0.1 s instead of every second, evaluation is off, state is kept in memory for timing
(its SQLite state fails with big models) and in SQLite where a restart is tried. What cannot be set: a process per message at every site,
and polls every 3 s by sites and by the ServerApp.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from benchmarks.rivals import faults as fault
from benchmarks.rivals.processes import Deployment
from tests.engines.federated import free_port

APP = Path(__file__).parent / "apps" / "flower"
SETTINGS = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1"}


class Federation:
    """Hold a SuperLink and its SuperNodes."""

    front = "flower-superlink"

    def __init__(self, run: Deployment, sites: int, *options: str, apart: bool = False) -> None:
        """Make keys, start all, register the sites and wait until they are online.

        Args:
            run: holds the processes.
            sites: how many SuperNodes.
            options: further options of the SuperLink.
            apart: whether the ServerApp runs apart from the SuperLink, as its documents call "process isolation".
        """
        self.run, self.keys, self.port = run, run.folder / "keys", free_port()
        self.keys.mkdir()
        self.names: dict[str, str] = {}
        self.certificates()
        tls = [f"--ssl-ca-certfile={self.keys}/ca.crt", f"--ssl-certfile={self.keys}/server.crt", f"--ssl-keyfile={self.keys}/server.key"]
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        safe = ["--enable-supernode-auth", "--disable-runtime-dependency-installation"]
        self.superlink = [str(run.bin / "flower-superlink"), *tls, *where, *safe, *options]
        if apart:
            self.superlink += ["--isolation", "process"]
        settings = run.folder / "home" / ".flwr"
        settings.mkdir()
        connection = f'address = "127.0.0.1:{self.port}"\nroot-certificates = "{self.keys}/ca.crt"\n'
        (settings / "config.toml").write_text(f'[superlink]\ndefault = "loopback"\n\n[superlink.loopback]\n{connection}')
        run.start("coordinator", self.superlink)
        log = run.folder / "logs" / "coordinator.log"
        run.wait("SuperLink", lambda: "Uvicorn running" in log.read_text())
        if apart:
            to = ["--runtime-api-address", f"127.0.0.1:{self.port}", "--root-certificates", str(self.keys / "ca.crt")]
            run.start("coordinator", [str(run.bin / "flower-superexec"), *to])
        for number in range(1, sites + 1):
            self.add(number)
        run.wait("sites online", lambda: list(self.states().values()).count("online") == sites, every=1)

    def certificates(self) -> None:
        """Make an authority and a certificate of the SuperLink with openssl, as Flower's documents do."""
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        ca, key = str(self.keys / "ca.crt"), str(self.keys / "ca.key")
        self.run.call([*new, "-subj", "/CN=authority", "-keyout", key, "-out", ca])
        names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
        to = ["-keyout", str(self.keys / "server.key"), "-out", str(self.keys / "server.crt")]
        self.run.call([*new, "-CA", ca, "-CAkey", key, "-subj", "/CN=localhost", *names, *to])

    def flwr(self, *words: str) -> list[str]:
        """Return a command of Flower's console."""
        return [str(self.run.bin / "flwr"), *words]

    def add(self, number: int) -> None:
        """Make a site's key, register it, start its SuperNode."""
        key = self.keys / f"site{number}"
        self.run.call(["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", str(key)])
        said = self.run.call(self.flwr("supernode", "register", f"{key}.pub", "loopback", "--name", f"site{number}", "--format", "json"))
        self.names[str(json.loads(said)["node-id"])] = f"site{number}"
        link = ["--superlink", f"127.0.0.1:{self.port}", "--root-certificates", str(self.keys / "ca.crt"), "--port", str(free_port())]
        link += ["--node-config", f"number={number}"]
        home = str(self.run.folder / "home" / f"site{number}")
        self.run.start(
            f"site{number}", [str(self.run.bin / "flower-supernode"), *link, "--auth-supernode-private-key", str(key)], FLWR_HOME=home
        )

    def states(self) -> dict[str, str]:
        """Return the state of each site as Flower tells it."""
        found = json.loads(self.run.call(self.flwr("supernode", "list", "loopback", "--format", "json")))
        return {self.names[one["node-id"]]: one["status"] for one in found["nodes"]}

    def submit(self, **config: float) -> subprocess.Popen[bytes]:
        """Start the app; the process returned ends with the run."""
        app = shutil.copytree(APP, self.run.folder / "app", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        words = " ".join(f"{name}={value}" for name, value in config.items())
        words += f' figures="{self.run.folder / "figures.jsonl"}"'
        return self.run.start("console", self.flwr("run", str(app), "loopback", "--stream", "--run-config", words))

    def submit_slow(self) -> None:
        """Start a run for `fault.observe`."""
        self.submit(sites=fault.SITES, least=fault.LEAST, megabytes=fault.MEGABYTES, rounds=fault.ROUNDS, pause=float(fault.PAUSE))

    def restart(self) -> None:
        """Start the SuperLink again."""
        self.run.start("coordinator", self.superlink)

    def lost(self, site: str) -> bool:
        """Return whether Flower's list of SuperNodes tells that a site is offline; its logs name no site."""
        return self.states()[site] == "offline"

    def status(self) -> str:
        """Return the state of the run."""
        found = json.loads(self.run.call(self.flwr("list", "loopback", "--format", "json")))
        return str(found["runs"][0]["status"])


def begin(run: Deployment, sites: int, megabytes: float, rounds: int) -> subprocess.Popen[bytes]:
    """Start a federation and rounds without training."""
    return Federation(run, sites).submit(sites=sites, least=sites, megabytes=float(megabytes), rounds=rounds)


def to_be_tried(run: Deployment, apart: bool) -> Federation:
    """Start a federation for faults, its state in SQLite."""
    return Federation(run, fault.SITES, "--database", str(run.folder / "state.db"), apart=apart)
