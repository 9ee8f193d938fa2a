"""How fast a layout serves: what is asked of it, and what it then gives, in seconds and tokens a second."""

from __future__ import annotations

from typing import Literal, NamedTuple

Policy = Literal["latency", "throughput", "capacity"]
"""What a layout is chosen for: the time of a request, tokens a second of all of them, or room for context."""


class Workload(NamedTuple):
    """`concurrency` requests at once, each of `prompt` tokens that is answered by `output` tokens; whenever one ends
    the next begins."""

    concurrency: int = 16
    prompt: int = 1024
    output: int = 256

    def __str__(self) -> str:
        many = f"{self.concurrency} requests at once" if self.concurrency > 1 else "one request at a time"
        return f"{many}, {self.prompt} tokens in, {self.output} out"


class Part(NamedTuple):
    """`seconds` of a request's time that go to `what`."""

    what: str
    seconds: float


class Speed(NamedTuple):
    """What a layout does under a workload. `ttft`: seconds to the first token, the mean of all requests if they come at
    once; `tpot`: seconds between two tokens of one request, between which prompts of others are read too; `request`:
    seconds of one request from end to end; `tokens_per_second` that all requests together are given, and
    `prompts_per_second` that are read, in tokens. `low` and `high` are the band of `tokens_per_second`. `parts` make
    up `request`, the largest first."""

    ttft: float
    tpot: float
    request: float
    tokens_per_second: float
    prompts_per_second: float
    gpus: int
    low: float
    high: float
    parts: tuple[Part, ...]

    @property
    def per_gpu(self) -> float:
        """Tokens a second and GPU."""
        return self.tokens_per_second / max(1, self.gpus)

    @property
    def bottleneck(self) -> str:
        """What takes most of a request's time, in words."""
        return self.parts[0].what if self.parts else "nothing"
