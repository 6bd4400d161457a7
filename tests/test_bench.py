"""The benchmark: candidates take turns, all methods reach a later task, and the page is whole."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from params_file import params_file

from t2s import params
from t2s.cli import main
from t2s.lifelong.learner import Settings
from t2s.support import bench


@pytest.fixture(scope="module")
def given() -> params.Params:
    return params.study(["params.yaml"])


def test_candidates_take_turns_and_the_first_turn_does_not_count() -> None:
    order: list[str] = []
    times = bench.turns({name: functools.partial(order.append, name) for name in "ab"}, 2)
    assert "".join(order) == "ababab"
    assert times.shape == (2, 2)


def test_a_ratio_is_the_median_of_the_ratios_within_each_turn() -> None:
    times = pd.DataFrame({"a": [1.0, 10.0, 3.0], "b": [2.0, 10.0, 12.0]})
    assert bench.ratio(times, "b", "a") == "2.00"  # of 2, 1 and 4; the ratio of the medians is 10 / 3


@pytest.mark.parametrize("network", ["compact", "resnet_t"])
@pytest.mark.parametrize("method", bench.METHODS)
def test_every_method_takes_a_step_on_a_later_task(given: params.Params, network: str, method: str) -> None:
    policy = given.policy.model_copy(update={"network": network}).values
    values = given.methods.root[method]
    settings = Settings(policy, given.learn, values)
    made = bench.learner(values.learner, settings, bench.LATER, 32, 1)
    before = [p.detach().clone() for p in made.trainable]
    made.observe(bench.windows(policy, 1 + bench.replayed(settings, 1), 32))
    assert any(not torch.equal(p, old) for p, old in zip(made.trainable, before, strict=True))


def test_as_many_windows_are_replayed_as_in_learning(given: params.Params) -> None:
    values = given.methods.root["er"]
    assert isinstance(values, params.ER)
    settings = Settings(given.policy.values, given.learn, values)
    made = bench.learner("er", settings, 1, 32, 2)
    n = len(made.replay([2000, 2000], torch.Generator()))
    assert bench.replayed(settings, given.learn.batch_size) == n == values.n_replayed


def test_pattention_has_as_many_multiplications_as_the_map_beside_it() -> None:
    for row in bench.maps(1).to_dict("records"):
        d_in, d_out, n = row["Inputs"], row["Outputs"], row["Tokens"]
        assert n * (d_in + d_out) == pytest.approx(d_in * d_out, rel=0.03)


def test_a_dry_run_that_fails_is_one_line() -> None:
    with pytest.raises(OSError, match=r"^python[0-9.]*: snakemake: error: unrecognized arguments: --nope$"):
        bench.snakemake(["--nope"], Path())


def test_a_folder_without_libero_is_one_line_that_says_what_it_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--libero", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: --libero: expected a file '{tmp_path}/.venv/bin/python', got none. ")
    assert said.count("\n") == 1


@pytest.mark.slow
@pytest.mark.sim
def test_the_command_writes_the_whole_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "performance.md"
    monkeypatch.delenv("T2S_LIBERO_ASSETS", raising=False)
    values = params.resolve(params.read("params.yaml")) | {"assets": {"path": str(tmp_path / "none")}}
    assert main(["bench", "--quick", "--params", params_file(values), "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert len(re.findall("^## ", text, re.MULTILINE)) == 7
    assert text.count("\n|:") == 5
    assert "Not measured: no --libero" in text
    assert "Not measured: no LIBERO scene assets in" in text
    assert "| resnet_t  | 32       | 2         | t2s " in text


def test_the_page_in_docs_is_of_the_whole_benchmark() -> None:
    text = Path("docs/performance.md").read_text(encoding="utf-8")
    assert len(re.findall("^## ", text, re.MULTILINE)) == 7
    assert text.count("\n|:") in (6, 7)  # without a checkout of LIBERO, one part has no table
