"""The study in a real PostgreSQL server, started for these tests where one is installed."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import simulated

from sweeps.search.outage import StorageLost, outlast
from sweeps.search.study import open_storage

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
INITDB = shutil.which("initdb") or next((str(it / "initdb") for it in BINARIES[::-1]), None)
AS_POSTGRES = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []

pytestmark = pytest.mark.skipif(
    INITDB is None or (AS_POSTGRES and shutil.which("runuser") is None),
    reason="no PostgreSQL server is installed (apt-get install postgresql)",
)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("postgresql")
    if AS_POSTGRES:  # the server refuses to run as root
        for parent in [folder, *folder.parents]:
            if parent == Path("/tmp"):
                break
            parent.chmod(0o755)
        shutil.chown(folder, "postgres")
    data, port = folder / "data", free_port()
    subprocess.run(
        [*AS_POSTGRES, INITDB, "-D", data, "-A", "trust", "-U", "suite"],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    postgres = str(Path(INITDB).resolve().with_name("postgres"))
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*AS_POSTGRES, postgres, "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder],
            cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        while process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        assert process.poll() is None, (folder / "server.log").read_text()
        time.sleep(0.5)
        yield f"postgresql+psycopg://suite@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait()


def test_a_search_in_postgresql_is_the_search_in_a_journal(tmp_path, server):
    path = simulated.write_search(tmp_path)
    journal = simulated.drive_alone(path, tmp_path / "a").studies[0].study
    database = simulated.drive_alone(path, tmp_path / "b", url=server).studies[0].study
    assert simulated.outcome(journal) == simulated.outcome(database)
    assert not (tmp_path / "b" / "quick" / "study.journal").exists()


def test_it_goes_on_in_postgresql_with_several_workers(tmp_path, server):
    root = tmp_path / "runs"
    path = simulated.write_search(tmp_path, sampler={"seed": 5})
    simulated.drive_alone(path, root, url=server, trials=4)
    driver = simulated.start(simulated.drive, path, root, 3, server)
    workers = [simulated.start(simulated.serve, "quick", root) for _ in range(3)]
    for process in [driver, *workers]:
        process.join()
        assert process.exitcode == 0
    simulated.check_consistent(path, root, 14, server)


def test_a_server_that_does_not_answer_is_one_line_without_the_password(tmp_path):
    url = f"postgresql+psycopg://suite:secret@127.0.0.1:{free_port()}/postgres"
    lines = []
    with pytest.raises(StorageLost) as raised:
        outlast(lambda: open_storage(tmp_path, url), lines.append, give_up_seconds=1.5)
    assert len(lines) == 1
    for line in (*lines, str(raised.value)):
        assert "secret" not in line
        assert "\n" not in line
        assert "127.0.0.1" in line
