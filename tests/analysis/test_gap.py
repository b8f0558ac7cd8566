"""Views of the student beside the teacher, measured run by run."""

import numpy as np
import pytest

from analysis import gap
from analysis.collect import collect


def frame_of(store, **more):
    return gap.frame(collect(store.root, store.write_manifest()), **more)


def test_every_finished_run_has_a_row_and_dskd_one_more_for_denoised_features(finished):
    frame = gap.frame(collect(finished.root, finished.manifest))
    counts = frame.groupby(["label", "view"]).size()
    assert counts["kd", "student"] == 3
    assert counts["dskd", "denoised"] == 3
    assert ("dskd", "original") not in counts  # it is the pooled feature itself
    assert frame[list(gap.METRICS)].notna().all().all()


def test_less_noise_means_closer_on_every_metric(finished):
    frame = gap.frame(collect(finished.root, finished.manifest))
    means = frame[frame["view"] == "student"].groupby("label")[list(gap.METRICS)].mean()
    for name, metric in gap.METRICS.items():
        closer, farther = means.loc["dskd", name], means.loc["scratch", name]
        assert (closer > farther) == metric.higher_is_closer, name


def test_scratch_borrows_the_teacher_of_its_pair_on_the_same_images(store):
    scratch, kd = store.add("scratch", 0), store.add("kd", 0)
    store.finish(scratch)
    assert frame_of(store).empty
    store.finish(kd)
    assert set(frame_of(store)["label"]) == {"scratch", "kd"}


def test_other_images_lend_no_teacher(store):
    scratch, kd = store.add("scratch", 0), store.add("kd", 0)
    store.finish(scratch)
    store.finish(kd)
    path = store.path(kd) / "features.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **(arrays | {"heldout/index": arrays["heldout/index"] + 1}))
    assert set(frame_of(store)["label"]) == {"kd"}


@pytest.mark.parametrize("damage", ["missing", "torn", "empty"])
def test_damaged_features_have_no_row(store, damage):
    for seed in (0, 1):
        store.finish(store.add("kd", seed))
    path = store.path(store.entries[0]) / "features.npz"
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:5000] if damage == "torn" else b"")
    assert list(frame_of(store)["seed"]) == [1]


def test_the_cache_is_used_until_the_file_changes(store, tmp_path, monkeypatch):
    entry = store.add("kd", 0)
    store.finish(entry)
    cache = tmp_path / "gaps.json"
    first = frame_of(store, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr(gap, "measure", lambda _: pytest.fail("measured again"))
        again = frame_of(store, cache=cache)
    assert again.equals(first)
    store.features(entry, images=200)
    assert frame_of(store, cache=cache)["cka"].iloc[0] != first["cka"].iloc[0]


def test_denoised_features_go_through_the_map_of_the_original_ones():
    rng = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "heldout"):
        x = rng.normal(size=(60, 4))
        arrays |= {
            f"{split}/label": rng.integers(3, size=60).astype(float),
            f"{split}/student_pooled": rng.normal(size=(60, 2)),
            f"{split}/teacher_pooled": x @ np.diag([1.0, 2, 3, 4]),
            f"{split}/inspect/original": x,
            f"{split}/inspect/denoised": x + 1,
        }
    found = {view.name: view for view in gap.views(arrays)}
    assert set(found) == {"student", "original", "denoised"}
    shift = found["denoised"].mapped - found["original"].mapped
    assert shift == pytest.approx(np.tile([1.0, 2, 3, 4], (60, 1)), rel=0.02)
