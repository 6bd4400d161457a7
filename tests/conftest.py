"""What every test needs: an OpenGL backend chosen before MuJoCo is imported, one torch thread."""

from __future__ import annotations

import t2s  # noqa: F401 # isort: skip - before NumPy and torch, because it chooses their kernels

from pathlib import Path

import pytest
import torch

from t2s import params
from t2s.data import assets
from t2s.sim import gl

gl.choose()


@pytest.fixture(scope="session")
def libero_assets() -> Path:
    """LIBERO's scene assets; without them the test is skipped."""
    beside = Path(__file__).parents[2] / "shared" / "libero-assets"
    try:
        return assets.check(beside if beside.is_dir() else params.Assets(path=None).folder)
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)  # the same numbers whichever tests ran before


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    torch.set_num_threads(1)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
