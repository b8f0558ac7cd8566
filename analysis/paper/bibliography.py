"""What a paper cites: its methods, data sets and the tools behind the numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources

TOOLS = ("torch", "timm", "submitit", "scipy", "pandas", "matplotlib")
"""Behind every number of a report."""
DATA_SETS = {
    "cifar10": "cifar",
    "cifar100": "cifar",
    "digits": "digits",
    "fashion_mnist": "fashion_mnist",
    "imagenet": "imagenet",
    "stl10": "stl10",
    "tiny_imagenet": "tiny_imagenet",
}
"""Data set -> its key in ``sources.bib``; a folder of one's own has none."""
ENTRY = re.compile(r"^@\w+\{([^,]+),.*?^\}", re.MULTILINE | re.DOTALL)


def entries(text: str) -> dict[str, str]:
    """Key -> entry of BibTeX whose entries end with a brace at the start of a line."""
    return {match[1].strip(): match[0] for match in ENTRY.finditer(text)}


def sources() -> dict[str, str]:
    """Key -> entry of the data sets and tools that the suite knows."""
    return entries((resources.files("analysis.paper") / "sources.bib").read_text(encoding="utf-8"))


def chosen(methods: Mapping[str, str], datasets: Iterable[str], *, tuned: bool) -> dict[str, str]:
    """Key -> entry of everything that a paper cites, each once, in the order of citation.

    Args:
        methods: Method -> the BibTeX of its papers; empty for none.
        datasets: Names of data sets.
        tuned: Whether a search chose settings.
    """
    known = sources()
    cited: dict[str, str] = {"dskd_bench": known["dskd_bench"]}
    for text in methods.values():
        cited |= entries(text)
    wanted = [DATA_SETS[name] for name in datasets if name in DATA_SETS]
    wanted += [*TOOLS, *(["optuna"] if tuned else [])]
    return cited | {key: known[key] for key in wanted}


def cite(keys: Sequence[str]) -> str:
    """A mark that :func:`analysis.paper.document.tex` turns into a citation; empty for no keys."""
    return f" [@{','.join(keys)}]" if keys else ""
