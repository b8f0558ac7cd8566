"""The site in a real browser: no error on any kind of page, links to cells, a phone.

Skipped where no chromium is installed (Debian: ``apt-get install chromium``).
"""

import html
import json
import re

import pytest
from browser import BROWSER, browse
from synthetic_store import digits

from analysis.site.build import publish
from suite.cli.site import describe

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium found")

REPORT = """<script>
const said = {
  wide: document.documentElement.scrollWidth > window.innerWidth,
  width: window.innerWidth,
  linked: document.querySelector("td.linked")?.textContent,
  cells: [...document.querySelectorAll("figure.table tbody td")].filter((cell) => !cell.id).length,
  sorters: document.querySelectorAll("th button").length,
  unnamed: [...document.querySelectorAll("svg, nav, progress")]
    .filter((it) => !it.ariaLabel).length,
};
(window.parent === window ? window : window.parent).postMessage(JSON.stringify(said), "*");
</script>"""
RECEIVE = "<script>onmessage = (said) => { document.title = said.data; };</script>"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    store = digits(tmp_path_factory.mktemp("site") / "runs", ("scratch", "kd"), (0, 1))
    out = tmp_path_factory.mktemp("published")
    publish(store.root, [store.write_manifest()], out, describe)
    return out


def visit(page, tmp_path, place=""):
    """What the page says of itself in a frame of 390 pixels."""
    probed = page.with_name("probed.html")
    probed.write_text(page.read_text().replace("</body>", f"{REPORT}</body>"))
    outer = tmp_path / "frame.html"
    frame = (
        f'<iframe src="{probed.as_uri()}{place}" style="width: 390px; height: 800px; border: 0">'
    )
    outer.write_text(f"<html><head>{RECEIVE}</head><body>{frame}</iframe></body></html>")
    document, console = browse(outer.as_uri(), tmp_path, "--dump-dom")
    probed.unlink()
    assert console == []
    return json.loads(html.unescape(re.search("<title>(.*?)</title>", document).group(1)))


@pytest.mark.parametrize("page", ["index.html", "pairs/*/index.html", "methods/kd.html", "runs/*"])
def test_every_kind_of_page_fits_a_phone_without_an_error(site, tmp_path, page):
    said = visit(next(site.glob(page)), tmp_path)
    assert said["width"] == 390
    assert not said["wide"]
    assert said["unnamed"] == 0  # every drawing and menu has a name for a screen reader
    assert said["cells"] == 0  # every cell of a table has a link
    assert said["sorters"] > 0 or page == "runs/*"


def test_a_link_to_a_cell_shows_that_cell(site, tmp_path):
    said = visit(site / "index.html", tmp_path, "#table-accuracy/kd/teacher-student")
    assert re.fullmatch(r"9\d\.\d\d ± \d\.\d\d \(2\)", said["linked"])
