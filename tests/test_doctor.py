"""Each finding of the doctor, made by what it is about."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hub_server
import pytest
import yaml
from huggingface_hub import constants
from params_file import params_file
from test_assets import make_folder

from t2s import params
from t2s.data import hub
from t2s.data.files import write_json
from t2s.sim import gl
from t2s.support import doctor

ROOT = Path(__file__).parents[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DEFAULTS = yaml.safe_load((ROOT / "params.yaml").read_text())


def given(**changes: dict[str, Any]) -> params.Params:
    return params.check(DEFAULTS | {name: DEFAULTS[name] | values for name, values in changes.items()})


def downloads(folder: Path | str) -> params.Params:
    return given(
        study={"suites": ["libero_object"], "n_tasks": 1},
        demos={"source": "download"},
        env={"image_size": 128},
        download={"folder": str(folder), "demos_revision": COMMIT, "assets_revision": COMMIT},
    )


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The work folder, with what the doctor reads of a clone."""
    for name in ("constraints.txt", "pyproject.toml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """HF_ENDPOINT on a port of the loopback where nothing listens; huggingface_hub read it when it was imported."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and so nobody else's, but not listening
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        yield


def repin(path: Path, name: str, version: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert any(line.startswith(f"{name}==") for line in lines)
    changed = [f"{name}=={version}" if line.startswith(f"{name}==") else line for line in lines]
    path.write_text("\n".join(changed), encoding="utf-8")


def test_packages_as_pinned_are_fine() -> None:
    (finding,) = doctor.packages(ROOT)
    assert finding.status == "ok"


@pytest.mark.parametrize("name", ["mujoco", "hf_libero", "torch"])
def test_another_version_of_what_t2s_asks_for_is_wrong(clone: Path, name: str) -> None:
    repin(clone / "constraints.txt", name, "0.0.1")
    (finding,) = doctor.packages(clone)
    assert finding.status == "wrong"
    assert finding.what.startswith(f"packages: {name} ")
    assert finding.what.endswith(", pinned 0.0.1")
    assert "make setup" in finding.mend


def test_another_version_of_anything_else_is_a_note(clone: Path) -> None:
    repin(clone / "constraints.txt", "six", "0.0.1")
    assert [finding.status for finding in doctor.packages(clone)] == ["note"]


def test_a_package_that_is_missing_is_named(clone: Path) -> None:
    with (clone / "constraints.txt").open("a") as file:
        file.write("no-such-package-of-t2s==1.0\n")
    assert [finding.status for finding in doctor.packages(clone)] == ["ok"]  # that of an extra
    project = (clone / "pyproject.toml").read_text()
    asked = project.replace("\ndependencies = [", '\ndependencies = [\n  "no-such-package-of-t2s",')
    (clone / "pyproject.toml").write_text(asked)
    (finding,) = doctor.packages(clone)
    assert "no-such-package-of-t2s missing, pinned 1.0" in finding.what


def test_without_a_library_the_doctor_still_says_which(clone: Path) -> None:
    """A Python that sees nothing but the standard library."""
    start = f"import sys; sys.path.append({str(ROOT)!r}); from t2s import cli; sys.exit(cli.main(['doctor']))"
    command = [sys.executable, "-I", "-S", "-c", start]
    bare = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert bare.returncode == 1, bare.stderr
    assert "wrong  packages: pydantic missing, pinned " in bare.stdout
    assert "wrong  No module named 'pydantic'" in bare.stdout
    assert "Traceback" not in bare.stderr


def test_a_folder_that_is_no_clone_is_told(tmp_path: Path) -> None:
    (finding,) = doctor.packages(tmp_path)
    assert finding.status == "wrong"
    assert "constraints.txt" in finding.what


LIBERO = {
    "study": {"suites": ["libero_object"], "n_tasks": 1},
    "demos": {"source": "download"},
    "env": {"image_size": 128},
}


def git(folder: Path, *command: str) -> None:
    author = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", *author, *command], cwd=folder, check=True, capture_output=True)


def test_the_commit_is_named_and_what_differs_from_it(clone: Path) -> None:
    assert "no commit" in doctor.code(clone).what
    git(clone, "init", "-q")
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", "Begin")
    assert doctor.code(clone).status == "ok"
    (clone / "params.yaml").write_text("changed")
    (clone / "new file").touch()
    finding = doctor.code(clone)
    assert finding.status == "note"
    assert finding.what.endswith("2 changed files: new file, params.yaml")


def test_links_in_place_of_folders_that_git_ignores_are_no_changes(clone: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitignore", clone)
    (clone / "results").mkdir()
    (clone / "results" / "README.md").touch()
    git(clone, "init", "-q")
    git(clone, "add", "-A", "--force")
    git(clone, "commit", "-qm", "Begin")
    shutil.rmtree(clone / "results")
    for name in ("results", "downloads", ".venv", ".snakemake"):
        (tmp_path / "disk" / name).mkdir(parents=True)
        (clone / name).symlink_to(tmp_path / "disk" / name)
    assert doctor.code(clone).status == "ok", doctor.code(clone).what


def test_the_commit_of_another_repository_is_none_of_this(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(clone, "init", "-q")
    git(clone, "commit", "-qm", "Begin", "--allow-empty")
    copy = clone / "copy"
    copy.mkdir()
    finding = doctor.code(copy)
    assert f"no commit: git: {copy} is no repository of its own, it lies in that of {clone}" in finding.what
    assert finding.mend.startswith("git clone")
    git(copy, "init", "-q")
    assert "no commit" in doctor.code(copy).what  # it has none yet
    monkeypatch.setenv("GIT_DIR", str(clone / ".git"))  # as in a hook
    assert "no commit" in doctor.code(copy).what


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_clone_of_somebody_else_gets_gits_own_remedy(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(clone, "init", "-q")
    git(clone, "commit", "-qm", "Begin", "--allow-empty")
    for path in (clone, clone / ".git"):
        os.chown(path, 12345, 12345)
    monkeypatch.setenv("HOME", str(clone / "home"))
    (clone / "home").mkdir()
    monkeypatch.setenv("SUDO_UID", "")
    finding = doctor.code(clone)
    assert "dubious ownership" in finding.what
    assert finding.mend.startswith("git config --global --add safe.directory ")
    subprocess.run(finding.mend, shell=True, check=True)
    assert doctor.code(clone).what.startswith("code: commit ")


@pytest.mark.sim
@pytest.mark.parametrize(
    ("environment", "what", "remedy"),
    [
        ({"MUJOCO_GL": "paper"}, "MUJOCO_GL: expected one of ['egl', 'osmesa'], got 'paper'", "unset MUJOCO_GL"),
        ({"MUJOCO_GL": "glfw"}, "MUJOCO_GL: expected one of ['egl', 'osmesa'], got 'glfw'", "unset MUJOCO_GL"),
        ({"MUJOCO_GL": "osmesa"}, "OpenGL (osmesa) cannot draw: ", "apt-get install libosmesa6"),
        ({"MUJOCO_GL": "egl"}, "OpenGL (egl) cannot draw: ", "export MUJOCO_GL=osmesa"),
    ],
    ids=["unknown", "screen", "osmesa", "egl"],
)
def test_a_backend_that_does_not_draw_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], what: str, remedy: str
) -> None:
    for library in ("libOSMesa.so", "libEGL.so"):
        for suffix in ("", *(f".{number}" for number in range(10))):
            (tmp_path / f"{library}{suffix}").touch()  # no library
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    finding = doctor.opengl()
    assert finding.status == "wrong"
    assert finding.what.startswith(what)
    assert remedy in finding.mend


def test_a_crash_of_the_gl_library_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "FRAME", "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    finding = doctor.opengl()
    assert finding.status == "wrong"
    assert finding.what.endswith("cannot draw: exit status -11")
    assert "apt-get install libosmesa6" in finding.mend


@pytest.mark.sim
def test_the_frame_is_drawn_as_a_job_draws_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mujoco.py").touch()
    for name, value in {"PYTHONPATH": str(tmp_path), "MUJOCO_GL": "OSMesa", "MUJOCO_EGL_DEVICE_ID": "7"}.items():
        monkeypatch.setenv(name, value)
    assert doctor.opengl() == doctor.Finding("ok", "OpenGL: osmesa draws")


def test_a_home_that_cannot_be_written_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in doctor.HOMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "new"))
    assert doctor.home().status == "ok"
    monkeypatch.setenv("HOME", "/dev/null")
    finding = doctor.home()
    assert finding.status == "wrong"
    assert finding.mend == "export HOME=$(mktemp -d)"
    for name in doctor.HOMES:
        monkeypatch.setenv(name, str(tmp_path))
    assert doctor.home().status == "ok"


@pytest.mark.skipif(gl.has_nvidia(), reason="a machine without a GPU")
def test_a_gpu_that_is_not_there_is_wrong_only_where_the_params_ask_for_it() -> None:
    assert doctor.gpu(given()).status == "ok"
    finding = doctor.gpu(given(learn={"device": "cuda"}))
    assert finding.status == "wrong"
    assert "learn.device: cpu" in finding.mend


@pytest.mark.skipif(gl.has_nvidia(), reason="a machine without a GPU")
@pytest.mark.parametrize("visible", ["", "-1"])
def test_a_gpu_that_is_hidden_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, visible: str) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'H100, 81559 MiB, 550.54'\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert doctor.gpu(given()).status == "note"
    finding = doctor.gpu(given(learn={"device": "cuda"}))
    assert (finding.status, finding.mend) == ("wrong", "unset CUDA_VISIBLE_DEVICES")
    assert f"CUDA_VISIBLE_DEVICES, which is '{visible}', hides it" in finding.what


@pytest.mark.skipif(gl.has_nvidia(), reason="a machine without a GPU")
def test_a_driver_that_does_not_answer_is_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho no driver >&2; exit 9\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    finding = doctor.gpu(given())
    assert finding.status == "note"
    assert "nvidia-smi: no driver" in finding.what


def test_a_study_that_does_not_fit_on_the_disk_is_wrong() -> None:
    assert doctor.disk([str(ROOT / "params.yaml")]).status == "ok"
    finding = doctor.disk([str(ROOT / "params.yaml"), params_file({"demos": {"n_demos": 10**6}})])
    assert finding.status == "wrong"
    assert "free some" in finding.mend


def test_free_space_is_that_of_the_disks_that_are_written(clone: Path) -> None:
    scratch = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        (clone / "results").symlink_to(scratch)
        finding = doctor.disk(["params.yaml"])
        assert finding.status == "note"
        assert f"{shutil.disk_usage(scratch).free / 1e9:.1f} GB free for 'results'" in finding.what
        assert "DVC" in finding.what
        human = params_file(LIBERO | {"download": {"folder": str(clone / "human")}})
        assert f" GB free for '{clone}/human', this study needs" in doctor.disk(["params.yaml", human]).what
    finally:
        shutil.rmtree(scratch)
    finding = doctor.disk(["params.yaml"])
    assert finding == doctor.Finding(
        "wrong",
        f"disk: results: expected a folder, got a link to '{scratch}', which is none",
        f"run `mkdir -p {scratch}`",
    )


def test_what_is_there_already_needs_no_space_behind_links_too(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with (tmp_path / "elsewhere" / "policy").open("wb") as file:
        file.truncate(2_000_000_000)
    before = doctor.disk(["params.yaml"]).what
    assert "needs about 0.0 GB" not in before
    (clone / "results").mkdir()
    (clone / "results" / "runs").symlink_to(tmp_path / "elsewhere")
    assert "needs about 0.0 GB" in doctor.disk(["params.yaml"]).what


def test_fewer_cores_are_advised_where_memory_is_short() -> None:
    assert doctor.memory(1).status == "ok"
    finding = doctor.memory(10**6)
    assert finding.status == "note"
    assert finding.mend.startswith("snakemake --cores ")


def test_missing_assets_are_wrong_only_for_a_suite_that_needs_them(tmp_path: Path) -> None:
    path = {"path": str(tmp_path / "assets")}
    libero = given(study={"suites": ["libero_object"]}, assets=path, demos={"n_demos": 10})
    assert doctor.assets(given(assets=path)).status == "note"
    missing = doctor.assets(libero)
    assert missing.status == "wrong"
    assert missing.mend.startswith("run `t2s download assets`")
    make_folder(tmp_path / "assets")
    assert "stand-in-" in doctor.assets(libero).what


def test_demonstrations_count_that_are_there_and_of_the_source_of_the_params(clone: Path) -> None:
    for task, source in enumerate(["scripted", "human"]):
        said = {"file": "x.hdf5", "sha256": "0", "n_demos": 1, "instruction": "x", "source": source}
        write_json(clone / f"results/demos/blocks_object/task{task}.json", said)
    finding = doctor.demos(given())
    assert finding.status == "note"
    assert "scripted, present for 1 of 3 tasks" in finding.what
    assert doctor.demos(given(study={"n_tasks": 1})).status == "ok"
    (clone / "results/demos/blocks_object/task0.json").write_text("{")
    with pytest.raises(ValueError, match=r"task0\.json: not JSON"):
        doctor.demos(given())


@pytest.mark.usefixtures("_no_hub")
def test_no_hub_is_wrong_only_where_demonstrations_are_to_be_downloaded(clone: Path) -> None:
    assert doctor.hub(given()).status == "note"
    finding = doctor.hub(downloads("downloads"))
    assert finding.status == "wrong"
    assert "no connection to http://127.0.0.1:" in finding.what
    assert "HF_ENDPOINT" in finding.mend
    (path,) = doctor.missing_demos(downloads("downloads"))
    path.parent.mkdir(parents=True)
    path.touch()
    path.with_suffix(".hdf5").touch()
    assert doctor.hub(downloads("downloads")).status == "note"


def test_a_hub_without_the_commit_is_told(monkeypatch: pytest.MonkeyPatch, clone: Path) -> None:
    with hub_server.serving(hub_server.Hub(hub.DEMOS, "f" * 40, {})) as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.endpoint)
        assert "no such commit" in doctor.hub(downloads("downloads")).what


@pytest.mark.sim
def test_all_findings_are_printed_and_the_status_is_that_of_the_params(clone: Path) -> None:
    """As a user runs it, with HF_ENDPOINT on a closed port."""
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)}

    def run(values: dict[str, Any]) -> tuple[int, list[str]]:
        command = [sys.executable, "-m", "t2s", "doctor", "--params", "params.yaml", params_file(values)]
        done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.returncode, done.stdout.splitlines()

    status, lines = run({})
    assert status == 0
    assert {line.split()[0] for line in lines} == {"ok", "note"}
    assert len(lines) == len(doctor.CHECKS)
    assert "no connection to http://127.0.0.1:9" in lines[-1]
    status, lines = run({"learn": {"lrr": 1}})
    assert status == 1
    assert lines[-1].startswith("wrong  params: unknown key 'learn.lrr'")
