"""The checks that the real chat completions API makes, with its error texts."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from tests.fakes.strict_schema import check_strict

ROLES = ("system", "developer", "user", "assistant", "tool")
MESSAGE_KEYS = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "refusal", "audio", "tool_calls"},
    "tool": {"role", "content", "tool_call_id"},
}
PART_TYPES = {
    "system": {"text"},
    "developer": {"text"},
    "user": {"text", "image_url", "input_audio", "file"},
    "assistant": {"text", "refusal"},
    "tool": {"text"},
}
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MAX_ID = 40
MAX_TOOLS = 128


class ApiError(Exception):
    """A request that the API refuses, with the status and the error object it answers."""

    def __init__(
        self, message: str, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {
            "error": {
                "message": message,
                "type": "invalid_request_error",
                "param": param,
                "code": code,
            }
        }


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse a request without a bearer key, with a wrong key, or that is not JSON."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme != "Bearer" or not key.strip():
        raise ApiError("You didn't provide an API key.", status=401)
    if "invalid" in key:
        masked = f"{key[:3]}***{key[-4:]}"
        text = f"Incorrect API key provided: {masked}."
        raise ApiError(text, code="invalid_api_key", status=401)
    kind = headers.get("content-type", "")
    if kind.partition(";")[0].strip() != "application/json":
        raise ApiError(f"Unsupported content type: '{kind}'.", code="unsupported_content_type")


def parse(data: bytes) -> dict[str, Any]:
    """Return the body as an object; refuse what is not strict JSON."""
    try:
        body = json.loads(data.decode(), parse_constant=_refuse_constant)
        json.dumps(body, ensure_ascii=False).encode()
    except ValueError as error:
        raise ApiError("We could not parse the JSON body of your request.") from error
    if not isinstance(body, dict):
        raise ApiError("Invalid type for request body: expected an object.", code="invalid_type")
    return body


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(text)


def check_body(body: dict[str, Any]) -> None:
    """Raise ApiError unless the real API would take this body."""
    for key, value in body.items():
        if key not in FIELDS:
            raise ApiError(f"Unknown parameter: '{key}'.", key, "unknown_parameter")
        expected, fits = FIELDS[key]
        if not fits(value):
            text = f"Invalid value for '{key}': expected {expected}, but got {_shown(value)}."
            raise ApiError(text, key, "invalid_type")
    for key in ("model", "messages"):
        if not body.get(key):
            text = f"Missing required parameter or empty value: '{key}'."
            raise ApiError(text, key, "missing_required_parameter")
    _check_combinations(body)
    _check_model(body)
    for index, message in enumerate(body["messages"]):
        _check_message(message, f"messages[{index}]")
    _check_pairs(body["messages"])
    _check_tools(body)
    _check_format(body)


def _shown(value: object) -> str:
    return json.dumps(value)[:80]


def _number(low: float, high: float) -> tuple[str, Callable[[Any], bool]]:
    def fits(value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and low <= value <= high

    return f"a number between {low} and {high}", fits


def _integer(low: int, high: int = 2**63) -> tuple[str, Callable[[Any], bool]]:
    def fits(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return f"an integer of at least {low}", fits


def _one_of(*words: str) -> tuple[str, Callable[[Any], bool]]:
    return f"one of {', '.join(words)}", lambda value: value in words


def _kind(text: str, *types: type) -> tuple[str, Callable[[Any], bool]]:
    return text, lambda value: isinstance(value, types)


FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "model": _kind("a string", str),
    "messages": _kind("an array", list),
    "tools": ("a non-empty array", lambda value: isinstance(value, list) and value != []),
    "tool_choice": _kind("a string or an object", str, dict),
    "parallel_tool_calls": _kind("a boolean", bool),
    "response_format": _kind("an object", dict),
    "stream": _kind("a boolean", bool),
    "stream_options": _kind("an object", dict),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "frequency_penalty": _number(-2, 2),
    "presence_penalty": _number(-2, 2),
    "max_tokens": _integer(1),
    "max_completion_tokens": _integer(1),
    "n": ("1, as this fake knows no other", lambda value: value == 1),
    "seed": _integer(-(2**63)),
    "stop": _kind("a string or an array", str, list),
    "logit_bias": _kind("an object", dict),
    "logprobs": _kind("a boolean", bool),
    "top_logprobs": _integer(0, 20),
    "user": _kind("a string", str),
    "metadata": _kind("an object", dict),
    "store": _kind("a boolean", bool),
    "service_tier": _one_of("auto", "default", "flex", "priority", "scale"),
    "reasoning_effort": _one_of("none", "minimal", "low", "medium", "high", "xhigh"),
    "verbosity": _one_of("low", "medium", "high"),
    "prompt_cache_key": _kind("a string", str),
    "prompt_cache_retention": _one_of("in_memory", "24h"),
    "safety_identifier": _kind("a string", str),
    "modalities": _kind("an array", list),
    "prediction": _kind("an object", dict),
}


def _check_combinations(body: dict[str, Any]) -> None:
    if "stream_options" in body and not body.get("stream"):
        text = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise ApiError(text, "stream_options")
    if "max_tokens" in body and "max_completion_tokens" in body:
        raise ApiError(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            code="invalid_parameter_combination",
        )
    for key in ("tool_choice", "parallel_tool_calls"):
        if key in body and "tools" not in body:
            raise ApiError(f"'{key}' is only allowed when 'tools' are specified.", key)


def _check_model(body: dict[str, Any]) -> None:
    """Reasoning models know neither `max_tokens` nor a temperature."""
    if not re.match(r"o\d|gpt-5", body["model"]):
        return
    if "max_tokens" in body:
        raise ApiError(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    if body.get("temperature", 1) != 1:
        raise ApiError(
            "Unsupported value: 'temperature' does not support this value with this model. "
            "Only the default (1) value is supported.",
            "temperature",
            "unsupported_value",
        )


def _check_message(message: Any, path: str) -> None:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        text = f"Invalid value at '{path}.role'. Supported values are: {', '.join(ROLES)}."
        raise ApiError(text, f"{path}.role", "invalid_value")
    role = message["role"]
    unknown = sorted(message.keys() - MESSAGE_KEYS[role])
    if unknown:
        name = f"{path}.{unknown[0]}"
        raise ApiError(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        text = f"Missing required parameter: '{path}.tool_call_id'."
        raise ApiError(text, f"{path}.tool_call_id", "missing_required_parameter")
    if "tool_calls" in message:
        _check_calls(message["tool_calls"], f"{path}.tool_calls")
    _check_content(message, path)


def _check_content(message: dict[str, Any], path: str) -> None:
    role, content = message["role"], message.get("content")
    replaces = role == "assistant" and ("tool_calls" in message or message.get("refusal"))
    if content is None and replaces:
        return
    if content == "" and "tool_calls" in message:
        text = f"Invalid value for '{path}.content': null is expected beside tool calls."
        raise ApiError(text, f"{path}.content", "invalid_value")
    if isinstance(content, str):
        return
    if not isinstance(content, list) or not content:
        text = f"Invalid value for '{path}.content': expected a string, got {_shown(content)}."
        raise ApiError(text, f"{path}.content", "invalid_type")
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in PART_TYPES[role] or kind not in part:
            text = f"Invalid content part at '{path}.content[{index}]': {_shown(part)}."
            raise ApiError(text, f"{path}.content[{index}]", "invalid_value")


def _check_calls(calls: Any, path: str) -> None:
    if not isinstance(calls, list) or not calls:
        raise ApiError(f"Invalid '{path}': expected a non-empty array.", path, "empty_array")
    for index, call in enumerate(calls):
        place = f"{path}[{index}]"
        if not isinstance(call, dict) or call.keys() != {"id", "type", "function"}:
            raise ApiError(f"Invalid '{place}': wants id, type, function.", place, "invalid_value")
        function = call["function"]
        if call["type"] != "function" or function.keys() != {"name", "arguments"}:
            raise ApiError(f"Invalid '{place}.function'.", place, "invalid_value")
        _check_name(function["name"], f"{place}.function.name")
        if not isinstance(function["arguments"], str):
            text = f"Invalid type for '{place}.function.arguments': expected a string."
            raise ApiError(text, f"{place}.function.arguments", "invalid_type")
        if not isinstance(call["id"], str) or not 1 <= len(call["id"]) <= MAX_ID:
            text = f"Invalid '{place}.id': expected a string with maximum length {MAX_ID}."
            raise ApiError(text, f"{place}.id", "string_above_max_length")


def _check_name(name: Any, path: str) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        text = f"Invalid '{path}': string does not match pattern '^[a-zA-Z0-9_-]{{1,64}}$'."
        raise ApiError(text, path, "invalid_value")


def _check_pairs(messages: list[dict[str, Any]]) -> None:
    """Every call is answered once, directly after the message that made it."""
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                raise ApiError(
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceding message with 'tool_calls'.",
                    f"messages[{index}].role",
                )
            waiting.remove(message["tool_call_id"])
            continue
        _refuse_unanswered(waiting, index)
        ids = [call["id"] for call in message.get("tool_calls", [])]
        waiting = set(ids)
        if len(waiting) < len(ids):
            path = f"messages[{index}].tool_calls"
            raise ApiError(f"Duplicate ids in '{path}'.", path, "invalid_value")
    _refuse_unanswered(waiting, len(messages))


def _refuse_unanswered(waiting: set[str], index: int) -> None:
    if waiting:
        raise ApiError(
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            "to each 'tool_call_id'. The following tool_call_ids did not have response "
            f"messages: {', '.join(sorted(waiting))}",
            f"messages[{index}].role",
        )


def _check_tools(body: dict[str, Any]) -> None:
    tools = body.get("tools", [])
    if len(tools) > MAX_TOOLS:
        raise ApiError(f"Invalid 'tools': array too long ({MAX_TOOLS}).", "tools")
    for index, tool in enumerate(tools):
        _check_tool(tool, f"tools[{index}]")
    names = [tool["function"]["name"] for tool in tools]
    if len(set(names)) < len(names):
        raise ApiError("Tool names must be unique.", "tools", "invalid_value")
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        known = choice.get("type") == "function" and choice["function"].get("name") in names
    else:
        known = choice in ("none", "auto", "required")
    if not known:
        raise ApiError(f"Invalid value for 'tool_choice': {_shown(choice)}.", "tool_choice")


def _check_tool(tool: Any, path: str) -> None:
    if not isinstance(tool, dict) or tool.keys() != {"type", "function"}:
        raise ApiError(f"Invalid '{path}': wants type and function.", path, "invalid_value")
    function = tool["function"]
    unknown = sorted(function.keys() - {"name", "description", "parameters", "strict"})
    if tool["type"] != "function" or unknown:
        raise ApiError(f"Unknown parameter in '{path}': {unknown}.", path, "unknown_parameter")
    _check_name(function.get("name"), f"{path}.function.name")
    schema = function.get("parameters", {"type": "object"})
    code = "invalid_function_parameters"
    label = f"Invalid schema for function '{function['name']}'"
    if not isinstance(schema, dict) or schema.get("type") != "object":
        text = f"{label}: schema must be a JSON Schema of 'type: \"object\"'."
        raise ApiError(text, f"{path}.function.parameters", code)
    problem = check_strict(schema) if function.get("strict") else None
    if problem:
        raise ApiError(f"{label}: {problem}", f"{path}.function.parameters", code)


def _check_format(body: dict[str, Any]) -> None:
    form = body.get("response_format", {"type": "text"})
    if form.get("type") == "json_schema":
        _check_json_schema(form)
    elif form.get("type") == "json_object":
        if "json" not in json.dumps(body["messages"]).lower():
            text = "'messages' must contain the word 'json' to use 'json_object'."
            raise ApiError(text, "messages")
    elif form != {"type": "text"}:
        raise ApiError(f"Invalid 'response_format': {_shown(form)}.", "response_format")


def _check_json_schema(form: dict[str, Any]) -> None:
    spec = form.get("json_schema")
    path = "response_format.json_schema"
    if not isinstance(spec, dict) or form.keys() != {"type", "json_schema"}:
        raise ApiError(f"Missing required parameter: '{path}'.", path)
    unknown = sorted(spec.keys() - {"name", "description", "schema", "strict"})
    if unknown:
        raise ApiError(f"Unknown parameter: '{path}.{unknown[0]}'.", path, "unknown_parameter")
    _check_name(spec.get("name"), f"{path}.name")
    schema = spec.get("schema")
    if not isinstance(schema, dict):
        raise ApiError(f"Missing required parameter: '{path}.schema'.", f"{path}.schema")
    problem = check_strict(schema) if spec.get("strict") else None
    if problem:
        text = f"Invalid schema for response_format '{spec['name']}': {problem}"
        raise ApiError(text, "response_format")
