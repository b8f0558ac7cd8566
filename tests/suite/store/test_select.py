"""Which epoch is reported, and which would be claimed by selecting on a split."""

from suite.store.select import select

ROWS = [
    {"epoch": 1, "lr": 0.1, "val/top1_percent": 50.0, "test/top1_percent": 60.0},
    {"epoch": 2, "lr": 0.1},
    {"epoch": 3, "lr": 0.1, "val/top1_percent": 70.0, "test/top1_percent": 58.0},
    {"epoch": 4, "lr": 0.1, "val/top1_percent": 70.0, "test/top1_percent": 59.0},
]


def test_last_best_validation_and_best_test_epochs_are_kept_apart():
    chosen = select(ROWS)
    assert [chosen[name]["epoch"] for name in ("last", "best_val", "best_test")] == [4, 3, 1]
    assert chosen["best_val"]["test/top1_percent"] == 58.0


def test_training_figures_are_no_part_of_an_epochs_summary():
    assert "lr" not in select(ROWS)["last"]


def test_without_a_validation_split_there_is_no_best_validation_epoch():
    rows = [{"epoch": 1, "test/top1_percent": 60.0}]
    assert select(rows)["best_val"] is None
    assert select(rows)["best_test"]["epoch"] == 1
