"""The paper's folder: what it says is what the records say, and LaTeX compiles it as it is."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from analysis import paper
from analysis.paper import bibliography, tex
from analysis.runs.collect import collect

STORE = Path(__file__).parents[2] / "stores" / "version_0.1.0" / "runs"
KD = "@misc{kd,\n  author = {Hinton, Geoffrey},\n  title = {Distilling},\n  year = {2015},\n}"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The paper of real runs: scratch and kd finished, a third run was interrupted."""
    folder = tmp_path_factory.mktemp("paper")
    collected = collect(STORE, STORE / "tiny" / "manifest.json")
    return paper.write(collected, folder / "paper", {"kd": KD})


def test_text_is_escaped_and_marks_become_citations():
    assert tex("50 % of a_b [@kd,torch], and [@timm].") == (
        r"50 \% of a\_b~\cite{kd,torch}, and~\cite{timm}."
    )


def test_everything_that_is_cited_has_an_entry(written):
    cited = ",".join(re.findall(r"\\cite\{([^}]*)\}", written.read_text())).split(",")
    entries = bibliography.entries((written.parent / "references.bib").read_text())
    assert set(cited) <= set(entries)
    assert {"kd", "digits", "dskd_bench", "torch"} <= set(entries)
    assert "optuna" not in entries  # no row was tuned


def test_every_tool_and_data_set_has_an_entry():
    known = bibliography.sources()
    assert {*bibliography.TOOLS, *bibliography.DATA_SETS.values(), "optuna"} <= set(known)
    for text in known.values():
        fields = set(re.findall(r"^  (\w+) = \{.", text, re.MULTILINE))
        assert {"author", "title", "year"} <= fields


def test_the_suite_is_cited_as_its_citation_file_says(written):
    text = (Path(__file__).parents[3] / "CITATION.cff").read_text()
    title, author = (re.search(rf'{it}: "(.*)"', text).group(1) for it in ("title", "  - name"))
    entry = bibliography.entries((written.parent / "references.bib").read_text())["dskd_bench"]
    assert f"author = {{{{{author}}}}}" in entry
    assert f"title = {{{title}}}" in entry


def test_the_protocol_says_what_the_records_say(written):
    text = written.read_text()
    assert "We compare scratch and kd~\\cite{kd}" in text
    assert "Training images: 100. Validation images: 200. Test images: 797." in text
    assert r"cifar\_resnet8 (10.04 \% test accuracy) teaches cifar\_resnet8 (5.14 k param" in text
    assert (
        "learning rate 0.05, momentum 0.9, weight decay 0.0005, schedule cosine, 2 epochs" in text
    )
    assert "over seed 0." in text
    assert r"torch 2.15.0~\cite{torch}" in text


def test_every_table_and_figure_of_the_report_is_in_it(written):
    folder, text = written.parent, written.read_text()
    tables = {path.stem for path in (folder / "tables").glob("*.tex")}
    figures = {path.stem for path in (folder / "figures").glob("*.pdf")}
    assert set(re.findall(r"\\input\{tables/([^}]+)\}", text)) == tables
    assert set(re.findall(r"\\includegraphics\[.*?\]\{figures/([^}]+)\}", text)) == figures
    assert "accuracy" in tables
    assert "gap" in figures


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex found")
def test_latex_compiles_it(written):
    for command in (
        "pdflatex paper.tex",
        "bibtex paper",
        "pdflatex paper.tex",
        "pdflatex paper.tex",
    ):
        program, name = command.split()
        quiet = [] if program == "bibtex" else ["-interaction=nonstopmode", "-halt-on-error"]
        done = subprocess.run(
            [program, *quiet, name], cwd=written.parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:]
    assert "undefined" not in done.stdout
    assert (written.parent / "paper.pdf").stat().st_size > 20_000
