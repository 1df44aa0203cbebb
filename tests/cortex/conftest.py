"""A vault of an organisation with the guide's agents and credentials, whose clock the tests can move on."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic_ai import Agent
from pydantic_ai.models.instrumented import InstrumentationSettings

from tests.conftest import Clock
from tests.cortex.stage import ORDERS_DB, SHOPIFY, Stage
from vaultctl.client import Vault
from vaultctl.client.setup import initialise
from vaultctl.store.sqlite import SqliteStore, system_clock


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of every embedded vault of this process: how far ahead of the system's it is."""
    moved = Clock(0)
    moved.advance(getattr(request, "param", timedelta(0)))
    monkeypatch.setitem(SqliteStore.__init__.__kwdefaults__, "clock", lambda: system_clock() + moved.micros)
    return moved


@pytest.fixture
def stage(fast_path: Path, clock: Clock) -> Iterator[Stage]:
    home = fast_path / "home"
    initialise(home=home, tenant="my-org", root_key="file")
    with Vault.embedded(home=home, tenant="my-org") as owner:
        owner.credentials.create("shopify-api-key", "api-key", SHOPIFY)
        owner.credentials.create("analytics-orders-db", "database-url", ORDERS_DB, allow=["agent:analytics-*"])
        owner.credentials.create("deploy-key", "generic-secret", "the-deploy-key-itself", allow=["agent:deploy-*"])
        yield Stage(home, owner)


@pytest.fixture
def traces() -> Iterator[InMemorySpanExporter]:
    """What a program that traces everything would export: of pydantic-ai, and of the MCP SDK."""
    from mcp.shared import _otel

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    Agent.instrument_all(InstrumentationSettings(tracer_provider=provider, include_content=True))
    patch = pytest.MonkeyPatch()
    patch.setattr(_otel, "_tracer", provider.get_tracer("mcp-python-sdk"))
    yield exporter
    patch.undo()
    Agent.instrument_all(False)
    provider.shutdown()
