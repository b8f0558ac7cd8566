"""The whole report, from a store with holes to files one can open."""

import html.parser
import re

import numpy as np
import pandas as pd
import pytest
import wandb
from mirrored_store import FakeApi, mirrored
from synthetic_store import Store, digits

from analysis import report as reports
from analysis.report import ReportError
from analysis.report.prose import paragraphs
from analysis.tables.forms.render import inert
from suite.cli.app import main
from sweeps.plan.expand import note_of


def build(*arguments):
    """A report all of whose figures could be drawn."""
    made = reports.build(*arguments)
    assert made.faults == ()
    return made


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory):
    return build(finished.root, finished.manifest, tmp_path_factory.mktemp("report"))


def test_tables_come_in_three_forms_and_figures_in_two(report):
    names = {path.name for path in report.files}
    for table in ("accuracy", "comparisons", "selection", "cost", "gap"):
        assert {f"{table}.md", f"{table}.tex", f"{table}.csv"} <= names
    for figure in ("curves", "gap", "gap-accuracy", "embedding"):
        assert {f"{figure}.pdf", f"{figure}.png"} <= names
    assert all(path.stat().st_size > 0 for path in report.files)
    assert report.index.name == "index.html"


def test_the_terminal_gets_the_table_the_count_and_the_places(report):
    text = str(report)
    assert "dskd" in text
    assert "19 of 19 runs finished" in text
    assert str(report.index) in text


def test_pictures_have_their_paper_sizes(report):
    import matplotlib.image

    widths = {}
    for path in report.files:
        if path.suffix == ".png":
            widths[path.stem] = matplotlib.image.imread(path).shape[1] / 220
    assert widths["curves"] == pytest.approx(3.3, abs=0.01)
    assert widths["embedding"] == pytest.approx(6.9, abs=0.01)


def test_the_page_is_whole_in_itself_and_well_formed(report):
    page = report.index.read_text()
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert re.findall(r'src="([^"]*)"', page) == []
    links = [address for address in addresses if not address.startswith(("data:", "#"))]
    assert all((report.index.parent / link).exists() for link in links)
    assert {"tables/accuracy.csv", "figures/curves.pdf", "runs.csv"} <= set(links)
    assert sum(link.startswith("../") for link in links) == 19  # a folder for every run
    loaded = re.sub(r'xmlns(:xlink)?="[^"]*"|base64,[^"]*', "", page)  # names, not addresses
    assert "http" not in loaded
    names = set(re.findall(r'id="([^"]*)"', page))
    assert {address[1:] for address in addresses if address.startswith("#")} <= names
    open_tags: list[str] = []

    class Checker(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "link", "img", "input", "br"):
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Checker().feed(page)
    assert open_tags == []


def test_the_page_names_command_versions_and_filters(report):
    page = report.index.read_text()
    assert "make sweep EXP=made_up" in page
    assert "torch 2.6.0" in page
    assert 'name="method" value="dskd" checked' in page


def test_a_store_with_every_kind_of_hole_gives_a_report_that_shows_them(tmp_path):
    store = digits(tmp_path / "runs", seeds=(0, 1), features=False)
    store.fail(store.add("kd", 2), "<script>alert(1)</script>")
    store.metrics(store.add("crd", 2), 4)
    store.add("dkd", 2)
    broken = store.add("dskd", 2)
    store.finish(broken, features=False)
    (store.path(broken) / "result.json").write_text('{"run_id": ')
    report = build(store.root, store.write_manifest(), tmp_path / "report")
    assert "13 of 17 runs finished (1 damaged, 1 failed, 1 missing, 1 unfinished)" in str(report)
    assert "2/3 runs" in str(report)
    page = report.index.read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "epoch 4 of 30" in page


def test_a_sweep_that_has_only_begun_gives_a_report_too(store, tmp_path):
    store.add_teacher("net_teacher")
    for label in ("scratch", "kd"):
        store.add(label, 0)
    report = build(store.root, store.write_manifest(), tmp_path / "report")
    assert "0 of 3 runs finished (3 missing)" in str(report)


def test_a_table_of_an_earlier_report_does_not_stay(store, tmp_path):
    store.fail(store.add("kd", 0))
    store.finish(store.add("kd", 1), features=False)
    manifest, out = store.write_manifest(), tmp_path / "report"
    build(store.root, manifest, out)
    assert (out / "tables" / "holes.md").exists()
    store.finish(store.entries[0], features=False)
    build(store.root, manifest, out)
    assert not (out / "tables" / "holes.md").exists()


def test_two_pairs_have_a_column_and_a_set_of_figures_each(tmp_path):
    store = digits(tmp_path / "runs", labels=("scratch", "kd"), seeds=(0, 1))
    for seed in (0, 1):
        for label in ("scratch", "kd"):
            store.finish(store.add(label, seed, "big/small"))
    report = build(store.root, store.write_manifest(), tmp_path / "report")
    names = {path.name for path in report.files}
    assert {"curves-1.pdf", "curves-2.pdf", "embedding-2.png"} <= names
    assert "big → small" in str(report)


def test_the_note_is_set_in_paragraphs_and_commands_stay_as_they_are():
    note = "One sentence that\ngoes on. Another.\n  make sweep\n  make report\n\nThe end."
    assert paragraphs(note) == [
        ("One sentence that goes on. Another.", False),
        ("make sweep\nmake report", True),
        ("The end.", False),
    ]
    text = "# Head\n# goes on:\n#   make sweep\nrecipe: digits\n# no note\n"
    assert note_of(text) == "Head\ngoes on:\n  make sweep"


def test_every_run_is_a_row_of_numbers_and_nothing_in_it_is_a_formula(tmp_path):
    store = digits(tmp_path / "runs", labels=("kd",), seeds=(0, 1), features=False)
    store.fail(store.add("kd", 2), "=HYPERLINK(1)")
    build(store.root, store.write_manifest(), tmp_path / "report")
    rows = pd.read_csv(tmp_path / "report" / "runs.csv")
    assert list(rows["state"]) == ["finished"] * 3 + ["failed"]
    assert rows["last/test/top1_percent"].dtype == np.float64
    assert rows["last/test/top1_percent"].notna().sum() == 3
    assert rows["reason"].iloc[3].endswith("=HYPERLINK(1)")
    assert inert("=1+1") == "'=1+1"
    assert inert("a=1") == "a=1"


def test_tested_and_untested_experiments_share_a_report(tmp_path):
    """The cost figure of the untested one had no accuracy: matplotlib ended the whole report."""
    tested = digits(tmp_path / "runs", labels=("scratch", "kd"), seeds=(0, 1), features=False)
    untested = Store(tmp_path / "runs", "untested", dataset="cifar", splits=("val",))
    for label in ("scratch", "kd"):
        for seed, score in enumerate((50.0, 52.0)):
            entry = untested.add(label, seed, "big/small", recipe="cifar")
            untested.finish(entry, score, features=False)
    manifests = [tested.write_manifest(), untested.write_manifest()]
    report = build(tested.root, manifests, tmp_path / "report")
    text = str(report)
    assert "big → small (cifar), validation" in text
    assert "51.40 ± 1.41 (2)" in text  # the last epoch's accuracy plus the store's 0.4
    names = {path.name for path in report.files}
    assert {"cost-1.pdf", "cost-2.pdf", "curves-2.pdf"} <= names
    selection = (tmp_path / "report" / "tables" / "selection.md").read_text()
    assert "nan" not in selection
    assert "cifar" not in selection


def test_the_same_runs_give_the_same_files(finished, report, tmp_path):
    again = build(finished.root, finished.manifest, tmp_path)
    for first, second in zip(report.files, again.files, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name


def test_an_unwritable_place_is_named(finished, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot write the report to"):
        build(finished.root, finished.manifest, tmp_path / "file" / "report")


def test_the_command_reports_several_experiments_to_one_folder(tmp_path, capsys):
    for name, label in (("first", "kd"), ("second", "dkd")):
        store = Store(tmp_path, name)
        store.finish(store.add(label, 0), features=False)
        store.write_manifest()
    with pytest.raises(SystemExit) as end:
        main(["report", "first", "second", "--runs-root", str(tmp_path)])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "2 of 2 runs finished" in shown
    table = (tmp_path / "first+second" / "report" / "tables" / "accuracy.csv").read_text()
    assert "kd" in table
    assert "dkd" in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "mlflow:x"], "--source mlflow:x: must be runs or wandb:entity/project"),
        (["--source", "wandb:x", "--set", "epochs=1"], "--set: a report from W&B takes all runs"),
        (["nothing"], "no manifest"),
    ],
)
def test_what_the_command_cannot_do_is_one_message(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        main(["report", *arguments, "--runs-root", str(tmp_path)])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_reports_what_wandb_holds(tmp_path, capsys, monkeypatch, finished):
    directories = dict.fromkeys(entry["directory"] for entry in finished.entries)
    api = FakeApi([mirrored(finished, directory) for directory in directories])
    monkeypatch.setattr(wandb, "Api", lambda **_: api)
    arguments = ["made_up", "--source", "wandb:me/project", "--runs-root", str(tmp_path)]
    with pytest.raises(SystemExit) as end:
        main(["report", *arguments])
    assert end.value.code == 0
    assert "18 of 18 runs finished" in capsys.readouterr().out
    assert (tmp_path / "made_up" / "wandb-report" / "index.html").exists()


def test_what_wandb_refuses_is_one_message(tmp_path, capsys, monkeypatch):
    def refuse(**_):
        raise wandb.errors.CommError("no\nsuch project")

    monkeypatch.setattr(wandb, "Api", refuse)
    with pytest.raises(SystemExit) as end:
        main(["report", "x", "--source", "wandb:me/project", "--runs-root", str(tmp_path)])
    assert end.value.code == 2
    assert "W&B project me/project cannot be read: no such project" in capsys.readouterr().err
