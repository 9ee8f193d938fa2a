"""An image model and how an adapter of it is trained in, lines of bytes on a GPU out: guessed beyond the weights."""

from __future__ import annotations

from typing import NamedTuple

from mgpu.memory.training import CONTEXT, KERNELS
from mgpu.values.memory import GIB, Line, exactly, span
from mgpu.values.model import Model

ACTIVATIONS = (2.5, 0.6)
"""GiB of activations that each 10^9 parameters of the denoiser keep of a sample of a megapixel: as a whole, and with
gradient checkpointing. A guess between people's reports of SDXL on 12 and 24 GB cards; no run has checked it."""


class Drawing(NamedTuple):
    """A training of an image model's adapter: the base weights' bytes each, `rank` of the adapter, `trained` bytes of
    one of its parameters with all states, samples at once and their megapixels; what is not needed once its outputs
    are cached: the VAE, the text encoders."""

    width: float = 2.0
    rank: int = 4
    trained: int = 16
    batch: int = 1
    megapixels: float = 1.0
    checkpointing: bool = False
    latents: bool = False
    texts: bool = False
    full: bool = False


def lines(model: Model, drawing: Drawing) -> tuple[Line, ...]:
    """What a GPU takes. Raises ValueError for a model whose components are not known."""
    parts = model.facts.get("components")
    if not parts:
        raise ValueError(f"the components of {model.id} are not known")
    main = max(part["params"] for part in parts)
    held = [part["params"] for part in parts if not _cached(part["name"], drawing)]
    states = main * 16 if drawing.full else _adapter(main, drawing.rank) * drawing.trained
    each = ACTIVATIONS[drawing.checkpointing] * main / 1e9 * GIB
    active = each * drawing.batch * drawing.megapixels
    return (
        Line("weights", exactly(sum(held) * drawing.width), "source", "of the components that stay on the GPU"),
        Line("trained", span(0.5 * states, states, 2 * states), "guessed", "weights, gradients and optimizer"),
        Line("activations", span(0.5 * active, active, 2 * active), "guessed", "by the size of the denoiser"),
        Line("CUDA context", span(0.45 * GIB, CONTEXT + KERNELS, 0.9 * GIB), "source", "and torch's kernels"),
    )


def _adapter(params: int, rank: int) -> float:
    """Parameters of an adapter: a matrix of n x n has 2 n r of it, and n is about 1,300 in SDXL and 3,000 in FLUX."""
    side = 1300 if params < 5e9 else 3000
    return params * 2 * rank / side


def _cached(name: str, drawing: Drawing) -> bool:
    return ("vae" in name and drawing.latents) or ("text_encoder" in name and drawing.texts)
