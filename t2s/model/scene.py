"""Scenes: a small picture of what a task's demonstrations see first tells apart tasks that share an instruction.

In libero_90, 28 tasks share 12 instructions in other scenes. Among them, the nearest picture decides. Objects start in
other places in every episode, so a picture is coarse: it shows the scene more than the places. With 8 x 8 pixels, the
first frames of all 560 rollouts in tests/libero_pictures.npz are nearest to their own task, by a factor of 1.2 or more.
The size was chosen on frames of the same tasks, by that factor; 4 x 4 and 16 x 16 pixels found every task, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8

PICTURE_SIZE = 8
"""[px] Side of a picture."""

Picture = UInt8[np.ndarray, "8 8 3"]


def picture(images: UInt8[np.ndarray, "n h w 3"]) -> Picture:
    """The mean of the images, reduced to `PICTURE_SIZE`."""
    pixels = torch.from_numpy(images).double().movedim(-1, 1)
    small = F.adaptive_avg_pool2d(pixels, PICTURE_SIZE).mean(0)
    reduced: Picture = small.movedim(0, -1).round().to(torch.uint8).numpy()
    return reduced


def distance(one: Picture, other: Picture) -> float:
    """The root mean square difference of two pictures, from 0 to 255."""
    return float(np.sqrt(np.square(one.astype(float) - other).mean()))


def nearest_picture(seen: Picture, known: Sequence[Picture]) -> int:
    """Index of the known picture that differs least from `seen`."""
    return int(np.argmin([distance(seen, other) for other in known]))
