"""A Spec and words of --debug in, the Spec whose jobs are asked to tell more for this run alone out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from mgpu.errors import UsageError
from mgpu.spec.nearest import did_you_mean
from mgpu.values.spec import Spec

TOLD: Mapping[str, Mapping[str, str]] = {
    "nccl": {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT,BOOTSTRAP,ENV,GRAPH,NET,P2P,SHM"},
    "torch": {"TORCH_CPP_LOG_LEVEL": "INFO", "TORCH_DISTRIBUTED_DEBUG": "DETAIL", "TORCH_SHOW_CPP_STACKTRACES": "1"},
    "cuda": {"CUDA_LAUNCH_BLOCKING": "1"},
}
"""What each word sets. NCCL: its user guide 2.30, "Logging"; without COLL, which writes lines for every collective.
torch: its documentation 2.14, "Debugging Environment Variables" and "Debugging torch.distributed applications". CUDA:
the programming guide 13, "CUDA Environment Variables": a kernel that fails is then the one that the error names."""


def debugged(spec: Spec, words: Iterable[str], caller: Mapping[str, str]) -> Spec:
    """The spec with the variables of `words` in each job. What a job's own env says stays, and what `caller`, the
    environment of whoever runs it, says is taken over. Raises UsageError for a word that is none."""
    wanted: dict[str, str] = {}
    for word in (part.strip() for given in words for part in given.split(",")):
        if word not in TOLD:
            hint = did_you_mean(word, TOLD) or f"one of: {', '.join(TOLD)}"
            raise UsageError(f"--debug cannot be {word!r}", hint)
        wanted |= {name: caller.get(name, value) for name, value in TOLD[word].items()}
    return replace(spec, jobs=tuple(replace(job, env={**wanted, **job.env}) for job in spec.jobs))
