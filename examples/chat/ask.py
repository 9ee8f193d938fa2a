"""Ask the chat server at $LLM_URL one question and print its answer."""

from __future__ import annotations

import json
import os
import urllib.request

QUESTION = "What do you know?"


def ask(url: str, question: str) -> str:
    """The answer of an OpenAI-compatible server."""
    body = {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 64}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: str = json.load(response)["choices"][0]["message"]["content"]
    return answer.strip()


def main() -> None:
    """Fail where the server has nothing to say."""
    answer = ask(os.environ["LLM_URL"], QUESTION)
    if not answer:
        raise SystemExit("the server answered nothing")
    print(f"question: {QUESTION}\nanswer:   {answer}", flush=True)


if __name__ == "__main__":
    main()
