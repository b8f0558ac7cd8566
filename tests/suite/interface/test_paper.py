"""A paper as text and as BibTeX."""

import pytest

from suite.cli.catalogue import bibliography
from suite.interface.errors import UserError
from suite.interface.paper import Paper

TWO = Paper(authors="Ada B. Lovelace and Bo Li", title="On Engines", venue="CVPR", year=1843)
THREE = Paper(authors="Bo Li and Ada Lovelace and C Doe", title="Notes", year=2026, arxiv="2601.1")


def test_it_reads_as_a_line():
    assert str(TWO) == "Lovelace and Li: On Engines, CVPR 1843"
    assert str(THREE) == "Li et al.: Notes, 2026 (arXiv 2601.1)"


def test_a_paper_of_a_venue_and_a_preprint_as_bibtex():
    assert TWO.bibtex("two") == (
        "@inproceedings{two,\n  author = {Ada B. Lovelace and Bo Li},\n  title = {{On Engines}},\n"
        "  booktitle = {CVPR},\n  year = {1843},\n}"
    )
    assert THREE.bibtex("three").startswith("@misc{three,\n")
    assert "  eprint = {2601.1},\n  archiveprefix = {arXiv},\n}" in THREE.bibtex("three")


def test_the_bibliography_has_each_paper_once_and_the_optimizers():
    both = bibliography(["wkd_f+kd", "wkd_l", "scratch"])
    assert both.count("@") == 2
    assert "@misc{kd," in both
    assert "@inproceedings{wkd_f," in both
    assert "@inproceedings{dot," in bibliography()
    with pytest.raises(UserError, match="nobody"):
        bibliography(["nobody"])


def test_a_paper_of_a_journal_is_an_article_with_its_volume():
    paper = Paper(authors="Bo Li", title="Notes", venue="TIP", year=2026, volume="7", pages="1--9")
    assert paper.bibtex("notes") == (
        "@article{notes,\n  author = {Bo Li},\n  title = {{Notes}},\n  journal = {TIP},\n"
        "  volume = {7},\n  pages = {1--9},\n  year = {2026},\n}"
    )
