"""The layers: who may import whom, and which file alone knows a library."""

from __future__ import annotations

import ast
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import t2s

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "t2s").rglob("*.py"))
NOUNS = {"params", "errors", "packages", "data", "model", "sim", "lifelong"}
LAYERS: dict[str, set[str]] = {
    "params": set(),
    "errors": set(),
    "learners": set(),
    "packages": set(),
    "data": {"params", "packages", "data"},
    "model": {"params", "model"},
    "sim": {"params", "errors", "packages", "sim"},
    "lifelong": {"params", "learners", "data", "model", "lifelong"},
    "statistics": {"params", "statistics"},
    "workflow": {"params", "learners", "packages", "data", "workflow"},
    # Commands exchange files: none imports another.
    "stages": NOUNS,
    "report": NOUNS | {"statistics"},
    "support": NOUNS | {"workflow"},
    "cli": {"errors", "packages"},
    "__main__": {"cli"},
}
"""What the files of each folder of t2s, or a file beside them, may import: arrows point down, none points back."""
ONLY_IN = {
    "mujoco": "t2s/sim/",
    "robosuite": "t2s/sim/",
    "libero": "t2s/sim/",
    "bddl": "t2s/sim/",
    "fast_simplification": "t2s/sim/decimate.py",
    "h5py": "t2s/data/hdf5.py",
    "httpx2": "t2s/data/hub.py",
    "huggingface_hub": "t2s/data/hub.py",
    "matplotlib": "t2s/report/figures.py",
    "seaborn": "t2s/report/figures.py",
    "transformers": "t2s/stages/language.py",
    "snakemake": "nowhere",
    "requests": "nowhere",
    "pickle": "nowhere",
    "dill": "nowhere",
    "joblib": "nowhere",
}
VAGUE = {"utils", "util", "common", "helpers", "core", "misc"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def layer(path: Path) -> str:
    return path.relative_to(ROOT / "t2s").with_suffix("").parts[0]


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(path: Path) -> set[str]:
    """Layers, and commands by name, that a file imports."""
    return {module.split(".")[1] for module in imports(path) if module.startswith("t2s.")}


def closure(path: Path, seen: set[Path] | None = None) -> set[str]:
    """Libraries that importing a file brings in through files of ours."""
    seen = seen if seen is not None else set()
    if path in seen or not path.is_file():
        return set()
    seen.add(path)
    found: set[str] = set()
    for module in imports(path):
        top, *rest = module.split(".")
        if top != "t2s":
            found.add(top)
        for depth in range(1, len(rest) + 1) if top == "t2s" else ():
            base = ROOT.joinpath("t2s", *rest[:depth])
            found |= closure(base.with_suffix(".py"), seen) | closure(base / "__init__.py", seen)
    return found


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_point_down(path: Path) -> None:
    if path.parent == ROOT / "t2s" and path.stem == "__init__":
        assert not own(path)
    else:
        assert own(path) <= LAYERS[layer(path)]


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_known_in_one_place(library: str) -> None:
    users = [name(path) for path in FILES if library in {m.split(".")[0] for m in imports(path)}]
    assert [user for user in users if not user.startswith(ONLY_IN[library])] == []


def test_metrics_need_neither_torch_nor_the_simulator() -> None:
    assert "numpy" in closure(ROOT / "t2s/report/metrics.py")
    assert not {"torch", "mujoco", "matplotlib"} & closure(ROOT / "t2s/report/metrics.py")


def test_params_need_only_yaml_and_pydantic() -> None:
    libraries = closure(ROOT / "t2s/params.py") - set(sys.stdlib_module_names)
    assert libraries == {"yaml", "pydantic"}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_is_evaluated_or_unpickled(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    guarded = {"torch.load"} if path.name == "init_states.py" else set()  # after its digest, weights only
    assert not ({"eval", "exec", "torch.load", "torch.save"} - guarded) & called
    starred = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.names[0].name == "*"]
    assert starred == []
    assert "allow_pickle=True" not in path.read_text(encoding="utf-8")


def test_no_module_has_a_vague_name() -> None:
    assert [name(path) for path in FILES if VAGUE & set(path.with_suffix("").parts)] == []


X86 = pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="other kernels")


def printed(program: str, **environment: str) -> str:
    """What a Python program prints that starts without any variable that chooses kernels, but with `environment`."""
    without = {name: value for name, value in os.environ.items() if name not in t2s.KERNELS}
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, env=without | environment, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


OPENBLAS = """
import ctypes
import t2s, numpy
for path in {line.split()[-1] for line in open("/proc/self/maps") if "openblas" in line}:
    name = ctypes.CDLL(path).gotoblas_corename
    name.restype = ctypes.c_char_p
    print(name().decode())
"""
NUMPY = """
import warnings
warnings.simplefilter("error")
import t2s
from numpy._core import _multiarray_umath as numpy
print({name for name in numpy.__cpu_dispatch__ if numpy.__cpu_features__[name]})
"""
TORCH = """
import os, t2s, torch
print(torch.backends.cpu.get_cpu_capability())
print({name: os.environ.get(name) for name in t2s.KERNELS} == t2s.KERNELS)
torch.rand(64, 64) @ torch.rand(64, 64)
torch.nn.functional.conv2d(torch.rand(32, 3, 16, 16), torch.rand(8, 3, 3, 3))
"""


@X86
def test_numpy_multiplies_in_the_same_order_on_every_x86_processor() -> None:
    assert printed(OPENBLAS).split() == ["Haswell"]


@X86
def test_numpy_has_no_kernels_but_those_of_avx2_on_every_x86_processor() -> None:
    assert ast.literal_eval(printed(NUMPY)) == {"X86_V3"}  # AVX2 and FMA


@X86
def test_torch_has_the_same_kernels_on_every_x86_processor() -> None:
    capability, are_set, *verbose = printed(TORCH, MKL_VERBOSE="1", ONEDNN_VERBOSE="1").splitlines()
    assert (capability, are_set) == ("AVX2", "True")
    products = [line for line in verbose if line.startswith("MKL_VERBOSE SGEMM")]
    assert products
    assert all("CNR:COMPATIBLE" in line for line in products)
    assert "onednn_verbose,v1,info,cpu,isa:Intel AVX2" in verbose
    kernels = [line.split(",")[7] for line in verbose if line.startswith("onednn_verbose,v1,primitive,exec,cpu,convol")]
    assert kernels
    assert not [kernel for kernel in kernels if "avx512" in kernel]


@X86
def test_a_choice_of_kernels_in_the_environment_stays() -> None:
    program = "import os, t2s; print(os.environ['MKL_CBWR'], os.environ['ATEN_CPU_CAPABILITY'])"
    assert printed(program, MKL_CBWR="AUTO").split() == ["AUTO", "avx2"]


@X86
def test_records_say_which_kernels_torch_had() -> None:
    program = "import t2s, torch; from t2s.sim import rollout\n"
    program += "print(rollout.versions('cpu')['cpu'], torch.backends.cpu.get_cpu_capability())"
    assert printed(program).split() == ["AVX2", "AVX2"]
    assert printed(program, ATEN_CPU_CAPABILITY="default").split() == ["DEFAULT", "DEFAULT"]
