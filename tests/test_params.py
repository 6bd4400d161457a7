import copy
from pathlib import Path

import pytest
from params_file import params_file

from t2s import params

ROOT = Path(__file__).parent.parent


@pytest.fixture
def sections():
    return params.read(str(ROOT / "params.yaml"))


def test_the_shipped_params_are_valid(sections):
    assert params.check(sections).learn.eval_epochs[0] == 0


def test_json_and_yaml_give_the_same_section(sections):

    assert params.Learn.read(params_file(sections)) == params.Learn.read(str(ROOT / "params.yaml"))


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("study", "suites", ["nope"], "unknown suite 'nope'; have ['blocks_goal'"),
        ("study", "methods", ["nope"], "unknown method 'nope'; have ['er', 'ewc'"),
        ("study", "n_tasks", 11, "expected study.n_tasks <= 10"),
        ("study", "order", [0, 2], "study: expected order of at least n_tasks=3 different tasks, got [0, 2]"),
        ("study", "order", [0, 2, 2], "study: expected order of at least n_tasks=3 different tasks, got [0, 2, 2]"),
        ("study", "order", [0, 10, 2], "expected study.order of tasks 0 to 9 of blocks_object, got [0, 10, 2]"),
        ("study", "seeds", [], "study.seeds"),
        ("learn", "lrr", 0.1, "unknown key 'learn.lrr'; have ['batch_size'"),
        (
            "learn",
            "lr",
            "1e-3",
            "learn.lr: expected a valid number, got '1e-3' (YAML reads 1e-3 as text",
        ),
        ("learn", "n_epochs", -1, "learn.n_epochs: expected greater than 0, got -1"),
        ("learn", "n_epochs", 2.5, "learn.n_epochs: expected a valid integer, got 2.5"),
        ("learn", "eval_every", 7, "n_epochs a multiple of eval_every"),
        ("demos", "n_demos", 0, "demos.n_demos: expected greater than 0, got 0"),
        ("policy", "n_heads", 5, "embed_dim divisible by n_heads"),
        ("policy", "replan_every", 11, "replan_every <= chunk_len"),
        ("evaluate", "protocol", "nope", "unknown protocol 'nope'; have ['blocks', 'libero']"),
        ("engine", "retries", -1, "engine.retries: expected greater than or equal to 0, got -1"),
        ("engine", "hang_s", 0.5, "engine.hang_s: expected greater than or equal to 2, got 0.5"),
        ("methods", "mine", {"learner": "nope"}, "unknown learner 'nope' of 'methods.mine'; have"),
        ("methods", "ewc", {"learner": "ewc", "e_lambda": 1.0, "gamma": 2.0}, "methods.ewc.gamma: expected less than"),
        ("methods", "packnet", {"learner": "packnet", "prune": 0.5}, "unknown key 'methods.packnet.prune'"),
        ("methods", "mine", {}, "unknown learner None of 'methods.mine'"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(sections, section, key, value, message):
    wrong = copy.deepcopy(sections)
    wrong[section][key] = value
    with pytest.raises(ValueError, match=r"^params: ") as error:
        params.check(wrong)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_downloaded_demonstrations_are_those_that_were_published(sections):
    sections["demos"]["source"] = "download"
    with pytest.raises(
        ValueError, match=r"expected suites libero_\* with demos.source 'download', got \['blocks_object'"
    ):
        params.check(sections)
    sections["demos"]["n_demos"] = 51
    with pytest.raises(ValueError, match="demos: expected n_demos <= 50, the number published, got 51"):
        params.check(sections)


def test_an_unknown_key_of_a_method_names_what_exists(sections):
    sections["methods"]["t2s"]["n_token"] = 3
    with pytest.raises(ValueError, match=r"unknown key 'methods.t2s.n_token'; have .*did you mean 'n_tokens'"):
        params.check(sections)


def test_an_unknown_section_suggests_the_right_one(sections):
    sections["lern"] = {}
    with pytest.raises(ValueError, match=r"unknown key 'lern'.*did you mean 'learn'"):
        params.check(sections)


def test_a_missing_key_is_named(sections):
    del sections["learn"]["lr"]
    with pytest.raises(ValueError, match=r"missing key 'learn.lr'"):
        params.check(sections)


def test_a_missing_section_lists_those_that_are_there():
    with pytest.raises(ValueError, match=r"expected a section 'learn'; have \['env'\]"):
        params.Learn.read(params_file({"env": {"image_size": 64}}))


def test_a_missing_file_lists_those_that_exist(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(ValueError, match=r"no params file 'nope.yaml'; have \['.*params.yaml'"):
        params.read("nope.yaml")


def test_a_file_that_is_no_yaml_is_one_line(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("learn: [1,\n")
    with pytest.raises(ValueError, match=r"bad\.yaml: neither YAML nor JSON") as error:
        params.read(str(path))
    assert "\n" not in str(error.value)


def test_a_file_without_sections_is_refused(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("- 1\n")
    with pytest.raises(ValueError, match="expected sections"):
        params.read(str(path))


def test_method_gives_the_values_of_its_name(sections):

    assert params.method(params_file(sections), "sequential").learner == "sequential"
    with pytest.raises(ValueError, match="unknown method 'nope'"):
        params.method(params_file(sections), "nope")


@pytest.mark.parametrize(
    ("ablation", "changed"),
    [
        ("no_reuse", {"reuse"}),
        ("reuse_all", {"reuse"}),
        ("random_reuse", {"reuse"}),
        ("fixed_growth", {"new_tokens_min"}),
        ("no_growth", {"new_tokens_min", "new_tokens_max"}),
    ],
)
def test_an_ablation_is_t2s_but_for_its_own_values(sections, ablation, changed):
    whole, values = sections["methods"]["t2s"], sections["methods"][ablation]
    assert {key for key in whole if whole[key] != values[key]} == changed
    assert ablation != "fixed_growth" or values["new_tokens_min"] == whole["new_tokens_max"]
