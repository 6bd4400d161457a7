"""The embedded suites: LIBERO problems whose arena and objects are primitive shapes, so nothing is downloaded."""

from pathlib import Path

BLOCKS_DIR = Path(__file__).parent
