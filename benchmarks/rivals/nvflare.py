"""Run NVFLARE: a provisioned federation with mTLS, a server and its sites in processes of their own, one job.

Settings beyond the recipe: sites ask for tasks every 0.1 s instead of every 2 s, the controller looks every 0.05 s instead of every 0.5 s,
heartbeats come every 2 s and run out after 60 s, or 6 s for faults, instead of 600 s, a dead site is given up after 5 s instead of 60 s,
nothing is saved between rounds, all stores lie in the run's own folder, and where two of three answers are enough, all three are asked and
the job needs two. Not used, as it needs torch: keeping arriving tensors on disk, which its documents offer against the server's memory.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.rivals import faults as fault
from benchmarks.rivals.processes import Deployment
from tests.engines.federated import free_port

APP = Path(__file__).parent / "apps" / "nvflare"
SETTINGS = {"PYTHONWARNINGS": "ignore"}
BUILD = "nvflare.lighter.impl"
ADMIN = "admin@hub.org"


class Federation:
    """Hold a server, its sites and an administrator's kit."""

    front = "server_train"

    def __init__(self, run: Deployment, sites: int, lease: float) -> None:
        """Provision, set the timeouts, start all and wait until the sites are registered.

        Args:
            run: holds the processes.
            sites: how many take part.
            lease: seconds without a heartbeat after which a site counts as dead.
        """
        self.run, self.lease, self.port = run, lease, free_port()
        members = [{"name": "localhost", "type": "server", "org": "hub", "fed_learn_port": self.port}]
        members += [{"name": f"site{number}", "type": "client", "org": f"hospital{number}"} for number in range(1, sites + 1)]
        members += [{"name": ADMIN, "type": "admin", "org": "hub", "role": "project_admin"}]
        steps = [{"path": f"{BUILD}.workspace.WorkspaceBuilder", "args": {"template_file": ["master_template.yml"]}}]
        steps += [{"path": f"{BUILD}.static_file.StaticFileBuilder", "args": {"config_folder": "config"}}]
        steps += [{"path": f"{BUILD}.cert.CertBuilder"}, {"path": f"{BUILD}.signature.SignatureBuilder"}]
        project = {"api_version": 3, "name": "rival", "description": "loopback", "participants": members, "builders": steps}
        (run.folder / "project.yml").write_text(json.dumps(project))  # JSON is YAML.
        run.call([str(run.bin / "nvflare"), "provision", "-p", "project.yml", "-w", "kits"])
        self.kits = run.folder / "kits" / "rival" / "prod_00"
        self.set_resources()
        self.start("coordinator", "localhost")
        for number in range(1, sites + 1):
            self.start(f"site{number}", f"site{number}")
        log = run.folder / "logs" / "coordinator.log"
        run.wait("registration of all sites", lambda: log.read_text().count("New client site") >= sites)

    def set_resources(self) -> None:
        """Keep the server's stores in our folder and its heartbeat timeout short."""
        local = self.kits / "localhost" / "local"
        resources = json.loads((local / "resources.json.default").read_text())
        resources["servers"][0]["heart_beat_timeout"] = self.lease
        resources["snapshot_persistor"]["args"]["storage"]["args"]["root_dir"] = str(self.run.folder / "snapshots")
        manager = next(one for one in resources["components"] if one["id"] == "job_manager")
        manager["args"]["uri_root"] = str(self.run.folder / "jobs")
        (local / "resources.json").write_text(json.dumps(resources))

    def start(self, role: str, kit: str) -> None:
        """Start the server or a site by the script of its kit; sites beat every 2 s."""
        script = self.kits / kit / "startup" / "sub_start.sh"
        if kit != "localhost":
            script.write_text(script.read_text().replace("secure_train=true", "secure_train=true heart_beat_interval=2"))
        self.run.start(role, [str(script)])

    def submit(self, sites: int, least: int, megabytes: float, rounds: int, pause: float = 0) -> str:
        """Submit the job and return its number."""
        job = self.run.folder / "job"
        (job / "app" / "config").mkdir(parents=True)
        shutil.copytree(APP, job / "app" / "custom", ignore=shutil.ignore_patterns("__pycache__"))
        meta = {"name": "rival", "resource_spec": {}, "min_clients": least, "deploy_map": {"app": ["@ALL"]}}
        fedavg = {"num_clients": sites, "num_rounds": rounds, "task_check_period": 0.05}
        timed = {"megabytes": megabytes, "sites": sites, "figures": str(self.run.folder / "figures.jsonl")}
        server = {
            "format_version": 2,
            "server": {"task_request_interval": 0.1},
            "dead_client_grace_period": 5.0,
            "dead_client_check_lead_time": 5.0,
            "workflows": [{"id": "controller", "path": "nvflare.app_common.workflows.fedavg.FedAvg", "args": fedavg}],
            "components": [{"id": "persistor", "path": "rival_coordinator.Timed", "args": timed}],
        }
        script = {"task_script_path": "rival_site.py", "task_script_args": str(pause), "params_exchange_format": "numpy"}
        runner = {
            "path": "nvflare.app_common.executors.client_api_executor.ClientAPIExecutor",
            "args": {"execution_mode": "in_process", **script},
        }
        site = {"format_version": 2, "executors": [{"tasks": ["*"], "executor": runner}], "components": []}
        (job / "meta.json").write_text(json.dumps(meta))
        (job / "app" / "config" / "config_fed_server.json").write_text(json.dumps(server))
        (job / "app" / "config" / "config_fed_client.json").write_text(json.dumps(site))
        return str(self.ask("job", "submit", "-j", str(job))["data"]["job_id"])

    def console(self, *words: str) -> list[str]:
        """Return a command of NVFLARE's console with the administrator's kit."""
        return [str(self.run.bin / "nvflare"), "--format", "json", *words, "--startup-kit", str(self.kits / ADMIN)]

    def ask(self, *words: str) -> dict[str, Any]:
        """Run a command of the console and return its answer."""
        found: dict[str, Any] = json.loads(self.run.call(self.console(*words)))
        return found

    def submit_slow(self) -> None:
        """Start a run for `fault.observe`."""
        self.job = self.submit(fault.SITES, fault.LEAST, fault.MEGABYTES, fault.ROUNDS, fault.PAUSE)

    def restart(self) -> None:
        """Start the server again, as the script of its kit does."""
        self.start("coordinator", "localhost")

    def lost(self, site: str) -> bool:
        """Return whether the server's log tells that a site is gone."""
        log = (self.run.folder / "logs" / "coordinator.log").read_text()
        return any(site in line and re.search("dead|disconnect", line, re.IGNORECASE) for line in log.splitlines())

    def status(self) -> str:
        """Return the state of the job."""
        return str(self.ask("job", "meta", self.job)["data"]["status"])


def begin(run: Deployment, sites: int, megabytes: float, rounds: int) -> subprocess.Popen[bytes]:
    """Start a federation and rounds without training."""
    federation = Federation(run, sites, lease=60)
    job = federation.submit(sites, sites, megabytes, rounds)
    return run.start("console", federation.console("job", "wait", job, "--timeout", "0", "--interval", "2"))


def to_be_tried(run: Deployment, apart: bool) -> Federation:
    """Start a federation for faults; its job always runs apart."""
    return Federation(run, fault.SITES, lease=6)
