"""The site of a run store while a sweep trains: pages are made when they are asked for.

Read-only: it answers GET, writes into a temporary folder of its own alone, and forgets
everything when it ends.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from analysis import report
from analysis.feature_gap import gap
from analysis.report.page import table_parts
from analysis.runs.collect import collect
from analysis.site.build import ranking, write_shared
from analysis.site.pages import MethodText, Site
from analysis.tables import runs
from analysis.tables.forms import files as table_files
from suite.interface.errors import UserError
from suite.store.states import SETTLED
from sweeps.watch.board import Board, time_left

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".pdf": "application/pdf",
}
"""By suffix; everything else is plain text."""


class LiveSite:
    """Pages of some experiments as the run store is now."""

    def __init__(
        self,
        runs_root: Path,
        manifests: Sequence[Path],
        folder: Path,
        describe: Callable[[str], MethodText | None],
    ) -> None:
        self._runs_root, self._manifests = runs_root, manifests
        self._folder, self._describe = folder, describe
        self._built: dict[str, object] = {}
        self._lock = threading.Lock()  # one page at a time: matplotlib has one state
        self._boards = [Board(manifest) for manifest in manifests]
        write_shared(folder)

    def page(self, path: str) -> Path | None:
        """The file of an address, made anew where its runs have changed; None for no such page."""
        name = path.lstrip("/") or "index.html"
        with self._lock:
            self._make(name)
        file = (self._folder / name).resolve()
        inside = file.is_relative_to(self._folder.resolve())
        hidden = any(part.startswith(".") for part in Path(name).parts)
        return file if inside and not hidden and file.is_file() else None

    def _make(self, name: str) -> None:
        cache = self._folder / report.CACHE / "records.json"
        site = Site(
            collect(self._runs_root, self._manifests, cache),
            self._describe,
            live=True,
            progress=self._progress(),
        )
        pages: dict[str, Callable[[], str]] = {
            "index.html": partial(self._overview, site),
            "runs.html": site.all_runs,
        }
        pages |= {page: partial(site.method, label) for label, page in site.methods.items()}
        run_id = name.removeprefix("runs/").removesuffix(".html")
        if name.startswith("runs/") and run_id in site.runs:
            pages[name] = partial(site.run, run_id)
        if name in pages:
            file = self._folder / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(pages[name](), encoding="utf-8")
        for key, place in site.pairs.items():
            if name == f"{place}/index.html":
                rows = site.of_pair(key).runs
                state = rows[["run_id", "state", "reason"]].to_dict("list")
                if self._built.get(place) != state:
                    known = gap.gaps(site.of_pair(key), self._folder / report.CACHE)
                    site.pair_page(key, self._folder, known)()
                    self._built[place] = state

    def _overview(self, site: Site) -> str:
        made = ranking(site)
        table_files.write(made, self._folder / "tables")
        runs.write(site.collected, self._folder / "runs.csv")
        return site.overview(table_parts(made), [])

    def _progress(self) -> dict[str, object]:
        """Counts, the time left by the epochs since the start, and what runs or needs a look."""
        for board in self._boards:
            board.refresh()
        known = [run for board in self._boards for run in board.runs.values()]
        return {
            "done": sum(run.state in SETTLED for run in known),
            "total": len(known),
            "summary": "; ".join(it.summary() for it in self._boards) + time_left(self._boards),
            "lines": [run.line() for run in known if run.needs_a_look],
        }


def serve(
    runs_root: Path,
    manifests: Sequence[Path],
    describe: Callable[[str], MethodText | None],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    ready: Callable[[str], None],
) -> None:
    """Answer until interrupted.

    Args:
        runs_root: Folder of the run store.
        manifests: What is shown.
        describe: The text of a method.
        host: Address to listen on; the loopback one is seen by this machine alone.
        port: 0 for one that is free.
        ready: Gets the address of the first page once it is served.

    Raises:
        OSError: The address is not free, or not one of this machine.
    """
    with tempfile.TemporaryDirectory(prefix="dskd-bench-site-") as folder:
        site = LiveSite(runs_root, manifests, Path(folder), describe)
        with ThreadingHTTPServer((host, port), _handler(site)) as server:
            ready(f"http://{host}:{server.server_address[1]}/")
            server.serve_forever()


def _handler(site: LiveSite) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(ConnectionError):  # the reader has left
                self._answer()

        def _answer(self) -> None:
            try:
                file = site.page(self.path.partition("?")[0])
            except UserError as error:  # a damaged manifest, say
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, explain=str(error))
                return
            if file is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            content = file.read_bytes()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", TYPES.get(file.suffix, "text/plain; charset=utf-8"))
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """A request is no news."""

    return Handler
