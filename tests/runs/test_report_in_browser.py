"""The page of a run as a browser shows it: nothing fails, the slider moves, it fits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from tempfile import mkdtemp
from threading import Event, Thread
from typing import Any, ClassVar

import numpy as np
import pytest
from matplotlib import image

from support.run_directories import path_of, write_run
from thermo_pl.reports.sheet import sheet
from thermo_pl.runs.report import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium here (Debian: apt install chromium)"),
]

EARS = """<script>
window.wrong = [];
addEventListener("error", event => wrong.push(event.message));
addEventListener("securitypolicyviolation", event => wrong.push(event.blockedURI));
const tell = console.error;
console.error = (...words) => { wrong.push(words.join(" ")); tell(...words); };
</script>"""
"""Before the page's own scripts: what fails, and what asks for the network."""

HANDS = """<script>
const pause = milliseconds => new Promise(done => setTimeout(done, milliseconds));
addEventListener("load", async () => {
  while (!document.body.dataset.ready) await pause(20);
  const opened = performance.now();
  for (let y = 0; y < document.body.scrollHeight; y += 300) { scrollTo(0, y); await pause(60); }
  const undrawn = () => Object.keys(page.figures).filter(
    name => !document.getElementById(name).querySelector(".main-svg"));
  for (let i = 0; i < 200 && undrawn().length; i++) await pause(50);
  const tile = () => document.querySelector("canvas[data-tile]").toDataURL();
  const mark = () => document.getElementById("gamma_C").data.at(-1).x[0];
  const before = [tile(), mark()], slider = document.getElementById("step");
  slider.value = slider.max;
  slider.dispatchEvent(new Event("input"));
  await pause(500);
  parent.postMessage({
    wrong, opened, width: innerWidth, wide: document.documentElement.scrollWidth,
    gamma: document.querySelector("[data-column=gamma]").textContent, mark: mark(),
    moved: before[0] !== tile() && before[1] !== mark(),
    undrawn: undrawn(),
    small: [...document.querySelectorAll("main *")].filter(
      part => parseFloat(getComputedStyle(part).fontSize) < 11).length,
  }, "*");
});
</script>"""
"""After them: look at all of the page, and move its slider to the end."""

FRAME = """<body style="margin:0"><iframe src="page.html" width="{}" height="900"></iframe>
<img src="wait"><script>
onmessage = event => fetch("told", {{ method: "POST", body: JSON.stringify(event.data) }});
</script>"""
"""A window of any width; it has not loaded, and so is not photographed, before the page told."""


class Server(SimpleHTTPRequestHandler):
    """Files of a folder, and what the page tells."""

    told: ClassVar[Queue[dict[str, Any]]] = Queue()
    over: ClassVar[Event] = Event()

    def do_GET(self) -> None:
        if self.path == "/wait":
            self.over.wait(60)
            self.send_error(404)
        else:
            super().do_GET()

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.told.put(json.loads(self.rfile.read(length)))
        self.send_response(204)
        self.end_headers()
        self.over.set()

    def log_message(self, *args: Any) -> None:
        pass


def browse(folder: Path, width: int) -> dict[str, Any]:
    """Show the page in a window of this width; what it tells."""
    (folder / "frame.html").write_text(FRAME.format(width))
    Server.over.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(folder)))
    with server:
        Thread(target=server.serve_forever, daemon=True).start()
        flags = ["--headless", "--no-sandbox", "--enable-unsafe-swiftshader", "--hide-scrollbars"]
        profile = mkdtemp(dir=folder)  # a new one: a browser may wait for what it left in the last
        flags += [f"--user-data-dir={profile}", "--window-size=1500,1000"]
        flags += [f"--screenshot={folder / 'shot.png'}"]
        address = f"http://127.0.0.1:{server.server_port}/frame.html"
        environment = {**os.environ, "HOME": str(folder)}
        command = [str(BROWSER), *flags, address]
        try:
            subprocess.run(command, capture_output=True, timeout=90, check=True, env=environment)
        finally:
            server.shutdown()
    return Server.told.get(timeout=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of 2,000 rows with examples, ready for a look."""
    folder = tmp_path_factory.mktemp("page")
    noise = np.random.default_rng(0).random((50, 3, 28, 28))
    picture, content = sheet({k: (0.0, *noise[[k % 49, k % 50]]) for k in range(2001)}, list("abc"))
    laws = [{"law": "first law", "statement": "x = 0", "value": 0.0, "error": 0.1, "reason": ""}]
    laws[0] |= {"tolerance": 1.0, "verdict": "holds", "count": 3}
    run = write_run(folder / "run", rows=path_of(2000), frames=content, laws=laws)
    (run / "frames.png").write_bytes(picture)
    text = write_report(run).read_text()
    text = text.replace("<head>\n", f"<head>\n{EARS}").replace("</body>", f"{HANDS}</body>")
    (folder / "page.html").write_text(text)
    return folder


@pytest.mark.parametrize("width", [1400, 400])
def test_the_page_opens_and_its_slider_moves(folder: Path, width: int) -> None:
    for _ in range(3):  # other processes may be at work
        found = browse(folder, width)
        if found["opened"] < 3000:
            break
    last = path_of(2000)[-1]["gamma"]
    assert found["wrong"] == []
    assert found["undrawn"] == []
    assert found["moved"]
    assert found["mark"] == last
    assert float(found["gamma"]) == pytest.approx(last, abs=5e-4)
    assert found["width"] == width
    assert found["wide"] <= width  # nothing sticks out
    assert found["small"] == 0  # no letters below 11 pixels
    assert found["opened"] < 3000
    shot = image.imread(folder / "shot.png")[:900, :width, :3]
    assert shot.std() > 0.05  # no empty sheet
    assert (shot.max(-1) - shot.min(-1)).max() > 0.3  # and in colour
