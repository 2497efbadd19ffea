"""Options of the patch encoder, the stem that cuts a picture into patches; `patch_tokenizer.py` says what it does with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from ..errors import ParameterError
from ..preprocessing.spec import ModalitySpec
from ..validation import Count, FormerName, Rule, one_of
from .tokenizer_config import REMEDY, Shapes, StemSize, TokenizerConfig, layer_shapes

PATCHES = "patches"  # what a recipe's key `stem` calls this stem
READ_KERNEL = 3  # windows that a convolution of the read-out sees at once, with a stride of READ_STRIDE
READ_STRIDE = 2
MOTION_CONTEXT = 1  # pictures before and after those of a token that it sees too, so that it knows how the scene changes


@dataclass(frozen=True)
class PatchTokenizerConfig(TokenizerConfig):
    """Patch encoder of a camera or a LiDAR: attention inside small windows of patches, read out into one token per picture.

    Nothing but the read-out looks across the border of a window, so a window whose pixels stay the same need not be encoded
    again (`streaming/`).
    """

    stem: Annotated[str, one_of((PATCHES,))] = PATCHES
    patch: Count = 8  # pixels along the side of a patch
    window: Count = 2  # patches along the side of a window
    width: Count = 48  # dimensions of a patch token
    layers: Count = 2
    num_kv_heads: Count = 4  # K/V heads
    heads_per_group: Count = 1  # query heads that share a K/V head
    head_dim: Count = 12
    ffn_dim: Count = 192
    kv_stride: Count = 1  # keys and values come from every n-th patch of a window
    code: Count = 48  # numbers that are kept of a window, and read out
    # Channels of the convolutions over the grid of windows, one after another. Each halves the rows and columns, so that the
    # codes of a large picture are merged by what they say, and only then averaged.
    read_channels: Annotated[Count | tuple[Count, ...], Rule(lambda v: v != (), "one whole number or more")] = 64
    grid: tuple[Count, Count] = (4, 4)  # rows and columns that the last of them is averaged down to
    frames_per_token: Annotated[Count, FormerName("pictures_per_token")] = 1  # successive frames that share a token
    # The stem is told where the picture holds data: "each" channel apart, "one" mask for all channels, or "none".
    validity_mask: Annotated[str, one_of(("each", "one", "none"))] = "each"

    @property
    def stem_name(self) -> str:
        return self.stem

    @property
    def keeps_tokens(self) -> bool:
        return True

    def smaller(self, size: StemSize) -> PatchTokenizerConfig:
        """Fewer K/V heads with their query heads, fewer FFN channels, fewer layers; the codes and the read-out stay."""
        return replace(
            self,
            layers=math.ceil(self.layers * size.layers - 1e-9),
            num_kv_heads=math.ceil(self.num_kv_heads * size.channels - 1e-9),
            ffn_dim=size.kept(self.ffn_dim),
            sizes=(),
        )

    def token_count(self, spec: ModalitySpec) -> int:
        side = self.patch * self.window
        if any(size % side for size in spec.shape[2:]):
            raise ParameterError(
                f"tokenizer {spec.name!r} patch * window", side, f"a divisor of the picture's {spec.shape[2:]} pixels", REMEDY
            )
        if spec.shape[0] % self.frames_per_token:
            raise ParameterError(
                f"tokenizer {spec.name!r} frames_per_token", self.frames_per_token, f"a divisor of {spec.shape[0]}", REMEDY
            )
        read = self.read_grids(spec)[-1]
        if any(part > whole for part, whole in zip(self.grid, read)):
            raise ParameterError(f"tokenizer {spec.name!r} grid", list(self.grid), f"at most {list(read)}", REMEDY)
        return spec.shape[0] // self.frames_per_token

    @property
    def motion_steps(self) -> int:
        """Pictures that a token sees."""
        return self.frames_per_token + 2 * MOTION_CONTEXT

    def window_grid(self, spec: ModalitySpec) -> tuple[int, int]:
        """Rows and columns of windows of one picture."""
        side = self.patch * self.window
        return spec.shape[2] // side, spec.shape[3] // side

    @property
    def reads(self) -> tuple[int, ...]:
        """Channels before and behind each convolution of the read-out: one number more than there are convolutions."""
        channels = self.read_channels
        return (self.code, *((channels,) if isinstance(channels, int) else channels))

    def read_grids(self, spec: ModalitySpec) -> list[tuple[int, int]]:
        """Rows and columns behind each convolution of the read-out."""
        rows, columns = self.window_grid(spec)
        grids = []
        for _ in self.reads[1:]:
            rows, columns = -(-rows // READ_STRIDE), -(-columns // READ_STRIDE)
            grids.append((rows, columns))
        return grids

    def patch_tokens(self, spec: ModalitySpec) -> int:
        """Patches of one picture."""
        rows, columns = self.window_grid(spec)
        return rows * columns * self.window**2

    def planes(self, spec: ModalitySpec) -> int:
        """Channels of a picture and its validity masks."""
        return spec.shape[1] + {"each": spec.shape[1], "one": 1, "none": 0}[self.validity_mask]

    def tensor_shapes(self, spec: ModalitySpec, d_model: int) -> Shapes:
        width, count = self.width, self.window**2
        keys = self.num_kv_heads * self.head_dim
        queries = keys * self.heads_per_group
        shapes: Shapes = {
            **layer_shapes("embed", width, self.planes(spec) * self.patch**2),
            "place": (count, width),
            **layer_shapes("norm", width),
            **layer_shapes("pack", self.code, count * width),
            **layer_shapes("mix", d_model, self.reads[-1] * self.grid[0] * self.grid[1]),
            **layer_shapes("motion", d_model, d_model, self.motion_steps),
        }
        for name, before, behind in zip(read_names(self), self.reads, self.reads[1:]):
            shapes |= layer_shapes(name, behind, before, READ_KERNEL, READ_KERNEL)
        for i in range(self.layers):
            linear: Sequence[tuple[str, int, int]] = (
                ("query", queries, width),
                ("key", keys, width),
                ("value", keys, width),
                ("out", width, queries),
                ("up", self.ffn_dim, width),
                ("down", width, self.ffn_dim),
            )
            for name, rows, columns in linear:
                shapes |= layer_shapes(f"layers.{i}.{name}", rows, columns)
            for name in ("norm_attention", "norm_ffn"):
                shapes |= layer_shapes(f"layers.{i}.{name}", width)
        return shapes

    def window_flops(self, spec: ModalitySpec) -> int:
        """FLOPs of encoding one window."""
        width, count = self.width, self.window**2
        keys = -(-count // self.kv_stride)
        head_rows = self.num_kv_heads * self.head_dim
        queries = head_rows * self.heads_per_group
        attention = count * width * queries * 2 + 2 * keys * width * head_rows + 2 * count * keys * queries
        feed_forward = 2 * count * width * self.ffn_dim
        macs = count * self.planes(spec) * self.patch**2 * width + self.layers * (attention + feed_forward)
        return 2 * (macs + count * width * self.code)

    def read_flops(self, spec: ModalitySpec, d_model: int) -> int:
        """FLOPs of one picture's read-out, which makes its token from the codes of all its windows."""
        convolutions = zip(self.read_grids(spec), self.reads, self.reads[1:])
        macs = sum(rows * columns * READ_KERNEL**2 * before * behind for (rows, columns), before, behind in convolutions)
        return 2 * (macs + self.reads[-1] * self.grid[0] * self.grid[1] * d_model)

    def motion_flops(self, spec: ModalitySpec, d_model: int) -> int:
        """FLOPs of the convolution over the tokens of a window."""
        return 2 * self.token_count(spec) * self.motion_steps * d_model**2

    def flops(self, spec: ModalitySpec, d_model: int) -> int:
        rows, columns = self.window_grid(spec)
        picture = rows * columns * self.window_flops(spec) + self.read_flops(spec, d_model)
        return spec.shape[0] * picture + self.motion_flops(spec, d_model)


def read_names(options: PatchTokenizerConfig) -> list[str]:
    """Names of the convolutions of the read-out among the tensors of an encoder; the first has the name that a single one has."""
    return ["read", *(f"read_further.{i}" for i in range(len(options.reads) - 2))]
