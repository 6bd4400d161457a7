"""Embed the instruction of every task of a suite.

Reads: the instructions of the suite; the encoder (all-MiniLM-L6-v2 from its PyPI package, others by name from the hub).
Writes: one safetensors file, in the workflow results/language/{suite}.safetensors.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from t2s import packages, params
from t2s.data import embeddings, suites


def locate(encoder: str) -> str:
    """What transformers loads the encoder from: a folder of an installed package, or a name on the hub."""
    if encoder not in params.ENCODERS:
        return encoder
    configs = sorted(packages.folder(params.ENCODERS[encoder]).rglob("config.json"), key=lambda path: len(path.parts))
    return str(configs[0].parent)


def embed(encoder: str, instructions: Sequence[str], pooling: params.Pooling = "mean") -> Float[np.ndarray, "n d"]:
    """Embeddings of the instructions.

    With pooling `mean`, they have unit length: CLIP gives its projected text embedding, other encoders the mean of the
    last hidden states over the tokens. With `pooler`, they are what the encoder's pooling layer makes of [CLS].

    Raises: ValueError if the encoder is neither in a package nor on the hub, or has no pooling layer but needs one.
    Source: sentence-transformers' pooling of all-MiniLM-L6-v2 (mean over non-padding positions, then unit length);
        LIBERO's `get_task_embs` (lifelong/utils.py) for `pooler`, which pads to 25 tokens and masks the padding.
    """
    import transformers  # takes seconds to import, so only here

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    where = locate(encoder)
    try:
        config = transformers.AutoConfig.from_pretrained(where)
        is_clip = config.model_type.startswith("clip")
        text_model: Any = transformers.CLIPTextModelWithProjection if is_clip else transformers.AutoModel
        model, loading = text_model.from_pretrained(where, output_loading_info=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(where)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(
            f"cannot load encoder '{encoder}' ({first}); have {[*params.ENCODERS]} offline, others by name on the hub"
        ) from None
    if pooling == "pooler" and (is_clip or not hasattr(model, "pooler") or _lacks_pooler(loading)):
        raise ValueError(f"expected an encoder with a pooling layer for language.pooling 'pooler', got '{encoder}'")
    model.eval()
    rows = []
    for instruction in instructions:  # one by one, because padding and batching change the last bits
        words = tokenizer(instruction, return_tensors="pt")
        with torch.no_grad():
            out = model(**words)
        if pooling == "pooler":
            rows.append(out.pooler_output[0])
        else:
            row = out.text_embeds[0] if is_clip else out.last_hidden_state[0].mean(0)
            rows.append(torch.nn.functional.normalize(row, dim=0))
    return torch.stack(rows).numpy()


def _lacks_pooler(loading: dict[str, Any]) -> bool:
    """Whether the encoder's files lack the weights of the pooling layer, which are then random."""
    return any("pooler" in key for key in loading["missing_keys"])


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("--suite", required=True, help="suite whose instructions to embed")
    parser.add_argument("--params", default="params.yaml", help="params file, YAML or JSON")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")


def main(args: argparse.Namespace) -> None:
    """Write the embeddings of one suite."""
    given = params.Language.read(args.params)
    instructions = [task.instruction for task in suites.tasks(args.suite)]
    torch.set_num_threads(1)
    rows = embed(given.encoder, instructions, given.pooling)
    embeddings.write(args.out, dict(zip(instructions, rows, strict=True)), given.encoder)
