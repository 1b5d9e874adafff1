"""Fashion-MNIST, 28 x 28 pixels of clothes: a small convolutional network, above 90 % test accuracy.

The four idx.gz files come from Debian's package dataset-fashion-mnist, which the trainer image has; `dataDir` may name
another place. Shapes: B batch, N samples, H = W = 28, C = 10 classes.
"""

# ruff: noqa: N806 - tensors carry their shape in their name
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ganger.contract import ExitCode
from ganger_trainer import TrainConfig, UserError

IMAGES_MAGIC = 2051
LABELS_MAGIC = 2049
EVALUATION_BATCH = 1000


class FashionMnist:
    """Two convolutions and two linear layers."""

    class Config(TrainConfig, frozen=True, kw_only=True):
        """data_dir: where the idx.gz files are. channels: width of the first convolution."""

        data_dir: str = "/usr/share/datasets/fashion-mnist"
        channels: int = 16

    def model(self, config: Any) -> Any:
        """Return the network."""
        channels = config.channels
        return nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2 * channels * 7 * 7, 128),
            nn.ReLU(),
            nn.Dropout(0.25),
            nn.Linear(128, 10),
        )

    def data(self, config: Any) -> Any:
        """Return images in [0, 1] and labels of the 60,000 training samples."""
        return load(Path(config.data_dir), "train")

    def loss(self, model: Any, batch: Any) -> Any:
        """Return the cross entropy of a batch."""
        x_B1HW, y_B = batch
        return functional.cross_entropy(model(x_B1HW), y_B)

    def optimizer(self, model: Any, config: Any) -> Any:
        """Return AdamW."""
        return torch.optim.AdamW(model.parameters(), lr=config.lr)

    def scheduler(self, optimizer: Any, config: Any, total_steps: int) -> Any:
        """Return one cycle: warm up, then down to nearly zero."""
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=config.lr, total_steps=total_steps)

    def evaluate(self, model: Any, config: Any) -> dict[str, float]:
        """Return accuracy and loss on the 10,000 test samples."""
        device = next(model.parameters()).device
        x_N1HW, y_N = load(Path(config.data_dir), "t10k")
        right, loss = 0, 0.0
        for start in range(0, len(y_N), EVALUATION_BATCH):
            y_B = y_N[start : start + EVALUATION_BATCH].to(device)
            logits_BC = model(x_N1HW[start : start + EVALUATION_BATCH].to(device))
            right += int((logits_BC.argmax(1) == y_B).sum())
            loss += float(functional.cross_entropy(logits_BC, y_B, reduction="sum"))
        return {"accuracy": right / len(y_N), "loss": loss / len(y_N)}


def load(directory: Path, part: str) -> tuple[Any, Any]:
    """Return images (N, 1, 28, 28) as floats in [0, 1] and labels (N) of `part`, train or t10k.

    Raises OSError for a missing file, UserError (USER_DATA) for one that is something else.
    """
    pixels = _idx(directory / f"{part}-images-idx3-ubyte.gz", IMAGES_MAGIC)
    labels = _idx(directory / f"{part}-labels-idx1-ubyte.gz", LABELS_MAGIC)
    x_N1HW = torch.from_numpy(pixels).unsqueeze(1).float() / 255.0
    return x_N1HW, torch.from_numpy(labels).long()


def _idx(path: Path, magic: int) -> Any:
    """Return the bytes of an IDX file as an array of its own shape."""
    with gzip.open(path, "rb") as file:
        raw = file.read()
    num_axes = magic % 256
    header = np.frombuffer(raw, dtype=">i4", count=1 + num_axes)
    if header[0] != magic:
        raise UserError("DataInvalid", f"{path} is not an IDX file of magic number {magic}", ExitCode.USER_DATA)
    return np.frombuffer(raw, dtype=np.uint8, offset=4 * (1 + num_axes)).reshape(header[1:].tolist()).copy()


task = FashionMnist()
