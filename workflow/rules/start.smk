# What both Snakefiles need before they read params.

import subprocess
import sys
from pathlib import Path

ROOT = Path(workflow.current_basedir).parents[1].resolve()
sys.path.insert(0, str(ROOT))

from t2s import params


def or_exit(function, *arguments):
    """Return what the function returns. On a ValueError, print it in one line and exit."""
    try:
        return function(*arguments)
    except ValueError as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:  # its command has said why
        sys.exit(error.returncode)


or_exit(params.read, "params.yaml")  # Snakemake would not say which line is wrong
