"""Views of the student beside the teacher, measured run by run."""

import numpy as np
import pytest
from synthetic_store import digits

from analysis.feature_gap import differences, gap, image_noise
from analysis.feature_gap.metrics import METRICS, frechet
from analysis.feature_gap.trajectory import trajectory_distances
from analysis.feature_gap.views import View, views
from analysis.runs.collect import collect
from analysis.statistics import stats
from analysis.tables.gaps import gap_differences, gap_holes, gap_intervals, gaps


def frame_of(store, **more):
    return gap.gaps(collect(store.root, store.write_manifest()), **more).runs


def test_every_finished_run_has_a_row_and_dskd_one_more_for_denoised_features(finished):
    frame = gap.gaps(collect(finished.root, finished.manifest)).runs
    counts = frame.groupby(["label", "view"]).size()
    assert counts["kd", "student"] == 3
    assert counts["dskd", "denoised"] == counts["dskd", "virtual_teacher"] == 3
    assert ("dskd", "original") not in counts  # it is the pooled feature itself
    assert frame[list(METRICS)].notna().all().all()


def test_less_noise_means_closer_on_every_metric(finished):
    frame = gap.gaps(collect(finished.root, finished.manifest)).runs
    means = frame[frame["view"] == "student"].groupby("label")[list(METRICS)].mean()
    for name, metric in METRICS.items():
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


@pytest.mark.parametrize("damage", ["missing", "torn", "empty", "of another run"])
def test_damaged_features_have_no_row_and_a_table_says_why(store, damage):
    first, second = (store.add("kd", seed) for seed in (0, 1))
    for entry in (first, second):
        store.finish(entry)
    path = store.path(first) / "features.npz"
    content = path.read_bytes()
    path.unlink()
    if damage == "of another run":
        path.write_bytes((store.path(second) / "features.npz").read_bytes())
    elif damage != "missing":
        path.write_bytes(content[:5000] if damage == "torn" else b"")
    found = gap.gaps(collect(store.root, store.write_manifest()))
    assert list(found.runs["seed"]) == [1]
    (row,) = gap_holes(found).rows
    texts = [cell.text for cell in row.cells]
    assert texts[:3] == ["kd", "teacher → student", "0"]
    reason = {
        "missing": "is missing",
        "of another run": f"is of run {second['run_id']}",
    }.get(damage, "is damaged")
    assert texts[3] == f"{first['directory']}/features.npz {reason}"


def test_where_no_run_kept_features_nothing_is_missed(store):
    store.finish(store.add("kd", 0), features=False)
    found = gap.gaps(collect(store.root, store.write_manifest()))
    assert found.runs.empty
    assert gap_holes(found) is None


def test_the_gap_over_epochs_ends_with_the_record(store):
    kept, plain = store.add("dskd", 0), store.add("kd", 0)
    for entry in (kept, plain):
        store.finish(entry)
    store.features(kept, epoch=1, noise=2.0)
    store.features(kept, epoch=10, noise=1.0)
    found = gap.gaps(collect(store.root, store.write_manifest()))
    assert set(found.epochs["label"]) == {"dskd"}
    student = found.epochs[found.epochs["view"] == "student"].sort_values("epoch")
    assert list(student["epoch"]) == [1, 10, 30]
    assert student["frechet"].is_monotonic_decreasing
    assert student["cka"].is_monotonic_increasing
    final = found.runs[(found.runs["label"] == "dskd") & (found.runs["view"] == "student")]
    assert student["cka"].iloc[-1] == final["cka"].item()
    assert set(found.epochs["view"]) == {"student", "denoised", "virtual_teacher"}


def test_a_damaged_epoch_is_left_out(store):
    entry = store.add("kd", 0)
    store.finish(entry)
    store.features(entry, epoch=1)
    (store.path(entry) / "features-0010.npz").write_bytes(b"torn")
    found = gap.gaps(collect(store.root, store.write_manifest()))
    assert list(found.epochs["epoch"]) == [1, 30]


def test_steps_towards_the_teacher_shorten_the_distance():
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(200, 3)) * [1.0, 2.0, 3.0]
    noisy = teacher + 2.0 * rng.normal(size=(200, 3))
    steps = np.stack([(1 - part) * noisy + part * teacher for part in (0.0, 0.5, 1.0)], axis=1)
    arrays = {
        "train/inspect/original": teacher,
        "train/teacher_pooled": teacher,
        "heldout/teacher_pooled": teacher,
        "heldout/label": np.zeros(200),
        "heldout/inspect/trajectory": steps,
    }
    found = trajectory_distances(arrays)
    assert found.shape == (3,)
    assert found[0] > found[1] > found[2]
    assert found[2] == pytest.approx(0.0, abs=1e-3)
    assert trajectory_distances({}) is None


def test_intervals_over_runs_and_over_images_stand_beside_the_mean(finished):
    found = gap.gaps(collect(finished.root, finished.manifest))
    table = gap_intervals(found.runs)
    kd = found.runs[found.runs["label"] == "kd"]
    row = next(row for row in table.rows if row.cells[0].text == "kd")
    interval, over_images = stats.t_interval(kd["cka"]), 1.96 * kd["cka/image_sd"].mean()
    over_runs = (interval.high - interval.low) / 2
    assert [cell.text for cell in row.cells[:3]] == ["kd", "student", "3"]
    assert row.cells[3].text == f"{kd['cka'].mean():.3f} ± {over_runs:.3f} ({over_images:.3f})"


def test_the_cache_is_used_until_the_file_changes(store, tmp_path, monkeypatch):
    entry = store.add("kd", 0)
    store.finish(entry)
    first = frame_of(store, cache_folder=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(gap, "views", lambda _: pytest.fail("measured again"))
        again = frame_of(store, cache_folder=tmp_path)
    assert again.equals(first)
    store.features(entry, images=200)
    assert frame_of(store, cache_folder=tmp_path)["cka"].iloc[0] != first["cka"].iloc[0]


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
    found = {view.name: view for view in views(arrays)}
    assert set(found) == {"student", "original", "denoised"}
    shift = found["denoised"].mapped - found["original"].mapped
    assert shift == pytest.approx(np.tile([1.0, 2, 3, 4], (60, 1)), rel=0.02)


def test_the_gap_of_the_virtual_teacher_is_the_end_of_the_trajectory(finished):
    found = gap.gaps(collect(finished.root, finished.manifest)).runs
    row = found[(found["label"] == "dskd") & (found["view"] == "virtual_teacher")].iloc[0]
    (entry,) = [it for it in finished.entries if it["run_id"] == row["run_id"]]
    with np.load(finished.path(entry) / "features.npz") as file:
        arrays = {name: file[name].astype(float) for name in file.files if "/" in name}
    assert trajectory_distances(arrays)[-1] == pytest.approx(row["frechet"], rel=1e-4)


def test_features_of_version_0_1_hold_a_virtual_teacher_and_no_trajectory(store):
    entry = store.add("dskd", 0)
    store.finish(entry)
    path = store.path(entry) / "features.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    for split in ("train", "heldout"):
        arrays[f"{split}/inspect/denoised"] = arrays.pop(f"{split}/inspect/virtual_teacher")
    now = frame_of(store)
    np.savez(path, **arrays)
    then = frame_of(store)
    assert list(now["view"]) == ["student", "denoised", "virtual_teacher"]
    assert list(then["view"]) == ["student", "virtual_teacher"]
    assert then["cka"].iloc[1] == now["cka"].iloc[2]


def test_two_seeds_and_two_teachers_are_the_floor_of_the_table(store):
    for seed in (0, 1):
        store.finish(store.add("scratch", seed))
    for seed, teacher in enumerate("ab"):
        entry = store.add("kd", seed)
        entry["teacher_run_id"] = teacher * 16
        store.finish(entry)
    found = gap.gaps(collect(store.root, store.write_manifest()))
    floor = found.floor.set_index("label")
    assert list(floor.index) == ["two seeds of scratch", "two teachers"]
    assert floor["cka"]["two teachers"] == pytest.approx(1.0)  # made-up teachers are all one
    assert floor["frechet"]["two teachers"] == pytest.approx(0.0, abs=1e-3)
    assert floor["unexplained"]["two seeds of scratch"] > 0.05
    texts = [row.cells[0].text for row in gaps(found).rows]
    assert texts[-2:] == ["two seeds of scratch", "two teachers"]


def test_differences_are_paired_by_seed_and_by_image(finished):
    frame = gap.gaps(collect(finished.root, finished.manifest)).runs
    own = frame[frame["view"] == "student"]
    kd, scratch = (own[own["label"] == label] for label in ("kd", "scratch"))
    between = differences.between(kd, scratch, "cka")
    apart = kd["cka"].to_numpy() - scratch["cka"].to_numpy()
    interval = stats.t_interval(apart)
    assert between.mean == pytest.approx(apart.mean())
    assert between.half_over_runs == pytest.approx((interval.high - interval.low) / 2)
    influences = [
        np.mean([gap.influence_of(text) for text in rows["cka/influence"]], axis=0)
        for rows in (kd, scratch)
    ]
    by_hand = 1.96 * image_noise.deviation(influences[0] - influences[1])
    assert between.half_over_images == pytest.approx(by_hand, rel=1e-3)
    assert differences.between(kd, kd, "cka").half_over_images == 0
    table = gap_differences(frame, ["scratch", "kd"])
    assert "kd − scratch" in table.texts("Method")
    assert "kd − kd" not in table.texts("Method")


def test_methods_on_other_images_have_no_interval_paired_by_image(finished):
    frame = gap.gaps(collect(finished.root, finished.manifest)).runs
    kd = frame[frame["label"] == "kd"]
    other = frame[frame["label"] == "scratch"].assign(images="others")
    assert np.isnan(differences.between(kd, other, "cka").half_over_images)


def test_the_frechet_metric_is_in_units_of_the_teachers_variance():
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(4000, 2)) * 3
    view = View("student", teacher, teacher + np.array([3.0, 0.0]), teacher, np.zeros(4000))
    assert frechet(view).value == pytest.approx(9 / 18, rel=0.02)


def test_runs_without_features_are_named_and_nothing_is_measured_or_kept_for_them(
    tmp_path, monkeypatch
):
    store = digits(tmp_path / "runs", labels=("scratch", "kd"), seeds=(0, 1), features=False)
    found = gap.gaps(collect(store.root, store.manifest), tmp_path / "cache")
    assert found.runs.empty
    assert len(found.faults) == 4
    assert list(found.faults) == ["dataset", "recipe", "pair", "label", "seed", "reason"]
    assert all(found.faults["reason"].str.endswith("/features.npz is missing"))
    assert not (tmp_path / "cache").exists()
    store.features(store.entries[-1])  # of kd, seed 1
    measured = []
    of_run = gap._of_run
    monkeypatch.setattr(gap, "_of_run", lambda it, root: measured.append(it) or of_run(it, root))
    found = gap.gaps(collect(store.root, store.manifest), tmp_path / "cache")
    assert [it.run_id for it in measured] == [store.entries[-1]["run_id"]]
    assert set(found.runs["run_id"]) == {store.entries[-1]["run_id"]}
    assert sorted(found.faults["label"]) == ["kd", "scratch", "scratch"]
