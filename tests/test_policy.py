import pytest
import torch
import torch.nn.functional as F

from t2s import params
from t2s.model.bank import Bank
from t2s.model.head import HEADS, MAX_STD, MIN_STD, GMMHead, L1Head
from t2s.model.maps import Plain, Tokenised
from t2s.model.policy import PolicyNetwork, SpatialSoftmax

POLICY = params.Policy(
    embed_dim=16,
    n_layers=2,
    n_heads=2,
    stem_channels=[4, 6],
    chunk_len=3,
    replan_every=2,
    head="gmm",
    n_modes=2,
)
T2S = params.method("params.yaml", "t2s")
assert isinstance(T2S, params.T2S)
TOKENISED = Tokenised(T2S)


def batch(b=2, size=32):
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (b, size, size, 3), dtype=torch.uint8, generator=generator)
    states = {"joint_states": torch.randn(b, 7), "gripper_states": torch.rand(b, 2)}
    return {"agentview_rgb": image, "eye_in_hand_rgb": image.flip(1), **states}


def test_spatial_softmax_finds_the_brightest_pixel():
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 4, 1] = 100.0
    assert torch.allclose(SpatialSoftmax()(image), torch.tensor([[1.0, -0.5]]), atol=1e-4)


def test_both_networks_give_chunks_of_actions_in_range():
    for maps in (Plain(), TOKENISED):
        network = PolicyNetwork(POLICY, 8, maps)
        if isinstance(maps, Tokenised):
            bank = Bank(network)
            bank.grow(0, 6, torch.Generator().manual_seed(0), zero=False)
            bank.activate([0])
        actions = network.actions(batch(), torch.randn(2, 8), "likely", None)
        assert actions.shape == (2, 3, 7)
        assert actions.abs().max() <= 1


def test_every_parameter_of_the_tokenised_network_is_a_token():
    network = PolicyNetwork(POLICY, 8, TOKENISED)
    assert not list(network.parameters())
    assert not list(network.buffers())
    bank = Bank(network)
    bank.grow(0, 6, torch.Generator(), zero=False)
    assert set(bank.group(0)) == {name for name, _ in network.named_parameters()}


def test_a_tokenised_convolution_keeps_the_gelu_of_an_ordinary_one():
    conv, x = TOKENISED.conv(3, 4, 3, 2), torch.randn(2, 3, 8, 8)
    bank = Bank(conv)
    bank.grow(0, 6, torch.Generator().manual_seed(0), zero=False)
    bank.activate([0])
    (pattention,) = bank.maps.values()
    assert torch.equal(conv(x), F.gelu(pattention(x)))


def test_the_instruction_and_every_input_matter():
    network = PolicyNetwork(POLICY, 8, Plain())
    emb = torch.randn(2, 8)
    before = network.actions(batch(), emb, "likely", None)
    assert not torch.equal(network.actions(batch(), -emb, "likely", None), before)
    for name in batch():
        changed = batch()
        changed[name] = changed[name] * 0
        assert not torch.equal(network.actions(changed, emb, "likely", None), before), name


def heads():
    return {name: head(POLICY, Plain()) for name, head in HEADS.items()}


def test_the_loss_ignores_actions_past_the_end_of_a_demonstration():
    x, target = torch.randn(4, 16), torch.rand(4, 3, 7) * 2 - 1
    valid = torch.tensor([[True, True, False]] * 4)
    other = target.clone()
    other[:, 2] = 0.0
    for head in heads().values():
        assert torch.equal(head.loss(x, target, valid), head.loss(x, other, valid))
        assert not torch.equal(head.loss(x, target, valid | True), head.loss(x, other, valid | True))


def test_l1_loss_is_the_mean_absolute_error():
    head = heads()["l1"]
    assert isinstance(head, L1Head)
    x = torch.randn(4, 16)
    target = head.actions(x, "likely", None) + 0.25
    assert torch.isclose(head.loss(x, target, torch.ones(4, 3, dtype=torch.bool)), torch.tensor(0.25))


def test_gmm_loss_is_the_likelihood_of_a_mixture_over_chunks():
    head = heads()["gmm"]
    assert isinstance(head, GMMHead)
    x, target = torch.randn(4, 16), torch.rand(4, 3, 7) * 2 - 1
    means = head.means(x).flatten(2)
    std = (MIN_STD + (MAX_STD - MIN_STD) * head.scale(x).sigmoid()).unflatten(-1, head.shape).flatten(2)
    modes = torch.distributions.Independent(torch.distributions.Normal(means, std), 1)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=head.logits(x)), modes)
    log_2pi = torch.log(torch.tensor(2 * torch.pi))
    expected = -(mixture.log_prob(target.flatten(1)) / 21).mean() - 0.5 * log_2pi  # constant left out
    assert torch.allclose(head.loss(x, target, torch.ones(4, 3, dtype=torch.bool)), expected, atol=1e-4)


def test_a_mode_of_the_gmm_can_not_get_wide_instead_of_right():
    head, x = heads()["gmm"], torch.randn(64, 16)
    assert isinstance(head, GMMHead)
    stds = head.stds(1000 * x).detach()
    assert MIN_STD <= float(stds.min()) < 1.01 * MIN_STD
    assert 0.99 * MAX_STD < float(stds.max()) <= MAX_STD


@pytest.mark.parametrize("how", ["mode", "sample"])
def test_drawn_actions_follow_their_generator(how):
    head, x = heads()["gmm"], torch.randn(64, 16)

    def draw(seed):
        return head.actions(x, how, torch.Generator().manual_seed(seed))

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


class Known(torch.nn.Module):
    """A map with the same output for every input."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x):
        return self.output.expand(len(x), -1)


MEANS, STDS = torch.tensor([-0.3, 0.3]), torch.tensor([0.06, 0.12])
"""Of the first mode, which has probability 1/4, and of the second."""


def drawn(how, n=4000, means=MEANS):
    """Chunks (n, 3, 7) of a head with two known modes."""
    head = heads()["gmm"]
    spread = (STDS - MIN_STD) / (MAX_STD - MIN_STD)
    known = {"mean": means.atanh().repeat_interleave(21), "scale": spread.logit().repeat_interleave(21)}
    known |= {"logits": torch.tensor([0.25, 0.75]).log()}
    for name, output in known.items():
        setattr(head, name, Known(output))
    return head.actions(torch.zeros(n, 16), how, torch.Generator().manual_seed(0))


def test_likely_actions_are_the_mean_of_the_most_likely_mode():
    assert torch.allclose(drawn("likely"), MEANS[1].expand(4000, 3, 7))


def test_the_mode_is_drawn_once_a_chunk_by_its_probability():
    chunks = drawn("mode")
    assert torch.equal(chunks, chunks[:, :1, :1].expand(4000, 3, 7))
    first = chunks[:, 0, 0] < 0
    assert torch.allclose(chunks[first], MEANS[0])
    assert torch.allclose(chunks[~first], MEANS[1])
    assert abs(float(first.float().mean()) - 0.25) < 0.03


def test_sampled_actions_have_the_distribution_of_the_mixture_at_every_step():
    chunks = drawn("sample")
    first = chunks.mean(-1) < 0  # the mean over 7 actions is 0.3 +- 0.05
    for step in range(3):
        assert abs(float(first[:, step].float().mean()) - 0.25) < 0.03
        for mode, rows in enumerate((first[:, step], ~first[:, step])):
            actions = chunks[rows, step]
            assert torch.allclose(actions.mean(0), MEANS[mode], atol=0.01)
            assert torch.allclose(actions.std(0), STDS[mode], rtol=0.1)
    assert abs(float((first[:, 0] & first[:, 1]).float().mean()) - 0.25**2) < 0.02  # each step draws its own mode
    noise = chunks[..., 0] - torch.where(first, MEANS[0], MEANS[1])
    assert torch.corrcoef(noise.T).fill_diagonal_(0).abs().max() < 0.06


def test_sampled_actions_stay_in_the_range_that_the_environment_accepts():
    chunks = drawn("sample", means=torch.tensor([-0.99, 0.99]))
    assert chunks.abs().max() == 1.0


def test_an_l1_head_acts_the_same_in_all_three_ways():
    head, x = heads()["l1"], torch.randn(4, 16)
    likely, mode, sampled = (head.actions(x, how, torch.Generator()) for how in ("likely", "mode", "sample"))
    assert torch.equal(likely, mode)
    assert torch.equal(likely, sampled)
