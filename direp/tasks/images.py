"""MNIST and Fashion-MNIST, from a data directory or from the public mirrors, every file checked by its SHA-256."""

import gzip
import hashlib
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DataMissing, DataUnreadable
from .preparation import Column, Inputs, Preparation, Targets
from .task import Samples, Task

_TRAIN, _TEST = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"), (
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)  # fmt: skip

# Names of the classes, mirrors, and what each file must hash to.
IMAGES = {
    "mnist": (
        tuple("0123456789"),
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        {
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        },
    ),
    "fashion-mnist": (
        ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
        {
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        },
    ),
}


def images(
    name: str, *, data_dir: str | Path | None = None, scale: str = "range", split: int = 0, validation: int = 5000
) -> Task:
    """`mnist` or `fashion-mnist`: 784 pixels, 10 classes, 60,000 images to train on and 10,000 to test on.

    **Arguments:**

    - `data_dir`: a directory with folders `mnist` and `fashion-mnist` that hold the four original `.gz` files. By
      default the environment variable `DIREP_DATA`, else the user's cache, into which they are downloaded once.
    - `scale`: `"range"` (to [0, 1], all pixels alike), else as in `from_arrays`.
    - `split`: the seed of the split of the 60,000 into training and validation. The test part is the published one.
    - `validation`: how many of them validate, as many of every class as it has in all.
    """
    if name not in IMAGES:
        raise ValueError(f"images({name!r}) is unknown: there are {', '.join(IMAGES)}")
    if not 10 <= validation < 60000:
        raise ValueError(f"images(validation={validation}) must be 10 or more and leave some of 60000 to train on")
    folder = _folder(name, data_dir)
    (x, labels), (test_x, test_labels) = (
        _pair(folder / pixels, folder / classes) for pixels, classes in (_TRAIN, _TEST)
    )
    if x.shape[1] != test_x.shape[1]:
        raise DataUnreadable(
            f"{folder}: images to train on have {x.shape[1]} pixels, those to test on {test_x.shape[1]}"
        )
    from sklearn.model_selection import train_test_split

    training, validating = train_test_split(
        np.arange(len(x)), test_size=validation, random_state=split, stratify=labels
    )
    if scale == "range":
        pixels = tuple(Column(f"pixel{k}") for k in range(x.shape[1]))
        inputs = Inputs(pixels, np.zeros(1), np.full(1, 255.0))
        x, test_x = x / np.float32(255), test_x / np.float32(255)
    else:
        inputs = Inputs.fit(x, scale, np.asarray(training))
        x, test_x = (inputs.encode(part).astype(np.float32) for part in (x, test_x))
    target, classes = np.eye(10, dtype=np.float32), IMAGES[name][0]
    return Task(
        name,
        Samples(x[training], target[labels[training]]),
        Samples(x[validating], target[labels[validating]]),
        Samples(test_x, target[test_labels]),
        classes=classes,
        preparation=Preparation(inputs, Targets("classification", classes=classes)),
    )


def _folder(name: str, data_dir: str | Path | None) -> Path:
    """Where the four files lie, all of them checked."""
    _, mirrors, sums = IMAGES[name]
    given = data_dir or os.environ.get("DIREP_DATA")
    if given:
        folder = Path(given) / name
        missing = [file for file in sums if not (folder / file).is_file()]
        if missing:
            source = "--data-dir" if data_dir else "DIREP_DATA"
            raise DataMissing(
                f"{folder} lacks {', '.join(missing)}: point {source} at a directory with folders "
                f"{' and '.join(IMAGES)} that hold the original .gz files, or leave it out to download them"
            )
        for file, wanted in sums.items():
            _check(folder / file, wanted, "replace the file by the original one")
        return folder
    import pooch

    folder = Path(pooch.os_cache("direp")) / name
    for file, wanted in sums.items():
        if (folder / file).is_file():
            _check(folder / file, wanted, "delete the file and run again, to download it once more")
        else:
            _download(folder, file, wanted, mirrors)
    return folder


def _check(path: Path, wanted: str, mend: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise DataUnreadable(
            f"{path} is truncated or altered: its SHA-256 is {found}, that of the original {wanted}; {mend}"
        )


def _download(folder: Path, file: str, wanted: str, mirrors: tuple[str, ...]) -> None:
    """From the first mirror that has it. The file appears in the folder when it is whole, or not at all."""
    import logging

    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    failures = []
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        for mirror in mirrors:
            bar: Any = _Bar(progress, f"{folder.name}/{file}")
            try:
                downloader: Any = pooch.HTTPDownloader(progressbar=bar, timeout=30)
                pooch.retrieve(mirror + file, f"sha256:{wanted}", file, folder, downloader=downloader)
                return
            except (OSError, ValueError) as error:  # requests' errors are OSErrors, a wrong checksum a ValueError
                reason = "its checksum is wrong" if isinstance(error, ValueError) else type(error).__name__
                failures.append(f"{mirror} ({reason})")
    raise DataMissing(
        f"{file} of {folder.name} is not in {folder} and could not be downloaded from {' or '.join(failures)}: try "
        "again online, or point --data-dir or DIREP_DATA at a directory that holds it"
    )


class _Bar:
    """What pooch expects of a progress bar, drawn by rich."""

    def __init__(self, progress, what: str):
        self._progress, self._task = progress, progress.add_task(what, total=None)

    @property
    def total(self) -> int | float:
        return self._progress.tasks[self._task].total or 0

    @total.setter
    def total(self, value: int | float) -> None:
        self._progress.update(self._task, total=value)

    def update(self, amount: int | float) -> None:
        self._progress.advance(self._task, amount)

    def reset(self) -> None:
        self._progress.reset(self._task, total=self.total)

    def close(self) -> None:
        self._progress.update(self._task, visible=False)


def _pair(pixels: Path, classes: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images, a row each, and their labels."""
    x, labels = _idx(pixels, 3), _idx(classes, 1)
    if len(x) != len(labels) or labels.max() > 9:
        raise DataUnreadable(
            f"{classes} holds {len(labels):,} labels up to {labels.max()} for {len(x):,} images; needed is one for "
            "each, from 0 to 9"
        )
    return x.reshape(len(x), -1), labels


def _idx(path: Path, dimensions: int) -> np.ndarray:
    """An idx file of bytes: two zeros, 8 for bytes, the number of dimensions, their big-endian sizes, the bytes.

    No more is decompressed than it declares, and it may declare 20 times its own size: the originals have 6 times
    theirs.
    """
    try:
        with gzip.open(path) as file:
            magic, *shape = struct.unpack(f">{dimensions + 1}I", file.read(4 * (dimensions + 1)))
            size = math.prod(shape)
            if magic != 0x800 + dimensions or not 0 < size <= 20 * path.stat().st_size:
                raise ValueError(f"its header is {magic:#x}, with the shape {shape}")
            content = file.read(size + 1)
        if len(content) != size:
            raise ValueError(f"it declares {size:,} bytes and holds {'more' if len(content) > size else len(content)}")
        return np.frombuffer(content, np.uint8).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise DataUnreadable(f"{path} is no idx file of {dimensions} dimensions ({error})") from None
