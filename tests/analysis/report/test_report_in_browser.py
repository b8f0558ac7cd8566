"""The page in a real browser: nothing on the console, filters work, everything is visible.

Skipped where no chromium is installed (Debian: ``apt-get install chromium``).
"""

import json
import re
import shutil
import subprocess

import pytest
from synthetic_store import digits

from analysis.report import build

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium found")

PROBE = """<script>
const all = (selector) => [...document.querySelectorAll(selector)];
const visible = (selector) => all(selector).filter((it) => it.offsetParent).length;
const box = (name, value) => document.querySelector(`input[name=${name}][value="${value}"]`);
const rows = () => visible("#table-accuracy tbody tr");
const found = {all: rows(), pictures: visible("figure.picture")};
const shown = "#table-accuracy tr:not([hidden])";
const marked = (mark) => all(`${shown} td.${mark}`).map((it) => it.parentElement.dataset.method);
found.best = [marked("best"), marked("second")];
found.warned = visible("p.filtered");
found.cut = all(".scroll").filter((it) => it.scrollWidth > it.clientWidth + 1).length;
found.letters = Math.min(...all("figure.picture img").map((it) => it.width / it.naturalWidth));
found.broken = [...document.images].filter((it) => !it.naturalWidth).length;
found.wide = document.documentElement.scrollWidth > window.innerWidth;
box("method", "kd").click();
found.without_kd = rows();
found.best_without_kd = [marked("best"), marked("second")];
found.warned_of_filters = visible("p.filtered");
box("pair", "big/small").click();
found.columns = visible("#table-accuracy thead th");
found.pictures_of_one_pair = visible("figure.picture");
box("pair", "big/small").click();
box("method", "kd").click();
found.again = rows();
found.best_again = [marked("best"), marked("second")];
document.title = JSON.stringify(found);
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    store = digits(folder / "runs", labels=("scratch", "kd"), seeds=(0, 1))
    for label in ("scratch", "kd"):
        store.finish(store.add(label, 0, "big/small"))
    store.fail(store.add("kd", 1, "big/small"))
    return build(store.root, store.write_manifest(), folder / "report").index


def browse(page, folder, *options):
    """Standard output and console messages of one visit."""
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={folder}/profile",
        "--virtual-time-budget=5000",
        "--enable-logging=stderr",
        "--window-size=1200,1600",
        *options,
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, console


def test_the_console_stays_silent_and_the_screenshot_is_not_empty(page, tmp_path):
    import matplotlib.image

    picture = tmp_path / "page.png"
    _, console = browse(page, tmp_path, f"--screenshot={picture}")
    assert console == []
    pixels = matplotlib.image.imread(picture)
    assert pixels.shape[:2] == (1600, 1200)
    assert 0.01 < (pixels[..., :3].mean(axis=2) < 0.5).mean() < 0.5


def test_an_error_of_the_page_would_reach_the_console(page, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(
        page.read_text().replace("</body>", "<script>nothing.here();</script></body>")
    )
    _, console = browse(broken, tmp_path, "--dump-dom")
    assert any("nothing is not defined" in line for line in console)


def probe(page, folder, *options):
    """What :data:`PROBE` found."""
    probed = folder / "probed.html"
    probed.write_text(page.read_text().replace("</body>", f"{PROBE}</body>"))
    document, console = browse(probed, folder, "--dump-dom", *options)
    assert console == []
    title = re.search("<title>(.*?)</title>", document)
    return json.loads(title.group(1).replace("&quot;", '"'))


def test_on_a_phone_tables_and_figures_scroll_inside_the_page(page, tmp_path):
    found = probe(page, tmp_path, "--window-size=500,900")
    assert not found["wide"]
    assert found["cut"] > 0  # these scroll
    assert found["letters"] > 0.45  # of 220 dots an inch: 7 pt letters stay 10 pixels high


def test_at_1400_pixels_no_table_is_cut(page, tmp_path):
    found = probe(page, tmp_path, "--window-size=1400,900")
    assert found["cut"] == 0
    assert not found["wide"]


def test_best_and_second_are_marked_anew_among_the_methods_shown(page, tmp_path):
    found = probe(page, tmp_path)
    whole = [["scratch", "kd"], ["scratch"]]  # kd is best of the first pair, a hole in the second
    assert found["best"] == whole
    assert found["best_without_kd"] == [["scratch", "scratch"], []]
    assert found["best_again"] == whole
    assert (found["warned"], found["warned_of_filters"]) == (0, 1)


def test_filters_hide_and_show_methods_and_pairs(page, tmp_path):
    found = probe(page, tmp_path)
    assert found["all"] == 3  # teacher, scratch, kd
    assert found["without_kd"] == 2
    assert found["again"] == 3
    assert found["broken"] == 0
    assert not found["wide"]
    assert 0 < found["pictures_of_one_pair"] < found["pictures"]
    assert found["columns"] == 4  # method, one pair, two gains
