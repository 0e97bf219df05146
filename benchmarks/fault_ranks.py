"""One of two ranks is killed: the other ends within a minute, not as if it were done."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fault_runs import in_the_fork, run
from lightning_utilities.core.rank_zero import rank_zero_only

CONFIG = Path(__file__).resolve().parent / "small_configs" / "iso.yaml"
WORDS = ["fit", "--config", str(CONFIG)]
SHARED = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.batch_size", "16"]
ALLOWED = 60.0
"""Seconds in which the other rank has to end."""
MET = "All distributed processes registered"
LONGEST = 300.0
"""Seconds after which a run that nobody disturbs hangs."""


class Ranks:
    """Two ranks of one run, as processes.

    Lightning starts the second one itself and has the first one watch it, or each is started by
    itself, as by torchrun or SLURM, but nobody watches as these do.
    """

    def __init__(self, place: Path, launched: bool) -> None:
        """Start them.

        Args:
            place: an empty directory for the run.
            launched: whether Lightning starts the second one.
        """
        self.place, self.launched = place, launched
        self.codes: dict[int, int | None] = {}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = str(probe.getsockname()[1])
        if launched:
            command = [sys.executable, "-m", "thermo_pl", *WORDS, *SHARED]
            environment = {**os.environ, "MASTER_PORT": self.port}
            with (place / "out_0.txt").open("w") as out, (place / "err_0.txt").open("w") as err:
                self.first = subprocess.Popen(
                    command,
                    cwd=place,
                    stdout=out,
                    stderr=err,
                    env=environment,
                    start_new_session=True,
                ).pid
            self.known = [self.first]
        else:
            self.known = [self._started(rank) for rank in range(2)]

    def _started(self, rank: int) -> int:
        child = os.fork()
        if child == 0:
            files = (self.place / f"{name}_{rank}.txt" for name in ("out", "err"))
            in_the_fork([*WORDS, *SHARED], self.place, *files, lambda: self._tell(rank))
        return child

    def _tell(self, rank: int) -> None:
        told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": self.port, "WORLD_SIZE": "2"}
        os.environ.update(told | {"NODE_RANK": "0", "LOCAL_RANK": str(rank), "RANK": str(rank)})
        rank_zero_only.rank = rank  # Lightning has looked when it was imported

    def pids(self) -> list[int]:
        """Of all ranks that have been started so far, in their order."""
        if self.launched and len(self.known) == 1:
            self.known += children(self.first)
        return self.known

    def alive(self) -> list[int]:
        """Of those that have not ended."""
        for pid in self.pids():
            if pid not in self.codes:
                gone, code = ended(pid)
                self.codes |= {pid: code} if gone else {}
        return [pid for pid in self.known if pid not in self.codes]

    def wait(self, seconds: float) -> float:
        """Wait until all have ended; the seconds that it took."""
        start = time.monotonic()
        while self.alive() and time.monotonic() - start < seconds:
            time.sleep(0.05)
        return time.monotonic() - start

    def meet(self, seconds: float) -> None:
        """Wait until the ranks have found each other."""
        start = time.monotonic()
        while MET not in self.told() and time.monotonic() - start < seconds:
            time.sleep(0.05)

    def told(self) -> str:
        """What all of them complained of."""
        return "".join(file.read_text(errors="replace") for file in self.place.glob("err_*.txt"))


def case(number: int, folder: Path) -> dict[str, Any]:
    """Kill a rank at a random moment, and go on with one process from what is on disk.

    Args:
        number: of the case; it is the seed, too.
        folder: where runs lie.

    Returns:
        What came of it.
    """
    draw, launched = random.Random(number), number % 2 == 0
    length = _undisturbed(folder, launched)
    ranks = Ranks(_fresh(folder / "cut"), launched)
    after, victim = draw.uniform(0.02, 0.95 if launched else 0.7) * length, draw.randrange(2)
    if not launched:  # until they have met, only who has started a rank can tell that it is gone
        ranks.meet(LONGEST)
    time.sleep(after)
    pids = ranks.pids()
    killed = pids[victim % len(pids)]  # the other one may not be there yet
    done = killed not in ranks.alive()
    if not done:
        os.kill(killed, signal.SIGKILL)
    took = ranks.wait(ALLOWED)
    wrong = ["the other rank goes on"] if ranks.alive() else []
    for pid in ranks.alive():
        os.kill(pid, signal.SIGKILL)
    wrong += ["a rank was done" for code in ranks.codes.values() if code == 0 and not done]
    wrong += ["a traceback"] if "Traceback" in ranks.told() else []
    saved = any((ranks.place / "runs").glob("version_*/checkpoints/*.ckpt"))
    on = run([*WORDS, *(["--ckpt_path", "last"] if saved else [])], ranks.place)
    wrong += [] if on.code == 0 else [f"it does not go on: {on.code}, {on.told}"]
    found = {"killed": victim, "launched": launched, "after": round(after, 1), "resumed": saved}
    found |= {"ended in": round(took, 1), "codes": list(ranks.codes.values())}
    return {"ok": not wrong, "told": "; ".join(wrong)[:300]} | found


def _undisturbed(folder: Path, launched: bool) -> float:
    # how long a run takes
    place = folder / f"straight-{'launched' if launched else 'alone'}"
    if not (place / "seconds").exists():
        ranks = Ranks(_fresh(place), launched)
        seconds = ranks.wait(LONGEST)
        if ranks.alive() or any(ranks.codes.values()):
            raise SystemExit(
                f"ranks: got {ranks.codes} of a run that nobody disturbs; {ranks.told()}"
            )
        (place / "seconds").write_text(str(seconds))
    return float((place / "seconds").read_text())


def _fresh(place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def children(pid: int) -> list[int]:
    """Ranks that a rank has started; not its other helpers."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(c) for c in found if b"thermo_pl" in Path(f"/proc/{c}/cmdline").read_bytes()]
    except OSError:
        return []


def ended(pid: int) -> tuple[bool, int | None]:
    """Whether a process has ended, and its exit code, less than zero for a signal.

    The code of a rank that another one has started is not known here.
    """
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
        return bool(done), os.waitstatus_to_exitcode(status) if done else None
    except ChildProcessError:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True, None
        return state == "Z", None
