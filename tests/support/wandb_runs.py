"""Short runs of shipped configs with W&B offline, and what W&B's own reader says of them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import wandb
import yaml

from thermo_pl.cli import main
from thermo_pl.configs.layers import load
from thermo_pl.files import read_csv

ROOT = Path(__file__).parents[2]


def tiny_config(name: str, folder: Path, reports: bool = True) -> Path:
    """A shipped config with two macro-steps on few images, otherwise as it is."""
    config = load(ROOT / "lightning_configs" / f"{name}.yaml")
    trainer = config["trainer"]
    config["data"]["init_args"] |= {"train_batches": 4, "batch_size": 32}
    config["data"]["init_args"]["cache_dir"] = str(folder / "cache")
    config["model"]["init_args"]["scheduler"] = (
        None  # falling, it would learn too little in 4 batches
    )
    if "callbacks" in trainer:
        config["data"]["init_args"]["waypoints"] = [{"classes": [0, 1]}, {"classes": [5, 6]}]
        config["model"]["init_args"]["classifier"]["init_args"]["classes"] = 2
        trainer["callbacks"][-1]["init_args"] |= {
            "steps": 2,
            "tolerance": 1e9,  # so short a run holds nothing; W&B writes an infinity as a word
            "equilibration": {"stationarity": 1e3, "max_epochs": 4, "check_every": 1},
            "probes": {"solving_particles": 64, "control_samples": 2, "measuring_samples": 2},
        }
    else:
        trainer["max_epochs"] = 2
    if not reports:  # they take the longest
        kept = [
            c for c in trainer["callbacks"] if c["class_path"] not in {"RunReport", "LawMonitor"}
        ]
        trainer["callbacks"] = kept
    trainer["default_root_dir"] = str(folder / "runs")
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def fit(
    folder: Path, *flags: str, name: str = "iso_digits", code: int = 0, reports: bool = True
) -> Path:
    """Run ``fit`` in this process; the run directory."""
    config = tiny_config(name, folder, reports)
    assert main(["fit", "--config", str(config), *flags]) == code
    return max((folder / "runs").iterdir(), key=lambda path: int(path.name.rpartition("_")[2]))


@dataclass
class Recorded:
    """A run as W&B's reader sees it, and the directory that W&B made."""

    folder: Path
    records: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record[kind] for record in self.records if record["type"] == kind]

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = self.of("run")[0]["config"]["update"]
        return found

    @property
    def history(self) -> list[dict[str, Any]]:
        return [item["item"] for item in self.of("history")]

    @property
    def axes(self) -> dict[str, str | None]:
        """The x-axis of each name that was defined."""
        return {m["name"]: m.get("step_metric") for m in self.of("metric") if "name" in m}

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for update in self.of("summary"):
            found |= update.get("update", {})
        return found

    def series(self, name: str) -> list[float]:
        return [row[name] for row in self.history if name in row]

    def media(self, name: str) -> Path:
        """The file behind a table or an image."""
        return self.folder / "files" / str(self.series(f"{name}.path")[-1])


def written(run: Path) -> Path:
    """The directory that W&B made in a run directory, once all of it is on disk.

    W&B's ``finish`` returns before its service has written the end of a run's file. Only when the
    service itself has ended is everything there, as at the end of a program.
    """
    wandb.teardown()
    (folder,) = (run / "wandb").glob("*run-*")
    return folder


def recorded(run: Path) -> Recorded:
    """Read a run back with W&B's own reader."""
    folder = written(run)
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Recorded(folder, [json.loads(line) for line in done.stdout.splitlines()])


def path_of(run: Path) -> list[dict[str, Any]]:
    return read_csv(run / "path.csv")


def same(a: list[float], b: list[float]) -> bool:
    """Whether two lists of numbers agree to ten digits."""
    return len(a) == len(b) and all(
        math.isclose(x, y, rel_tol=1e-10) for x, y in zip(a, b, strict=True)
    )


@dataclass
class Server:
    """What stands in for W&B's server: enough of it to begin a run."""

    url: str = ""
    silent: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)
    bodies: list[bytes] = field(default_factory=list)


BUCKET = {
    "id": "b",
    "name": "run",
    "displayName": "run",
    "description": "",
    "config": "{}",
    "sweepName": "",
    "historyLineCount": 0,
    "project": {"name": "thermo_pl", "entity": {"name": "somebody"}},
}


@contextmanager
def a_server() -> Generator[Server, None, None]:
    """A server on this machine; it no longer answers once its ``silent`` is set."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            server.bodies.append(body)
            if server.silent.is_set():
                server.closed.wait()
                return
            begun = {"upsertBucket": {"bucket": BUCKET, "inserted": True}}
            data = begun if b"UpsertBucket" in body else {"model": {"bucket": None}}
            answer = json.dumps({"data": data}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.closed.set()
        http.shutdown()
        http.server_close()
