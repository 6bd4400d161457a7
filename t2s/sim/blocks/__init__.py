"""The embedded suites: LIBERO problems of primitive shapes, so that nothing is downloaded."""

from pathlib import Path

BLOCKS_DIR = Path(__file__).parent
