"""The contract that every data set keeps, for the suite's own and for yours.

:func:`check` raises AssertionError with the fact that does not hold.
``tests/suite/data/test_every_data_set.py`` runs it over all data sets.
"""

from __future__ import annotations

from pathlib import Path

import torch

from suite.config import DataConfig
from suite.data import load, sets
from suite.interface.testing import expect


def check(name: str, root: Path) -> None:
    """Check the data set called ``name`` as it is read from the data root.

    Its parts are what its fields say, the same at each reading, with every class in each; the
    global random state is left alone; validation images are no training images; the whole loads.

    Args:
        name: Name of a data set, one file or one entry point.
        root: Folder of all data sets.

    Raises:
        AssertionError: A fact does not hold.
        DataError: The fields or the files are refused.
    """
    source = sets.find(name)
    before = torch.random.get_rng_state()
    for train in (True, False):
        images, labels = source.part(name, root, train)
        again, labels_again = source.part(name, root, train)
        same = torch.equal(images, again) and torch.equal(labels, labels_again)
        expect(same, f"reading twice gives other images or another order (train={train})")
        present = len(set(labels.tolist()))
        expect(present == source.num_classes, f"{present} classes have images (train={train})")
    unused = torch.equal(before, torch.random.get_rng_state())
    expect(unused, "reading draws from the global random state: use suite.interface.rng.generator")
    data = load(DataConfig(name=name), root)
    held_out = len(data.evals["val"]) if "val" in data.evals else 0
    expect(held_out == source.validation_images, f"{held_out} validation images are held out")
    expect(
        len(data.train) == source.train_images - held_out,
        f"{len(data.train)} training images beside {held_out} validation images",
    )
