"""Cost of a training step of every method in steps of KD, same pair and batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench import pairs
from bench.registry import Figure, Settings
from bench.timing import in_turns, ratios, spread
from suite import methods

TARGETS = {"dskd": 1.25}


def measure(settings: Settings) -> Iterator[Figure]:
    """Steps of all methods that take a teacher, in turns, in float32."""
    torch.set_num_threads(settings.threads)
    data = pairs.dataset(settings)
    engines = {}
    for name in methods.names():
        if methods.find(name).uses_teacher:
            engines[name] = pairs.Engine(settings, data, [pairs.config(name)])
    steps = max(1, settings.steps // 2)
    actions = {name: lambda it=engine: it.train(steps) for name, engine in engines.items()}
    seconds = in_turns(actions, settings.rounds)
    yield Figure("kd", spread([1000 * it / steps for it in seconds["kd"]]), "ms/step")
    for name in actions:
        if name != "kd":
            cost = ratios(seconds[name], seconds["kd"])
            yield Figure(f"{name} / kd", cost, "x", at_most=TARGETS.get(name))
