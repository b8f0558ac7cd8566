"""The page in a real browser: nothing on the console, filters work, everything is visible.

Skipped where no chromium is installed (Debian: ``apt-get install chromium``).
"""

import json
import re

import pytest
from browser import BROWSER, browse
from synthetic_store import digits

from analysis.report import build

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium found")

PROBE = """<script>
const all = (selector) => [...document.querySelectorAll(selector)];
const visible = (selector) => all(selector).filter((it) => it.getClientRects().length).length;
const box = (name, value) => document.querySelector(`input[name=${name}][value="${value}"]`);
const rows = () => visible("#table-accuracy tbody tr");
const marks = (method) => visible(`#figure-cost-1 .mark[data-method=${method}]`);
const found = {all: rows(), pictures: visible("figure.picture")};
const shown = "#table-accuracy tr:not([hidden])";
const marked = (mark) => all(`${shown} td.${mark}`).map((it) => it.parentElement.dataset.method);
found.best = marked("best");
found.warned = visible("p.filtered");
found.cut = all(".scroll").filter((it) => it.scrollWidth > it.clientWidth + 1).length;
const scale = (svg) => svg.clientWidth / svg.viewBox.baseVal.width;
found.letters = Math.min(...all(".drawing svg").map(scale));
found.wide = document.documentElement.scrollWidth > window.innerWidth;
found.width = window.innerWidth;
found.marks = [marks("scratch"), marks("kd")];
box("method", "kd").click();
found.marks_without_kd = [marks("scratch"), marks("kd")];
found.without_kd = rows();
found.best_without_kd = marked("best");
found.warned_of_filters = visible("p.filtered");
box("pair", "big/small").click();
found.columns = visible("#table-accuracy thead th");
found.pictures_of_one_pair = visible("figure.picture");
box("pair", "big/small").click();
box("method", "kd").click();
found.again = rows();
found.best_again = marked("best");

const head = document.querySelector("#table-accuracy thead th:nth-child(2)");
const order = () => all("#table-accuracy tbody tr").map((row) => row.cells[0].textContent);
head.querySelector("button").click();
found.rising = [order(), head.ariaSort];
head.querySelector("button").click();
found.falling = [order(), head.ariaSort];

const run = document.querySelector("#figure-cost-1 .mark[data-run]");
run.dispatchEvent(new PointerEvent("pointerover", {bubbles: true, clientX: 5, clientY: 5}));
found.about = document.querySelector("#about").textContent;
run.dispatchEvent(new MouseEvent("click", {bubbles: true}));
const target = document.querySelector(":target");
found.record = [target?.dataset.method, target?.querySelector("a").getAttribute("href")];
found.record_is_seen = Boolean(target?.getClientRects().length);
(window.parent === window ? window : window.parent).postMessage(JSON.stringify(found), "*");
</script>"""
RECEIVE = "<script>onmessage = (said) => { document.title = said.data; };</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    store = digits(folder / "runs", labels=("scratch", "kd"), seeds=(0, 1))
    for label in ("scratch", "kd"):
        store.finish(store.add(label, 0, "big/small"))
    store.fail(store.add("kd", 1, "big/small"))
    return build(store.root, store.write_manifest(), folder / "report").index


def test_the_console_stays_silent_and_the_screenshot_is_not_empty(page, tmp_path):
    import matplotlib.image

    picture = tmp_path / "page.png"
    _, console = browse(page.as_uri(), tmp_path, f"--screenshot={picture}")
    assert console == []
    pixels = matplotlib.image.imread(picture)
    assert pixels.shape[:2] == (1600, 1200)
    assert 0.01 < (pixels[..., :3].mean(axis=2) < 0.5).mean() < 0.5


def test_an_error_of_the_page_would_reach_the_console(page, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(
        page.read_text().replace("</body>", "<script>nothing.here();</script></body>")
    )
    _, console = browse(broken.as_uri(), tmp_path, "--dump-dom")
    assert any("nothing is not defined" in line for line in console)


def probe(page, folder, *options, frame=None):
    """What :data:`PROBE` found; ``frame``: in a frame of so many pixels, as wide as a phone."""
    probed = folder / "probed.html"
    probed.write_text(
        page.read_text()
        .replace("</head>", f"{RECEIVE}</head>")
        .replace("</body>", f"{PROBE}</body>")
    )
    if frame is not None:
        size = f'style="width: {frame}px; height: 800px; border: 0"'
        outer = f'<html><head>{RECEIVE}</head><body><iframe src="probed.html" {size}></iframe>'
        probed = folder / "frame.html"
        probed.write_text(outer)
    document, console = browse(probed.as_uri(), folder, "--dump-dom", *options)
    assert console == []
    title = re.search("<title>(.*?)</title>", document)
    return json.loads(title.group(1).replace("&quot;", '"').replace("&amp;", "&"))


@pytest.fixture(scope="module")
def found(page, tmp_path_factory):
    """At 1400 pixels."""
    return probe(page, tmp_path_factory.mktemp("probe"), "--window-size=1400,900")


def test_on_a_phone_tables_and_figures_scroll_inside_the_page(page, tmp_path):
    on_phone = probe(page, tmp_path, frame=390)
    assert on_phone["width"] == 390
    assert not on_phone["wide"]
    assert on_phone["cut"] > 0  # these scroll
    assert on_phone["letters"] > 1.37  # pixels a point: letters of 7 pt stay 10 pixels high


def test_at_1400_pixels_no_table_is_cut(found):
    assert found["cut"] == 0
    assert not found["wide"]


def test_the_best_is_marked_anew_among_the_methods_shown(found):
    assert found["best"] == ["kd"]  # of the first pair; the second has one run a method
    assert found["best_without_kd"] == ["scratch"]
    assert found["best_again"] == ["kd"]
    assert (found["warned"], found["warned_of_filters"]) == (0, 1)


def test_filters_hide_and_show_methods_and_pairs(found):
    assert found["all"] == 3  # teacher, scratch, kd
    assert found["without_kd"] == 2
    assert found["again"] == 3
    assert 0 < found["pictures_of_one_pair"] < found["pictures"]
    assert found["columns"] == 4  # method, one pair, two gains


def test_filters_hide_the_marks_of_a_method_in_figures(found):
    assert found["marks"][0] == found["marks"][1] > 2  # runs, mean, line to the name, the name
    assert found["marks_without_kd"] == [found["marks"][0], 0]


def test_a_click_on_a_header_sorts_and_another_turns_the_order(found):
    rising, direction = found["rising"]
    assert rising == ["scratch", "kd", "teacher"]
    assert direction == "ascending"
    assert found["falling"] == [["teacher", "kd", "scratch"], "descending"]


def test_the_pointer_tells_method_seed_and_accuracy_and_a_click_leads_to_the_record(found):
    assert re.fullmatch(r"scratch, seed 0, 8\d\.\d\d %", found["about"])
    method, link = found["record"]
    assert method == "scratch"
    assert link.startswith("../runs/made_up/")
    assert found["record_is_seen"]
