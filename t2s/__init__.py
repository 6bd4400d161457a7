"""Lifelong imitation learning with tokenised skill scaling, from demonstrations to figures."""

import os
import platform

KERNELS = {
    "OPENBLAS_CORETYPE": "Haswell",  # NumPy's matrix products
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # NumPy's exp, sin, ...; those of NumPy 2.4's wheels
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # torch's convolutions
    "MKL_CBWR": "COMPATIBLE",  # torch's matrix products; MKL gives AMD and Intel the same results in no other mode
}
"""The libraries choose their kernels by the processor, and these round differently.

These variables hold them to kernels that need at most AVX2, so that the same program gives the same result on others.
They are read when NumPy and torch are imported; values that the environment already has stay.
"""

if platform.machine() in {"x86_64", "AMD64"}:
    os.environ.update(KERNELS | os.environ)

os.environ["MPLBACKEND"] = "agg"  # nothing is shown on a screen; matplotlib cannot be imported with an unknown name
