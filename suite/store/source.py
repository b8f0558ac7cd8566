"""Which of our modules a module imports, directly or not, and a hash of each.

Found from the import statements of the files; nothing is imported. Imports no torch: the analysis
uses it for the code of its metrics, the record for the code of a run.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import tokenize
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder of the packages that this process runs."""
DIGITS = 16  # of a module's hash: 48 modules are listed in every record

Packages = Mapping[str, Path]
"""Package -> the folder that holds it. Modules of other packages are libraries."""
RUNS: Packages = {"suite": ROOT, "baselines": ROOT}
"""The packages that runs are made by."""
MOST_NAMES = 3  # modules named in one text


def behind(
    names: Iterable[str], packages: Packages, leave_out: Collection[str] = ()
) -> dict[str, Path]:
    """The modules called ``names`` and all that they import, directly or not: name -> file.

    An import inside a function counts, one under ``if TYPE_CHECKING`` does not. A package counts
    with its ``__init__.py``. Modules in ``leave_out`` are neither listed nor followed.
    """
    files: dict[str, Path] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        file = module_file(name, packages)
        if name in files or name in leave_out or file is None:
            continue
        files[name] = file
        waiting += [name.rpartition(".")[0], *_imported(file, name)]
    return dict(sorted(files.items()))


def hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """Module -> the first digits of the SHA-256 of its code."""
    return {name: code_sha256(file)[:DIGITS] for name, file in files.items()}


def combined(parts: Mapping[str, str]) -> str:
    """One SHA-256 of the names and hashes of modules."""
    lines = (f"{name} {part}\n" for name, part in sorted(parts.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def module_file(name: str, packages: Packages) -> Path | None:
    """The file of a module; None for a library, and for a name that is no module."""
    folder = packages.get(name.partition(".")[0])
    if folder is None:
        return None
    path = folder.joinpath(*name.split("."))
    candidates = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((file for file in candidates if file.is_file()), None)


def changed(modules: Mapping[str, str], packages: Packages = RUNS) -> list[str]:
    """The modules of a record (module -> hash) whose code is different or missing here.

    Modules of other packages are ignored.
    """
    files = {name: module_file(name, packages) for name in modules}
    here = hashes({name: file for name, file in files.items() if file is not None})
    ours = [name for name in modules if name.partition(".")[0] in packages]
    return sorted(name for name in ours if here.get(name) != modules[name])


def named(modules: Sequence[str]) -> str:
    """``a, b, c and 4 more``; empty for none."""
    shown = ", ".join(modules[:MOST_NAMES])
    more = len(modules) - MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


@functools.cache
def code_sha256(file: Path) -> str:
    """SHA-256 of the code in ``file``, which comments, docstrings and layout do not change.

    The same for every version of Python. A file is read once in a process.
    """
    return hashlib.sha256("\n".join(_statements(file.read_bytes())).encode()).hexdigest()


def _statements(source: bytes) -> Iterator[str]:
    """One line of tokens for each statement and each change of indentation."""
    lines = [f"{line}\n" for line in source.decode().split("\n")]
    statement: list[str] = []
    only_text = True
    depth, start = 0, (0, 0)  # of the formatted string that is open (Python 3.12 and newer)
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind.endswith("STRING_START"):
            start = start if depth else token.start
            depth += 1
        elif kind.endswith("STRING_END"):
            depth -= 1
            if not depth:  # as one piece, as older versions of Python read it
                statement.append(_between(lines, start, token.end))
                only_text = False
        elif depth or kind in ("COMMENT", "NL", "ENCODING", "ENDMARKER"):
            continue
        elif kind in ("INDENT", "DEDENT"):
            yield kind
        elif kind == "NEWLINE":
            if not only_text:  # a statement that is a text alone documents something
                yield " ".join(statement)
            statement, only_text = [], True
        else:
            statement.append(token.string)
            only_text &= kind == "STRING" and token.string[-1:] in "'\"" and not _formatted(token)
    if statement:
        yield " ".join(statement)


def _formatted(token: tokenize.TokenInfo) -> bool:
    """Whether a string is formatted: older versions of Python make one token of it."""
    return "f" in token.string.partition(token.string[-1])[0].lower()


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """The text from ``start`` to ``end``, each a line from 1 and a column."""
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    inside = lines[start[0] : end[0] - 1]
    return "".join([lines[start[0] - 1][start[1] :], *inside, lines[end[0] - 1][: end[1]]])


@functools.cache
def _imported(file: Path, name: str) -> tuple[str, ...]:
    """What the file of module ``name`` imports, as absolute names; some may be no modules."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    imported: list[str] = []
    waiting: list[ast.AST] = [ast.parse(file.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            above = above[: len(above) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            imported += [base, *(f"{base}.{alias.name}" for alias in node.names)]
        waiting += ast.iter_child_nodes(node)
    return tuple(imported)
