"""LIBERO's own environment, to measure ours beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64

import t2s.sim.env  # noqa: F401 # isort: skip - prepares the import of libero

import libero.libero
from libero.libero.envs.env_wrapper import OffScreenRenderEnv


class Theirs:
    """LIBERO's `OffScreenRenderEnv` of one BDDL file, with two square cameras, as its evaluation makes it."""

    def __init__(
        self, bddl_path: Path, image_size: int, assets_dir: Path, init_state: Float64[np.ndarray, "s"]
    ) -> None:
        libero.libero._assets_path_cache = str(assets_dir)
        self._env = OffScreenRenderEnv(
            bddl_file_name=str(bddl_path), camera_heights=image_size, camera_widths=image_size
        )
        self._env.seed(0)
        self._env.reset()
        self._env.set_init_state(init_state)

    def step(self, action: Float[np.ndarray, "7"]) -> None:
        """Run one control period and render both cameras."""
        self._make_current()
        self._env.step(action)

    def close(self) -> None:
        """Free the simulation and its GL context."""
        self._make_current()
        self._env.close()

    def _make_current(self) -> None:
        """Draw in the context of its own, which a reset replaces, not in that of the environment that drew last."""
        self._env.sim._render_context_offscreen.gl_ctx.make_current()
