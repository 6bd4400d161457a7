import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from params_file import params_file

from t2s import params
from t2s.model import maps, policy

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
        ("study", "order", [0, 2, 1.5], "study.order.2: expected a whole number, got 1.5"),
        ("study", "seeds", [], "study.seeds: expected at least one entry, got []"),
        ("study", "seeds", [0, 1, 0], "study.seeds: expected each only once, got [0, 1, 0]"),
        ("study", "seeds", [2**32], "study.seeds.0: expected less than 4294967296, got 4294967296"),
        ("study", "methods", ["t2s", "t2s"], "study.methods: expected each only once, got ['t2s', 't2s']"),
        ("study", "suites", ["blocks_goal"] * 2, "study.suites: expected each only once, got ['blocks_goal', "),
        ("study", "suites", "blocks_goal", "study.suites: expected a list, got 'blocks_goal'"),
        ("learn", "lrr", 0.1, "unknown key 'learn.lrr'; have ['batch_size'"),
        (
            "learn",
            "lr",
            "1e-3",
            "learn.lr: expected a number, got '1e-3' (YAML reads 1e-3 as text",
        ),
        ("learn", "n_epochs", -1, "learn.n_epochs: expected at least 1, got -1"),
        ("learn", "n_epochs", 2.5, "learn.n_epochs: expected a whole number, got 2.5"),
        ("learn", "eval_every", 7, "n_epochs a multiple of eval_every"),
        ("demos", "n_demos", 0, "demos.n_demos: expected at least 1, got 0"),
        ("learn", "lr", float("inf"), "learn.lr: expected a finite number, got inf"),
        ("learn", "clip_norm", float("nan"), "learn.clip_norm: expected a finite number, got nan"),
        ("learn", "lr", 2000.0, "learn.lr: expected at most 1.0, got 2000.0"),
        ("learn", "lr_min", 0.5, "learn: expected lr_min <= lr, got 0.5 > 0.002"),
        ("learn", "eval_every", True, "learn.eval_every: expected a whole number, got True"),
        ("learn", "shift_px", 64, "expected learn.shift_px < env.image_size=64, got 64"),
        ("learn", "device", "gpu", "learn.device: expected 'auto', 'cpu' or 'cuda', got 'gpu'"),
        ("learn", 1, 2, "learn: expected a key that is text, got 1"),
        ("env", "image_size", 60, "env.image_size: expected a multiple of 8, got 60"),
        ("language", "encoder", "two words", "language.encoder: expected one of ['all-MiniLM-L6-v2'], a hub name or"),
        ("language", "encoder", "", "language.encoder: expected text in one line, got ''"),
        ("download", "folder", "~no-such-user/x", "download.folder: expected a folder, got '~no-such-user/x': no such"),
        ("evaluate", "reuse_records", "yes", "evaluate.reuse_records: expected true or false, got 'yes'"),
        ("film", "fps", 1000, "film.fps: expected at most 50, got 1000"),
        ("metrics", "confidence", 95, "metrics.confidence: expected less than 1.0, got 95"),
        ("figures", "palette", "colourblind", "figures.palette: expected 'colorblind', 'deep', 'muted', "),
        ("policy", "stem_channels", [8] * 5, "expected at most 4 policy.stem_channels, which leave 2 pixels"),
        ("policy", "n_heads", 5, "embed_dim divisible by n_heads"),
        ("policy", "network", "resnet", "policy.network: expected 'compact' or 'resnet_t', got 'resnet'"),
        ("policy", "resnet_t", {"n_layer": 2}, "unknown key 'policy.resnet_t.n_layer'; have ['dropout', 'embed_dim'"),
        ("learn", "hue", 0.3, "expected learn.hue 0 with policy.network 'compact', got 0.3"),
        ("learn", "hue", 0.6, "learn.hue: expected at most 0.5, got 0.6"),
        ("language", "pooling", "cls", "language.pooling: expected 'mean' or 'pooler', got 'cls'"),
        ("policy", "replan_every", 11, "replan_every <= chunk_len"),
        ("evaluate", "protocol", "nope", "unknown protocol 'nope'; have ['blocks', 'libero']"),
        ("engine", "retries", -1, "engine.retries: expected at least 0, got -1"),
        ("engine", "hang_s", 0.5, "engine.hang_s: expected at least 2.0, got 0.5"),
        ("methods", "mine", {"learner": "nope"}, "unknown learner 'nope' of 'methods.mine'; have"),
        (
            "methods",
            "ewc",
            {"learner": "ewc", "e_lambda": 1.0, "gamma": 2.0},
            "methods.ewc.gamma: expected at most 1.0, got 2.0",
        ),
        ("methods", "packnet", {"learner": "packnet", "prune": 0.5}, "unknown key 'methods.packnet.prune'"),
        ("methods", "mine", {}, "unknown learner None of 'methods.mine'"),
        ("methods", "mine", 3, "methods.mine: expected keys with values, got 3"),
        ("methods", "a/b", {"learner": "sequential"}, "methods: expected a name of at most 64 letters, digits, "),
        ("methods", ".a", {"learner": "sequential"}, "with a letter, digit or '_' first, got '.a'"),
        ("methods", 1, {"learner": "sequential"}, "methods: expected text, got 1"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(sections, section, key, value, message):
    wrong = copy.deepcopy(sections)
    wrong[section][key] = value
    with pytest.raises(ValueError, match=r"^params: ") as error:
        params.check(wrong)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def keys(sections, above=()):
    for key, value in sections.items():
        yield (*above, key)
        yield from keys(value, (*above, key)) if isinstance(value, dict) else ()


def mistake(sections):
    try:
        params.check(sections)
    except ValueError as error:
        return str(error)
    return None


EVERY_KEY = [*keys(params.read(str(ROOT / "params.yaml"))), ("new",), ("methods", "new"), ("learn", "new")]
ODD: list[Any] = [
    *(None, True, -1, 0, 1, 1.5, 2**70, -(10**400), float("inf"), float("nan"), "", "x", "a b", "a\nb", "~nobody/x"),
    *([], [None], [1, 1], ["a", "a"], {}, {"a": 1}, {1: 2}, {None: {}}),
]


@pytest.mark.parametrize("key", EVERY_KEY, ids=".".join)
def test_any_value_of_any_key_is_right_or_one_line_in_our_words(sections, key):
    section = sections
    for part in key[:-1]:
        section = section[part]
    for value in ODD:
        section[key[-1]] = value
        said = mistake(sections)
        assert said is None or said.startswith("params: ")
        assert not re.search(r"\n|[Ii]nput|should|valid|instance|greater|\[key\]|errors", said or "")


def test_resnet_t_has_values_of_its_own(sections):
    sections["policy"]["network"] = "resnet_t"
    sections["learn"]["hue"] = 0.3
    values = params.check(sections).policy.values
    assert isinstance(values, params.ResNetT)
    assert (values.n_frames, values.n_targets, values.replan_every) == (10, 10, 1)
    del sections["policy"]["resnet_t"]
    with pytest.raises(ValueError, match=r"policy: expected the values of .* in policy\.resnet_t, got"):
        params.check(sections)


def test_a_mistake_of_a_base_is_told_once(sections):
    sections["methods"]["t2s"]["new_tokens_min"] = 7
    with pytest.raises(ValueError, match=r"methods.t2s: expected new_tokens_min <= new_tokens_max, got 7 > 6$"):
        params.check(sections)


@pytest.mark.parametrize(("size", "n_most"), [(32, 3), (40, 4), (64, 4), (72, 5), (128, 5)])
def test_the_convolutions_leave_two_pixels(sections, size, n_most):
    sections["env"]["image_size"] = size
    sections["policy"]["stem_channels"] = [2] * n_most
    encoder = policy.ImageEncoder(params.check(sections).policy, maps.Plain())
    assert encoder.convs(torch.zeros(1, 4, size, size)).shape[-1] == 2
    sections["policy"]["stem_channels"] = [2] * (n_most + 1)
    with pytest.raises(ValueError, match=f"expected at most {n_most} policy.stem_channels"):
        params.check(sections)


def test_a_tilde_is_the_home_folder(sections, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    sections["assets"]["path"] = sections["download"]["folder"] = sections["language"]["encoder"] = "~/x"
    given = params.check(sections)
    assert str(given.assets.folder) == given.download.folder == given.language.encoder == "/home/me/x"
    monkeypatch.setenv("T2S_LIBERO_ASSETS", "~/y")
    assert str(params.Assets(path=None).folder) == "/home/me/y"


def test_a_study_may_say_only_what_differs(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    (tmp_path / "mine.yaml").write_text("study: {seeds: [3]}\n")
    given = params.study([str(tmp_path / "mine.yaml")])
    assert (given.study.seeds, given.study.methods) == ([3], ["t2s", "sequential"])
    with pytest.raises(ValueError, match="missing key"):
        params.check(params.read(str(tmp_path / "mine.yaml")))


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


def test_an_unknown_key_of_a_protocol_names_what_exists(sections):
    sections["evaluate"]["protocols"]["libero"]["sample_actions"] = True
    with pytest.raises(
        ValueError, match=r"unknown key 'evaluate.protocols.libero.sample_actions'; have \['actions', 'kept_offset'"
    ):
        params.check(sections)


def test_liberos_protocol_acts_as_libero(sections):
    protocols = params.check(sections).evaluate.protocols
    assert {name: protocol.actions for name, protocol in protocols.items()} == {"blocks": "likely", "libero": "sample"}


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


@pytest.mark.parametrize("content", [b"learn: 2026-13-45\n", b"\xff\xfe", b"a: 1\n---\nb: 2\n", b"\tlearn: 1\n"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{path}: neither YAML nor JSON: .") as error:
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
    methods = params.resolve(sections)["methods"]
    whole, values = methods["t2s"], methods[ablation]
    assert {key for key in whole if whole[key] != values[key]} == changed
    assert ablation != "fixed_growth" or values["new_tokens_min"] == whole["new_tokens_max"]


@pytest.mark.parametrize("ablation", ["no_reuse", "reuse_all", "random_reuse", "fixed_growth", "no_growth"])
def test_an_ablation_follows_its_base(sections, ablation):
    changed = params.merge(sections, {"methods": {"t2s": {"new_lr": 0.005}}})
    assert params.check(changed).methods.root[ablation].model_dump()["new_lr"] == 0.005
    assert params.method(params_file(changed), ablation).model_dump()["new_lr"] == 0.005


def test_a_value_of_its_own_wins_over_the_base(sections):
    changed = params.merge(sections, {"methods": {"t2s": {"new_lr": 0.005}, "no_reuse": {"new_lr": 0.25}}})
    assert params.check(changed).methods.root["no_reuse"].model_dump()["new_lr"] == 0.25


def test_a_base_may_have_a_base():
    methods = {"a": {"of": "b", "x": 1}, "b": {"of": "c", "y": 2}, "c": {"learner": "t2s", "x": 3, "y": 4, "z": 5}}
    assert params.resolve({"methods": methods})["methods"] == {
        "a": {"learner": "t2s", "x": 1, "y": 2, "z": 5},
        "b": {"learner": "t2s", "x": 3, "y": 2, "z": 5},
        "c": methods["c"],
    }
    assert methods["a"] == {"of": "b", "x": 1}  # the input is as before


def test_resolving_twice_changes_nothing(sections):
    once = params.resolve(sections)
    assert params.resolve(once) == once
    assert params.resolve({"env": {}}) == {"env": {}}


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"a": {"of": "t3s"}, "b": {}}, "methods.a.of: unknown method 't3s'; have ['a', 'b']"),
        ({"a": {"of": None}}, "methods.a.of: unknown method None; have ['a']"),
        ({"a": {"of": ["b"]}, "b": {}}, "methods.a.of: unknown method ['b']; have ['a', 'b']"),
        ({"a": {"of": "b"}, "b": {"of": "a"}}, "methods.b.of: expected a method with values, got a of b of a"),
        ({"a": {"of": "a"}}, "methods.a.of: expected a method with values, got a of a"),
    ],
)
def test_a_base_that_cannot_be_is_one_line(methods, message):
    with pytest.raises(ValueError, match=r"^params: ") as error:
        params.resolve({"methods": methods})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_dump_with_every_value_stays_as_it_is(sections):
    dump = {"methods": params.resolve(sections)["methods"]}
    changed = params.merge(sections, params.merge(dump, {"methods": {"t2s": {"new_lr": 0.005}}}))
    kept = params.check(changed).methods.root["no_reuse"].model_dump()
    assert kept["new_lr"] == sections["methods"]["t2s"]["new_lr"]


@pytest.mark.parametrize(
    ("n_rollouts", "kept_offset", "choosing", "scoring", "demonstrating"),
    [
        (20, 20, range(20), range(20, 40), range(49, 39, -1)),
        (20, 0, range(20), range(20), range(49, 19, -1)),
        (4, 2, range(4), [2, 3, 4, 5], range(49, 5, -1)),  # they overlap
        (30, 20, range(30), range(20, 50), []),
        (30, 30, range(30), [*range(30, 50), *range(10)], []),  # after the last, again from the first
        (3, 48, range(3), [48, 49, 0], range(47, 2, -1)),
        (60, 0, range(50), range(50), []),  # some twice
    ],
)
def test_a_state_chooses_scores_or_demonstrates(sections, n_rollouts, kept_offset, choosing, scoring, demonstrating):
    protocol = sections["evaluate"]["protocols"]["blocks"]
    protocol |= {"n_rollouts": n_rollouts, "kept_offset": kept_offset}
    found = params.states_of(params.check(sections).evaluate, 50)
    assert found == ([*choosing], [*scoring], [*demonstrating])


@pytest.mark.parametrize(("n_demos", "fits"), [(30, True), (31, False)])
def test_scripted_demonstrations_of_libero_need_states_that_are_not_evaluated(sections, n_demos, fits):
    sections["study"]["suites"] = ["blocks_goal", "libero_object"]
    sections["evaluate"]["protocol"] = "libero"
    sections["demos"]["n_demos"] = n_demos
    if fits:
        params.check(sections)
        return
    with pytest.raises(ValueError, match=r"^params: expected demos.n_demos <= 30 for .* \['libero_object'\]") as error:
        params.check(sections)
    assert "\n" not in str(error.value)
    for remedy in ("fewer demos.n_demos", "fewer evaluate.protocols.libero.n_rollouts", "libero.kept_offset"):
        assert remedy in str(error.value)


def test_other_demonstrations_may_be_as_many_as_there_are(sections):
    assert sections["demos"]["n_demos"] == 50
    params.check(sections)  # an embedded suite draws its own states
    sections["study"]["suites"] = ["libero_object"]
    sections["demos"]["source"] = "download"  # recorded from other states
    sections["env"]["image_size"] = 128
    params.check(sections)
