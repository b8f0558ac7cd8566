"""A recorder of steps that needs no GPU: a tape of operations and the memory they work on.

As a CUDA graph, recording changes nothing, and a replay runs the same operations on the same memory
without running the Python code again.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

WRITES_SILENTLY = {torch.ops.aten.native_batch_norm.default}  # running statistics


def tensors(values):
    return [it for it in tree_flatten(values)[0] if isinstance(it, torch.Tensor)]


def storage(tensor):
    return tensor.untyped_storage().data_ptr()


class Tape(TorchDispatchMode):
    """Notes every operation; ``fail_after`` so many it refuses to go on."""

    def __init__(self, fail_after=None):
        super().__init__()
        self.operations = []
        self._fail_after = fail_after
        self._made = {}  # storage -> a tensor in it, so that its memory is not used again
        self._before = {}  # storage -> (tensor, content before it was written into)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if len(self.operations) == self._fail_after:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        given = tensors((args, kwargs))
        if func._schema.is_mutable or func in WRITES_SILENTLY:
            for tensor in given:
                place = storage(tensor)
                if place not in self._made and place not in self._before:
                    whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
                    self._before[place] = whole, whole.clone()
        out = func(*args, **kwargs)
        known = {storage(tensor) for tensor in given}
        fresh = [it if storage(it) not in known else None for it in tensors(out)]
        self._made |= {storage(it): it for it in fresh if it is not None}
        self.operations.append((func, args, kwargs, fresh))
        return out

    def undo(self):
        """Give memory that was there before its content back."""
        for whole, content in self._before.values():
            whole.copy_(content)

    @torch.no_grad()
    def play(self):
        """Run all operations again."""
        for func, args, kwargs, fresh in self.operations:
            for place, value in zip(fresh, tensors(func(*args, **kwargs)), strict=True):
                if place is not None:
                    place.copy_(value)


class TapeRecorder:
    """In place of :func:`suite.device.graphs.record`."""

    def __init__(self, fail_after=None):
        self.fail_after = fail_after
        self.tapes = []

    def __call__(self, function, generators):
        states = [generator.get_state() for generator in generators]
        tape = Tape(self.fail_after)
        try:
            with torch.random.fork_rng(devices=[]), tape:
                results = function()
        finally:
            tape.undo()
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)
        self.tapes.append(tape)

        def replay():
            tape.play()
            return results

        return replay
