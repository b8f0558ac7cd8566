"""Files of small random images of three classes, for tests of where images lie."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from suite.config import Columns

CLASSES = ("owl", "wren", "kite")
TRAIN, VAL = [*range(6), *range(10, 16), *range(20, 26)], [7, 8, 17, 18, 27, 28]
"""Numbers of images; that of the class is number // 10."""
USUAL = Columns()
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
INTEGER = pa.int64()


def picture(number, side=20):
    """Extension and bytes of a JPEG file, or of a PNG file for odd numbers."""
    pixels = np.random.default_rng(number).integers(0, 256, (side, side + 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG" if number % 2 else "JPEG")
    return ("png" if number % 2 else "jpg"), buffer.getvalue()


def write_folders(folder):
    """The images in folders of classes, in the order of their numbers."""
    for split, numbers in (("train", TRAIN), ("val", VAL)):
        for number in numbers:
            extension, content = picture(number)
            place = folder / split / f"{number // 10}_{CLASSES[number // 10]}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number:03}.{extension}").write_bytes(content)


def hub_table(contents, labels, classes=CLASSES, columns=USUAL, kind=IMAGE, label=INTEGER):
    """As the hub's library writes it: names of classes lie in the metadata."""
    features = {
        columns.image: {"_type": "Image"},
        columns.label: {"names": classes, "_type": "ClassLabel"},
    }
    metadata = (
        {} if classes is None else {"huggingface": json.dumps({"info": {"features": features}})}
    )
    fields = [pa.field(columns.image, kind), pa.field(columns.label, label)]
    images = contents
    if kind == IMAGE:
        images = [{"bytes": it, "path": f"{row}.jpg"} for row, it in enumerate(contents)]
    arrays = [pa.array(images, kind), pa.array(labels, label)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata))


def write_hub(folder, split, numbers, parts=1, group=2, **how):
    """Images ``numbers``, of the class number // 10, ``group`` in a row group."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, some in enumerate(np.array_split(numbers, parts)):
        made = hub_table([picture(it)[1] for it in some], [it // 10 for it in some], **how)
        path = folder / f"{split}-{part:05}-of-{parts:05}.parquet"
        pq.write_table(made, path, row_group_size=group)
