"""The clients that other systems' users have, unchanged, sending to a server of ours."""

import logging
from collections import Counter
from contextlib import closing
from pathlib import Path
from shutil import rmtree

import lago_python_client
import pytest
import stripe
from lago_python_client.exceptions import LagoApiError
from lago_python_client.models import BatchEvent, Event
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import Counter as OtlpCounter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from serving import Server, fresh
from test_other_doors import logged as logged_of


class Here:
    """A server, and what its log holds."""

    def __init__(self, server):
        self.server = server
        self.data_dir = server.data_dir
        self.url = f"http://127.0.0.1:{server.port}"
        self.key = server.key

    def events(self, source):
        """The events of a source, as documents."""
        return [event for event in logged_of(self) if event["source"] == source]


@pytest.fixture(scope="module")
def here(books_dir: Path):
    data_dir = fresh(books_dir)
    server = Server(data_dir, workers=1)
    server.read_key()
    yield Here(server)
    assert server.stop() == 0
    server.process.communicate()
    rmtree(data_dir, ignore_errors=True)


def test_stripes_client(here):
    client = stripe.StripeClient(here.key, base_addresses={"api": here.url})
    params = {
        "event_name": "api_requests",
        "payload": {"stripe_customer_id": "cus_1", "value": "25"},
        "identifier": "req_1",
        "timestamp": 1704067200,
    }
    found = client.v1.billing.meter_events.create(params)
    assert (found.object, found.identifier, found.payload["value"]) == ("billing.meter_event", "req_1", "25")
    client.v1.billing.meter_events.create(params)
    first, second = here.events("stripe")
    assert first == second
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.billing.meter_events.create({**params, "payload": {"value": "25"}})
    assert refused.value.param == "payload[stripe_customer_id]"
    assert refused.value.code == "parameter_missing"
    with pytest.raises(stripe.AuthenticationError):
        stripe.StripeClient("sk_wrong", base_addresses={"api": here.url}).v1.billing.meter_events.create(
            params
        )


def test_lagos_client(here):
    client = lago_python_client.Client(api_key=here.key, api_url=here.url)
    event = Event(
        transaction_id="tx_1",
        external_subscription_id="sub_1",
        code="storage",
        timestamp=1704067200,
        precise_total_amount_cents=None,
        properties={"gb": 10},
    )
    told = client.events.create(event)
    assert (told.transaction_id, told.timestamp) == ("tx_1", "2024-01-01T00:00:00Z")
    client.events.batch_create(BatchEvent(events=[event, event.copy(update={"transaction_id": "tx_2"})]))
    assert [event["id"] for event in here.events("lago:sub_1")] == ["tx_1", "tx_1", "tx_2"]
    with pytest.raises(LagoApiError) as refused:
        client.events.batch_create(BatchEvent(events=[event.copy(update={"timestamp": "soon"})]))
    assert refused.value.status_code == 422
    assert refused.value.response["error_details"] == {"0": {"timestamp": ["invalid_format"]}}
    with pytest.raises(LagoApiError) as refused:
        lago_python_client.Client(api_key="wrong", api_url=here.url).events.create(event)
    assert (refused.value.status_code, refused.value.response["error"]) == (401, "Unauthorized")


@pytest.mark.parametrize("temporality", list(AggregationTemporality)[1:], ids=lambda one: one.name)
def test_opentelemetrys_metrics(here, temporality):
    service = f"metrics-{temporality.name}"
    exporter = OTLPMetricExporter(
        endpoint=f"{here.url}/otlp/v1/metrics",
        headers={"Authorization": f"Bearer {here.key}"},
        preferred_temporality={OtlpCounter: temporality},
    )
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    resource = Resource.create({"service.name": service, "customer.id": "acme"})
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    with closing_provider(provider):
        tokens = provider.get_meter("app").create_counter("llm.tokens", unit="1")
        for count in (3, 4, 0, 5):
            tokens.add(count, {"model": "opus"})
            assert provider.force_flush()
        tokens.add(7, {"model": "other"})
    sums = Counter()
    ids = set()
    for event in here.events(f"otlp:{service}"):
        assert (event["type"], event["subject"]) == ("llm.tokens", "acme")
        ids.add(event["id"])
        sums[event["data"]["attributes"]["model"]] += event["data"]["value"]
    assert sums == {"opus": 12, "other": 7}
    assert len(ids) == len(here.events(f"otlp:{service}"))


def test_opentelemetrys_logs(here):
    exporter = OTLPLogExporter(
        endpoint=f"{here.url}/otlp/v1/logs", headers={"Authorization": f"Bearer {here.key}"}
    )
    resource = Resource.create({"service.name": "logs", "customer.id": "acme"})
    provider = LoggerProvider(resource, shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    with closing_provider(provider):
        for number in range(20):
            provider.get_logger("app").emit(
                event_name="llm.completion",
                body=f"call {number}",
                attributes={"gen_ai.usage.input_tokens": number},
            )
    found = here.events("otlp:logs")
    assert sum(event["data"]["attributes"]["gen_ai_usage_input_tokens"] for event in found) == sum(range(20))
    assert {event["type"] for event in found} == {"llm.completion"}
    assert {event["subject"] for event in found} == {"acme"}


def closing_provider(provider):
    """Shut a provider down at the end; what could not be sent would be logged as an error."""
    provider.close = provider.shutdown
    return closing(provider)


def test_opentelemetry_says_so_when_the_key_is_wrong(here, caplog):
    exporter = OTLPLogExporter(endpoint=f"{here.url}/otlp/v1/logs", headers={"Authorization": "Bearer fk_x"})
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    with caplog.at_level(logging.ERROR), closing_provider(provider):
        provider.get_logger("app").emit(body="x")
    assert "401" in caplog.text
