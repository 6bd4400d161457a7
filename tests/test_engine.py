"""The engine: the same outcomes whatever happens to the workers, and no crash that counts as a failure."""

from __future__ import annotations

import io
import multiprocessing
import re
from dataclasses import replace
from pathlib import Path

import chain
import fakes
import numpy as np
import pytest
from params_file import params_file
from tqdm import tqdm

from t2s import params
from t2s.data import embeddings, suites
from t2s.sim import engine, rollout
from t2s.sim.engine import RolloutError
from t2s.sim.rollout import Episode, Outcome
from t2s.sim.worker import Setting
from t2s.stages import evaluate

SETTING = Setting(
    make_env=fakes.WalkEnv,
    make_policy=fakes.MakePolicy(),
    init_states=np.linspace(-1.0, 1.0, 5)[:, None],
    max_steps=20,
    settle_steps=0,
)
LIMITS = params.Engine(retries=0, hang_s=60.0, recycle_after=1000)
SHORT = params.Engine(retries=5, hang_s=3.0, recycle_after=1000)
"""Retries, as on a busy machine a worker may take longer to start."""


def episodes(n: int, policy: str = "a") -> list[Episode]:
    return [Episode(policy, i % 5, rollout.episode_seed("s", 0, i, 0, policy)) for i in range(n)]


def outcomes(
    due: list[Episode], n_workers: int, setting: Setting = SETTING, limits: params.Engine = LIMITS
) -> list[Outcome]:
    return list(engine.roll_out(due, setting, n_workers, limits))


def test_outcomes_do_not_depend_on_the_number_of_workers() -> None:
    due = episodes(12) + episodes(6, "b")
    alone = outcomes(due, 1)
    assert outcomes(due, 3) == alone
    assert len({outcome.fingerprint for outcome in alone}) == len(due)
    assert {outcome.success for outcome in alone} == {True, False}


def test_an_outcome_does_not_depend_on_the_episodes_before_it() -> None:
    due = episodes(6)
    assert outcomes(due[::-1], 1) == outcomes(due, 1)[::-1]


def test_a_backend_that_cannot_draw_is_one_error_before_any_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    with pytest.raises(ValueError, match="MUJOCO_GL: expected one of "):
        outcomes(episodes(1), 1)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("failure", ["raise", "die", "hang"])
def test_an_episode_whose_worker_fails_is_run_again_and_changes_nothing(
    failure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    due = episodes(6)
    undisturbed = outcomes(due, 1)
    due[2] = replace(due[2], policy="bad")
    setting = replace(SETTING, make_policy=fakes.InTurn(tmp_path, (failure, *["well"] * 5)))
    limits = SHORT if failure == "hang" else LIMITS.model_copy(update={"retries": 1})
    assert outcomes(due, 2, setting, limits) == undisturbed
    told = re.findall(r"with policy 'bad' .*; retry (\d) of \d", capsys.readouterr().err)
    assert told[:1] == ["1"]


def test_an_episode_that_keeps_failing_is_an_error_that_names_it_and_the_first_reason(tmp_path: Path) -> None:
    due = [*episodes(2), Episode("bad", 4, 7)]
    setting = replace(SETTING, make_policy=fakes.InTurn(tmp_path, ("raise", "die", "well")))
    error = r"initial state 4 with policy 'bad' \(seed 7\): ZeroDivisionError: the gripper is on fire \(tries: 2\)"
    with pytest.raises(RolloutError, match=error):
        outcomes(due, 2, setting, LIMITS.model_copy(update={"retries": 1}))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("failure", "hang_s", "error"),
    [("die", 60.0, r"its worker died \(SIGKILL\)"), ("hang", 3.0, r"its worker hung: no sign of life for \d+ s")],
)
def test_how_a_worker_was_lost_is_told(failure: str, hang_s: float, error: str) -> None:
    with pytest.raises(RolloutError, match=rf"policy '{failure}' \(seed 0\): {error} \(tries: 1\)"):
        outcomes([Episode(failure, 0, 0)], 1, limits=LIMITS.model_copy(update={"hang_s": hang_s}))


def test_an_episode_whose_input_is_wrong_is_not_tried_again() -> None:
    with pytest.raises(RolloutError, match=r"ValueError: expected 7 numbers, got 6 \(tries: 1\)$"):
        outcomes(episodes(1, "refuse"), 1)


def test_a_long_episode_is_not_taken_for_a_hung_one() -> None:
    far = replace(SETTING, init_states=np.full((1, 1), -1000.0))
    (outcome,) = outcomes([Episode("dawdle", 0, 0)], 1, far, SHORT)
    assert outcome.n_steps * 0.25 > 3.0


def test_a_worker_is_renewed_after_a_set_number_of_episodes_and_changes_nothing(tmp_path: Path) -> None:
    due = episodes(7)
    counted = replace(SETTING, make_env=fakes.MakeCountedEnv(tmp_path))
    assert outcomes(due, 1, counted, LIMITS.model_copy(update={"recycle_after": 3})) == outcomes(due, 1)
    assert len(list(tmp_path.iterdir())) == 3


def test_an_environment_is_made_once_a_worker(tmp_path: Path) -> None:
    outcomes(episodes(9), 2, replace(SETTING, make_env=fakes.MakeCountedEnv(tmp_path)))
    assert len(list(tmp_path.iterdir())) == 2


def test_an_environment_that_cannot_be_made_is_an_error() -> None:
    with pytest.raises(RolloutError, match="FileNotFoundError: no such scene"):
        outcomes(episodes(1), 1, replace(SETTING, make_env=fakes.fail_to_make))


def test_no_worker_outlives_an_interrupted_job() -> None:
    running = engine.roll_out(episodes(50), SETTING, 2, LIMITS)
    next(running)
    assert multiprocessing.active_children()
    with pytest.raises(KeyboardInterrupt):
        running.throw(KeyboardInterrupt)
    assert not multiprocessing.active_children()


def test_fewer_episodes_than_workers_start_fewer_workers() -> None:
    running = engine.roll_out(episodes(1), SETTING, 8, LIMITS)
    next(running)
    assert len(multiprocessing.active_children()) == 1
    running.close()


def test_no_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1 worker, got 0"):
        outcomes(episodes(1), 0)


def test_progress_in_a_log_is_made_of_lines() -> None:
    file = io.StringIO()
    for _ in tqdm(range(3), **engine._progress(3, file)):
        pass
    assert "\r" not in file.getvalue()
    assert "3/3" in file.getvalue().splitlines()[-1]


@pytest.mark.sim
def test_the_simulator_gives_the_same_observations_with_1_and_with_4_workers() -> None:
    task = suites.task("blocks_object", 1)
    setting = Setting(
        fakes.MakeRealEnv(task.bddl_path, 64),
        fakes.MakePolicy(),
        np.load(task.init_states_path),
        max_steps=12,
        settle_steps=2,
    )
    due = episodes(8)
    alone = outcomes(due, 1, setting)
    assert outcomes(due, 4, setting) == alone
    assert len({outcome.fingerprint for outcome in alone}) == len(due)


def resident_mb(process: multiprocessing.process.BaseProcess) -> float:
    """Resident memory [MB] of a process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8"))
    assert found
    return int(found[1]) / 1000


@pytest.mark.slow
@pytest.mark.sim
def test_the_memory_of_a_worker_is_flat_over_500_episodes(tmp_path: Path) -> None:
    t2s, task = chain.make(tmp_path, "t2s"), suites.task(chain.SUITE, 0)
    (task_emb,) = embeddings.find(t2s.language, [task.instruction])
    setting = Setting(
        evaluate.MakeEnv(task.bddl_path, 64, None),
        evaluate.MakePolicy(params_file(chain.sections("t2s")), "t2s", {"kept": t2s.kept(1)}, task_emb, chain.ACTIONS),
        np.load(task.init_states_path),
        max_steps=5,
        settle_steps=5,
    )
    due = [Episode("kept", i % len(setting.init_states), i) for i in range(500)]
    resident = {}
    for n, _ in enumerate(engine.roll_out(due, setting, 1, LIMITS), start=1):
        if n % 50 == 0:
            (process,) = multiprocessing.active_children()
            resident[n] = resident_mb(process)
    print({n: f"{mb:.1f} MB" for n, mb in resident.items()})
    assert resident[500] - resident[50] < 10
