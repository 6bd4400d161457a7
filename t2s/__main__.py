"""`python -m t2s` is the command `t2s`."""

import sys

from t2s.cli import main

sys.exit(main())
