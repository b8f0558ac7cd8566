"""The tables of a report go through LaTeX as they are, and fit a two-column page.

Skipped where no pdflatex with booktabs is installed (Debian: ``texlive-latex-recommended``).
"""

import re
import shutil
import subprocess

import pytest
from synthetic_store import digits

from analysis.report import build

pytestmark = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex found")

DOCUMENT = r"""\documentclass[10pt,twocolumn]{article}
\usepackage[T1]{fontenc}
\usepackage[textwidth=6.9in,textheight=9in,columnsep=0.3in]{geometry}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


def test_every_table_compiles_and_no_line_is_too_wide(tmp_path):
    store = digits(tmp_path / "runs", labels=("scratch", "kd", "dskd"), seeds=(0, 1))
    odd = store.add("kd_50%&#", 0, method="kd")
    store.fail(odd, r"cannot open C:\data\{x}_$y^2~z", "OSError")
    report = build(store.root, store.write_manifest(), tmp_path / "report")
    names = [path.with_suffix("") for path in report.files if path.suffix == ".tex"]
    inputs = "\n".join(rf"\input{{{name.as_posix()}}}" for name in names)
    (tmp_path / "paper.tex").write_text(DOCUMENT % inputs)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert len(names) >= 6
    excess = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", done.stdout)]
    assert max(excess, default=0.0) < 10
