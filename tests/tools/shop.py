"""A shop whose process dies in the middle of a turn, and the agent that goes on with it."""

import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

SHOP = """\
import os, signal, sys
from agent import Agent, tool
from agent.stores import SQLiteStore
from agent.testing import Call, ScriptedModel

DIES = __name__ == "__main__"
WAITS = DIES and sys.argv[2] == "Wait"

@tool(retry_safe=True)
def look_up(order: str) -> str:
    "Look an order up."
    if WAITS:
        print("at work", flush=True)
        sys.stdin.read()
    elif DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"{order}: 9.50 to pay"

@tool
def pay(amount: float) -> str:
    "Pay an amount."
    if DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"paid {amount}"

@tool(requires_approval=True)
def refund(order: str, amount: float) -> str:
    "Give money back."
    return f"{amount} for order {order} is on its way"

def answer(request):
    last = request.messages[-1]
    if last.role == "tool":
        return f"Done: {last.text}"
    if last.text == "Wait":
        return Call("look_up", {"order": "7"})
    if last.text == "Pay":
        return [Call("look_up", {"order": "7"}), Call("pay", {"amount": 9.5})]
    return [Call("refund", {"order": name, "amount": 9.5}) for name in last.text.split()]

agent = Agent(ScriptedModel(answer), tools=[look_up, pay, refund])
poor = Agent(ScriptedModel(answer), tools=[look_up])

if DIES:
    agent = Agent(agent.provider, tools=[look_up, pay, refund], store=SQLiteStore(sys.argv[1]))
    agent.session("order").run(sys.argv[2])
"""


def opened_shop(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the module `shop` into a folder, and go there."""
    (folder / "shop.py").write_text(SHOP)
    monkeypatch.chdir(folder)


def killed_at_work(db: Path) -> None:
    """Leave the session `order`, killed when two tools had begun: calls call_5_0 and call_5_1."""
    assert _shop(db, "Pay") == -signal.SIGKILL


def waiting_for_a_person(db: Path, orders: str = "7") -> None:
    """Leave the session `order`, which waits for a person at calls call_5_0 and so on."""
    assert _shop(db, orders) == 0


@contextmanager
def at_work(db: Path) -> Generator[int]:
    """The session `order`, whose process is in the tool of call_5_0, and its number."""
    with subprocess.Popen(
        [sys.executable, "shop.py", db, "Wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as shop:
        assert shop.stdout is not None
        assert shop.stdout.readline() == b"at work\n"
        yield shop.pid


def _shop(db: Path, prompt: str) -> int:
    return subprocess.run(
        [sys.executable, "shop.py", db, prompt], timeout=60, check=False
    ).returncode
