"""Read a ``.wandb`` file back: W&B's records in LevelDB's log format.

wandb reports no error when the disk fills up while it writes, so that the uploader checks what it
has made. Blocks of 32 KiB hold fragments with a header of 7 bytes: checksum, length, kind
(1 whole, 2 first, 3 middle, 4 last); the file starts with 7 bytes of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE_HEADER_BYTES = 7
BLOCK_BYTES = 32 * 1024
FRAGMENT = struct.Struct("<IHB")
WHOLE, LAST = 1, 4


def read(path: Path) -> Iterator[Any]:
    """The records (``wandb_internal_pb2.Record``) in order, up to where the file is torn."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from wandb.proto import wandb_internal_pb2

    for content in _payloads(path.read_bytes()):
        record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
        try:
            record.ParseFromString(content)
        except DecodeError:
            return
        yield record


def _payloads(data: bytes) -> Iterator[bytes]:
    position, parts = FILE_HEADER_BYTES, b""
    while position + FRAGMENT.size <= len(data):
        left_in_block = BLOCK_BYTES - position % BLOCK_BYTES
        if left_in_block < FRAGMENT.size:  # padding
            position += left_in_block
            continue
        _, length, kind = FRAGMENT.unpack_from(data, position)
        position += FRAGMENT.size
        if position + length > len(data):
            return
        parts += data[position : position + length]
        position += length
        if kind in (WHOLE, LAST):
            yield parts
            parts = b""


def history(path: Path) -> tuple[list[int], bool]:
    """Steps of the history rows in order, and whether an exit record follows: the file is whole."""
    steps, exited = [], False
    for record in read(path):
        if record.WhichOneof("record_type") == "history":
            steps.append(record.history.step.num)
        exited = exited or record.WhichOneof("record_type") == "exit"
    return steps, exited
