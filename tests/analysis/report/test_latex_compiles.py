"""The tables of a report go through LaTeX as they are, and fit a two-column page.

Skipped where no pdflatex with booktabs is installed (Debian: ``texlive-latex-recommended``).
"""

import re
import shutil
import subprocess

import pytest
from synthetic_store import digits

from analysis.report import build
from analysis.tables.forms.latex import to_latex
from analysis.tables.forms.render import Cell, Column, Row, Table

pytestmark = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex found")

DOCUMENT = r"""\documentclass[10pt,twocolumn]{article}
\usepackage[T1]{fontenc}
\usepackage[textwidth=6.9in,textheight=9in,columnsep=0.3in]{geometry}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


def compiled(folder, inputs):
    """What LaTeX says of a paper with these tables: its log, and the points of lines too wide."""
    (folder / "paper.tex").write_text(DOCUMENT % "\n".join(inputs))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", done.stdout)]


def test_every_table_compiles_and_no_line_is_too_wide(tmp_path):
    store = digits(tmp_path / "runs", labels=("scratch", "kd", "dskd"), seeds=(0, 1))
    odd = store.add("kd_50%&#", 0, method="kd")
    store.fail(odd, rf"cannot open C:\data\{{x}}_$y^2~z {'and so on ' * 12}", "OSError")
    for label in ("scratch", "kd", "dskd"):  # two pairs: the gap table names them
        store.finish(store.add(label, 0, "cifar_resnet32x4/cifar_resnet8x4"))
    report = build(store.root, store.write_manifest(), tmp_path / "report")
    names = [path.with_suffix("") for path in report.files if path.suffix == ".tex"]
    assert len(names) >= 6
    excess = compiled(tmp_path, [rf"\input{{{name.as_posix()}}}" for name in names])
    assert max(excess, default=0.0) < 1


def test_a_table_wider_than_a_page_is_set_in_parts(tmp_path):
    """Seventeen columns, as the variants of DSKD have: 220 pt off the page in tiny type."""
    columns = [Column("Row", "l"), *(Column(f"option number {i}") for i in range(16))]
    cells = [Cell("anchor reaches student"), *[Cell("94.08 ± 1.66 (6)", "best")] * 16]
    table = Table("wide", "Wide", columns, [Row(cells)] * 3, "Caption.")
    text = to_latex(table)
    assert text.count(r"\begin{tabular}") == text.count("anchor reaches student") / 3 > 1
    assert text.count("option") == 16
    assert text.count(r"\caption") == 1
    assert max(compiled(tmp_path, [text]), default=0.0) < 1
