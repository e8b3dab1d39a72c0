"""Nodes that are asked answer in pieces; who is late, silent or unreadable is left out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from greenroom.core.commands import Command, SurveyAnswerCommand, SurveyCommand
from greenroom.errors import ServiceUnavailableError
from greenroom.server.cluster.doctor.survey import PIECE, Survey
from greenroom.server.cluster.status import NodeStatus
from tests.support.sim.loop import in_virtual_time

STATUS = NodeStatus(
    node="", boot="b", version="1", state="acting", not_ready=None, sessions=1, connections=1, kept_writes=0,
    clock_difference=0.0, reaper_lag=0.0, reaper_failing="", uptime=1.0,
)  # fmt: skip


class Cluster:
    """Nodes by name, with the sessions that each holds, and a bus that is lost on some."""

    def __init__(self, **held: Sequence[tuple[str, int]]) -> None:
        self.deaf: set[str] = set()
        self.answers: list[SurveyAnswerCommand] = []
        self.surveys = {node: self._node(node, sessions) for node, sessions in held.items()}
        self.away = False

    def _node(self, node: str, sessions: Sequence[tuple[str, int]]) -> Survey:
        return Survey(
            node,
            send=self.send,
            status=lambda: msgspec.structs.replace(STATUS, node=node),
            held=lambda: sessions,
            random_hex=lambda: f"number-of-{node}",
        )

    async def send(self, to: str, command: Command) -> None:
        if self.away:
            raise ServiceUnavailableError("away")
        for node, survey in self.surveys.items():
            if to not in ("*", node) or node in self.deaf:
                continue
            if isinstance(command, SurveyCommand):
                await survey.answer(command)
            elif isinstance(command, SurveyAnswerCommand):
                self.answers.append(command)
                survey.answered(command)


async def test_every_node_that_is_asked_answers_with_its_status_and_what_it_holds() -> None:
    cluster = Cluster(one=[("s1", 3)], two=[])
    answers = await cluster.surveys["one"].ask(["one", "two"], sockets=True)
    assert {node: (answer.status.node, answer.held) for node, answer in answers.items()} == {
        "one": ("one", {"s1": 3}),
        "two": ("two", {}),
    }


async def test_where_sessions_are_not_asked_for_they_do_not_travel() -> None:
    cluster = Cluster(one=[("s1", 3)])
    answers = await cluster.surveys["one"].ask(["one"], sockets=False)
    assert answers["one"].held is None
    assert "s1" not in cluster.answers[0].piece


async def test_many_sessions_come_in_several_messages_and_as_one_answer() -> None:
    many = [(f"s{number}", number) for number in range(2 * PIECE + 1)]
    cluster = Cluster(one=[], two=many)
    answers = await cluster.surveys["one"].ask(["two"], sockets=True)
    assert answers["two"].held == dict(many)
    assert len(cluster.answers) == 4, "three of them, and one of who was not waited for"


def test_who_does_not_answer_in_time_is_left_out_and_what_comes_later_is_dropped() -> None:
    async def life() -> None:
        cluster = Cluster(one=[], two=[("s1", 1)])
        cluster.deaf = {"two"}
        began = asyncio.get_running_loop().time()
        answers = await cluster.surveys["one"].ask(["one", "two", "three"], sockets=True, patience=3.0)
        assert set(answers) == {"one"}
        assert asyncio.get_running_loop().time() - began == pytest.approx(3.0)
        cluster.surveys["one"].answered(cluster.answers[0])
        assert (await cluster.surveys["one"].ask(["one"], sockets=True)).keys() == {"one"}

    in_virtual_time(life())


def test_an_answer_of_which_a_piece_is_lost_or_unreadable_does_not_count() -> None:
    async def life() -> None:
        cluster = Cluster(one=[], two=[(f"s{number}", 1) for number in range(PIECE + 1)])
        survey, answered = cluster.surveys["one"], cluster.surveys["one"].answered
        lost = iter((True, False))

        def receive(command: SurveyAnswerCommand) -> None:
            answered(SurveyAnswerCommand(number=command.number, piece="not JSON"))
            if '"node":"one"' in command.piece or not next(lost):
                answered(command)

        survey.answered = receive  # type: ignore[method-assign]
        assert set(await survey.ask(["one", "two"], sockets=True, patience=1.0)) == {"one"}

    in_virtual_time(life())


async def test_a_bus_that_is_away_is_said_to_who_asks() -> None:
    cluster = Cluster(one=[])
    cluster.away = True
    with pytest.raises(ServiceUnavailableError):
        await cluster.surveys["one"].ask(["one"], sockets=True)
    cluster.away = False
    assert await cluster.surveys["one"].ask(["one"], sockets=True)
