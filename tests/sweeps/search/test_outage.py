"""A real PostgreSQL stops in the middle of a search and comes back."""

import io
import subprocess
import threading
import time

import pytest
import simulated
import test_postgresql as postgresql
from rich.console import Console

from sweeps.search import launch, outage
from sweeps.search.worker import QueueWorker

pytestmark = postgresql.pytestmark


class Server:
    """A cluster of the test's own."""

    def __init__(self, folder):
        self.folder, self.port = folder, postgresql.free_port()
        if postgresql.AS_POSTGRES:
            for parent in [folder, *folder.parents]:
                if str(parent) == "/tmp":
                    break
                parent.chmod(0o755)
            postgresql.shutil.chown(folder, "postgres")
        self._call(postgresql.INITDB, "-D", folder / "data", "-A", "trust", "-U", "suite")

    def control(self, *words):
        program = postgresql.Path(postgresql.INITDB).resolve().with_name("pg_ctl")
        self._call(program, "-D", self.folder / "data", "-w", *words)

    def start(self):
        where = f"-h 127.0.0.1 -p {self.port} -c unix_socket_directories=''"
        for more in (
            True,
            True,
            False,
        ):  # after an immediate stop the port may be taken for a while
            try:
                self.control("-l", self.folder / "log", "-o", where, "start")
                return
            except subprocess.CalledProcessError:
                if not more:
                    raise
                time.sleep(2)

    def stop(self):
        try:
            self.control("-m", "immediate", "stop")
        except subprocess.CalledProcessError:  # as when it has ended already
            if self.is_running():
                raise

    def is_running(self):
        try:
            self.control("status")
        except subprocess.CalledProcessError:
            return False
        return True

    def _call(self, *words):
        subprocess.run(
            [*postgresql.AS_POSTGRES, *map(str, words)], check=True, cwd=self.folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.mark.parametrize("comes_back", [True, False])
def test_an_outage_is_waited_out_and_no_trial_is_lost(tmp_path, monkeypatch, comes_back):
    server = Server(tmp_path)
    server.start()
    url = f"postgresql+psycopg://suite@127.0.0.1:{server.port}/postgres"
    path, root, out = simulated.write_search(tmp_path), tmp_path / "runs", io.StringIO()

    class InProcess:
        poll_seconds, farewell, calls = 0.0, "", 0

        def __init__(self, name, runtime, step):
            queue = launch.Driver.__init__.__globals__["Queue"](root, name)
            self.worker = QueueWorker(
                queue, runtime, lambda: bool(step()) and False, simulated.train, lambda _: None
            )

        def keep(self):
            self.calls += 1
            if self.calls == 5:
                server.stop()
                if comes_back:
                    threading.Timer(2.0, server.start).start()
            self.worker.train_next()

        def stop(self):
            pass

    monkeypatch.setattr(launch, "InProcess", InProcess)
    monkeypatch.setattr(launch, "_check_pairs", lambda *_: None)
    how = launch.How("debug", storage=url, tuned_root=tmp_path / "tuned")
    given = path, (), simulated.runtime_of(root), how
    console = Console(file=out, width=200, markup=False)
    if not comes_back:
        short = lambda again, tell: outage.wait_for(again, tell, give_up_seconds=2)  # noqa: E731
        monkeypatch.setattr(launch, "wait_for", short)
        with pytest.raises(outage.StorageLost, match=r"did not answer for 2 s.*goes on"):
            launch.search(*given, console=console)
        return
    try:
        launch.search(*given, console=console)
        assert "does not answer; waiting" in out.getvalue()
        assert "answers again" in out.getvalue()
        simulated.check_consistent(path, root, 14, url)
    finally:
        server.stop()
