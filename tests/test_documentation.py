"""The site is built from the repository: its pages, what is made from the code, its diagram."""

import ast
import importlib.util
import re
import sys
import textwrap

import griffe
import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort, PluginError

from suite import methods
from tests.test_layering import FILES, ROOMS, ROOT, dotted, modules_imported, room_of

SITE = ROOT / "docs" / "site"


def module(name):
    spec = importlib.util.spec_from_file_location(name, SITE / f"{name}.py")
    made = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


flowchart = module("flowchart")
hooks = module("hooks")


def diagram():
    (source,) = flowchart.BLOCK.findall((ROOT / "docs" / "architecture.md").read_text())
    return flowchart.read(source)


def imports_between_rooms():
    return {
        (room_of(dotted(path)), room_of(name))
        for path in FILES
        for name in modules_imported(path)
        if room_of(name) and room_of(dotted(path))
    }


def test_the_nodes_of_the_diagram_are_rooms_and_the_file_that_a_user_writes():
    nodes = {lines[0] for lines in diagram().nodes.values()}
    assert nodes - {"experiment.yaml"} <= set(ROOMS)
    assert len(nodes) > 8


def test_a_solid_arrow_is_an_import_to_the_right_and_a_dotted_one_to_the_left():
    chart, imported = diagram(), imports_between_rooms()
    rooms = {name: lines[0] for name, lines in chart.nodes.items()}
    between = [it for it in chart.arrows if {rooms[it.start], rooms[it.end]} <= set(ROOMS)]
    assert len(between) > 7
    for arrow in between:
        start, end = rooms[arrow.start], rooms[arrow.end]
        assert ((end, start) if arrow.dotted else (start, end)) in imported, (start, end)


def test_a_flowchart_is_drawn_from_left_to_right():
    chart = flowchart.read(
        'flowchart LR\n a["A<br>first"] --> b["B"]\n b -.-> c[("C")]\n a --> c\n'
    )
    assert chart.nodes == {"a": ("A", "first"), "b": ("B",), "c": ("C",)}
    assert chart.columns() == {"a": 0, "b": 1, "c": 2}
    assert [arrow.dotted for arrow in chart.arrows] == [False, True, False]


@pytest.mark.parametrize("line", ["a --> ", "a ==> b", 'a["A"] --> b'])
def test_a_flowchart_that_cannot_be_drawn_says_why(line):
    with pytest.raises(ValueError, match="flowchart: "):
        flowchart.read(f"flowchart LR\n{line}\n")


def test_a_page_that_loads_from_another_host_stops_the_build():
    class Page:
        class file:  # noqa: N801
            src_uri = "index.md"

    hooks.on_post_page('<a href="https://elsewhere.example">a link loads nothing</a>', Page)
    for loaded in (
        '<script async src="https://e.example/a.js">',
        '<link rel="x" href="//e.example">',
    ):
        with pytest.raises(PluginError, match=r"index\.md loads something from elsewhere"):
            hooks.on_post_page(loaded, Page)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


def test_every_method_has_its_formulas_and_source_on_the_site(site):
    page = (site / "methods.html").read_text()
    for name in methods.names():
        assert f'id="baselines.{name}"' in page
        if name != "scratch":
            assert f'id="baselines.{name}.{methods.find(name).__name__}.paper"' in page
    assert "T^2 KL(softmax(z_t / T) || softmax(z_s / T))" in page


def test_links_out_of_docs_lead_to_pages_or_name_their_file(site):
    tour = (site / "index.html").read_text()
    assert 'href="run_store.html"' in tour
    assert 'href="contributing.html"' in tour
    assert '<img alt="Accuracy over epochs" src="results/dskd_digits/figures/curves.png"' in tour
    assert (site / "results/dskd_digits/figures/curves.png").is_file()
    assert "<code>sweeps/experiments</code>" in tour


def test_the_reference_shows_arguments_and_leaves_no_role_of_another_tool(site):
    page = (site / "reference" / "frames.html").read_text()
    assert 'id="analysis.runs.frames.runs"' in page
    assert "Name of the experiment, its folder in the run store." in page
    for path in site.rglob("*.html"):
        assert not re.search(r":(?:class|func|data|meth|mod):<code>", path.read_text()), path


def test_a_broken_link_fails_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[gone](gone.md)")
    (tmp_path / "mkdocs.yml").write_text("site_name: x\ntheme: {name: readthedocs}\n")
    with pytest.raises(Abort):
        build(load_config(str(tmp_path / "mkdocs.yml"), strict=True))


def test_no_page_names_a_repository_file_that_is_gone():
    with pytest.raises(
        PluginError, match=r"README\.md: link to results/gone, which does not exist"
    ):
        hooks.on_page_markdown("[gone](results/gone)", _page("index.md"), [])


def _page(uri):
    return type("Page", (), {"file": type("File", (), {"src_uri": uri})})


DOCUMENTED = (
    "suite.interface.distiller",
    "suite.interface.taps",
    "suite.interface.rng",
    "suite.interface.errors",
    "suite.store.record",
    "suite.data.source",
    "analysis.runs.frames",
)
"""Modules whose public docstrings say arguments, results and errors, in Google style."""


def public_functions(name):
    loaded = griffe.load(name, search_paths=[str(ROOT)])
    holders = [loaded, *(it for it in loaded.classes.values() if it.is_public)]
    for holder in holders:
        for function in holder.functions.values():
            if not function.name.startswith("_") and not function.is_alias:
                yield function


@pytest.mark.parametrize("name", DOCUMENTED)
def test_public_docstrings_of_the_interface_say_arguments_results_and_errors(name):
    for function in public_functions(name):
        taken = {it.name.lstrip("*") for it in function.parameters} - {"self", "cls"}
        if not taken or "property" in function.labels:
            continue
        parsed = griffe.parse(function.docstring, "google", warnings=False)
        sections = {it.kind.value: it.value for it in parsed}
        said = {it.name.lstrip("*") for it in sections.get("parameters", [])}
        assert said == taken, function.path
        nothing = ("None", "Iterator[None]")
        assert ("returns" in sections) == (str(function.returns) not in nothing), function.path
        nodes = ast.walk(ast.parse(textwrap.dedent(function.source)))
        raised = any(isinstance(node, ast.Raise) and node.exc for node in nodes)
        assert "raises" in sections or not raised, function.path
