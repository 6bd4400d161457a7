"""What every test needs: an OpenGL backend chosen before MuJoCo is imported, one torch thread."""

from __future__ import annotations

import pytest

from t2s.sim import gl

gl.choose()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    torch.set_num_threads(1)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
