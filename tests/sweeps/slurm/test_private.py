"""Folders that hold code or pickles are open to their owner alone."""

import os
import re

import pytest

from suite.interface.errors import UserError
from sweeps.slurm.private import private


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022])
def test_a_folder_is_made_or_shut_whatever_the_umask(tmp_path, umask):
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose").chmod(0o777)
    before = os.umask(umask)
    try:
        modes = [private(tmp_path / name).stat().st_mode & 0o777 for name in ("new", "loose")]
    finally:
        os.umask(before)
    assert modes == [0o700, 0o700]


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a folder away")


@AS_ROOT
def test_a_group_shares_a_folder_only_where_both_say_so(tmp_path):
    shared, closed = tmp_path / "shared", tmp_path / "closed"
    for folder in (shared, closed):
        private(folder, group=folder is shared)
        os.chown(folder, 12345, os.getegid())  # a colleague's
    assert shared.stat().st_mode & 0o7777 == 0o2770
    assert private(shared, group=True) == shared
    for folder, group in ((shared, False), (closed, True)):
        with pytest.raises(UserError, match=r"belongs to user 12345.*share_jobs_with_group"):
            private(folder, group=group)
    os.chown(shared, 12345, 23456)  # a group of which we are no member
    shared.chmod(0o2770)
    with pytest.raises(UserError, match="belongs to user 12345"):
        private(shared, group=True)


@AS_ROOT
def test_a_folder_of_somebody_else_is_refused_in_one_line(tmp_path):
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(UserError, match=re.escape(f"{tmp_path} belongs to user 12345")):
        private(tmp_path)
