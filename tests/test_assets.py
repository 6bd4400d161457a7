from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from params_file import params_file

from t2s import cli, params
from t2s.data import assets


def make_folder(path: Path, size: int = 10) -> Path:
    for name in assets.FOLDERS:
        (path / name).mkdir(parents=True)
        (path / name / "mesh.obj").write_bytes(b"x" * size)
    return path


def source(path: Path | None) -> str:
    return params_file({"assets": {"path": None if path is None else str(path)}})


def test_a_given_folder_wins_over_the_environments(tmp_path, monkeypatch):
    given, other = make_folder(tmp_path / "given"), make_folder(tmp_path / "other")
    monkeypatch.setenv("T2S_LIBERO_ASSETS", str(other))
    assert assets.folder("libero_object", source(given)) == given
    assert assets.folder("libero_object", source(None)) == other
    assert assets.folder("libero_object", params_file({})) == other


def test_without_either_it_is_what_was_downloaded(monkeypatch):
    monkeypatch.delenv("T2S_LIBERO_ASSETS", raising=False)
    assert params.Assets(path=None).folder == Path("downloads/libero-assets")


def test_the_embedded_suites_need_none():
    assert assets.folder("blocks_object", params_file({})) is None


def test_no_assets_are_one_line_that_names_the_alternatives(tmp_path):
    with pytest.raises(ValueError, match=r"no LIBERO scene assets in .*assets\.path.*\$T2S_LIBERO_ASSETS") as error:
        assets.folder("libero_object", source(tmp_path / "nothing"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["back\\slash", "\udcff"])
def test_a_folder_that_mujoco_cannot_open_is_refused(tmp_path, name):
    folder = make_folder(tmp_path / name)
    (tmp_path / "link").symlink_to(folder)
    for path in (folder, tmp_path / "link"):
        with pytest.raises(ValueError, match="expected a path in UTF-8 without a backslash, for MuJoCo; rename it"):
            assets.check(path)


def test_a_label_tells_stand_ins_from_liberos_own(tmp_path):
    assert assets.label(make_folder(tmp_path / "a")).startswith("stand-in-")
    assert assets.label(make_folder(tmp_path / "b", assets.LARGE + 1)).startswith("libero-")


def test_a_label_is_that_of_the_files_wherever_they_lie(tmp_path):
    first, same, other = (make_folder(tmp_path / name, size) for name, size in (("a", 10), ("b", 10), ("c", 11)))
    (same / "README.md").write_text("not loaded")
    (same / ".cache").mkdir()
    (same / ".cache" / "x").write_text("not loaded")
    assert assets.label(first) == assets.label(same) != assets.label(other)


def test_a_folder_without_links_keeps_its_label(tmp_path):
    """Records carry it: sha256 of lines "digest  path", sorted by path."""
    assert assets.label(make_folder(tmp_path / "a")) == "stand-in-ba7fd89702dd"


def linked(folder: Path, how: str) -> Path:
    """The same set, behind links."""
    if how == "root":
        path = folder.with_name("linked")
        path.symlink_to(folder)
        return path
    path = folder.with_name(f"linked_{folder.name}")
    for file in sorted(folder.rglob("*")):
        target = path / file.relative_to(folder)
        if how == "files" and file.is_file():  # as in the cache of huggingface_hub
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(os.path.relpath(file, target.parent))
        if how == "folders" and file.parent == folder:
            target.parent.mkdir(exist_ok=True)
            target.symlink_to(file)
        if how == "deeper folders" and file.parent.parent == folder:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file)
    return path


@pytest.mark.parametrize("how", ["root", "files", "folders", "deeper folders"])
def test_a_set_behind_links_has_the_label_of_the_set(tmp_path, how):
    folder, other = make_folder(tmp_path / "a" / "set"), make_folder(tmp_path / "b" / "set", 11)
    for each in (folder, other):
        (each / "scenes" / "deep").mkdir()
        (each / "scenes" / "deep" / "texture.png").touch()
    assert assets.label(linked(folder, how)) == assets.label(folder)
    assert assets.label(linked(other, how)) == assets.label(other) != assets.label(folder)


def test_a_link_back_is_not_followed(tmp_path):
    folder = make_folder(tmp_path / "set")
    before = assets.label.__wrapped__(folder)
    (folder / "scenes" / "up").symlink_to(folder)
    (folder / "scenes" / "itself").symlink_to("itself")
    (folder / "scenes" / "nowhere").symlink_to("nothing")
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "back").symlink_to(folder)
    (folder / "scenes" / "beside").symlink_to(tmp_path / "beside")
    assert assets.label.__wrapped__(folder) == before


def test_the_command_writes_the_label(tmp_path):
    folder = make_folder(tmp_path / "a")
    cli.run(["label", "--params", source(folder), "--out", str(tmp_path / "assets.json")])
    assert json.loads((tmp_path / "assets.json").read_text()) == {"label": assets.label(folder)}


def test_records_and_demonstrations_say_how_liberos_scenes_look(tmp_path):
    folder, fast = make_folder(tmp_path / "a"), params_file({"render": {"quality": "fast"}})
    assert assets.look(folder, assets.quality("libero_goal", fast)) == {
        "assets": assets.label(folder),
        "render": "fast",
    }
    assert assets.look(None, assets.quality("blocks_goal", params_file({}))) == {}
    with pytest.raises(ValueError, match="expected a section 'render'"):
        assets.quality("libero_goal", params_file({}))
