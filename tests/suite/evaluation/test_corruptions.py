"""Corruptions of images, with values that can be checked by hand."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from suite.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from suite.interface.rng import generator

EXACT = ("defocus_blur", "brightness", "contrast", "pixelate", "jpeg_compression")


def pictures(count=3, channels=3, side=32):
    """Smooth colours with an edge."""
    stream = generator(0, "pictures")
    small = torch.rand(count, channels, 4, 4, generator=stream)
    large = torch.nn.functional.interpolate(small, size=(side, side), mode="bicubic").clamp(0, 1)
    large[:, :, : side // 2, : side // 3] *= 0.3
    return (large * 255).to(torch.uint8)


def of(images, kind, severity, seed=0):
    return corrupted(images, kind, severity, generator(seed, kind, severity))


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(3, 32), (1, 8), (3, 64)])
def test_images_keep_their_shape_and_suffer_more_with_severity(kind, shape):
    images = pictures(8, *shape)
    changed = [of(images, kind, severity) for severity in range(1, SEVERITIES + 1)]
    assert {(it.shape, it.dtype) for it in changed} == {(images.shape, torch.uint8)}
    harm = [float((it.float() - images.float()).abs().mean()) for it in changed]
    assert harm[-1] > harm[0] > 0


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_stream_alone_decides_what_is_random(kind):
    images = pictures()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert torch.equal(of(images, kind, 3), of(images, kind, 3))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(of(images, kind, 3), of(images, kind, 3, seed=1)) == (kind in EXACT)


def grey(value, side=32, channels=3):
    return torch.full((4, channels, side, side), value, dtype=torch.uint8)


def test_noise_has_the_deviation_of_the_script():
    gaussian = of(grey(128), "gaussian_noise", 5).float() / 255
    assert float(gaussian.std()) == pytest.approx(0.10, rel=0.03)
    shot = of(grey(128), "shot_noise", 5).float() / 255  # Poisson: variance mean / photons
    assert float(shot.std()) == pytest.approx((128 / 255 / 50) ** 0.5, rel=0.03)
    impulse = of(grey(128), "impulse_noise", 5)
    assert set(impulse.unique().tolist()) == {0, 128, 255}
    assert float((impulse != 128).double().mean()) == pytest.approx(0.07, rel=0.1)


def test_brightness_adds_to_the_largest_channel_and_keeps_hue_and_saturation():
    image = torch.tensor([100, 50, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    changed = of(image, "brightness", 2)  # 100 + 25.5; the others by the same factor
    assert changed.flatten().tolist() == [125, 62, 0]
    assert of(grey(0), "brightness", 2).unique().tolist() == [25]
    assert of(grey(250), "brightness", 2).unique().tolist() == [255]


def test_contrast_keeps_each_channels_mean_and_takes_the_share_of_the_script():
    image = torch.tensor([0, 200], dtype=torch.uint8).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    assert of(image, "contrast", 2)[0, 0, 0].tolist() == [50, 150]


def test_what_has_one_value_everywhere_no_blur_changes():
    for kind in ("defocus_blur", "motion_blur", "pixelate"):
        difference = of(grey(77), kind, 5).int() - 77
        assert int(difference.abs().max()) <= 1, kind


def test_defocus_spreads_a_point_over_its_disk():
    image = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    image[..., 16, 16] = 255
    blurred = of(image, "defocus_blur", 5)[0, 0]  # radius 1.5: nine pixels, hardly smoothed
    assert blurred[15:18, 15:18].tolist() == [[28] * 3] * 3
    assert int(blurred.sum()) == 9 * 28


def test_motion_draws_a_point_into_a_line_on_one_side():
    image = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    image[..., 16, 16] = 255
    blurred = of(image, "motion_blur", 5)[0, 0]
    rows, columns = np.nonzero(blurred.numpy())
    assert columns.max() == 16
    assert columns.min() < 14
    assert np.abs(rows - 16).max() <= 16 - columns.min()
    assert blurred[16, 16] == blurred.max()


def test_pixelate_and_jpeg_are_pillows():
    (raw,) = pictures(1).movedim(1, -1).numpy()
    image = Image.fromarray(raw)
    box = image.resize((20, 20), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)
    assert np.array_equal(of(pictures(1), "pixelate", 5)[0].movedim(0, -1).numpy(), np.array(box))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=40)
    jpeg = of(pictures(1), "jpeg_compression", 5)[0].movedim(0, -1).numpy()
    assert np.array_equal(jpeg, np.array(Image.open(file)))
