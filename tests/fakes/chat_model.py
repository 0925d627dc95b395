"""A deterministic stand-in for the model: answers only from the conversation it was sent."""

import json
import re
from typing import Any

from tests.fakes.chat_replies import Refusal, Text, ToolCalls
from tests.fakes.json_samples import sample

CAPITALS = {"France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Japan": "Tokyo"}
CITIES = ("Tokyo", "Kyoto", "Osaka", "Nara", "Paris", "Berlin", "Rome")
GENERIC_WORDS = frozenset({"get", "set", "find", "list", "make", "user"})


def answer(body: dict[str, Any]) -> Text | ToolCalls | Refusal:
    """Return what the model says to a request body that is already known to be valid."""
    messages = body["messages"]
    calls = _tool_calls(body, messages[-1])
    if calls:
        return ToolCalls(calls)
    form = body.get("response_format", {"type": "text"})
    if form["type"] == "json_schema":
        return Text(json.dumps(sample(form["json_schema"].get("schema", {}))))
    if form["type"] == "json_object":
        return Text("{}")
    return _limited(_speak(messages), body)


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a message whose content is a string, a list of parts or null."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def _limited(text: str, body: dict[str, Any]) -> Text:
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    tokens = re.findall(r"\S+\s*", text)
    if limit is None or len(tokens) <= limit:
        return Text(text)
    return Text("".join(tokens[:limit]), finish_reason="length")


def _tool_calls(body: dict[str, Any], last: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    functions = [tool["function"] for tool in body.get("tools", [])]
    choice = body.get("tool_choice", "auto")
    text = text_of(last)
    if isinstance(choice, dict):
        name = choice["function"]["name"]
        wanted = [function for function in functions if function["name"] == name]
    elif choice == "none" or (choice == "auto" and last["role"] != "user"):
        wanted = []
    else:
        wanted = [function for function in functions if _mentions(text, function["name"])]
        if choice == "required":
            wanted = wanted or functions[:1]
    if not body.get("parallel_tool_calls", True):
        wanted = wanted[:1]
    return [(f["name"], json.dumps(_arguments(f, text)), None) for f in wanted]


def _mentions(text: str, name: str) -> bool:
    said = set(re.split(r"[^a-z0-9]+", text.lower()))
    words = set(re.split(r"[^a-z0-9]+", name.lower())) - GENERIC_WORDS
    return name in text or any(len(word) > 2 and word in said for word in words)


def _arguments(function: dict[str, Any], text: str) -> dict[str, Any]:
    schema = function.get("parameters", {})
    arguments: dict[str, Any] = sample(schema)
    for name, rule in schema.get("properties", {}).items():
        found = _found(name, rule, text)
        if found is not None:
            arguments[name] = found
    return arguments


def _found(name: str, rule: dict[str, Any], text: str) -> str | int | float | None:
    kind = rule.get("type")
    if kind in ("integer", "number"):
        number = re.search(r"(?<![\w-])-?\d+", text)
        return int(number[0]) if number else None
    if kind != "string" or "enum" in rule:
        return None
    stem = re.escape(name.removesuffix("_id"))
    tagged = re.search(rf"\b{stem}-\w+", text)
    quoted = re.search(r"'([^']+)'|\"([^\"]+)\"", text)
    named = next((city for city in CITIES if city in text), None)
    if tagged:
        return tagged[0]
    return (quoted[1] or quoted[2]) if quoted else named


def _speak(messages: list[dict[str, Any]]) -> str:
    last = messages[-1]
    said = [text_of(message) for message in messages if message["role"] == "user"]
    question = said[-1] if said else ""
    if last["role"] == "tool":
        return _report(messages)
    return (
        _about_user(question, said)
        or _about_cities(question, said[:-1])
        or _about_capitals(question, said)
        or _about_past(question, said[:-1])
        or _about_results(question, messages)
        or _echo(question, messages)
    )


def _about_user(question: str, said: list[str]) -> str | None:
    if not re.search(r"about me|who am i|my name\?", question, re.IGNORECASE):
        return None
    everything = "\n".join(said)
    name = re.search(r"[Mm]y name is (\w+)", everything)
    job = re.search(r"I(?:'m| am) (an? [^.,!?\n]+)", everything)
    facts = [f"your name is {name[1]}"] if name else []
    facts += [f"you work as {job[1]}"] if job else []
    if not facts:
        return "You have told me nothing about yourself."
    return f"Based on our conversation, I know that {' and '.join(facts)}."


def _about_cities(question: str, earlier: list[str]) -> str | None:
    if not re.search(r"\b(city|cities)\b", question, re.IGNORECASE):
        return None
    cities: list[str] = []
    for text in earlier:
        named = [city for city in CITIES if city in text]
        cities = named if "instead" in text else cities + named
    return f"The cities are: {', '.join(cities)}." if cities else "You have named no city."


def _about_capitals(question: str, said: list[str]) -> str | None:
    country = next((country for country in CAPITALS if country in question), None)
    if country is None or not any("capital" in text for text in said):
        return None
    return f"The capital of {country} is {CAPITALS[country]}."


def _about_past(question: str, earlier: list[str]) -> str | None:
    if "where were we" not in question.lower() or not earlier:
        return None
    return f"You had just said: {earlier[-1]}"


def _about_results(question: str, messages: list[dict[str, Any]]) -> str | None:
    words = {word.rstrip("s") for word in re.findall(r"[a-z]{4,}", question.lower())}
    called = [
        call["function"]["name"] for message in messages for call in message.get("tool_calls") or []
    ]
    if not any(word in name for word in words for name in called):
        return None
    results = [text_of(message) for message in messages if message["role"] == "tool"]
    return f"From what I looked up before: {' '.join(results)}"


def _echo(question: str, messages: list[dict[str, Any]]) -> str:
    text = f"I see {len(messages)} messages. You said: {question}"
    system = " ".join(text_of(m) for m in messages if m["role"] in ("system", "developer"))
    if "code example" in system.lower():
        text += '\n\n```python\nwith open("file.txt") as file:\n    print(file.read())\n```'
    return text


def _report(messages: list[dict[str, Any]]) -> str:
    """Quote the results that follow the last call."""
    calling = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
    names = {call["id"]: call["function"]["name"] for call in messages[calling]["tool_calls"]}
    results = [f"{names[m['tool_call_id']]} says {text_of(m)}" for m in messages[calling + 1 :]]
    return f"{'; '.join(results)}."
