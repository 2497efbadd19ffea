"""A caption head with random weights for a shipped model: it speaks, if not sense."""

import shutil
from pathlib import Path

import numpy as np

from sentryfuse_ros.language.checkpoint import captions_path, model_digest, tensor_shapes, write_captions
from sentryfuse_ros.language.config import END, CaptionConfig
from sentryfuse_ros.language.vocabulary import learned_words
from sentryfuse_ros.model.checkpoint import read_checkpoint
from sentryfuse_ros.model.tensor_shapes import token_counts
from sentryfuse_ros.paths import model_path


def model_with_head(folder: Path, name: str, seed: int = 0) -> Path:
    """A copy of a shipped model, and a head beside it that says other words at every state of the sensors."""
    copy = folder / name
    shutil.copytree(model_path(name), copy)
    model = read_checkpoint(copy).config
    words = learned_words(model.classes, model.names)
    config = CaptionConfig.of(model, token_counts(model), words, d_model=32, layers=1, head_dim=8, ffn_dim=64, longest=20)
    rng = np.random.default_rng(seed)
    tensors = {n: rng.standard_normal(shape).astype(np.float32) for n, shape in tensor_shapes(config).items()}
    tensors["word"][END] = 0.0  # sentences seldom end before they are cut
    write_captions(config, tensors, captions_path(copy), {"model_sha256": model_digest(copy)})
    return copy
