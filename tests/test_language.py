import numpy as np
import pytest
import torch
import transformers
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


@pytest.fixture
def bert(tmp_path):
    """A folder with a small BERT of random weights."""
    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "push", "the", "plate"]
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def test_the_pooled_embedding_is_liberos(bert):
    """As `get_task_embs` of LIBERO's lifelong/utils.py computes it: all at once, padded to 25 tokens."""
    instructions = ["push the plate", "push the plate the plate"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    tokens = tokenizer(text=instructions, max_length=25, padding="max_length", return_tensors="pt")
    model = transformers.AutoModel.from_pretrained(bert)
    theirs = model(tokens["input_ids"], tokens["attention_mask"])["pooler_output"].detach()
    ours = language.embed(str(bert), instructions, "pooler")
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert not np.allclose(np.linalg.norm(ours, axis=1), 1.0, atol=1e-2)
    assert np.allclose(np.linalg.norm(language.embed(str(bert), instructions), axis=1), 1.0)


def test_an_encoder_without_a_pooling_layer_is_refused(bert):
    model = transformers.BertModel.from_pretrained(bert, add_pooling_layer=False)
    model.save_pretrained(bert)
    with pytest.raises(ValueError, match=r"expected an encoder with a pooling layer .*, got '.*bert'"):
        language.embed(str(bert), ["push the plate"], "pooler")
    assert len(language.embed(str(bert), ["push the plate"])) == 1


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
