import numpy as np
import pytest

from t2s import params
from t2s.model.scaling import SAME_SIMILARITY, active_groups, alike, n_new_tokens, reused_tasks, similarities

VALUES = params.T2S(
    learner="t2s",
    n_tokens=64,
    reuse="language",
    reuse_top=1,
    reuse_threshold=0.5,
    new_tokens_max=6,
    new_tokens_min=2,
    new_head_factor=3,
    conv_norm="image",
    added_norm="base",
    base_lr=1e-3,
    new_lr=1e-3,
)


def reuse(rule, similarity, top=1):
    values = VALUES.model_copy(update={"reuse": rule, "reuse_top": top})
    return reused_tasks(values, np.array(similarity), np.random.default_rng(0))


def test_similarity_is_the_cosine():
    known = np.array([[1.0, 0.0], [3.0, 3.0], [-2.0, 0.0]])
    assert similarities(np.array([2.0, 0.0]), known) == pytest.approx([1.0, 0.5**0.5, -1.0])


def test_the_instruction_alone_finds_its_own_task():
    known = np.random.default_rng(0).normal(size=(10, 16))
    assert [alike(e, known) for e in known] == [[j] for j in range(10)]


def test_tasks_of_one_instruction_are_alike_whatever_the_words_that_ask_for_them():
    known = np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    known[3] = known[1]
    assert [alike(e, known) for e in known] == [[0], [1, 3], [2], [1, 3]]
    reworded = known[1] + np.float32(0.1) * known[0]
    assert alike(reworded, known) == [1, 3]


def test_instructions_a_little_less_similar_are_others():
    angle = np.arccos(1 - 2 * SAME_SIMILARITY)
    known = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    assert [alike(e, known) for e in known] == [[0], [1]]


def test_language_reuses_the_most_similar_tasks_above_the_threshold():
    assert reuse("language", [0.6, 0.9, 0.7]) == [1]
    assert reuse("language", [0.6, 0.9, 0.7], top=2) == [1, 2]
    assert reuse("language", [0.6, 0.4, 0.1], top=3) == [0]


def test_nothing_similar_leaves_the_base():
    assert reuse("language", [0.1, 0.2]) == [0]
    assert reuse("none", [0.9, 0.9]) == [0]


def test_all_reuses_everything_and_random_as_many_as_language():
    assert reuse("all", [0.1, 0.2, 0.3]) == [0, 1, 2]
    assert len(reuse("random", [0.6, 0.9, 0.7], top=2)) == 2


def test_a_reused_task_brings_the_groups_it_was_learned_with():
    assert active_groups(3, [2], [[0], [0, 1], [0, 1, 2]]) == [0, 1, 2, 3]
    assert active_groups(3, [1], [[0], [0, 1], [0, 2]]) == [0, 1, 3]


@pytest.mark.parametrize(("best", "expected"), [(0.2, 6), (0.5, 6), (0.75, 4), (1.0, 2)])
def test_the_more_similar_the_best_match_the_fewer_tokens_are_added(best, expected):
    assert n_new_tokens(VALUES, np.array([0.1, best])) == expected
