import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from t2s.model.pattention import EPS, Pattention, PattentionConv, theta


def make(d_in=5, d_out=4, n=7, conv=None):
    pattention = PattentionConv(3, d_out, *conv) if conv else Pattention(d_in, d_out)
    pattention.add_group("0", n, torch.Generator().manual_seed(0), zero=False)
    pattention.active = ["0"]
    return pattention


@given(n=st.integers(1, 9), seed=st.integers(0, 99))
def test_theta_is_gelu_of_scores_over_their_norm_times_root_n(n, seed):
    scores = torch.randn(3, n, generator=torch.Generator().manual_seed(seed))
    norm = (scores.square().sum(-1, keepdim=True) + n * EPS).sqrt()
    expected = F.gelu(scores / norm * n**0.5)
    assert torch.allclose(theta(scores), expected, atol=1e-5)


def test_theta_has_the_gradient_of_its_formula():
    scores = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(theta, scores)


def test_a_row_of_zero_scores_stays_zero():
    assert EPS > 0
    assert torch.equal(theta(torch.zeros(2, 4)), torch.zeros(2, 4))


def test_pattention_is_the_formula_of_tokenformer():
    pattention, x = make(), torch.randn(2, 5)
    k, v = pattention.key_param_tokens["0"], pattention.value_param_tokens["0"]
    scores = x @ k.T
    expected = F.gelu(scores / scores.norm(dim=-1, keepdim=True) * 7**0.5) @ v
    assert torch.allclose(pattention(x), expected, atol=1e-5)


def test_random_values_give_outputs_of_unit_variance():
    pattention = make(d_in=64, d_out=256, n=64)
    out = pattention(torch.randn(500, 64, generator=torch.Generator().manual_seed(1)))
    assert 0.8 < out.var().item() < 1.2


def test_a_group_of_zero_values_changes_no_output():
    pattention, x = make(), torch.randn(2, 5)
    before = pattention(x)
    pattention.add_group("1", 3, torch.Generator().manual_seed(1), zero=True)
    pattention.active = ["0", "1"]
    assert torch.equal(pattention(x), before)


def test_a_group_that_is_not_active_changes_no_output():
    pattention, x = make(), torch.randn(2, 5)
    before = pattention(x)
    pattention.add_group("1", 3, torch.Generator().manual_seed(1), zero=False)
    assert torch.equal(pattention(x), before)
    pattention.active = ["0", "1"]
    assert not torch.equal(pattention(x), before)


def test_zero_values_learn_from_the_first_step():
    pattention = make()
    pattention.add_group("1", 3, torch.Generator().manual_seed(1), zero=True)
    pattention.active = ["0", "1"]
    pattention(torch.randn(2, 5)).square().sum().backward()
    assert pattention.value_param_tokens["1"].grad.abs().sum() > 0


def test_a_group_cannot_be_added_twice():
    with pytest.raises(ValueError, match=r"expected a new group, got '0'; have \['0'\]"):
        make().add_group("0", 3, torch.Generator(), zero=True)


@pytest.mark.parametrize("conv", [(3, 1, 1), (8, 4, 3)])
def test_a_tokenised_convolution_is_pattention_over_patches(conv):
    kernel, stride, padding = conv
    layer, images = make(conv=conv), torch.randn(2, 3, 16, 16)
    patches = F.unfold(images, kernel, padding=padding, stride=stride).transpose(1, 2)
    plain = make(d_in=layer.d_in)  # the same generator, so the same tokens
    expected = plain(patches).transpose(1, 2).unflatten(2, (16 // stride, 16 // stride))
    assert torch.allclose(layer(images), expected, atol=1e-4)
