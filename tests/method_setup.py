"""Small real networks and batches for tests of methods: a Setup without data sets or runs.

Shapes: B batch, K classes, N training images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import timm
import torch

import suite.models.zoo  # noqa: F401  (registers the CIFAR networks in timm)
from suite.interface.distiller import Batch, Progress, Setup
from suite.interface.rng import Draws, generator, seeded_globals
from suite.interface.taps import Outputs, TappedModel

BATCH_SIZE = 8


def make_model(
    name: str, num_classes: int = 5, image_size: int = 32, seed: int = 0, **options: Any
) -> TappedModel:
    """An untrained timm network for square colour images, the same for the same seed."""
    if "vit" in name or "mixer" in name or "swin" in name:
        options = {"img_size": image_size, "in_chans": 3} | options
    with seeded_globals(seed, name):
        model = timm.create_model(name, num_classes=num_classes, **options)
    return TappedModel(model, (3, image_size, image_size))


def make_setup(
    student_name: str = "test_resnet",
    teacher_name: str | None = "test_resnet",
    num_classes: int = 5,
    image_size: int = 32,
    train_size: int = 32,
    seed: int = 0,
    epochs: int = 4,
    student_options: dict[str, Any] | None = None,
    teacher_options: dict[str, Any] | None = None,
) -> Setup:
    """Setup over ``train_size`` images of noise in balanced classes; student and teacher differ.

    ``teacher_pass`` yields all images in batches of 8, in order. ``train_size`` is at least
    ``num_classes``.
    """
    student = make_model(student_name, num_classes, image_size, seed, **(student_options or {}))
    teacher = None
    if teacher_name is not None:
        options = teacher_options or {}
        teacher = make_model(teacher_name, num_classes, image_size, seed + 1, **options)
        teacher.eval().requires_grad_(False)
    everything = make_images(train_size, num_classes, image_size, seed)

    def teacher_pass(taps: Sequence[str]) -> Iterator[tuple[Batch, Outputs]]:
        for rows in torch.arange(train_size).split(BATCH_SIZE):
            batch = Batch(everything.image[rows], everything.label[rows], everything.index[rows])
            if teacher is not None:
                with torch.no_grad():
                    yield batch, teacher(batch.image, taps).float()

    return Setup(
        student=student,
        teacher=teacher,
        num_classes=num_classes,
        train_labels=everything.label,
        epochs=epochs,
        steps_per_epoch=max(train_size // BATCH_SIZE, 1),
        device=torch.device("cpu"),
        draws=Draws(generator(seed, "method")),
        gather=lambda tensor: tensor,
        teacher_pass=teacher_pass,
    )


def make_images(size: int, num_classes: int = 5, image_size: int = 32, seed: int = 0) -> Batch:
    """``size`` images of noise, labels 0, 1, .., K-1, 0, .., indices 0..size-1."""
    stream = generator(seed, "images")
    image = torch.randn(size, 3, image_size, image_size, generator=stream)
    return Batch(image, torch.arange(size) % num_classes, torch.arange(size))


def make_batch(
    setup: Setup, size: int = BATCH_SIZE, seed: int = 1, views: Sequence[str] = ()
) -> Batch:
    """``size`` images of noise with labels and indices that fit ``setup`` (size <= N)."""
    image, *others = (
        make_images(size, setup.num_classes, setup.student.image_shape[-1], seed + 1000 * it).image
        for it in range(1 + len(views))
    )
    index = torch.randperm(setup.train_size, generator=generator(seed, "index"))[:size]
    return Batch(image, setup.train_labels[index], index, dict(zip(views, others, strict=True)))


def make_progress(epoch: int = 1, step: int = 0, epochs: int = 4) -> Progress:
    """A place in a run of ``epochs`` epochs with 4 steps each."""
    return Progress(epoch=epoch, epochs=epochs, step=step, steps_per_epoch=4)


def run_both(setup: Setup, distiller: Any, batch: Batch) -> tuple[Outputs, Outputs]:
    """Outputs of student (training mode) and teacher (no gradient) with the taps asked for."""
    setup.student.train()
    student = setup.student(batch.image, distiller.student_taps()).float()
    teacher = Outputs(student.logits.new_empty(0))
    if setup.teacher is not None:
        with torch.no_grad():
            teacher = setup.teacher(batch.image, distiller.teacher_taps()).float()
    for name, image in batch.views.items():
        view = Batch(image, batch.label, batch.index)
        student.views[name], teacher.views[name] = run_both(setup, distiller, view)
    return student, teacher
