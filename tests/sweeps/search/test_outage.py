"""A real PostgreSQL stops in the middle of a search and comes back."""

import io
import json
import subprocess
import threading
import time

import pytest
import simulated
import test_postgresql as postgresql
from rich.console import Console

from sweeps import executors
from sweeps.executors.in_process import InProcess
from sweeps.search import launch, outage

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

    @property
    def url(self):
        return f"postgresql+psycopg://suite@127.0.0.1:{self.port}/postgres"


def worker_of(root, before_run=lambda _: None, at_the_end=lambda: None):
    """A worker in the driver's process."""

    class Executor(InProcess):
        """Trains in no time."""

        started, farewell, calls = "", "", 0

        def start(self, work, look):
            def train(spec, runtime, _):
                simulated.train(spec, runtime, lambda: bool(look()) and False)

            self.worker = simulated.worker_of(work.experiment, root, train)
            return self

        def attend(self):
            self.calls += 1
            before_run(self.calls)
            self.worker.train_first(self.worker.source.ready(0.0) or ())

        def stop(self):
            at_the_end()

    return Executor


@pytest.mark.parametrize("comes_back", [True, False])
def test_an_outage_is_waited_out_and_no_trial_is_lost(tmp_path, monkeypatch, comes_back):
    server = Server(tmp_path)
    server.start()
    path, root, out = simulated.write_search(tmp_path), tmp_path / "runs", io.StringIO()

    def stop(calls):
        if calls == 5:
            server.stop()
            if comes_back:
                threading.Timer(2.0, server.start).start()

    monkeypatch.setattr(executors, "find", worker_of(root, stop))
    monkeypatch.setattr(launch, "_check_pairs", lambda *_: None)
    options = launch.SearchOptions("in_process", storage=server.url, tuned_root=tmp_path / "tuned")
    given = path, (), simulated.runtime_of(root), options
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
        simulated.check_consistent(path, root, 14, server.url)
    finally:
        server.stop()


def test_the_first_look_at_a_study_and_the_last_wait_too(tmp_path, monkeypatch):
    server = Server(tmp_path)
    path, root, out = simulated.write_search(tmp_path), tmp_path / "runs", io.StringIO()

    def restart():
        server.stop()
        threading.Timer(2.0, server.start).start()

    monkeypatch.setattr(executors, "find", worker_of(root, at_the_end=restart))
    monkeypatch.setattr(launch, "_check_pairs", lambda *_: None)
    options = launch.SearchOptions("in_process", storage=server.url, tuned_root=tmp_path / "tuned")
    threading.Timer(2.0, server.start).start()
    try:
        summary = launch.search(
            *(path, (), simulated.runtime_of(root), options),
            console=Console(file=out, width=200, markup=False),
        )
        assert out.getvalue().count("answers again") == 2
        assert [chosen.name for chosen in summary.chosen] == ["kd.yaml"]
        (study,) = json.loads(summary.record.read_text())["studies"]
        assert len(study["trials"]) == 14
        assert (root / "quick" / "queue" / "closed").exists()
    finally:
        server.stop()
