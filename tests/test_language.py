import numpy as np
import pytest
from params_file import params_file

from t2s import cli
from t2s.data import embeddings, suites
from t2s.model.scaling import similarities
from t2s.stages import language

ENCODER = "all-MiniLM-L6-v2"
PARAMS = params_file({"language": {"encoder": "all-MiniLM-L6-v2"}})


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_embeddings_are_unit_vectors_that_follow_meaning():
    cube, other_cube, drawer = language.embed(
        ENCODER,
        ["pick up the red cube", "pick up the blue cube", "open the drawer of the cabinet"],
    )
    assert cube.shape == (384,)
    assert np.linalg.norm(cube) == pytest.approx(1.0, abs=1e-5)
    near, far = similarities(cube, np.stack([other_cube, drawer]))
    assert near > 0.6 > far


def test_an_instruction_embeds_the_same_alone_and_among_others():
    alone = language.embed(ENCODER, ["push the plate"])[0]
    among = language.embed(ENCODER, ["a much longer instruction about something else", "push the plate"])
    assert np.array_equal(alone, among[1])


def test_the_command_embeds_every_instruction_of_a_suite(tmp_path):
    out = tmp_path / "blocks_object.safetensors"
    cli.run(["language", "--suite", "blocks_object", "--params", PARAMS, "--out", str(out)])
    rows = embeddings.read(out)
    assert list(rows) == [task.instruction for task in suites.tasks("blocks_object")]
    assert np.stack(list(rows.values())).dtype == np.float32
    first = out.read_bytes()
    cli.run(["language", "--suite", "blocks_object", "--params", PARAMS, "--out", str(out)])
    assert out.read_bytes() == first


def test_an_encoder_that_is_nowhere_names_what_exists():
    with pytest.raises(ValueError, match=r"cannot load encoder 'nobody/nothing' .*\['all-MiniLM-L6-v2'\]") as error:
        language.embed("nobody/nothing", ["push"])
    assert "\n" not in str(error.value)


def test_a_file_that_holds_no_embeddings_is_named(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"x.safetensors: expected instruction embeddings"):
        embeddings.read(path)
