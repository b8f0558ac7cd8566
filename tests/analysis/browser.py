"""A real browser for the tests of pages: what it prints, and what its console says."""

import shutil
import subprocess

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)


def browse(address, folder, *options):
    """Standard output and console messages of one visit; ``folder`` holds the profile."""
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={folder}/profile",
        "--virtual-time-budget=5000",
        "--enable-logging=stderr",
        "--window-size=1200,1600",
        *options,
        address,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
