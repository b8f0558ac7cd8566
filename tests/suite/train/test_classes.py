"""Classes without training images and teachers of other classes are refused in one line."""

import numpy as np
import pytest
from PIL import Image

from suite.config import DataConfig, RunSpec, Runtime, parse
from suite.data import identify
from suite.interface.errors import UserError
from suite.names import TEACHERS
from suite.train.classes import _difference
from suite.train.preflight import check
from suite.train.run import run

NETWORK = {"name": "cifar_resnet8", "options": {"widths": [2, 2, 2, 2]}}


def spec(data, teacher=None):
    """A run of an epoch; ``teacher`` is the spec of its teacher."""
    config = {
        "data": data,
        "student": NETWORK,
        "method": "scratch" if teacher is None else "kd",
        "optimizer": {"lr": 0.1},
        "train": {"epochs": 1, "batch_size": 2},
    }
    if teacher is not None:
        config["teacher"] = NETWORK | {"run_id": teacher.run_id}
    place = TEACHERS if teacher is None else "classes"
    role = "teacher" if teacher is None else "student"
    values = {"config": config, "experiment": place, "role": role, "label": "row"}
    return parse(RunSpec, values, "test")


def test_a_class_that_a_small_choice_leaves_without_images_is_named(tmp_path):
    """Of 20 ants, 20 bees and a cat the first four, in proportion, hold no cat."""
    for split in ("train", "val"):
        for name, count in (("ant", 20), ("bee", 20), ("cat", 1)):
            folder = tmp_path / "animals" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / f"{number}.png")
    contents = identify("animals", tmp_path)
    data = {"name": "animals", "image_size": 8, "contents": contents.model_dump()}
    runtime = Runtime(accelerator="cpu", tracker="none", data_root=tmp_path)
    few, all_of_them = spec({**data, "train_limit": 4}), spec(data)
    found = check([few, all_of_them], runtime)
    assert {key: str(fault) for key, fault in found.faults.items()} == {
        few: "data animals: no training image of class 'cat': add images, leave data.train_limit "
        "out, or train on the validation images too (data.train_split=trainval)"
    }


def test_a_teacher_of_another_block_of_classes_is_refused_before_training(tmp_path):
    runtime = Runtime(accelerator="cpu", tracker="none", runs_root=tmp_path)
    data = {"name": "fake", "classes": 3, "train_limit": 12, "eval_splits": []}
    teacher = spec({**data, "class_block": 0})
    run(teacher, runtime)
    run(spec(data, teacher), runtime)
    message = (
        f"teacher run {teacher.run_id}: other classes than here: it learned fake from class 0, the "
        "student sees fake from class 3"
    )
    with pytest.raises(UserError, match=message):
        run(spec({**data, "class_block": 1}, teacher), runtime)


def test_folders_are_compared_by_the_names_of_their_classes():
    ours, theirs = DataConfig(name="animals"), {"name": "zoo"}
    assert _difference(theirs, ["ant", "bee"], ours, ("ant", "bee")) == ""
    assert (
        _difference(theirs, ["ant", "cat"], ours, ("ant", "bee"))
        == "class 1 was 'cat' and is 'bee'"
    )
