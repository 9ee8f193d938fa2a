"""llama.cpp's HTTP server, out of the wheel ``xllamacpp``, with llama-server's own names for its options.

For machines without a built llama-server: this is the same C++ server, started from Python. It ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import signal

import xllamacpp


def parse() -> argparse.Namespace:
    """The options that this stand-in shares with llama-server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a GGUF file")
    parser.add_argument("--alias", help="the model's name in the API")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--ctx-size", type=int, default=512, help="tokens, shared by all slots")
    parser.add_argument("--parallel", type=int, default=1, help="slots")
    parser.add_argument("--log-verbosity", type=int, default=3, help="0 to 5; 1 is errors only")
    return parser.parse_args()


def parameters(options: argparse.Namespace) -> xllamacpp.CommonParams:
    """The options in llama.cpp's own words."""
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.alias or options.model}
    params.hostnames = [options.host]
    params.port = options.port
    params.n_ctx = options.ctx_size
    params.n_parallel = options.parallel
    params.verbosity = options.log_verbosity
    return params


def main() -> None:
    """Serve until a signal comes."""
    stop = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    server = xllamacpp.Server(parameters(parse()))
    print(f"listening on {server.listening_address}", flush=True)
    signal.sigwait(stop)


if __name__ == "__main__":
    main()
