"""LIBERO's augmentation of a window of frames."""

import colorsys

import numpy as np
import pytest
import torch
from test_learn import settings

from t2s.model import augment


def images(b=2, t=3, size=12):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (b, t, size, size, 3), generator=generator).float()


def amount(value):
    return torch.full((2, 1, 1, 1, 1), value)


def test_turning_the_hue_keeps_saturation_and_value():
    before, after = images(), augment.turn_hue(images(), amount(0.2))
    for old, new in zip(before.view(-1, 3)[:50], after.view(-1, 3)[:50], strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(old / 255).tolist())
        expected = colorsys.hsv_to_rgb((hue + 0.2) % 1, saturation, value)
        assert (new / 255).tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("change", [augment.brighten, augment.contrast, augment.saturate, augment.turn_hue])
def test_a_change_by_nothing_changes_nothing(change):
    assert torch.allclose(change(images(), amount(0.0)), images(), atol=1e-3)
    grey = torch.full((2, 1, 4, 4, 3), 100.0)
    assert torch.allclose(augment.turn_hue(grey, amount(0.3)), grey)


def test_changes_have_the_formulas_of_torchvision():
    x, grey = images(), (images() * torch.tensor([0.2989, 0.587, 0.114])).sum(-1, keepdim=True)
    mean = grey.mean((2, 3, 4), keepdim=True)
    for change, base in ((augment.brighten, 0.0), (augment.contrast, mean), (augment.saturate, grey)):
        assert torch.allclose(change(x, amount(0.3)), (1.3 * x - 0.3 * base).clamp(0, 255), atol=1e-3)


def test_all_frames_of_a_window_change_alike_and_windows_do_not():
    x = images(1, 1).expand(40, 3, -1, -1, -1)
    learn = settings(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.3)
    after = augment.jitter(x, learn, torch.Generator().manual_seed(0))
    assert torch.equal(after, after[:, :1].expand_as(after))
    unchanged = torch.isclose(after, x).all(-1).all(-1).all(-1).all(-1)
    assert 1 <= int(unchanged.sum()) <= 10  # one of ten
    assert len({window.numpy().tobytes() for window in after[~unchanged]}) == int((~unchanged).sum())
    none = settings(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
    assert torch.allclose(augment.jitter(x, none, torch.Generator().manual_seed(0)), x, atol=1e-3)


def test_a_window_moves_by_at_most_the_shift_as_robomimic_crops_it():
    x = images(300, 2, 16)
    after = augment.translate(x, 4, torch.Generator().manual_seed(0))
    shifts = set()
    for old, new in zip(x.numpy(), after.numpy(), strict=True):
        padded = np.pad(old, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="edge")
        fits = [(r, c) for r in range(9) for c in range(9) if np.array_equal(padded[:, r : r + 16, c : c + 16], new)]
        shifts.update(fits)
        assert len(fits) == 1
    assert {r for r, _ in shifts} == {c for _, c in shifts} == set(range(8))  # robomimic never draws the last one
    assert torch.equal(augment.translate(x, 0, torch.Generator()), x)
