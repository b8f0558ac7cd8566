"""Training throughput: the suite's engine against a plain loop, one pair, batch 64.

Plain loop: DataLoader workers, PIL transforms, eager NCHW float32, ``.item()`` after every step, in
a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from bench import pairs
from bench.reference_loop import PlainProcess
from bench.registry import Figure, Settings
from bench.timing import Stopwatch, in_turns, ratios, spread, wait

LONG = 4  # so many times the steps a turn: the four batches that a DataLoader prepares meanwhile,
# in the next one's turn, must not matter
PLAIN, FP32, BF16 = "plain loop, fp32", "engine, fp32", "engine, bf16"


def measure(settings: Settings) -> Iterator[Figure]:
    """Images per second, ratios to the plain loop, and where a step's time goes."""
    torch.set_num_threads(settings.threads)
    data, plain = pairs.dataset(settings), PlainProcess(settings)
    engines = {
        FP32: pairs.Engine(settings, data, [pairs.config("kd")]),
        BF16: pairs.Engine(settings, data, [pairs.config("kd", "bf16-mixed")]),
    }
    loops: dict[str, Callable[[int], None]] = {PLAIN: plain.train}
    loops |= {name: engine.train for name, engine in engines.items()}
    steps = LONG * settings.steps
    actions = {name: lambda train=train: train(steps) for name, train in loops.items()}
    seconds = in_turns(actions, settings.rounds)
    plain.close()
    images_a_turn = steps * pairs.BATCH_SIZE
    for name, taken in seconds.items():
        yield Figure(name, spread([images_a_turn / it for it in taken]), "images/s")
    targets = {FP32: 1.5, BF16: 2.8} if settings.device == "cpu" else {FP32: None, BF16: 10.0}
    for name, target in targets.items():
        faster = ratios(seconds[PLAIN], seconds[name])
        yield Figure(f"{name} / plain loop", faster, "x", at_least=target)
    for name, engine in engines.items():
        yield from _breakdown(name, engine, settings)
    if settings.device == "cuda":
        yield from _whole_run(engines[BF16], settings)


def _breakdown(name: str, engine: pairs.Engine, settings: Settings) -> Iterator[Figure]:
    """Each part alone, waited for; on a GPU a whole step overlaps them and is shorter."""
    trainer, ground = engine.trainers[0], engine.ground
    batches = ground.data.train.epoch(0, 1, pairs.BATCH_SIZE)
    taken: dict[str, list[float]] = {}
    for _ in range(2 * settings.rounds):
        watch = Stopwatch(taken)
        batch = next(batches)
        image = batch.image.contiguous(memory_format=ground.layout)
        watch.lap("batch")
        teacher = ground.teacher(image, ()) if ground.teacher is not None else None
        watch.lap("teacher")
        with ground.fabric.autocast():
            seen = [image] if teacher is None else [image, teacher.logits]
            terms, _ = trainer.step(batch.label, batch.index, [seen], (1, 240, 0, 781))
        watch.lap("student and losses")
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        watch.lap("backward")
        trainer.updates.optimizer.step()
        trainer.updates.optimizer.zero_grad()
        watch.lap("optimizer")
    for label, seconds in taken.items():
        yield Figure(f"{name}: {label}", spread([1000 * it for it in seconds]), "ms/step")


def _whole_run(engine: pairs.Engine, settings: Settings) -> Iterator[Figure]:
    """One epoch with its evaluation, and what 240 of them take."""
    trainer = engine.trainers[0]
    steps = engine.ground.data.train.steps(pairs.BATCH_SIZE)

    def epoch() -> None:
        engine.train(steps)
        trainer.evaluate()

    epochs = pairs.EPOCHS if settings.full else 2
    wait()
    started = time.perf_counter()
    for _ in range(epochs):
        epoch()
    wait()
    minutes = (time.perf_counter() - started) / epochs * pairs.EPOCHS / 60
    note = "measured whole" if settings.full else "2 epochs measured, times 120"
    yield Figure("240 epochs of 50,000 images, KD, bf16", minutes, "min", at_most=5.0, note=note)
