"""SentryAttend against textbook attention, and its strided keys."""

import pytest
import torch
import torch.nn.functional as F

from sentryfuse_ros.model.attention import KeyTokens, SentryAttend, attend, mean_pool, strided_index
from sentryfuse_ros.model.sites import key_count


def reference(x, source, layer):
    """Grouped-query attention head by head, as written in the paper."""
    hd, outs = layer.head_dim, []
    q, kv = layer.query(x), layer.kv(source)
    k_all, v_all = kv.chunk(2, dim=-1)
    for head in range(layer.groups * layer.per_group):
        group = head // layer.per_group
        k, v = (t[..., group * hd : (group + 1) * hd] for t in (k_all, v_all))
        outs.append(F.scaled_dot_product_attention(q[..., head * hd : (head + 1) * hd], k, v))
    return layer.out(torch.cat(outs, -1))


@pytest.mark.parametrize("groups, per_group", [(1, 1), (2, 2), (4, 2), (2, 1), (1, 4)])
def test_attend_is_grouped_query_attention(groups, per_group):
    torch.manual_seed(0)
    layer = SentryAttend(24, groups, per_group, 6)
    x = torch.randn(2, 7, 24)
    torch.testing.assert_close(layer(x), reference(x, x, layer), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(layer(x, x[:, ::2]), reference(x, x[:, ::2], layer), atol=1e-5, rtol=1e-4)


def test_head_scale_of_one_changes_nothing_and_of_zero_silences_a_head():
    torch.manual_seed(0)
    layer = SentryAttend(24, 2, 2, 6)
    x, scale = torch.randn(2, 5, 24), torch.ones(2, 4)
    torch.testing.assert_close(attend(x, x, layer.weights(), 6, scale), layer(x))
    scale[:, 3] = 0
    with torch.no_grad():
        layer.out.weight[:, 18:] = 0
    torch.testing.assert_close(attend(x, x, layer.weights(), 6, scale), layer(x))


def test_strides_are_counted_per_modality_and_keep_each_newest_token():
    assert strided_index([5, 4], [2, 3]).tolist() == [0, 2, 4, 5, 8]
    assert strided_index([4, 3], [2, 1]).tolist() == [1, 3, 4, 5, 6]


def test_no_stride_needs_no_index():
    assert strided_index([5, 4], [1, 1]) is None


@pytest.mark.parametrize(
    "length, stride, parts",
    [
        (6, 2, [(0, 2), (2, 4), (4, 6)]),
        (5, 2, [(0, 1), (1, 3), (3, 5)]),
        (7, 3, [(0, 1), (1, 4), (4, 7)]),
        (2, 3, [(0, 2)]),
        (3, 1, [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_pool_takes_means_counted_from_the_newest_token(length, stride, parts):
    x = torch.randn(2, length, 3)
    torch.testing.assert_close(mean_pool(x, stride), torch.stack([x[:, a:b].mean(1) for a, b in parts], 1))


@pytest.mark.parametrize("pattern", ["strided", "pooled"])
def test_keys_of_one_modality_do_not_mix_with_another(pattern):
    lengths, strides = [5, 4, 3], [2, 3, 1]
    keys = KeyTokens(pattern, lengths, strides, torch.device("cpu"))
    x = torch.randn(2, 12, 3)
    runs = [KeyTokens(pattern, [n], [s], x.device)(run) for run, n, s in zip(x.split(lengths, 1), lengths, strides)]
    torch.testing.assert_close(keys(x), torch.cat(runs, 1))
    assert [r.shape[1] for r in runs] == [key_count(n, s) for n, s in zip(lengths, strides)]
    stacked = torch.stack([x, 2 * x])  # several streams at once
    torch.testing.assert_close(keys(stacked)[1], keys(2 * x))


def test_stacked_attentions_compute_what_each_alone_does():
    torch.manual_seed(0)
    layers, x = [SentryAttend(24, 2, 2, 6) for _ in range(3)], torch.randn(3, 2, 5, 24)
    together = type(layers[0].weights())(*(torch.stack(t) for t in zip(*(layer.weights()[:-1] for layer in layers))), 2)
    alone = torch.stack([layer(x[i], x[i, :, 1:]) for i, layer in enumerate(layers)])
    torch.testing.assert_close(attend(x, x[:, :, 1:], together, 6), alone)
