"""The embedded suites: LIBERO problems made of primitive shapes, which need no download."""

from pathlib import Path

BLOCKS_DIR = Path(__file__).parent
