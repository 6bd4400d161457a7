"""LIBERO's augmentation of a window: its images change colours together, and then move together.

Source: LIBERO (arXiv 2306.03310), `BatchWiseImgColorJitterAug` and `TranslationAug`, the default of its policies. They
apply torchvision's `ColorJitter` and robomimic's `CropRandomizer`. Images are (b, t, h, w, 3) in [0, 255]; t counts the
frames of both cameras.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from t2s import params

UNCHANGED = 0.1
"""Share of the windows that keep their colours (LIBERO: `epsilon`)."""

GREY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in the luminance (ITU-R BT.601, as torchvision has them)."""

Images = Float[Tensor, "b t h w 3"]
Amounts = Float[Tensor, "b 1 1 1 1"]


def jitter(images: Images, learn: params.Learn, generator: torch.Generator) -> Images:
    """Changes brightness, contrast, saturation and hue of every window, each by a random amount, in random order."""
    changes = (brighten, contrast, saturate, turn_hue)
    largest = torch.tensor([learn.brightness, learn.contrast, learn.saturation, learn.hue])
    b = len(images)
    amounts = largest * (2 * torch.rand((b, 4), generator=generator) - 1)
    order = torch.rand((b, 4), generator=generator).argsort(1)
    order[torch.rand(b, generator=generator) < UNCHANGED] = -1
    images = images.clone()
    for place in range(4):
        for i, change in enumerate(changes):
            rows = torch.nonzero(order[:, place] == i)[:, 0]
            amount = amounts[rows, i].view(-1, 1, 1, 1, 1).to(images.device)
            rows = rows.to(images.device)
            images[rows] = change(images[rows], amount)
    return images


def translate(images: Images, shift_px: int, generator: torch.Generator) -> Images:
    """Moves every window by -shift_px to shift_px - 1 pixels along each axis. The pixels at the edge repeat."""
    b, _, h, w, _ = images.shape
    shift = torch.randint(-shift_px, max(shift_px, 1), (2, b, 1), generator=generator)
    rows = (torch.arange(h) + shift[0]).clamp(0, h - 1).to(images.device)
    columns = (torch.arange(w) + shift[1]).clamp(0, w - 1).to(images.device)
    windows = torch.arange(b, device=images.device)[:, None, None]
    return images.movedim(1, 3)[windows, rows[:, :, None], columns[:, None]].movedim(3, 1)


def brighten(images: Images, amount: Amounts) -> Images:
    """Scales the images by 1 + amount."""
    return ((1 + amount) * images).clamp(0, 255)


def contrast(images: Images, amount: Amounts) -> Images:
    """Scales the distance to the mean luminance of each image by 1 + amount."""
    mean = grey(images).mean((2, 3, 4), keepdim=True)
    return (mean + (1 + amount) * (images - mean)).clamp(0, 255)


def saturate(images: Images, amount: Amounts) -> Images:
    """Scales the distance to the luminance of each pixel by 1 + amount."""
    luminance = grey(images)
    return (luminance + (1 + amount) * (images - luminance)).clamp(0, 255)


def turn_hue(images: Images, amount: Amounts) -> Images:
    """Adds `amount` [turns] to the hue of every pixel, with the same saturation and value in HSV."""
    red, green, blue = images.unbind(-1)
    high, low = images.amax(-1), images.amin(-1)
    chroma = high - low
    divisor = torch.where(chroma == 0, 1, chroma)
    hue = torch.where(
        high == red,
        (green - blue) / divisor,
        torch.where(high == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    hue = hue + 6 * amount[..., 0]  # in sixths of a turn
    channels = [(n + hue) % 6 for n in (5, 3, 1)]
    return torch.stack([high - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in channels], dim=-1)


def grey(images: Images) -> Float[Tensor, "b t h w 1"]:
    """The luminance of every pixel."""
    return (images @ torch.tensor(GREY, device=images.device))[..., None]
