"""SentryAttend against textbook attention, and its strided keys."""

import pytest
import torch
import torch.nn.functional as F

from sentryfuse_ros.model.attention import SentryAttend, attend, strided_index


def reference(x, source, layer):
    """Grouped-query attention head by head, as written in the paper."""
    hd, outs = layer.head_dim, []
    q, kv = layer.query(x), layer.kv(source)
    k_all, v_all = kv.chunk(2, dim=-1)
    for head in range(layer.groups * layer.per_group):
        group = head // layer.per_group
        k, v = (t[..., group * hd:(group + 1) * hd] for t in (k_all, v_all))
        outs.append(F.scaled_dot_product_attention(q[..., head * hd:(head + 1) * hd], k, v))
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
