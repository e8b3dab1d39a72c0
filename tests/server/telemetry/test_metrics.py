"""What is counted and measured: each metric moves when it should, is documented, and says nothing of anybody."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from aiohttp import web
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from greenroom.codes import ERRORS
from greenroom.engines.base import Bus, Directory, Outbox, Registry
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.server.cluster.detection_bounds import bounds_of
from greenroom.server.config import ServerConfig
from greenroom.server.instrumentation import Measure, MeasuredEngine
from greenroom.server.telemetry.metrics import Histogram, Metrics
from greenroom.server.telemetry.metrics_table import BY_NAME, FOREIGN, TABLE, Kind
from tests.server.harness import RefusedError, RunningService, running_service
from tests.server.http_service import basic
from tests.support.patience import PATIENCE, until

ROOT = Path(__file__).resolve().parents[3]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"


async def scrape(running: RunningService, **headers: str) -> dict[str, Metric]:
    """What /metrics says, by name."""
    async with running.http.get(running.url + "/metrics", headers=headers) as reply:
        assert reply.status == 200, await reply.text()
        return {family.name: family for family in text_string_to_metric_families(await reply.text())}


def value(found: dict[str, Metric], sample: str, **labels: str) -> float:
    """Of one sample; 0 where there is none."""
    return next(
        (
            one.value
            for family in found.values()
            for one in family.samples
            if one.name == sample and labels.items() <= one.labels.items()
        ),
        0.0,
    )


def full_name(family: Metric) -> str:
    return family.name + ("_total" if family.type == "counter" else "")


# -- cells ------------------------------------------------------------------------------------------------------------


def test_a_spread_counts_what_is_at_or_below_each_bound() -> None:
    spread = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        spread.observe(seconds)
    assert spread.buckets() == [("0.1", 2.0), ("1.0", 3.0), ("+Inf", 4.0)]
    assert spread.count == 4
    assert spread.total == pytest.approx(7.65)


def test_what_is_not_in_the_table_cannot_be_counted() -> None:
    metrics = Metrics()
    with pytest.raises(KeyError):
        metrics.counter("greenroom_made_up_total")
    with pytest.raises(KeyError):
        metrics.gauge("greenroom_made_up", lambda: ())
    with pytest.raises(AssertionError, match="greenroom_opens_total"):
        metrics.counter("greenroom_opens_total").labels("ok", "too many")


def test_two_services_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.counter("greenroom_opens_total").labels("ok").value += 1
    assert b'greenroom_opens_total{result="ok"} 1.0' in one.page("")[0]
    assert b"greenroom_opens_total{" not in other.page("")[0]


def test_open_metrics_where_it_is_asked_for() -> None:
    body, content_type = Metrics().page("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


# -- the service ------------------------------------------------------------------------------------------------------


async def test_a_life_is_counted() -> None:
    async with running_service(renew_interval=0.2) as running:
        app = await running.new_application()
        async with running.connect() as client:
            opened = await client.open(app.token("anna"))
            await client.call("session.updateParticipantInfo", updateId="1", name="Anna")
            await until(lambda: running.service.node.application_sessions.get(app.key) == 1)
            await until(lambda: not running.service.measure._updates)
            found = await scrape(running)
            assert value(found, "greenroom_sessions", state="open") == 1
            assert value(found, "greenroom_application_sessions", app=app.key) == 1
            assert value(found, "greenroom_connections") == 1
            assert value(found, "greenroom_opens_total", result="ok") == 1
            assert value(found, "greenroom_open_seconds_count") == 1
            assert value(found, "greenroom_messages_received_total") == 2
            assert value(found, "greenroom_update_to_watcher_seconds_count") == 1
            assert 0 < value(found, "greenroom_update_to_watcher_seconds_sum") < 5
            assert value(found, "greenroom_engine_call_seconds_count", contract="registry", call="open") == 1
            await client.drop()
        async with running.connect() as client:
            await client.resume(opened)
            await client.call("session.close")
        async with running.connect() as client:
            with pytest.raises(RefusedError):
                await client.open("no token")
        found = await scrape(running)
        assert value(found, "greenroom_resumes_total", result="ok") == 1
        assert value(found, "greenroom_opens_total", result="Invalid_token") == 1
        assert value(found, "greenroom_sessions_ended_total", reason="closed") == 1
        assert value(found, "greenroom_connections_lost_total", code="4000") >= 1
        assert value(found, "greenroom_sessions", state="open") == 0
        assert value(found, "greenroom_http_requests_total", path="/metrics", status="200") == 1


async def test_deliveries_are_counted_for_each_application() -> None:
    answers = iter((503, 200))

    async def receive(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=next(answers, 200))

    receiver = web.Server(receive)
    listener = await asyncio.get_running_loop().create_server(receiver, "127.0.0.1", 0)
    try:
        async with running_service(webhook_allowed_networks=["127.0.0.0/8"], webhook_http="allowed") as running:
            app = await running.new_application()
            url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
            headers = {"Authorization": "Bearer " + await api_token(running, app)}
            body = {"url": url, "events": ["session.opened"]}
            async with running.http.post(f"{running.url}/v1/webhooks", json=body, headers=headers) as reply:
                assert reply.status < 300, await reply.text()
            async with running.connect() as client:
                await client.open(app.token("anna"))
                attempts = running.service.metrics.counter("greenroom_webhook_attempts_total")
                await until(lambda: attempts.labels(app.key, "5xx").value == 1)
                found = await scrape(running)
                assert value(found, "greenroom_webhook_waiting", app=app.key) == 1
            async with running.connect() as client:
                await client.open(app.token("ben"))
                await until(lambda: attempts.labels(app.key, "2xx").value >= 1)
            found = await scrape(running)
            assert value(found, "greenroom_webhook_delivery_seconds_count", app=app.key) >= 1
            assert value(found, "greenroom_webhook_endpoints", app=app.key) == 1
    finally:
        listener.close()
        await receiver.shutdown(0.1)
        await listener.wait_closed()


async def test_a_call_of_the_engine_is_measured_by_two_looks_at_the_clock() -> None:
    """What measuring costs, in counted work; `EngineCalls` looks twice more for each open."""
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return float(looks)

    engine: Any = EmbeddedEngine(":memory:")
    await engine.start()
    try:
        measure = Measure(Metrics(), clock, clock)
        measured = MeasuredEngine(engine, measure.timed)
        assert measured.bus is engine.bus
        await measured.bus.watch("app", ("p",))
        await measured.directory.version()
        assert looks == 2
        measure.joined(3.0, resuming=False)
        assert looks == 2
        assert measure.metrics.histogram("greenroom_open_seconds").labels().total == 3.0
    finally:
        await engine.stop()


def test_every_call_of_an_engine_is_timed() -> None:
    """A method that is added to a contract must be added to what stands around it."""

    def timed(_contract: str, call: Any) -> Any:
        return ("timed", call)

    inner: Any = EmbeddedEngine(":memory:")
    inner.name = "other"
    measured = MeasuredEngine(inner, cast(Any, timed))
    for part, contract in (("registry", Registry), ("bus", Bus), ("outbox", Outbox), ("directory", Directory)):
        for name, method in vars(contract).items():
            if name.startswith("_") or not callable(method):
                continue
            own = getattr(getattr(inner, part), name)
            waited_for = asyncio.iscoroutinefunction(method) or method.__annotations__["return"].startswith("Awaitable")
            expected = ("timed", own) if waited_for else own
            assert getattr(getattr(measured, part), name) == expected, (part, name)


async def test_an_update_that_changes_nothing_is_not_measured() -> None:
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as client:
            await client.open(app.token("anna"), participant={"name": "Anna"})
            await client.call("session.updateParticipantInfo", updateId="1", name="Anna")
            assert not running.service.measure._updates
            assert value(await scrape(running), "greenroom_update_to_watcher_seconds_count") == 0


async def test_ends_are_counted_by_reason_where_they_are_made() -> None:
    async with running_service(grace=0.2, grace_going_away=0.1, grace_unconfirmed=0.1, max_waiting=32) as running:
        app = await running.new_application()
        kicked, gone, first = await running.dial(), await running.dial(), await running.dial()
        await kicked.open(app.token("anna"))
        await gone.open(app.token("ben"))
        await first.open(app.token("chloe"), device={"id": "phone"})
        headers = {"Authorization": "Bearer " + await api_token(running, app)}
        person = app.participant_id("anna")
        async with running.http.post(f"{running.url}/v1/participants/{person}/kick", json={}, headers=headers) as reply:
            assert reply.status == 200
        await gone.drop()
        second = await running.dial()
        await second.open(app.token("chloe"), device={"id": "phone"})

        async def counted() -> bool:
            found = await scrape(running)
            ends = {
                reason: value(found, "greenroom_sessions_ended_total", reason=reason)
                for reason in ("kicked", "timeout", "replaced", "closed")
            }
            return ends == {"kicked": 1, "timeout": 1, "replaced": 1, "closed": 0}

        await until(counted)


async def api_token(running: RunningService, app: Any) -> str:
    form = {"grant_type": "client_credentials"}
    headers = {"Authorization": basic(app.key, app.secret)}
    async with running.http.post(f"{running.url}/v1/auth/token", data=form, headers=headers) as reply:
        return str((await reply.json())["access_token"])


async def test_silence_is_measured_when_a_connection_is_dropped_for_it() -> None:
    async with running_service(ping_interval=1.5, pong_timeout=1.0) as running:
        app = await running.new_application()
        # One that answers no ping.
        async with running.http.ws_connect(
            running.url + "/v1/session", protocols=("greenroom.v1",), autoping=False
        ) as socket:
            await socket.send_str(
                json.dumps(
                    {
                        "jsonrpc": "2.0",
                        "id": 1,
                        "method": "session.open",
                        "params": {"token": app.token("anna"), "openId": "o" * 32, "resumeSecret": "s" * 43},
                    }
                )
            )
            await until(lambda: not running.service.hub.connections and value_of_silence(running) == 1)
        found = await scrape(running)
        assert 2.5 <= value(found, "greenroom_silence_seconds_sum") < PATIENCE


def value_of_silence(running: RunningService) -> int:
    return running.service.metrics.histogram("greenroom_silence_seconds").labels().count


async def test_a_fenced_node_and_an_engine_that_fails_are_seen() -> None:
    async with running_service() as running:
        node = running.service.node
        node._lease.ended()
        node.check_fence()
        found = await scrape(running)
        assert value(found, "greenroom_node_state", state="fenced") == 1
        assert value(found, "greenroom_node_state", state="acting") == 0
        assert value(found, "greenroom_node_ready") == 0
        assert value(found, "greenroom_lease_age_seconds") > running.service.config.fence_after
        async with running.http.get(running.url + "/v1/session") as reply:
            assert reply.status in (426, 400)
        found = await scrape(running)
        assert value(found, "greenroom_requests_refused_total", status=str(reply.status)) == 1


async def test_an_engine_that_cannot_be_reached_is_an_error_and_a_refusal_is_not() -> None:
    from greenroom.errors import ServiceUnavailableError

    class Away:
        async def participants(self, _query: Any) -> Any:
            raise ServiceUnavailableError("away")

    measure = Measure(Metrics(), time.monotonic, time.time)
    with pytest.raises(ServiceUnavailableError):
        await measure.timed("registry", Away().participants)(None)
    failed = measure.metrics.counter("greenroom_engine_errors_total").labels("registry", "participants")
    assert failed.value == 1
    async with running_service() as running:
        service = running.service
        async with running.connect() as client:
            app = await running.new_application()
            with pytest.raises(RefusedError):
                await client.resume(await dead_session(running, app))
        assert service.metrics.counter("greenroom_engine_errors_total").labels("registry", "attach").value == 0


async def dead_session(running: RunningService, app: Any) -> Any:
    async with running.connect() as client:
        opened = await client.open(app.token("anna"))
        await client.call("session.close")
        return opened


# -- who may ask ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"X-Forwarded-For": "203.0.113.7"}, 401),
        ({"Forwarded": "for=203.0.113.7"}, 401),
        ({"Via": "1.1 proxy"}, 401),
        ({"Host": "rebound.example.com"}, 401),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:7465"}, 200),
    ],
)
async def test_without_a_token_only_this_machine_itself(headers: dict[str, str], status: int) -> None:
    async with running_service() as running:
        async with running.http.get(running.url + "/metrics", headers=headers) as reply:
            assert reply.status == status
        token = {"Authorization": f"Bearer {running.service.admin_token}"}
        async with running.http.get(running.url + "/metrics", headers=headers | token) as reply:
            assert reply.status == 200


async def test_a_loopback_proxy_is_not_this_machine_unless_the_settings_say_so() -> None:
    """It adds no header unless it is asked to."""
    async with (
        running_service(metrics_from_loopback="off") as running,
        running.http.get(running.url + "/metrics") as reply,
    ):
        assert reply.status == 401


async def test_the_metrics_token_reads_metrics_and_nothing_else() -> None:
    token = "prometheus-0123456789abcdef0123456789abcdef"
    async with running_service(metrics_from_loopback="off", metrics_token=token) as running:
        for given, path, status in (
            (token, "/metrics", 200),
            (running.service.admin_token, "/metrics", 200),
            (token + "x", "/metrics", 401),
            (token, "/admin/v1/status", 401),
            (token, "/v1/counts", 401),
        ):
            async with running.http.get(running.url + path, headers={"Authorization": f"Bearer {given}"}) as reply:
                assert reply.status == status, path


# -- what is said -----------------------------------------------------------------------------------------------------


async def test_every_metric_is_in_the_table_and_on_the_page() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    async with running_service() as running:
        found = await scrape(running)
    names = {full_name(family) for family in found.values()}
    for name in names:
        assert name in BY_NAME or name in FOREIGN, f"{name} is not documented"
    assert {row.name for row in TABLE} <= names
    for name in names:
        assert f"`{name}`" in page, "run scripts/docs_generate.py metrics"
    kinds = {full_name(family): family.type for family in found.values()}
    for row in TABLE:
        assert kinds[row.name] == ("gauge" if row.kind is Kind.INFO else row.kind.value)


async def test_nobody_is_named() -> None:
    """Canaries through all that a client may choose: none is on the page."""
    canary = "c4n4ry"
    async with running_service() as running:
        app = await running.new_application(f"name {canary}")
        token = app.token(f"{canary}-external")
        client = await running.dial()
        opened = await client.open(
            token, participant={"name": f"{canary} name"}, device={"id": f"{canary}-d", "name": f"{canary} device"},
            sdk={"name": canary, "version": canary},
        )  # fmt: skip
        async with running.http.request("DELETE", f"{running.url}/{canary}?{canary}") as reply:
            assert reply.status in (400, 404, 405)
        await client.socket.close(code=3999, message=canary.encode())
        async with running.connect() as other:
            with pytest.raises(RefusedError):
                await other.open(token[:-4] + "AAAA")
        async with running.http.get(running.url + "/metrics") as got:
            page = await got.text()
    assert canary not in page.lower()
    for secret in (token, opened.secret, opened.id, app.secret, app.participant_id(f"{canary}-external")):
        assert secret not in page
    assert 'code="other"' in page


def names_in(expression: str) -> set[str]:
    """Names of metrics in a query, as they are in the table."""
    found = set()
    for name in re.findall(r"\b(?:greenroom|process)_[a-z_]+", expression):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        found.add(base if base in BY_NAME and BY_NAME[base].kind is Kind.HISTOGRAM else name)
    return found


def labels_in(expression: str) -> Iterable[tuple[str, str]]:
    """(metric, label) of the selectors of a query."""
    for name, selector in re.findall(r"\b(greenroom_[a-z_]+)\{([^}]*)\}", expression):
        for label in re.findall(r"(\w+)\s*(?:=|!=|=~|!~)", selector):
            yield name, label


def check_query(expression: str) -> None:
    for name in names_in(expression):
        assert name in BY_NAME or name in FOREIGN, f"{expression}: there is no {name}"
    for name, label in labels_in(expression):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        row = BY_NAME.get(name) or BY_NAME[base]
        assert label in (*row.labels, "instance", "job", "le"), f"{expression}: {name} has no label {label}"


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    board = json.loads(DASHBOARD.read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(queries) > 40
    for query in (*queries, *(each["definition"] for each in board["templating"]["list"] if "definition" in each)):
        check_query(query)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    shown = {name for query in queries for name in names_in(query)}
    assert {row.name for row in TABLE} - shown == {"greenroom_node_ready"} - shown


def test_the_dashboards_queries_are_promql(tmp_path: Path) -> None:
    """As the expressions of rules, which promtool parses."""
    board = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    for variable, value_of in (("$__rate_interval", "1m"), ("$instance", ".*"), ("$app", ".*")):
        queries = [query.replace(variable, value_of) for query in queries]
    rules = [{"record": f"check:query{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", str(file))


def promtool(*arguments: str, cwd: Path | None = None) -> None:
    found = shutil.which("promtool")
    assert found is not None, "promtool is needed: make system installs it"
    done = subprocess.run([found, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_are_accepted_and_fire_when_they_should() -> None:
    promtool("check", "rules", str(ALERTS))
    promtool("test", "rules", "alerts-test.yml", cwd=ALERTS.parent)


def test_the_alerts_ask_for_metrics_and_reasons_that_exist() -> None:
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    how_to = (ROOT / "docs" / "how-to" / "watch-it-run.md").read_text()
    reasons = {row.reason for row in ERRORS.values()} | {"ok"}
    for rule in rules:
        check_query(rule["expr"])
        assert rule["alert"] in how_to, "say what to do about it"
        for chosen in re.findall(r'result=~"([^"]+)"', rule["expr"]):
            assert set(chosen.split("|")) <= reasons


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_the_defaults_give_the_figures_of_promise_4() -> None:
    found = {bound.cause: (bound.unreachable, bound.ended) for bound in bounds_of(ServerConfig())}
    assert found == {
        "closed": (None, 1.0),
        "reset": (1.0, 42.0),
        "left": (1.0, 7.0),
        "silent": (25.0, 66.0),
        "node": (12.0, 53.0),
        "restart": (0.0, 41.0),
        "engine": (25.0, 66.0),
    }


async def test_the_service_says_how_it_is() -> None:
    async with running_service() as running:
        app = await running.new_application()
        headers = {"Authorization": "Bearer " + await api_token(running, app)}
        async with running.http.get(running.url + "/v1/service", headers=headers) as reply:
            found = await reply.json()
        assert found["node"]["name"] == running.service.node.name
        assert (found["node"]["state"], found["node"]["notReady"], found["otherNodes"]) == ("acting", None, [])
        assert [bound["cause"] for bound in found["bounds"]][:2] == ["closed", "reset"]


async def test_the_loops_lag_is_probed() -> None:
    async with running_service() as running:
        spread = running.service.metrics.histogram("greenroom_loop_lag_seconds").labels()
        await until(lambda: spread.count > 0)
        assert spread.total < 60
        await asyncio.sleep(0)
