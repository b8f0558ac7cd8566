"""Packing: students that share batches and the teacher's forward, against one after another."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from bench import pairs
from bench.registry import Figure, Settings
from bench.timing import in_turns, ratios, spread
from suite.train.teacher import Teacher

STUDENTS = {"cpu": 3, "cuda": 8}


def measure(settings: Settings) -> Iterator[Figure]:
    """KD students of different learning rates; on a CPU the teacher's share is to be saved."""
    torch.set_num_threads(settings.threads)
    data, count = pairs.dataset(settings), STUDENTS[settings.device]
    steps = max(1, settings.steps // 2)
    for precision in ("32-true", "bf16-mixed"):
        config = pairs.config("kd", precision)
        rates = [config.optimizer.model_copy(update={"lr": 0.05 / 2**i}) for i in range(count)]
        configs = [config.model_copy(update={"optimizer": rate}) for rate in rates]
        packed = pairs.Engine(settings, data, configs)
        alone = pairs.Engine(settings, data, [config])
        teacher, first = alone.ground.teacher, next(data.train.epoch(0, 1, pairs.BATCH_SIZE))
        if teacher is None:
            raise RuntimeError("the pair has no teacher")
        image = first.image.to(alone.ground.fabric.device)
        image = image.contiguous(memory_format=alone.ground.layout)
        seconds = in_turns(
            {
                "alone": partial(alone.train, steps),
                "packed": partial(packed.train, steps),
                "teacher": partial(_ask, teacher, image, steps),
            },
            settings.rounds,
        )
        one_by_one = [count * it for it in seconds["alone"]]
        faster = ratios(one_by_one, seconds["packed"])
        share = ratios(seconds["teacher"], seconds["alone"])
        possible = 1 / (1 - share.median * (count - 1) / count)
        target = possible if settings.device == "cpu" else 3.0
        name = f"{count} students, {precision}"
        yield Figure(f"{name}: teacher's share of a step", share, "x")
        yield Figure(
            f"{name}: packed / one after another",
            faster,
            "x",
            at_least=0.98 * target if settings.device == "cpu" else target,
            note=f"all of the teacher's share saved would be {target:.2f}"
            if settings.device == "cpu"
            else "",
        )
        yield Figure(
            f"{name}: packed",
            spread([count * steps * pairs.BATCH_SIZE / it for it in seconds["packed"]]),
            "images/s",
        )


def _ask(teacher: Teacher, image: Tensor, times: int) -> None:
    for _ in range(times):
        teacher(image, ())
