from __future__ import annotations

import json
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


def test_a_label_tells_stand_ins_from_liberos_own(tmp_path):
    assert assets.label(make_folder(tmp_path / "a")).startswith("stand-in-")
    assert assets.label(make_folder(tmp_path / "b", assets.LARGE + 1)).startswith("libero-")


def test_a_label_is_that_of_the_files_wherever_they_lie(tmp_path):
    first, same, other = (make_folder(tmp_path / name, size) for name, size in (("a", 10), ("b", 10), ("c", 11)))
    (same / "README.md").write_text("not loaded")
    (same / ".cache").mkdir()
    (same / ".cache" / "x").write_text("not loaded")
    assert assets.label(first) == assets.label(same) != assets.label(other)


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
