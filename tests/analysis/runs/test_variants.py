"""Rows of one method that differ in options become ablation tables and heat maps."""

from analysis.feature_gap.gap import gaps
from analysis.plots.column import Column
from analysis.plots.sensitivity import draw
from analysis.runs.collect import collect
from analysis.runs.grid import Grid
from analysis.runs.variants import grid_options, varying_options
from analysis.tables.sensitivity import sensitivity
from analysis.tables.variants import variants


def fill(store, steps, bits, other=None):
    for i, step in enumerate(steps):
        for j, bit in enumerate(bits):
            for seed in (0, 1):
                options = {"diffusion_steps": step, "hash_bits": bit, "space": "student"}
                options |= other or {}
                more = {"method": "dskd", "salt": f"{step}{bit}", "options": options}
                entry = store.add(f"dskd-{step}-{bit}", seed, **more)
                store.finish(entry, 80.0 + i + 2 * j + 0.5 * seed, features=False)
    return Grid(collect(store.root, store.write_manifest()))


def test_only_options_that_differ_are_shown(store):
    (table,) = variants(fill(store, [1, 5], [64]))
    assert [column.header for column in table.columns] == [
        "Row",
        "diffusion steps",
        "accuracy",
        "95 % interval",
        "difference to dskd-1-64",
    ]
    cells = [[cell.text for cell in row.cells] for row in table.rows]
    assert cells[0] == ["dskd-1-64", "1", "80.25 ± 0.35 (2)", "[77.07, 83.43]", "–"]
    assert cells[1] == [
        "dskd-5-64",
        "5",
        "81.25 ± 0.35 (2)",
        "[78.07, 84.43]",
        "+1.00 [−0.52, +2.52]",  # t of 2 degrees, 4.303, times 0.354
    ]


def test_two_numeric_options_make_a_grid(store):
    grid = fill(store, [1, 5], [64, 128])
    assert grid_options(grid.students) == ("options/hash_bits", "options/diffusion_steps")
    assert draw(Column(grid, gaps(grid.collected), grid.columns[0])) is not None


def test_a_grid_has_a_table_of_means_with_intervals(store):
    (table,) = sensitivity(fill(store, [1, 5], [64, 128]))
    cells = [[cell.text for cell in row.cells] for row in table.rows]
    assert [column.header for column in table.columns] == ["hash bits", "1", "5"]
    assert cells[0][:2] == ["64", "80.25 [77.07, 83.43] (2)"]  # 80.25 ± 12.706 * 0.3536 / sqrt(2)
    assert sum(cell.mark == "best" for row in table.rows for cell in row.cells) >= 1


def test_one_option_or_three_make_none(store):
    grid = fill(store, [1, 5], [64])
    assert varying_options(grid.students) == ["options/diffusion_steps"]
    assert grid_options(grid.students) is None
    assert list(sensitivity(grid)) == []


def test_methods_with_one_row_have_no_table(finished):
    assert list(variants(Grid(collect(finished.root, finished.manifest)))) == []
