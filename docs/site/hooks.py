"""What `make docs` adds to the pages in docs/: pages made from the code and from other folders.

MkDocs calls the functions ``on_*``. Nothing is fetched, and a page that would load something from
another host when it is read stops the build.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

import yaml
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))

import flowchart  # noqa: E402 (beside this file)

COPIED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}
"""File of the repository -> page."""
MODULES = {
    "interface": [
        "suite.interface.distiller",
        "suite.interface.taps",
        "suite.interface.rng",
        "suite.interface.errors",
        "suite.interface.testing",
        "suite.data.source",
        "suite.data.testing",
    ],
    "store": ["suite.store.record"],
    "frames": ["analysis.runs.frames"],
    "statistics": [
        f"analysis.statistics.{path.stem}"
        for path in sorted((ROOT / "analysis" / "statistics").glob("[a-z]*.py"))
    ],
}
"""Page of the reference -> modules."""
OPTIONS = """    options:
      show_if_no_docstring: true
      filters: ["!^_", "!^[Cc]onfig$"]
"""
"""Of a method's part of its page: options without a docstring are shown, too."""
LINK = re.compile(r"(!?)\[([^\]\[]*)\]\(([^)\s]+)\)")
ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):(<code>)[~!]?")
LOADED = re.compile(
    r"<(?:script|img|iframe)[^>]*\ssrc=\"(?:https?:)?//|<link[^>]*\shref=\"(?:https?:)?//"
)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that have no file in docs/, and the images that pages show."""
    pages = {page: (ROOT / file).read_text() for file, page in COPIED.items()}
    pages |= {"methods.md": methods_page(), "cite.md": citation_page()}
    for name, modules in MODULES.items():
        pages[f"reference/{name}.md"] = "\n\n".join(f"::: {module}" for module in modules)
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    tour = (ROOT / "docs" / "tour.md").read_text()
    shown = re.findall(r"!\[[^\]]*\]\((?:\.\./)?(results/[^)]+)\)", pages["index.md"] + tour)
    for image in dict.fromkeys(shown):
        files.append(File.generated(config, image, abs_src_path=str(ROOT / image)))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Links that work on the site, and diagrams drawn."""
    sources = {f"docs/{file.src_uri}": file.src_uri for file in files} | COPIED
    sources |= {file.src_uri: file.src_uri for file in files if file.src_uri.startswith("results/")}
    own = {page: file for file, page in COPIED.items()}.get(page.file.src_uri)
    folder = posixpath.dirname(own or f"docs/{page.file.src_uri}")

    def link(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        if target.startswith(("http:", "https:", "#")):
            return match[0]
        path, hash_, anchor = target.partition("#")
        place = posixpath.normpath(posixpath.join(folder, path))
        if place in sources:
            there = posixpath.relpath(sources[place], posixpath.dirname(page.file.src_uri) or ".")
            return f"{mark}[{text}]({there}{hash_}{anchor})"
        if not (ROOT / place).exists():
            raise PluginError(f"{own or page.file.src_uri}: link to {target}, which does not exist")
        return f"`{place}`" if text in (place, f"`{place}`") else f"{text} (`{place}`)"

    return flowchart.BLOCK.sub(lambda found: flowchart.svg(found[1]), LINK.sub(link, markdown))


def on_page_content(html: str, **_: Any) -> str:
    """Names in docstrings without the role that Sphinx would read."""
    return ROLE.sub(r"\1", html)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Raise :class:`PluginError` for a page that loads something from another host."""
    loaded = LOADED.search(output)
    if loaded:
        raise PluginError(f"{page.file.src_uri} loads something from elsewhere: {loaded[0]}")
    return output


def methods_page() -> str:
    """One table of what methods read and cost, then formulas, options and source of each."""
    sys.path.insert(0, str(ROOT))
    from suite.cli.catalogue import STUDENT, TEACHER, catalogue

    entries = list(catalogue())
    rows = [
        f"| [`{it.name}`](#baselines.{it.name}) | {it.needs} | {it.train_parameters:,} | "
        f"{it.deploy_parameters:,} | {it.memory / 1e6:,.0f} | {it.paper} |"
        for it in entries
    ]
    return "\n".join(
        [
            "# Methods",
            "",
            f"What each method reads and costs on the pair {TEACHER} to {STUDENT} of CIFAR-100, as "
            "measured by building it, and where it comes from. Formulas and options follow.",
            "",
            "| method | reads | parameters for training | in the deployed network | memory (MB) "
            "| source |",
            "| --- | --- | ---: | ---: | ---: | --- |",
            *rows,
            "",
            *(f"::: baselines.{it.name}\n{OPTIONS}\n" for it in entries),
            "::: suite.train.optimization.dot\n",
        ]
    )


def citation_page() -> str:
    """What CITATION.cff says, as text and as BibTeX."""
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    authors = " and ".join(f"{{{author['name']}}}" for author in said["authors"])
    bibtex = [
        "@software{dskd_bench,",
        f"  title = {{{said['title']}}},",
        f"  author = {{{authors}}},",
        f"  year = {{{str(said['date-released'])[:4]}}},",
        f"  version = {{{said['version']}}},",
        "}",
    ]
    return "\n".join(
        [
            "# How to cite",
            "",
            f"{said['message']}",
            "",
            *("```", *bibtex, "```"),
            "",
            "The methods and their papers are in [Methods](methods.md); `dskd-bench methods "
            "--bibtex` writes all of them as BibTeX.",
        ]
    )
