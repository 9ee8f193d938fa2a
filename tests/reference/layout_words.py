"""The texts of a published comparison in, what the planner takes out: GPUs, links, layout and model of each side."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from mgpu.catalog.gpus import Product, by_name, pcie_bandwidth
from mgpu.catalog.models import models
from mgpu.memory.weights import format_of as native_format
from mgpu.memory.weights import nominal
from mgpu.values.machine import Gpu, Link
from mgpu.values.model import Model
from mgpu.values.plan import Layout
from mgpu.values.speed import Workload

NUMBERS = {"one": 1, "single": 1, "two": 2, "dual": 2, "three": 3, "four": 4, "quad": 4, "six": 6, "eight": 8}
NAME = re.compile(
    r"(?<![\w.])(?:(?P<count>\d+|one|two|dual|three|four|six|eight)\s*(?:x|\u00d7|\*)?\s*"
    r"(?:plain\s+|nvidia\s+|geforce\s+)*)?"
    r"(?P<name>rtx\s*pro\s*6000|rtx\s*6000\s*ada|(?:rtx\s*)?[2345]0[5-9]0(?:\s*ti\b)?|(?:rtx\s*)?a[2456]000|gh200"
    r"|g?b[23]00|h[128]00|h20|a100|a800|a10g?|a16|a30|a40|l40s?|l4|v100|t4|p40|p100|mi\d{2,3}x?)"
    r"(?P<rest>(?:[\s-]*(?:\d+\s*gb|sxm\d?|pcie(?!\s*\d)|nvl\b))*)(?![\w.]*\d)(?:\s*[x\u00d7]\s*(?P<after>[2-8])\b)?",
    re.IGNORECASE,
)
STANDS_FOR = {
    "gb200": "b200", "gb300": "b300", "a800": "a100", "h800": "h100", "h20": "h100", "a10g": "a10", "a16": "t4",
    "p40": "t4", "p100": "v100-pcie-16gb", "3080": "rtx-3090", "3080ti": "rtx-3090", "3070": "rtx-3060-12gb",
    "3060": "rtx-3060-12gb", "4070": "rtx-4070-ti", "4060": "rtx-4070-ti", "4060ti": "rtx-4070-ti", "5070": "rtx-5080",
    "5070ti": "rtx-5080", "5060ti": "rtx-4070-ti", "2080ti": "t4", "mi300x": "h100", "a2000": "rtx-a4000",
}  # fmt: skip
"""GPUs that the catalogue lacks, by what it has that is most alike."""
FORMATS = (
    (r"\b(?:ud-)?(i?q\d_(?:k_[sml]|k|0|1|xs|xxs|nl))\b", None),
    (r"nvfp4|\bfp4\b", "nvfp4"), (r"mxfp4", "mxfp4"), (r"awq", "awq-int4"),
    (r"gptq|int4|4-?bit|w4a16|autoround|exl[23]", "gptq-int4"), (r"int8|w8a8|8-?bit", "int8"),
    (r"fp8(?!\s*kv)", "fp8"), (r"b?f16|fp16|half", "bf16"),
)  # fmt: skip
ATTENTION = r"(?:dp|data[- ]parallel(?:ism)?)[- ]?attention|attention[- ](?:dp|data[- ]parallel)"
APART = "replica|independent|data[- ]parallel|(?:server|instance)s?"
TIE = 0.05
SPLIT = r"(?:layer|row)[- ]split|split[- ]mode"
"""Words of llama.cpp's users, where nothing else names an engine."""
ONE = r"\b(?:1|one|single|only|alone)\b(?![- ](?:stream|user|request))"
MANY = "throughput"
SHARED = r"(?:tp_vs_pp|replicas_vs_tp|mla_dp_vs_tp)$"
"""Kinds of rows that are about many requests at once where they do not say otherwise, as by a word of ALONE."""
ALONE = r"single|batch 1\b|latency|decode|\btg\d|\bitl\b|tpot|per user|generation"
LARGEST = 64
"""GPUs that a layout has at most: ``pp512`` of llama-bench is a prompt of 512 tokens."""
DIFFUSED = next(model for model in models() if model.id == "llama-2-13b")
"""Of the size of FLUX.1's transformer (12B): an image of 1024 x 1024 is 4096 tokens of it, in one pass a step."""


@dataclass(frozen=True)
class Side:
    """One of the two, as the planner takes it; `what` is compared: decode, prefill, throughput, latency; `rate` are
    requests a second."""

    gpus: tuple[Gpu, ...]
    links: tuple[Link, ...]
    layout: Layout
    engine: str
    model: Model
    scale: float
    stored: str
    workload: Workload
    what: str
    attention: int = 1
    rate: float | None = None
    element: float = 2.0


def sides(row: Mapping[str, Any], options: tuple[str, str]) -> tuple[Side, ...]:
    """Both sides of a row, in the order of `options`."""
    shared = f"{row.get('setup') or ''}. {row.get('what') or ''}"
    source = (row.get("source") or "").lower()
    both = f"{' | '.join(options)}. {shared}. {source}. {row['kind']}".lower()
    made = tuple(_side(option.lower(), shared.lower(), source, both) for option in options)
    copies = [_copies(option.lower(), side.layout) for option, side in zip(options, made, strict=True)]
    least = made[min((0, 1), key=lambda at: sum(gpu.memory for gpu in made[at].gpus) / copies[at])]
    return tuple(replace(side, model=least.model, scale=least.scale, stored=least.stored) for side in made)


def _side(arm: str, common: str, source: str, both: str) -> Side:
    everything = f"{arm}. {common}. {source}"
    engine = engine_of(arm) or engine_of(both) or ("llamacpp" if re.search(SPLIT, both) else "vllm")
    engine = "ik_llama.cpp" if engine == "llamacpp" and re.search(r"(?<!cuda )\bgraph\b", both) else engine
    counted = products_of(source)
    products = _of_side(arm, common) or (counted if len(counted) > 1 else [_product("rtx-3090")] * 2)
    many = len(products) if re.search(ONE, arm) else _all(products, everything)
    layout, count = layout_of(arm, common, engine, many)
    products = (products * count)[:count] if count > len(products) else products[:count]
    one = products[: count // _copies(arm, layout)]
    model, scale = (DIFFUSED, 1.0) if engine == "diffusers" else model_of(everything, one)
    stored = format_of(everything, engine, model, scale, one)
    workload, what, rate = asked(arm, common, MANY if re.search(SHARED, both) else "decode")
    if engine == "diffusers":
        workload = workload._replace(prompt=4096, output=1)
    gpus = tuple(_gpu(index, product, f"{arm}. {common}") for index, product in enumerate(products))
    side = Side(gpus, links_of(arm, common, products, gpus), layout, engine, model, scale, stored, workload, what)
    if re.search(r"fp8 kv|kv fp8|q8_0 kv", everything):
        side = replace(side, element=1.0)
    if layout.data > 1 and model.experts and (engine in ("sglang", "tensorrt-llm") or re.search(ATTENTION, arm)):
        side = replace(side, layout=Layout(layout.data), attention=layout.data)
    elif re.search(ATTENTION, arm) and layout.data == 1 and model.experts:
        side = replace(side, attention=layout.tensor)
    return replace(side, rate=rate)


def _copies(arm: str, layout: Layout) -> int:
    """How many copies of the model there are: data parallel groups that share experts have one between them."""
    return 1 if re.search(rf"\bd?ep\s*\d*\b|expert|{ATTENTION}", arm) else layout.data


def engine_of(text: str) -> str | None:
    """The engine that a text names."""
    words = (
        (r"ik_llama|(?<!cuda )\bgraph\b", "ik_llama.cpp"),
        (r"exl(?:lama|2|3)|tabby|layer_vs_tp", "exllamav2"),
        (r"llama\.?cpp|gguf|ggml|-sm (?:layer|row|tensor|graph)|\bq\d_", "llamacpp"),
        (r"trt-?llm|tensorrt|nvidia\.com|nvidia (?:technical |developer )?blog", "tensorrt-llm"),
        (r"sglang", "sglang"),
        (r"diffus|omni|flux|xdit", "diffusers"),
        (r"vllm", "vllm"),
    )
    return next((name for pattern, name in words if re.search(pattern, text)), None)


def products_of(text: str) -> list[Product]:
    """The GPUs that a text counts, in its order."""
    found: list[Product] = []
    for match in NAME.finditer(text):
        product = _named(match["name"], match["rest"] or "")
        if product:
            found += [product] * _count(match["count"] or match["after"])
    return found


def _of_side(arm: str, common: str) -> list[Product]:
    """The GPUs of a side: those it names, as many as both have where it does not count them (``H100 PCIe`` of ``8x
    H100 against 8x H100 PCIe``); else those of both, in the form that it names (``SXM``)."""
    mine, both = products_of(arm), products_of(common)
    if not mine:
        form = re.search(r"\b(sxm\d?|pcie)\b(?!\s*\d)", arm)
        return products_of(NAME.sub(lambda found: _formed(found, form[1]), common)) if form else both
    counted = [[_count(found["count"] or found["after"]) for found in NAME.finditer(text)] for text in (arm, common)]
    bare = len(mine) == 1 and not re.search(ONE, arm)
    return mine * max(counted[1]) if bare and counted[0] == [1] and counted[1] else mine


def _formed(found: re.Match[str], form: str) -> str:
    """The GPUs that were found, in this form where none is said of them."""
    if re.search("sxm|pcie|nvl", found["rest"]):
        return found[0]
    return f"{_count(found['count'] or found['after'])}x {found['name']}{found['rest']} {form}"


def _all(products: list[Product], text: str) -> int:
    """How many GPUs there are where one is named without a count, and both sides split over several."""
    if len(products) > 1 or not re.search(r"\b[tp]p\b|parallel|split|hgx|dgx", text):
        return len(products)
    return 8 if products[0].nvlink == "switch" else 2


def _count(word: str | None) -> int:
    return NUMBERS.get(word or "one") or int(word or 1)


def _named(name: str, rest: str) -> Product | None:
    short = re.sub(r"[\s-]|rtx", "", name.lower())
    plain = STANDS_FOR.get(short, name)
    sizes = re.sub(r"\s+(?=gb)", "", rest.strip().lower()).replace(" ", "-")
    usual = {"a100-pcie": "a100-pcie-80gb", "v100-pcie": "v100-pcie-32gb", "v100-sxm2": "v100-sxm2-32gb"}
    spelled = f"{plain}-{sizes}".strip("-")
    return by_name(spelled) or by_name(usual.get(spelled, plain)) or by_name(plain)


def _product(name: str) -> Product:
    product = by_name(name)
    assert product is not None
    return product


def _gpu(index: int, product: Product, text: str) -> Gpu:
    generation = re.search(r"(?:pcie\s*|gen\s*)(\d)(?:\.0)?", text)
    slots = NAME.sub(lambda found: " " if found["after"] else found[0], text)
    widths = [int(lanes) for lanes in re.findall(r"\bx(16|8|4|1)\b", slots)]
    return Gpu(
        index,
        product.name,
        product.memory,
        product.memory,
        product=product.id,
        compute_capability=product.compute_capability,
        pcie_generation=min(product.pcie_generation, int(generation[1])) if generation else product.pcie_generation,
        pcie_width=widths[min(index, len(widths) - 1)] if widths else 16,
    )


def links_of(arm: str, common: str, products: list[Product], gpus: tuple[Gpu, ...]) -> tuple[Link, ...]:
    """The links: what the side itself says of them goes before what both have in common."""
    nvlink = _nvlink(arm, common, products)
    p2p = next((said for text in (arm, common) if (said := _p2p(text)) is not None), None)
    made = []
    for a, b in combinations(range(len(products)), 2):
        both = products[a], products[b]
        rates = [one.nvlink_bandwidth for one in both if one.nvlink_bandwidth]
        together = both[0].nvlink in ("switch", "cube") or a // 2 == b // 2
        if nvlink and len(rates) == 2 and together:
            made.append(Link(a, b, "NVLINK", 4, min(rates), True))
        else:
            slots = [pcie_bandwidth(gpus[at].pcie_generation, gpus[at].pcie_width) or 32.0 for at in (a, b)]
            by_driver = False if False in (both[0].p2p, both[1].p2p) else None
            made.append(Link(a, b, "PHB", 0, min(slots), by_driver if p2p is None else p2p))
    return tuple(made)


def _nvlink(arm: str, common: str, products: list[Product]) -> bool:
    for text in (arm, common):
        if re.search(
            r"(?:without|no|remove\w*|off|disabled?)\s*(?:the\s*)?(?:nv-?link|bridges?)|bridges? (?:off|out)", text
        ):
            return False
        if re.search(r"\b(?:across|straddl\w*|between|spanning)\b.*\b(?:pairs?|bridges?)", text):
            return False
        if re.search(r"nv-?link|nvswitch|\bbridges?\b", text):
            return True
        if re.search(r"\bpcie?\b|\bphb\b|\bsys\b|\bnode\b|p2p", text) and text is arm:
            return False
    return all(product.nvlink in ("switch", "cube") for product in products)


def _p2p(text: str) -> bool | None:
    if re.search(
        r"p2p_disable\s*=\s*1|p2p (?:off|disabled|refused)|(?:without|no) p2p|(?:stock|unpatched) driver", text
    ):
        return False
    granted = r"p2p (?:on|granted|enabled|working|patched)|with p2p|^p2p$|p2p_disable\s*=\s*0|patched (?:driver|module)"
    return True if re.search(granted, text.strip()) else None


def layout_of(arm: str, common: str, engine: str, gpus: int) -> tuple[Layout, int]:
    """The layout of a side and how many GPUs it takes."""
    for text in (arm, common):
        sizes = dict(_sizes(text))
        if sizes:
            layout = Layout(**{name: sizes.get(name, 1) for name in ("tensor", "pipeline", "data")})
            return layout, layout.tensor * layout.pipeline * layout.data
    count = gpus
    if one := re.search(r"\b(\d+|one|single|two|four|eight)[ -](?:gpu|card)s?\b|^(single|dual|quad)$", arm.strip()):
        count = _count(one[1] or one[2])
    tensor = re.search(
        r"(?:-sm|mode)\s*\W?(?:row|tensor|graph)|(?:row|graph|tensor)[\s(]*(?:tensor\)|parallel|split)|\btp\b|^(?:row|graph|tensor)$",
        arm,
    )
    layers = re.search(r"layer|pipeline|\bpp\b", arm)
    if re.search(APART, arm):
        many = re.search(rf"\b(\d+|two|three|four|six|eight)\s+(?:single-gpu\s+|separate\s+)?(?:{APART})", arm)
        count = _count(many[1]) if many else gpus
        return Layout(data=count), count
    if layers or (engine in ("llamacpp", "ik_llama.cpp", "exllamav2") and not tensor):
        return Layout(pipeline=count), count
    return Layout(count), count


def _sizes(text: str) -> Iterator[tuple[str, int]]:
    """The sizes that a text gives: TP2xPP2, tensor parallel 4, 2 x TP2, DP8."""
    names = {
        "tensor": r"(?:tp|tep|tensor[- ]parallel(?:ism)?(?:[- ]size)?)",
        "pipeline": r"(?:pp|pipeline[- ]parallel(?:ism)?(?:[- ]size)?)",
        "data": r"(?:a?dp|dep|data[- ]parallel(?:ism)?(?:[- ]size)?|dp[- ]?attention)",
    }
    for name, pattern in names.items():
        found = re.search(rf"\b{pattern}\s*[=:]?\s*(\d+)|(\d+)-way {pattern}|(?<=\d)[x\u00d7]?{pattern}(\d+)", text)
        if found:
            size = int(next(group for group in found.groups() if group))
            if size <= LARGEST:
                yield name, size
    times = r"(?:x|\u00d7|\*|replicas? (?:of|x)|copies of|independent|instances? of)"
    copies = re.search(rf"\b(\d+|two|four)\s*{times}\s*(?:tp|1 gpu|one gpu|single)", text)
    if copies and _count(copies[1]) > 1:
        yield "data", _count(copies[1])


def model_of(text: str, products: list[Product]) -> tuple[Model, float]:
    """The model that a text names, or the nearest one of the catalogue and how much larger it is."""
    flat = re.sub(r"[\s_]+", "-", text)
    known = [model for model in models() if model.layers]
    names = [(name.lower(), model) for model in known for name in _names(model)]
    for name, model in sorted(names, key=lambda pair: -len(pair[0])):
        if re.search(rf"(?<![\w.]){re.escape(name)}(?![\d.]*b\b|\w)", flat):
            return model, 1.0
    size = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)b(?:-a(\d+(?:\.\d+)?)b)?\b", flat)
    sparse = bool(size and size[2]) or re.search(r"moe|glm-[45]|deepseek|kimi|minimax|mixtral|gpt-oss", flat)
    kin = [model for model in known if bool(model.experts) == bool(sparse)]
    family = [model for model in kin if re.search(rf"\b{re.match(r'[a-z]+', model.id)[0]}", flat)]  # type: ignore[index]
    if size is None:
        if family and sparse:
            return max(family, key=lambda model: model.text_params or 0), 1.0
        room = sum(product.memory for product in products)
        small = [model for model in kin if (model.text_params or 0) * 1.2 < room]
        return max(small or kin[:1], key=lambda model: (model.text_params or 0, model.id)), 1.0
    wanted = float(size[1]) * 1e9
    near = min(kin, key=lambda model: (abs((model.text_params or 1) - wanted), model.id))
    return near, wanted / (near.text_params or wanted)


def _names(model: Model) -> Iterator[str]:
    yield model.id
    yield model.repository.rpartition("/")[2]
    yield from (alias.rpartition("/")[2].replace(":", "-") for alias in model.aliases)


def format_of(text: str, engine: str, model: Model, scale: float, products: list[Product]) -> str:
    """The format that a text names, else one in which the model fits."""
    for pattern, name in FORMATS:
        if found := re.search(pattern, text):
            return name or found[1].upper()
    if engine in ("llamacpp", "ik_llama.cpp"):
        return "Q4_K_M"
    room = sum(product.memory for product in products)
    native = native_format(None, None, model)
    if scale == 1.0 and native not in ("bf16", "fp16", "fp32") and nominal(model.params or 0, native) < 0.85 * room:
        return native
    fitting = (form for form in ("bf16", "fp8") if nominal(model.params or 0, form) * scale < 0.6 * room)
    return next(fitting, "gptq-int4")


def asked(arm: str, common: str, usual: str = "decode") -> tuple[Workload, str, float | None]:
    """What is compared and under which workload, and requests a second where the text gives them."""
    text = f"{common}. {arm}"
    rate = re.search(r"(\d+(?:\.\d+)?)\s*(?:req(?:uests?)?\s*(?:/|per)\s*s)", text)
    first = re.search(r"prefill|prompt (?:processing|eval)|\bpp\d{3,}|ttft|time to first", text)
    length = _length(text)
    count = _concurrency(text)
    if first:
        pp = re.search(r"\bpp(\d{3,})", text)
        return Workload(count or 1, length or (int(pp[1]) if pp else 4096), 1), "prefill", None
    if "latency" in text and rate:
        return Workload(count or 16, length or 1024, 256), "latency", float(rate[1])
    many = re.search(r"throughput|aggregate|peak|sustain|total tok|req(?:uest)?s?(?:/| per )s|tok/s total", text)
    many = many or (usual == MANY and count != 1 and not re.search(ALONE, text))
    if re.search(r"sustain", text):
        return Workload(256, length or 1024, 256), "sustained", float(rate[1]) if rate else None
    if many:
        most = 1024 if re.search(r"max|peak|saturat", text) else 256
        return Workload(count or most, length or 1024, _answer(text) or 256), "throughput", None
    if "latency" in text and count:
        return Workload(count, length or 1024, 256), "latency", None
    return Workload(count or 1, length or 512, 256), "decode", None


def _length(text: str) -> int | None:
    given = re.search(
        r"(?:\b(?:input|isl|prompt)\s*[=:]?\s*)(\d+(?:\.\d+)?)\s*(k|m)?\b|\b(\d{3,})\s*/\s*\d{2,}\b", text
    )
    if given:
        return int(float(given[1] or given[3]) * {"k": 1e3, "m": 1e6}.get(given[2] or "", 1))
    found = re.search(r"\b(\d+(?:\.\d+)?)(k|m)\b", text)
    found = found or re.search(
        r"(\d+(?:\.\d+)?)\s*(k|m)?[\s-]*(?:tokens?\b|tok\b(?!/)|context|ctx|prompt|input|in\b)", text
    )
    if not found or (not found[2] and float(found[1]) < 32):
        return 32_000 if re.search(r"long[- ](?:context|prompt)", text) else None
    return int(float(found[1]) * {"k": 1e3, "m": 1e6}.get(found[2] or "", 1))


def _answer(text: str) -> int | None:
    """Tokens of an answer."""
    patterns = (
        r"\b(?:output|osl|out)\s*[=:]?\s*(\d+)",
        r"\b(\d+)\s*(?:tokens? )?out(?:put)?\b",
        r"\b\d{3,}\s*/\s*(\d{2,})\b",
    )
    return next((int(found[1]) for pattern in patterns if (found := re.search(pattern, text))), None)


def _concurrency(text: str) -> int | None:
    if re.search(r"single[- ](?:stream|user|request)|batch(?: size)? 1\b|\bone (?:stream|user|request)", text):
        return 1
    found = re.search(r"(?:concurrency|batch(?: size)?|\bbs|\bc)\s*[=:]?\s*(\d+)", text)
    found = found or re.search(
        r"(\d+)\s*(?:concurren|parallel|streams|users|clients|simultaneous|requests?\b(?! *(?:/|per)))", text
    )
    return int(found[1]) if found else None
