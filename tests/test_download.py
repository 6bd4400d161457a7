"""The downloader against a server on the loopback that speaks the hub's protocol."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import hub_server
import numpy as np
import pytest
import synthetic
from params_file import params_file

from t2s import params
from t2s.data import demonstrations, files, hub, suites, variables
from t2s.data.assets import FOLDERS
from t2s.stages import download

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SUITE = "blocks_object"
TASKS = suites.tasks(SUITE)[:4]
N_LACKING = len(suites.tasks(SUITE)) - len(TASKS)
LIBERO = Path(sys.prefix) / f"lib/python3.{sys.version_info.minor}/site-packages/libero/libero/bddl_files"
CHUNK = 10 * 2**20  # [bytes] that huggingface_hub writes at once: what is resumed is a multiple of it
BIG = "scenes/big.stl"


def in_repository(task: suites.Task) -> str:
    return f"{task.suite}/{task.name}_demo.hdf5"


@pytest.fixture(scope="session")
def hdf5s(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the hub has of the first tasks: 50 demonstrations each, as people would have given them."""
    folder = tmp_path_factory.mktemp("published")
    for task in TASKS:
        synthetic.write_demos(folder / "x.hdf5", [2] * 50, 128, task.instruction, source="human")
        (folder / task.name).write_bytes((folder / "x.hdf5").read_bytes())
    return {in_repository(task): (folder / task.name).read_bytes() for task in TASKS}


@pytest.fixture(scope="session")
def big() -> bytes:
    return np.random.default_rng(0).bytes(CHUNK * 5 // 2)


@pytest.fixture
def server(hdf5s: dict[str, bytes]) -> Iterator[hub_server.Hub]:
    with hub_server.serving(hub_server.Hub(hub.DEMOS, COMMIT, dict(hdf5s))) as served:
        yield served


@pytest.fixture
def assets(big: bytes) -> Iterator[hub_server.Hub]:
    content = {f"{folder}/a.xml": f"<mujoco model='{folder}'/>".encode() for folder in FOLDERS}
    with hub_server.serving(hub_server.Hub(hub.ASSETS, COMMIT, content | {BIG: big})) as served:
        yield served


def settings(folder: Path) -> params.Download:
    return params.Download(folder=str(folder / "downloads"), demos_revision=COMMIT, assets_revision=COMMIT, n_workers=3)


def repository(server: hub_server.Hub, revision: str = COMMIT) -> hub.Repository:
    return hub.Repository(server.repository, revision, server.endpoint)


def get_demos(server: hub_server.Hub, folder: Path, *tasks: suites.Task) -> list[Path]:
    return download.get_demos(repository(server), settings(folder), tasks or TASKS[:1])


def get_assets(server: hub_server.Hub, folder: Path) -> Path:
    return download.get_assets(repository(server), settings(folder))


def command(folder: Path, *arguments: str, **changes: object) -> list[str]:
    """The command line, all that it writes below `folder`."""
    sections = {
        "download": settings(folder).model_dump() | changes,
        "demos": {"source": "download", "n_demos": 7, "seed": 0},
    }
    return [sys.executable, "-m", "t2s", "download", *arguments, "--params", params_file(sections)]


def environment(endpoint: str) -> dict[str, str]:
    return os.environ | {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}


def run(endpoint: str, arguments: list[str], **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload]
        arguments, env=environment(endpoint), capture_output=True, text=True, check=False, timeout=100, **more
    )


def error(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a failed command ends with."""
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def nothing_looks_right(folder: Path) -> bool:
    """No file that a later run or learning would take for a downloaded one."""
    return not [p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".partial")]


def test_the_command_downloads_a_task_for_learning(server, tmp_path):
    manifest = tmp_path / "results" / "task2.json"
    arguments = command(tmp_path, "demos", "--suite", SUITE, "--task", "2", "--manifest", str(manifest))
    done = run(server.endpoint, arguments)
    assert done.returncode == 0, done.stderr
    assert (
        json.loads(manifest.read_text()).items()
        >= {"n_demos": 7, "source": "human", "observations": "after", "revision": COMMIT}.items()
    )
    demos = demonstrations.read(manifest, 128)
    assert len(demos.starts) == 7 + 1
    assert demos.instruction == TASKS[2].instruction
    assert demos.source == demonstrations.source(manifest) == "human"
    assert demonstrations.observations(manifest) == "after"


def test_all_tasks_arrive_in_parallel_byte_for_byte_with_their_manifests(server, tmp_path, hdf5s):
    found = get_demos(server, tmp_path, *TASKS)
    for task, path in zip(TASKS, found, strict=True):
        content = hdf5s[in_repository(task)]
        assert path.read_bytes() == content
        assert json.loads(path.with_suffix(".json").read_text()) == {
            "repository": hub.DEMOS,
            "revision": COMMIT,
            "files": {in_repository(task): {"size": len(content), "sha256": files.sha256(path)}},
        }


def test_what_was_downloaded_is_checked_without_the_hub(server, tmp_path):
    first = get_demos(server, tmp_path)
    asked = len(server.requests)
    gone = hub.Repository(hub.DEMOS, COMMIT, "http://127.0.0.1:9")
    assert download.get_demos(gone, settings(tmp_path), TASKS[:1]) == first
    assert len(server.requests) == asked


def test_a_file_that_changed_on_disk_is_refused(server, tmp_path):
    (path,) = get_demos(server, tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"_demo\.hdf5: expected sha256 .*, got .*; remove it to download it again"):
        get_demos(server, tmp_path)


def test_learning_refuses_a_file_that_is_not_its_manifests(server, tmp_path):
    (path,) = get_demos(server, tmp_path)
    manifest = tmp_path / "task0.json"
    facts = download.describe(repository(server), TASKS[0], path, 7, manifest)
    files.write_json(manifest, facts | {"sha256": "0" * 64})
    with pytest.raises(ValueError, match=r"_demo\.hdf5: expected sha256 0000"):
        demonstrations.read(manifest, 128)
    path.unlink()
    with pytest.raises(ValueError, match=r"task0\.json: no '.*_demo\.hdf5'; run `snakemake"):
        demonstrations.read(manifest, 128)


def test_a_file_removed_after_its_manifest_must_come_back_the_same(server, tmp_path, hdf5s):
    (path,) = get_demos(server, tmp_path)
    path.unlink()
    assert get_demos(server, tmp_path)[0].read_bytes() == hdf5s[in_repository(TASKS[0])]
    path.unlink()
    server.files[in_repository(TASKS[0])] = server.files[in_repository(TASKS[0])] + b"\0"
    with pytest.raises(ValueError, match="expected the files that it lists, got others"):
        get_demos(server, tmp_path)


def test_another_commit_than_the_manifests_is_refused(server, tmp_path):
    get_demos(server, tmp_path)
    other = repository(server, "f" * 40)
    with pytest.raises(ValueError, match=f"expected .*'{'f' * 40}'.*, got .*'{COMMIT}'"):
        download.get_demos(other, settings(tmp_path), TASKS[:1])


def test_a_commit_that_the_hub_does_not_have(server, tmp_path):
    done = run(server.endpoint, command(tmp_path, "demos", "--suite", SUITE, demos_revision="e" * 40))
    assert "LIBERO-datasets@eeeeeeee: no such commit at http://127.0.0.1" in error(done)
    assert nothing_looks_right(tmp_path)


def test_a_hub_that_gives_another_commit_is_refused(server, tmp_path):
    server.gives = "f" * 40
    with pytest.raises(ValueError, match=f"expected this commit, got {'f' * 40} from the hub"):
        get_demos(server, tmp_path)


def test_a_branch_is_no_revision():
    section = {"folder": "x", "demos_revision": "main", "assets_revision": COMMIT, "n_workers": 1}
    with pytest.raises(ValueError, match=r"^params: download\.demos_revision: expected a commit of 40") as raised:
        params.Download.read(params_file({"download": section}))
    assert "got 'main'" in str(raised.value)


def test_a_file_that_the_hub_does_not_have_names_those_it_has(server, tmp_path):
    del server.files[in_repository(TASKS[1])]
    with pytest.raises(ValueError, match=rf"no '{in_repository(TASKS[1])}'; have \['{SUITE}/pick_up"):
        get_demos(server, tmp_path, *TASKS)
    assert kept(tmp_path) == {TASKS[0].name, TASKS[2].name, TASKS[3].name}  # the others came


def test_a_suite_that_the_hub_does_not_have(server, tmp_path):
    with pytest.raises(ValueError, match="no 'blocks_goal' at http"):
        get_demos(server, tmp_path, suites.task("blocks_goal", 0))


def test_a_repository_that_the_hub_does_not_have(server, tmp_path):
    unknown = hub.Repository("a/b", COMMIT, server.endpoint)
    with pytest.raises(ValueError, match="a/b@01234567: no such repository at http"):
        download.get_demos(unknown, settings(tmp_path), TASKS[:1])


def test_a_refused_connection_is_one_line_that_names_the_alternatives(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        line = error(run(endpoint, command(tmp_path, "demos", "--suite", SUITE, "--task", "0")))
    assert f"no connection to {endpoint}" in line
    assert "Connection refused" in line
    for alternative in ("HF_ENDPOINT", "demos.source: scripted", "assets.path"):
        assert alternative in line


def test_another_server_than_a_hub_is_named(tmp_path):
    with hub_server.serving(hub_server.Hub("x/y", COMMIT, {})) as other, pytest.raises(ValueError, match="no such"):
        download.get_demos(hub.Repository(hub.DEMOS, COMMIT, other.endpoint), settings(tmp_path), TASKS[:1])


def test_a_connection_cut_twice_is_resumed_where_it_broke(assets, tmp_path, big):
    assets.faults[BIG] = [f"cut {CHUNK + 5}", f"reset {CHUNK + 7}"]
    folder = get_assets(assets, tmp_path)
    assert (folder / BIG).read_bytes() == big
    first, second, third = assets.ranges(BIG)
    assert (first, second) == (None, f"bytes={CHUNK}-")
    assert third is not None


def test_a_killed_download_goes_on_where_it_stopped(assets, tmp_path, big):
    assets.faults[BIG] = [f"hang {2 * CHUNK + 9}"]
    job = subprocess.Popen(command(tmp_path, "assets"), env=environment(assets.endpoint), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size >= 2 * CHUNK for p in tmp_path.rglob(".big.stl.*.partial")):
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert not (tmp_path / "downloads" / "libero-assets" / BIG).exists()
    done = run(assets.endpoint, command(tmp_path, "assets"))
    assert done.returncode == 0, done.stderr
    assert "MB" in done.stderr or "M/" in done.stderr  # progress
    assert (tmp_path / "downloads" / "libero-assets" / BIG).read_bytes() == big
    assert assets.ranges(BIG) == [None, f"bytes={2 * CHUNK}-"]


def test_what_was_kept_but_is_not_the_beginning_is_fetched_anew(assets, tmp_path, big):
    listed = repository(assets).files()[BIG]
    partial = hub._partial(tmp_path / "downloads" / "libero-assets", listed)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * CHUNK)
    assert (get_assets(assets, tmp_path) / BIG).read_bytes() == big
    assert assets.ranges(BIG) == [f"bytes={CHUNK}-", None]


@pytest.mark.parametrize("fault", ["flip", "short", "page"])
@pytest.mark.parametrize("name", [BIG, "scenes/a.xml"])
def test_wrong_content_is_one_line_and_is_not_kept(assets, tmp_path, fault, name):
    assets.faults[name] = [fault]
    with pytest.raises(ValueError, match=rf"{name}: expected \d+ bytes of digest \w+, got .*; not kept") as raised:
        get_assets(assets, tmp_path)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "downloads" / "libero-assets" / name).exists()
    assert not (tmp_path / "downloads" / "libero-assets.json").exists()
    get_assets(assets, tmp_path)  # the next one goes well


def test_a_status_is_named(assets, tmp_path):
    assets.faults["scenes/a.xml"] = ["403"]
    with pytest.raises(ValueError, match=r"answered 403 for scenes/a\.xml"):
        get_assets(assets, tmp_path)


def test_assets_without_their_folders_are_refused(assets, tmp_path):
    del assets.files["turbosquid_objects/a.xml"]
    with pytest.raises(ValueError, match=r"\['turbosquid_objects'\] are missing"):
        get_assets(assets, tmp_path)


def test_a_full_quota_is_one_line_and_the_rest_comes_later(assets, tmp_path, big):
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (CHUNK + 1000, resource.RLIM_INFINITY))
    line = error(run(assets.endpoint, command(tmp_path, "assets"), preexec_fn=limit))
    assert f"{BIG}: no disk space (File too large)" in line
    assert not (tmp_path / "downloads" / "libero-assets" / BIG).exists()
    assert (get_assets(assets, tmp_path) / BIG).read_bytes() == big
    assert assets.ranges(BIG)[1] is not None


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True).returncode:
        pytest.skip("may not mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_too_small_is_refused_before_anything_comes(assets, tmp_path):
    with small_disk(tmp_path / "disk", 2 * CHUNK) as disk:
        with pytest.raises(ValueError, match=r"expected 0\.03 GB of free disk space for .*, got 0\.02 GB"):
            get_assets(assets, disk)
        assert assets.requests == []


def test_a_disk_that_others_fill_meanwhile_is_one_line(assets, tmp_path, big):
    with small_disk(tmp_path / "disk", 3 * CHUNK) as disk:
        assets.faults[BIG] = [f"hang {CHUNK + 9}"]
        job = subprocess.Popen(
            command(disk, "assets"), env=environment(assets.endpoint), text=True, stderr=subprocess.PIPE
        )
        while not any(p.stat().st_size >= CHUNK for p in disk.rglob(".big.stl.*.partial")):
            assert job.poll() is None
            time.sleep(0.02)
        (disk / "other").write_bytes(b"x" * (CHUNK * 3 // 2))
        assets.released.set()
        _, stderr = job.communicate(timeout=60)
        line = error(subprocess.CompletedProcess(job.args, job.returncode, "", stderr))
        assert f"{BIG}: no disk space (No space left on device)" in line
        (disk / "other").unlink()
        assert (get_assets(assets, disk) / BIG).read_bytes() == big


def kept(folder: Path) -> set[str]:
    """Names of the tasks whose files are there with their manifests."""
    found = (folder / "downloads").rglob("*_demo.json")
    return {path.stem.removesuffix("_demo") for path in found if path.with_suffix(".hdf5").is_file()}


def test_a_damaged_file_of_the_hub_leaves_the_other_tasks(server, tmp_path):
    for task in TASKS[:2]:
        name = in_repository(task)
        server.files[name] = server.files[name][: len(server.files[name]) * 7 // 10]
    for _ in range(2):  # downloading again does not help, and is not tried
        done = run(server.endpoint, command(tmp_path, "demos", "--suite", SUITE))
        assert done.returncode == 1
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        damaged = [line for line in lines if "the hub's own file is so at commit" in line]
        for task, line in zip(TASKS[:2], damaged, strict=True):
            assert f"{task.name}_demo.hdf5: not a readable file of HDF5" in line
            assert f"leave task {task.index} out of study.order, or set another download.demos_revision, or" in line
        assert len(lines) == 2 + N_LACKING
        assert kept(tmp_path) == {TASKS[2].name, TASKS[3].name}
    assert len(server.ranges(in_repository(TASKS[0]))) == 1


def test_a_damaged_scene_of_the_hub_leaves_the_other_assets(assets, tmp_path, big):
    assets.files["scenes/a.xml"] = b"<mujoco"
    assets.faults["turbosquid_objects/a.xml"] = ["403"]
    with pytest.raises(
        ValueError, match=r"answered 403 .*\nerror: .*scenes/a\.xml: not readable XML: .* own file is so"
    ):
        get_assets(assets, tmp_path)
    assert (tmp_path / "downloads/libero-assets" / BIG).read_bytes() == big
    assert not (tmp_path / "downloads/libero-assets.json").exists()


VARIABLES = {
    "HF_HUB_DOWNLOAD_TIMEOUT": ("ten", "expected a number of seconds, got 'ten'"),
    "HF_HUB_ETAG_TIMEOUT": ("-1", "expected a number of seconds, got '-1'"),
    "HF_ENDPOINT": ("", "expected the address of a hub such as https://huggingface.co, got ''"),
    "ALL_PROXY": ("socks5://127.0.0.1:9", "needs a package that is missing; run `pip install socksio`"),
    "HTTPS_PROXY": ("http://127.0.0.1:port", "expected a proxy such as http://host:3128, got 'http://127.0.0.1:port'"),
    "http_proxy": ("gopher://127.0.0.1", "expected a proxy such as http://host:3128, got 'gopher://127.0.0.1'"),
    "SSL_CERT_FILE": ("/nowhere", "expected a file or folder that exists, got '/nowhere'"),
}


@pytest.mark.parametrize("name", VARIABLES)
def test_a_wrong_variable_is_one_line_that_names_it(tmp_path, name):
    value, message = VARIABLES[name]
    arguments = command(tmp_path, "assets")
    done = subprocess.run(arguments, env=os.environ | {name: value}, capture_output=True, text=True, check=False)
    line = error(done)
    assert line.startswith(f"error: {name}: ")
    assert message in line
    assert line.endswith(f"`unset {name}`")


@pytest.mark.parametrize("name", VARIABLES)
def test_the_doctor_notes_a_wrong_variable_that_the_study_needs_not(name):
    value, message = VARIABLES[name]
    doctor = [sys.executable, "-m", "t2s", "doctor", "--only", "hub"]
    root = Path(__file__).parents[1]
    done = subprocess.run(doctor, cwd=root, env=os.environ | {name: value}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    assert done.stdout.startswith(f"note   hub: {name}: ")
    assert message.partition(";")[0] in done.stdout


def test_no_password_of_a_proxy_is_shown(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@host:port")
    with pytest.raises(ValueError, match=r"got 'http://\.\.\.@host:port'") as raised:
        variables.check_connection()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("value", ["", "no", "http://", "http://h:p", "ftp://h", "huggingface.co"])
def test_no_address_is_taken_for_a_hub(monkeypatch, value):
    monkeypatch.setenv("HF_ENDPOINT", value)
    with pytest.raises(ValueError, match="HF_ENDPOINT: expected the address of a hub"):
        variables.check_imports()


def test_proxies_that_work_are_left_alone(server, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "::1,[::1],127.0.0.1,10.0.0.0/8,localhost")
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("all_proxy", "http://user:secret@proxy.example:3128")
    repository(server).reach()


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"repository": "x"}', '{"repository": 1, "revision": 1, "files": 1}']
)
def test_a_damaged_manifest_is_one_line_that_names_it(server, tmp_path, content):
    (path,) = get_demos(server, tmp_path)
    path.with_suffix(".json").write_text(content)
    with pytest.raises(ValueError, match=r"_demo\.json: .*; remove it") as raised:
        get_demos(server, tmp_path)
    assert "\n" not in str(raised.value)


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no image": ({"obs__agentview_rgb": np.zeros((2, 64, 64, 3), np.uint8)}, r"expected shape \(2, 128, 128, 3\)"),
    "no byte": ({"obs__eye_in_hand_rgb": np.zeros((2, 128, 128, 3), np.float32)}, "expected uint8, got float32"),
    "nan": ({"robot_states": np.full((2, 9), np.nan)}, "demo_0/robot_states: expected finite numbers"),
    "state": ({"states": np.full((2, 20), np.inf)}, "demo_0/states: expected finite numbers"),
    "rewards": ({"rewards": np.zeros(3, np.uint8)}, r"demo_0/rewards: expected shape \(2,\), got \(3,\)"),
    "action": ({"actions": np.full((2, 7), 1.01)}, r"expected actions in \[-1, 1\], got 1.01"),
}


@pytest.mark.parametrize("wrong", BROKEN)
def test_a_file_with_wrong_content_gets_no_manifest(server, tmp_path, wrong):
    changes, message = BROKEN[wrong]
    path = tmp_path / "x.hdf5"
    synthetic.write_demos(path, [2] * 50, 128, TASKS[0].instruction, **changes)
    server.files[in_repository(TASKS[0])] = path.read_bytes()
    for _ in range(2):  # a second attempt fares no better
        with pytest.raises(ValueError, match=rf"_demo\.hdf5: .*{message}"):
            get_demos(server, tmp_path)
    assert not list((tmp_path / "downloads").rglob("*.json"))


def test_a_missing_key_and_demonstration_and_another_instruction_are_named(tmp_path):
    path = tmp_path / "x.hdf5"
    synthetic.write_demos(path, [2] * 49, 128, "Do It")
    with pytest.raises(ValueError, match="expected 50 demonstrations, got 49"):
        demonstrations.check(path, 128, 50, ["do it"])
    with pytest.raises(ValueError, match=r"expected an instruction of \['do that'\], got 'do it'"):
        demonstrations.check(path, 128, 49, ["do that"])
    assert demonstrations.check(path, 128, 49, ["do it"]) == 98
    with h5py.File(path, "a") as file:
        del file["data/demo_3/dones"]
    with pytest.raises(ValueError, match="expected a dataset 'data/demo_3/dones', got none; have"):
        demonstrations.check(path, 128, 49, ["do it"])


def test_the_instruction_may_be_the_bddl_files_or_the_names(tmp_path):
    path, name = tmp_path / "x.hdf5", "pick_up_the_milk_and_place_it_in_the_basket"
    task = suites.Task("libero_object", 0, name, name.replace("_", " "), LIBERO / f"libero_object/{name}.bddl", Path())
    for instruction in (task.instruction, "Pick the milk and place it in the basket"):
        synthetic.write_demos(path, [1] * 50, 128, instruction)
        download.check(path, task)
    synthetic.write_demos(path, [1] * 50, 128, "open the window")
    with pytest.raises(ValueError, match=r"\['pick the milk .*', 'pick up the milk .*'\], got 'open the window'"):
        download.check(path, task)
