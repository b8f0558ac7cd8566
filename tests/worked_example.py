"""The worked examples of docs/extending.md, as installed packages with their entry points."""

import importlib
import re
import tomllib
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs" / "extending.md"


def block(heading, language):
    """The code in ``language`` of the section of this heading."""
    section = DOCS.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (text,) = re.findall(rf"^ *```{language}\n(.*?)^ *```$", section, re.M | re.S)
    return "\n".join(line.removeprefix("    ") for line in text.splitlines()) + "\n"


def install(heading, folder, monkeypatch):
    """Put the package of the section's example where Python finds it."""
    ((group, points),) = tomllib.loads(block(heading, "toml"))["project"]["entry-points"].items()
    ((name, target),) = points.items()
    package, module = target.partition(":")[0].split(".")
    note = folder / f"{package}-1.0.dist-info"
    for made in (folder / package, note):
        made.mkdir()
    (folder / package / "__init__.py").write_text("")
    (folder / package / f"{module}.py").write_text(block(heading, "python"))
    (note / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    (note / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    return name
