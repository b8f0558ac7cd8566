"""Nothing of whoever runs the tests: no key, no settings."""

import os

import pytest


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    """No key, no settings of the user who runs the tests."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
