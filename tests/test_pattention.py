import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from t2s.model.pattention import EPS, Pattention, PattentionConv, inverse_rms, theta


def make(d_in=5, d_out=4, n=7, conv=None, conv_norm="pixel", added_norm="base"):
    pattention = Pattention(d_in, d_out, added_norm)
    if conv:
        kernel, stride, padding = conv
        pattention = PattentionConv(3, d_out, kernel, stride, padding, conv_norm, added_norm)
    pattention.add_group("0", n, torch.Generator().manual_seed(0), zero=False)
    pattention.active = ["0"]
    return pattention


@given(n=st.integers(1, 9), seed=st.integers(0, 99))
def test_theta_is_gelu_of_scores_over_their_norm_times_root_n(n, seed):
    scores = torch.randn(3, n, generator=torch.Generator().manual_seed(seed))
    norm = (scores.square().sum(-1, keepdim=True) + n * EPS).sqrt()
    expected = F.gelu(scores / norm * n**0.5)
    assert torch.allclose(theta(scores, inverse_rms(scores)), expected, atol=1e-5)


def test_a_row_of_zero_scores_stays_zero():
    assert EPS > 0
    assert torch.equal(theta(torch.zeros(2, 4), inverse_rms(torch.zeros(2, 4))), torch.zeros(2, 4))


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


def test_an_added_group_matters_by_how_well_its_keys_match_beside_those_of_the_base():
    for added_norm, grows in (("base", True), ("own", False)):
        pattention, x = make(added_norm=added_norm), 10 * torch.randn(200, 5)
        pattention.add_group("1", 3, torch.Generator().manual_seed(1), zero=False)
        base = pattention_of(pattention, ["0"], x)
        before = pattention_of(pattention, ["0", "1"], x) - base
        pattention.key_param_tokens["1"].data.mul_(4)
        after = pattention_of(pattention, ["0", "1"], x) - base
        assert (after.norm() > 2 * before.norm()).item() == grows
        assert torch.allclose(after, before, atol=1e-4) != grows


def pattention_of(pattention, active, x):
    pattention.active = active
    return pattention(x)


def test_zero_values_learn_from_the_first_step():
    pattention = make()
    pattention.add_group("1", 3, torch.Generator().manual_seed(1), zero=True)
    pattention.active = ["0", "1"]
    pattention(torch.randn(2, 5)).square().sum().backward()
    assert pattention.value_param_tokens["1"].grad.abs().sum() > 0


def test_added_groups_have_new_factor_times_as_many_tokens():
    pattention = Pattention(5, 4, "base", factor=2, new_factor=3)
    for group, n in (("0", 14), ("1", 42)):
        pattention.add_group(group, 7, torch.Generator(), zero=False)
        assert len(pattention.key_param_tokens[group]) == len(pattention.value_param_tokens[group]) == n


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


def test_a_convolution_normed_by_image_tells_how_well_a_patch_matches_a_key():
    images = 1 + torch.rand(2, 3, 16, 16)
    faint = torch.cat([images[:, :, :8] / 4, images[:, :, 8:]], dim=2)  # the same patches, fainter
    for norm, tells in (("pixel", False), ("image", True)):
        layer = make(conv=(1, 1, 0), conv_norm=norm)
        before, after = layer(images)[:, :, :8], layer(faint)[:, :, :8]
        assert torch.allclose(after, before, atol=1e-3) != tells


def test_the_norm_by_image_is_that_of_one_image():
    layer, images = make(conv=(3, 1, 1), conv_norm="image"), torch.rand(2, 3, 16, 16)
    key, value = layer.key_param_tokens["0"], layer.value_param_tokens["0"]
    scores = F.conv2d(images, key.unflatten(1, (3, 3, 3)), padding=1)
    activation = F.gelu(scores / scores.flatten(1).norm(dim=1)[:, None, None, None] * scores[0].numel() ** 0.5)
    expected = F.conv2d(activation, value.T[:, :, None, None])
    assert torch.allclose(layer(images), expected, atol=1e-4)
