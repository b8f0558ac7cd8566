"""Which tensor of a foreign state_dict belongs where in a network.

Tried in this order, and the first that fits most tensors is taken: the names as they are; without
the prefix of a wrapper (``module.``, ``model.``, ``backbone.`` ...; tensors without it are another
part of the wrapper); the names of RepDistiller and mdistiller (``reference_names``
of the networks in ``suite/models/zoo``); the names that timm itself translates (torchvision's and
the authors' own); and the order of the tensors, where every shape and every last part of a name
(``weight``, ``running_mean`` ...) agrees along the whole file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import Tensor

State = Mapping[str, Tensor]
COUNTER = ".num_batches_tracked"
"""Files of PyTorch 0.4.0 lack the batch counters, which load_state_dict then leaves at 0."""
FOREIGN = (LookupError, ValueError, TypeError, AttributeError, RuntimeError, AssertionError)
"""What timm's translation raises of files that are not for it."""


@dataclass(frozen=True)
class Match:
    """A state_dict under the network's names."""

    how: str
    state: State
    own: State
    head: str  # name of the classifier's module, with its dot

    @property
    def classes(self) -> int:
        """Of the network."""
        return _rows(self.own, self.head)

    @property
    def classes_of_file(self) -> int:
        """Of the classifier in the file; 0 where it has none."""
        return _rows(self.state, self.head)

    @property
    def only_other_classes(self) -> bool:
        """Whether everything fits except the number of classes."""
        different = self.classes_of_file not in (0, self.classes)
        return different and not self.faults(without_head=True)

    def faults(self, *, without_head: bool) -> list[str]:
        """What does not fit, a text for each kind; ``without_head`` forgives the classifier."""

        def counts(name: str) -> bool:
            return not (without_head and name.startswith(self.head))

        own, in_file = filter(counts, self.own), filter(counts, self.state)
        by_kind = {
            "missing": sorted(
                name for name in own if name not in self.state and COUNTER not in name
            ),
            "unexpected": sorted(name for name in in_file if name not in self.own),
            "of another shape": [
                f"{name} {tuple(self.state[name].shape)} instead of {tuple(tensor.shape)}"
                for name, tensor in sorted(self.own.items())
                if counts(name) and name in self.state and self.state[name].shape != tensor.shape
            ],
        }
        return [
            f"{len(texts)} {kind} (first: {texts[0]})" for kind, texts in by_kind.items() if texts
        ]

    def fitting(self) -> dict[str, Tensor]:
        """The tensors that fit: all but those of a classifier for other classes."""
        shapes = {name: tensor.shape for name, tensor in self.own.items()}
        return {k: v for k, v in self.state.items() if shapes.get(k) == v.shape}


def match(model: Any, state: State) -> Match:
    """The naming of ``state`` that fits most of the network's tensors."""
    own = model.state_dict()
    names = {id(module): name for name, module in model.named_modules()}
    head = f"{names[id(model.get_classifier())]}."
    readings = (Match(how, named, own, head) for how, named in _readings(model, state, own, head))
    return max(readings, key=lambda reading: len(reading.fitting()))


def _readings(model: Any, state: State, own: State, head: str) -> Iterator[tuple[str, State]]:
    yield "in the file", state
    for prefix in _prefixes(state, own):
        yield f"in the file after {prefix!r}", _without(state, prefix)
    translations = getattr(model, "reference_names", {})
    if translations:
        yield "in RepDistiller and mdistiller", _renamed(state, translations)
    translate = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if translate is not None:
        with suppress(*FOREIGN):
            yield "timm translates them", translate(dict(state), model)
    ordered = _by_order(state, own, head)
    if ordered is not None:
        yield "their order says", ordered


def _prefixes(state: State, own: State) -> list[str]:
    """What precedes the network's first tensor name, wherever that occurs in the file."""
    first = next(iter(own))
    return [name.removesuffix(first) for name in state if name.endswith(f".{first}")]


def _without(state: State, prefix: str) -> State:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _renamed(state: State, names: Mapping[str, str]) -> State:
    """Apply every pattern once, in order, to every name."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in names.items():
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def _by_order(state: State, own: State, head: str) -> State | None:
    theirs = [name for name in state if not name.endswith(COUNTER)]
    ours = [name for name in own if not name.endswith(COUNTER)]
    if len(theirs) != len(ours):
        return None
    for foreign, name in zip(theirs, ours, strict=True):
        skip = int(name.startswith(head))  # the number of classes may differ
        if _last(foreign) != _last(name) or state[foreign].shape[skip:] != own[name].shape[skip:]:
            return None
    return {name: state[foreign] for foreign, name in zip(theirs, ours, strict=True)}


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _rows(state: State, head: str) -> int:
    weight = state.get(f"{head}weight")
    return 0 if weight is None else len(weight)
