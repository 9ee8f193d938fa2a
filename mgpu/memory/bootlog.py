"""The log of a server's start in, what it says of a GPU's memory out.

The words are those of vLLM from 0.6 to 0.32 (worker.py, gpu_worker.py, mem_utils.py), of SGLang (bootstrap.py,
model_runner.py, cuda_graph_setup.py), which writes GB and means GiB, and of llama.cpp (load_tensors, llama_kv_cache,
and its breakdown of memory). Where several ranks write, the largest figure counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from mgpu.values.memory import GIB, MIB, Correction

KEPT = ("non-torch", "CUDA graphs", "CUDA context")
"""The lines that hold for other models too, and are kept as corrections."""
NUMBER = r"(-?[\d.]+)"


class Pattern(NamedTuple):
    """A line of a log: what it says in which unit (bytes), and the words around the figure."""

    line: str
    unit: int
    words: re.Pattern[str]


class BootLog(NamedTuple):
    """What a log says: which engine of which version, with the model in `tensor` x `pipeline` parts, on GPUs of
    `product` (None: it does not say), and bytes on a GPU by the names of an estimate's lines."""

    engine: str
    version: str | None
    tensor: int
    pipeline: int
    product: str | None
    figures: Mapping[str, int]


def _patterns(unit: int, *pairs: tuple[str, str]) -> tuple[Pattern, ...]:
    return tuple(Pattern(line, unit, re.compile(words)) for line, words in pairs)


VLLM = _patterns(
    GIB,
    ("weights", rf"model weights take {NUMBER} ?GiB"),
    ("weights", rf"Model loading took {NUMBER} ?Gi?B"),
    ("weights", rf"Loading model weights took {NUMBER} ?GB"),
    ("weights", rf"weights memory: {NUMBER} ?GiB"),
    ("weights", rf"{NUMBER} GiB for weight\b"),
    ("non-torch", rf"non_torch_memory(?: takes)? +{NUMBER} ?GiB"),
    ("non-torch", rf"non-torch (?:forward )?increase(?: memory)?: {NUMBER} ?GiB"),
    ("non-torch", rf"{NUMBER} GiB for non-torch memory"),
    ("activation peak", rf"PyTorch activation peak memory(?: takes)? +{NUMBER} ?GiB"),
    ("activation peak", rf"torch peak memory increase: {NUMBER} ?GiB"),
    ("activation peak", rf"{NUMBER} GiB for peak activation"),
    ("CUDA graphs", rf"Graph capturing finished in \d+ secs?, took {NUMBER} ?GiB"),
    ("CUDA graphs", rf"{NUMBER} GiB for CUDAGraph memory"),
    ("KV pool", rf"Available KV cache memory: {NUMBER} ?GiB"),
    ("KV pool", rf"reserved for KV Cache is {NUMBER} ?GiB"),
    ("KV pool", rf"available_kv_cache_memory +{NUMBER} ?GiB"),
)
CONSUMED = re.compile(rf"Actual usage is {NUMBER} GiB for consumed memory \(weights \+ non-torch\)")
"""Newer versions (read in 0.32) write the two as one figure."""
STARTUP = re.compile(rf"Free memory on device[^(]*\({NUMBER}/{NUMBER} GiB\) on startup\. Desired")
SGLANG = _patterns(
    GIB,
    ("weights", rf"Load weight end\..*?mem usage={NUMBER} GB"),
    ("non-torch", rf"Init torch distributed ends\..*?mem usage={NUMBER} GB"),
    ("non-torch", rf"Memory baseline taken\. mem usage={NUMBER} GB"),
    ("CUDA graphs", rf"Capture (?:\w+ )*(?:cuda|CUDA) graph end\..*?mem usage={NUMBER} GB"),
    ("KV pool", rf"KV size: {NUMBER} GB"),
)
SGLANG_CACHE = re.compile(rf"KV Cache is allocated\..*?K size: {NUMBER} GB, V size: {NUMBER} GB")
LLAMACPP = _patterns(
    MIB,
    ("weights", rf"load_tensors: +CUDA\d+(?: model)? buffer size = +{NUMBER} MiB"),
    ("KV cache", rf"CUDA\d+ KV buffer size = +{NUMBER} MiB"),
    ("compute buffer", rf"CUDA\d+ compute buffer size = +{NUMBER} MiB"),
    ("CUDA context", rf"- CUDA\d+ \([^)]*\) *[|:] *\d+ = \d+ \+ *\( *\d+ = +\d+ \+ +\d+ \+ +\d+\) \+ +{NUMBER}"),
)
DEVICE = re.compile(r"Device \d+: (.+?), compute capability")
VERSIONS = (
    re.compile(r"(?:vLLM API server version|Initializing an? (?:V\d )?LLM engine \(v) ?v?(\d[\w.+]*)"),
    re.compile(r"\bvllm[= ]=?(\d+\.\d+[\w.]*)"),
    re.compile(r"\bsglang[= ]=?v?(\d+\.\d+[\w.]*)"),
    re.compile(r"\bbuild: (\d+) \("),
    re.compile(r"\bbuild = (\d+) \("),
)
TENSOR = re.compile(r"(?:tensor_parallel_size|tp_size|tensor-parallel-size|'tensor_parallel_size')['\": =]+(\d+)")
PIPELINE = re.compile(r"(?:pipeline_parallel_size|pp_size|pipeline-parallel-size)['\": =]+(\d+)")


def read(text: str) -> BootLog | None:
    """What the log says; None for one of no engine that is known here."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    engine = _engine(plain)
    if engine is None:
        return None
    figures = {name: size for name, size in _READERS[engine](plain).items() if size > 0}
    device = DEVICE.search(plain)
    return BootLog(
        engine, _version(plain), _count(TENSOR, plain), _count(PIPELINE, plain), device[1] if device else None, figures
    )


def _engine(text: str) -> str | None:
    """Whose log it is: the one that has most of its lines in it."""
    sizes = {name: sum(bool(p.words.search(text)) for p in patterns) for name, patterns in _PATTERNS.items()}
    best = max(sizes, key=lambda name: sizes[name])
    return best if sizes[best] else None


def _version(text: str) -> str | None:
    found = next((match[1] for pattern in VERSIONS if (match := pattern.search(text))), None)
    return found.rstrip(".") if found else None


def _count(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.search(text)
    return max(1, int(found[1])) if found else 1


def _largest(patterns: tuple[Pattern, ...], text: str) -> dict[str, int]:
    """The largest figure of each line."""
    found: dict[str, int] = {}
    for line, unit, words in patterns:
        for match in words.finditer(text):
            found[line] = max(found.get(line, 0), _bytes(match[1], unit))
    return found


def _bytes(text: str, unit: int) -> int:
    try:
        return int(float(text.rstrip(".")) * unit)
    except ValueError:
        return 0


def _vllm(text: str) -> dict[str, int]:
    found = _largest(VLLM, text)
    for match in CONSUMED.finditer(text):
        rest = _bytes(match[1], GIB) - found.get("weights", 0)
        if "weights" in found and rest > 0:
            found["non-torch"] = max(found.get("non-torch", 0), rest)
    for match in STARTUP.finditer(text):
        found["CUDA context"] = max(found.get("CUDA context", 0), _bytes(match[2], GIB) - _bytes(match[1], GIB))
    return found


def _sglang(text: str) -> dict[str, int]:
    found = _largest(SGLANG, text)
    for match in SGLANG_CACHE.finditer(text):
        found["KV pool"] = max(found.get("KV pool", 0), _bytes(match[1], GIB) + _bytes(match[2], GIB))
    return found


def _llamacpp(text: str) -> dict[str, int]:
    """What no buffer explains is the context; a breakdown before the load has less than nothing there."""
    found = _largest(LLAMACPP, text)
    if found.get("CUDA context", 0) > 64 * GIB:
        del found["CUDA context"]
    return found


_PATTERNS = {"vllm": VLLM, "sglang": SGLANG, "llamacpp": LLAMACPP}
_READERS: Mapping[str, Callable[[str], dict[str, int]]] = {"vllm": _vllm, "sglang": _sglang, "llamacpp": _llamacpp}


def corrections(found: BootLog, product: str, log: str = "") -> tuple[Correction, ...]:
    """What of a log is kept for GPUs of `product`: the lines that are not about its model alone."""
    return tuple(
        Correction(found.engine, found.version, product, line, size, found.tensor, found.pipeline, log)
        for line, size in found.figures.items()
        if line in KEPT
    )
