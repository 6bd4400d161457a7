"""Lifelong imitation learning with tokenised skill scaling, from demonstrations to figures."""

import os
import platform

if platform.machine() in {"x86_64", "AMD64"}:
    # NumPy's OpenBLAS chooses its kernels by the processor, and they round differently: always those that need
    # AVX2 alone, so that the simulator's bytes do not depend on it. Read when NumPy is imported.
    os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")
