"""What is sent, checked against the types of Ollama's own client."""

import json

from hypothesis import given
from hypothesis import strategies as st

from agent.engine.provider import Prompt
from agent.eventstore.messages import Message
from agent.eventstore.values import OutputSchema, Settings, ToolDefinition
from tests.engine.providers.conversations import conversations, outputs, settings, tools
from tests.engine.providers.given import body_of, provider_of
from tests.fakes.ollama_server import check_body

LACKING = ("reasoning_budget", "service_tier", "tool_choice")


@given(
    conversations(with_files=False),
    st.sampled_from([None, "Be brief."]),
    tools,
    settings(lambda name: name not in LACKING),
    outputs,
)
def test_every_body_is_one_that_the_client_could_send(
    messages: list[Message],
    system: str | None,
    tools: tuple[ToolDefinition, ...],
    settings: Settings,
    output: OutputSchema | None,
) -> None:
    """No unknown key, no wrong type; another's data left out."""
    prompt = Prompt("llama3.2", system, tools, settings, output, stream=True)
    body = body_of(provider_of("ollama"), messages, prompt)
    check_body(body)
    assert "theirs" not in json.dumps(body)
