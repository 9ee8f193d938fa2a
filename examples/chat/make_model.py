"""Write a language model that knows one sentence, as a GGUF file that llama.cpp serves: make_model.py FILE.

A real Llama of one layer whose attention and feed-forward weights are zero, so that what is left of it is a table
from each token to the one that follows. No token of the sentence occurs twice; the chat template ends with ":".
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import gguf
import numpy

SENTENCE = "I know only this sentence, but every word of it came from a real llama.cpp server."
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"

SPECIAL = [b"<unk>", b"<s>", b"</s>"]
BYTES = [f"<0x{value:02X}>".encode() for value in range(256)]
WORDS = [f"\u2581{word}".encode() for word in SENTENCE.split()]
TOKENS = SPECIAL + BYTES + WORDS
KINDS = (
    [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    + [gguf.TokenType.BYTE] * len(BYTES)
    + [gguf.TokenType.NORMAL] * len(WORDS)
)

HEADS = 4
WIDTH = 320
FEED_FORWARD = 64
CONTEXT = 512
CERTAINTY = 20.0
"""How far, in logits, the next token stands above all others."""


def next_tokens() -> list[tuple[int, int]]:
    """Each token that the model knows what follows, and what follows: ``:`` starts the sentence, ``</s>`` ends it."""
    chain = [TOKENS.index(b"<0x3A>"), *(TOKENS.index(word) for word in WORDS), TOKENS.index(b"</s>")]
    return list(pairwise(chain))


def tensors() -> dict[str, numpy.ndarray]:
    """The weights by name. A token is a unit vector, of length sqrt(WIDTH) after the norm."""
    head = numpy.zeros((len(TOKENS), WIDTH), numpy.float32)
    for token, following in next_tokens():
        head[following, token] = CERTAINTY / WIDTH**0.5
    square = (WIDTH, WIDTH)
    shapes = {"attn_q": square, "attn_k": square, "attn_v": square, "attn_output": square}
    shapes |= {"ffn_gate": (FEED_FORWARD, WIDTH), "ffn_up": (FEED_FORWARD, WIDTH), "ffn_down": (WIDTH, FEED_FORWARD)}
    weights = {f"blk.0.{name}.weight": numpy.zeros(shape, numpy.float32) for name, shape in shapes.items()}
    norms = ("blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight")
    weights |= {name: numpy.ones(WIDTH, numpy.float32) for name in norms}
    embedding = numpy.eye(len(TOKENS), WIDTH, dtype=numpy.float32)
    return weights | {"token_embd.weight": embedding, "output.weight": head}


def describe(writer: gguf.GGUFWriter) -> None:
    """The sizes of the network, its vocabulary and its chat template."""
    writer.add_name("one-sentence")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([-float(rank) for rank in range(len(TOKENS))])
    writer.add_token_types(KINDS)
    writer.add_bos_token_id(TOKENS.index(b"<s>"))
    writer.add_eos_token_id(TOKENS.index(b"</s>"))
    writer.add_unk_token_id(TOKENS.index(b"<unk>"))
    writer.add_chat_template(TEMPLATE)


def main(path: Path) -> None:
    """Write the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    writer = gguf.GGUFWriter(part, "llama")
    describe(writer)
    for name, weights in tensors().items():
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
