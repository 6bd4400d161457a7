"""Tasks that share an instruction are told apart by a small picture of the scene."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import libero_pictures
import numpy as np
import pytest
import test_lifelong
import torch
from test_lifelong import PICTURES, act, chain, observations, source

from t2s import lifelong, params
from t2s.data import suites
from t2s.lifelong import actor, checkpoint
from t2s.lifelong.checkpoint import CUES, PICTURE, Checkpoint
from t2s.model.scaling import alike
from t2s.model.scene import distance, nearest_picture, picture
from t2s.stages import language

FINDING = ["t2s", "tail", "packnet", "single_task"]
"""Learners that find the policy of a task by its instruction."""
PLAIN = ["sequential", "er", "ewc", "multitask"]
"""Learners of which one network acts on all tasks."""


def image(value: int, size: int = 32) -> np.ndarray:
    """The image of a scene: one colour."""
    return np.full((size, size, 3), value, np.uint8)


def test_a_picture_is_the_mean_of_images_reduced() -> None:
    half = image(0)
    half[:16] = 100
    reduced = picture(np.stack([half, image(50)]))
    assert reduced.shape == (8, 8, 3)
    assert reduced.dtype == np.uint8
    assert (reduced[:4] == 75).all()
    assert (reduced[4:] == 25).all()


def test_a_picture_of_any_size_is_reduced() -> None:
    assert (picture(image(7, size=40)[None]) == 7).all()


def test_the_nearest_picture_differs_least() -> None:
    scenes = [picture(image(value)[None]) for value in (10, 90, 200)]
    assert [nearest_picture(picture(image(value)[None]), scenes) for value in (0, 55, 255)] == [0, 1, 2]
    assert distance(scenes[0], scenes[1]) == 80


@cache
def embedded(suite: str) -> np.ndarray:
    """The embeddings of the instructions of all tasks of a suite, as in a study."""
    encoder = params.Language.read("params.yaml").encoder
    instructions = [task.instruction for task in suites.tasks(suite)]
    unique = list(dict.fromkeys(instructions))
    rows = dict(zip(unique, language.embed(encoder, unique), strict=True))
    return np.stack([rows[instruction] for instruction in instructions])


@pytest.mark.parametrize("suite", [suite for suite in params.SUITES if suite != "libero_90"])
def test_without_shared_instructions_every_task_is_found_without_a_picture(suite: str) -> None:
    known = embedded(suite)
    assert [alike(task_emb, known) for task_emb in known] == [[j] for j in range(len(known))]


def test_all_tasks_of_libero_90_are_found_in_scenes_that_no_demonstration_saw() -> None:
    with np.load(libero_pictures.PATH) as file:
        learned = dict(zip(file["tasks"].tolist(), file["learned"], strict=True))
        seen = dict(zip(file["tasks"].tolist(), file["seen"], strict=True))
    known, found = embedded("libero_90"), {}
    for task, task_emb in enumerate(known):
        candidates = alike(task_emb, known)
        assert (len(candidates) > 1) == (task in seen)
        frames = seen.get(task, [None])
        pictures = [learned[j] for j in candidates] if task in seen else []
        found[task] = {candidates[nearest_picture(f, pictures) if pictures else 0] for f in frames}
    assert found == {task: {task} for task in range(90)}
    assert sorted(seen) == [task.index for task in libero_pictures.sharing()]


def test_in_libero_90_other_scenes_differ_a_fifth_more_than_the_own() -> None:
    tasks = libero_pictures.sharing()
    with np.load(libero_pictures.PATH) as file:
        learned, seen = file["learned"], file["seen"]
    for k, task in enumerate(tasks):
        others = [j for j, t in enumerate(tasks) if t.instruction == task.instruction and j != k]
        for frame in seen[k]:
            nearest = min(distance(frame, learned[j]) for j in others)
            assert nearest > 1.2 * distance(frame, learned[k])


@pytest.mark.slow
@pytest.mark.sim
def test_the_stored_pictures_are_those_of_the_scenes(libero_assets: Path) -> None:
    from t2s.sim.env import Env

    with np.load(libero_pictures.PATH) as file:
        stored = file["seen"]
    for task, pictures in zip(libero_pictures.sharing(), stored, strict=True):
        env = Env(task.bddl_path, libero_pictures.SIZE, libero_assets, "fast")
        _, (frame,) = libero_pictures.first_frames(env, task, 1, 1)
        env.close()
        assert distance(picture(frame[None]), pictures[0]) < 2


@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], dict[str, np.ndarray]]:
    """Tasks 0 and 2 share the instruction, in scenes of other colours. Gives the first observation of a task."""
    task_embs = test_lifelong.EMBEDDINGS.copy()
    task_embs[2] = task_embs[0]
    shown = {0: 40, 1: 120, 2: 200, 3: 240}
    monkeypatch.setattr(test_lifelong, "EMBEDDINGS", task_embs)
    pictures = np.stack([picture(image(value)[None]) for value in shown.values()])
    monkeypatch.setattr(test_lifelong, "PICTURES", pictures)

    def observation(task: int) -> dict[str, np.ndarray]:
        first = {name: values[0].numpy() for name, values in observations().items()}
        return first | {"agentview_rgb": image(shown[task] + 15)}

    return observation


def played(policy: actor.Actor, observation: dict[str, np.ndarray]) -> np.ndarray:
    policy.reset(7)
    return np.stack([policy.act(lambda: observation) for _ in range(3)])


def load(method: str, paths: list[Path]) -> actor.Actor:
    return lifelong.load_policy(source(), method, paths, test_lifelong.EMBEDDINGS[0], "likely")


@pytest.mark.parametrize("method", FINDING)
def test_of_two_tasks_with_one_instruction_the_one_of_the_scene_acts(
    tmp_path: Path, scenes: Callable[[int], dict[str, np.ndarray]], method: str
) -> None:
    paths = chain(method, 4, tmp_path)
    learner, settings = lifelong.pick(source(), method)
    kept = [checkpoint.read(path) for path in paths]
    policy = load(method, paths)
    task_emb = torch.from_numpy(test_lifelong.EMBEDDINGS[0])[None]
    for task in (0, 2, 0):  # chosen anew in every episode
        batch = {name: torch.from_numpy(value)[None] for name, value in scenes(task).items()}
        networks = [learner.acting(settings, kept, j, 8).eval() for j in (task, 2 - task)]
        own, other = (network.actions(batch, task_emb, "likely", None)[0, 0].detach() for network in networks)
        found = played(policy, scenes(task))
        assert np.array_equal(found[0], own)
        assert not np.array_equal(found[0], other)


@pytest.mark.parametrize("method", FINDING)
def test_an_old_task_acts_bit_identically_after_another_with_its_instruction(
    tmp_path: Path, scenes: Callable[[int], dict[str, np.ndarray]], method: str
) -> None:
    paths = chain(method, 4, tmp_path)
    then = load(method, paths[:2])
    assert len(then.networks) == 1
    expected = played(then, scenes(0))
    stages = [load(method, paths[:n]) for n in (3, 4)]
    assert [len(now.networks) for now in stages] == [2, 2]
    assert all(np.array_equal(played(now, scenes(0)), expected) for now in stages)
    assert stages[0].fingerprint == stages[1].fingerprint != then.fingerprint


@pytest.mark.parametrize("method", FINDING)
def test_the_fingerprint_covers_all_candidates_and_their_pictures(
    tmp_path: Path, scenes: Callable[[int], dict[str, np.ndarray]], method: str
) -> None:
    paths = chain(method, 3, tmp_path)
    whole = [checkpoint.read(path) for path in paths]
    learner, settings = lifelong.pick(source(), method)

    def fingerprint(kept: list[Checkpoint]) -> str:
        task_emb = test_lifelong.EMBEDDINGS[0]
        return learner.actor(settings, kept, task_emb, "likely", torch.device("cpu")).fingerprint

    found = {fingerprint(whole)}
    for task in (0, 2):
        name = next(n for n, t in whole[task].tensors.items() if n not in CUES and t.is_floating_point() and t.any())
        for changed in (name, PICTURE):
            tensors = dict(whole[task].tensors)
            tensors[changed] = tensors[changed] + 1
            found.add(fingerprint([Checkpoint(tensors, c.header) if c is whole[task] else c for c in whole]))
    n_changes = 3 if method == "packnet" else 4  # in packnet, the weights of the last checkpoint act on all tasks
    assert len(found) == 1 + n_changes


@pytest.mark.parametrize("method", FINDING)
def test_no_picture_is_looked_at_where_no_task_shares_the_instruction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    paths = chain(method, 3, tmp_path)
    monkeypatch.setattr(actor, "picture", None)
    monkeypatch.setattr(checkpoint, "known_picture", None)
    policies = [act(method, paths, task)[0] for task in range(3)]
    assert [len(policy.networks) for policy in policies] == [1, 1, 1]


def test_the_scene_is_looked_at_once_an_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenes: Callable[[int], dict[str, np.ndarray]]
) -> None:
    policy = load("single_task", chain("single_task", 3, tmp_path))
    first = scenes(0)
    shown = [first, scenes(2), scenes(2)]  # whatever moves in front of the camera later
    policy.reset(0)
    for observation in shown:
        for _ in range(policy.replan_every):
            policy.act(lambda observation=observation: observation)  # type: ignore[misc]
    assert policy.network is policy.networks[0]


@pytest.mark.parametrize("method", FINDING)
def test_a_picture_is_no_parameter_and_takes_less_than_a_kilobyte(tmp_path: Path, method: str) -> None:
    (path,) = chain(method, 1, tmp_path)
    kept = checkpoint.read(path)
    assert np.array_equal(kept.tensors[PICTURE], PICTURES[0])
    without = Checkpoint({n: t for n, t in kept.tensors.items() if n != PICTURE}, kept.header)
    without.write(tmp_path / "without.safetensors")
    assert checkpoint.n_parameters([kept]) == checkpoint.n_parameters([without])
    assert 0 < path.stat().st_size - (tmp_path / "without.safetensors").stat().st_size < 1000


@pytest.mark.parametrize("method", PLAIN)
def test_one_network_for_all_tasks_needs_no_picture(
    tmp_path: Path, scenes: Callable[[int], dict[str, np.ndarray]], method: str
) -> None:
    paths = chain(method, 3, tmp_path)
    assert PICTURE not in checkpoint.read(paths[2]).tensors
    assert len(load(method, paths).networks) == 1


def test_a_checkpoint_without_picture_is_refused_only_where_the_picture_decides(
    tmp_path: Path, scenes: Callable[[int], dict[str, np.ndarray]]
) -> None:
    paths = chain("tail", 3, tmp_path)
    kept = checkpoint.read(paths[2])
    tensors = {name: tensor.clone() for name, tensor in kept.tensors.items() if name != PICTURE}
    Checkpoint(tensors, kept.header).write(paths[2])
    lifelong.load_policy(source(), "tail", paths, test_lifelong.EMBEDDINGS[1], "likely")
    with pytest.raises(
        ValueError, match="checkpoint of task 2: expected 'picture', because tasks share its instruction"
    ):
        load("tail", paths)
