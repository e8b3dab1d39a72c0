"""A `ServerSession` in virtual time: services in memory, and an engine that answers when a test says so."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
from msgspec import UNSET

from greenroom.core.requests import Attached, EndRequest, Owner, ParticipantQuery
from greenroom.core.server import ServerSession
from greenroom.core.server.effects import Close, EngineCall, Ping, Refused, Send
from greenroom.core.server.services import Now, SessionLimits
from greenroom.core.states import ServerEvent, ServerState
from greenroom.errors import RateLimitedError, TokenExpiredError, TokenInvalidError
from greenroom.model import (
    Application,
    EndReason,
    ParticipantRecord,
    Presence,
    RoomGrant,
    SessionRecord,
    participant_id_of,
)

NAMESPACE = "0f0f0f0f-1111-4222-8333-444444444444"
APP = "app-1"
SECRET = "s" * 43
NEXT_SECRET = "n" * 43
OPEN_ID = "0123456789abcdef"
WALL = 1_700_000_000.0
ANNA = participant_id_of(NAMESPACE, "anna")
BOB = participant_id_of(NAMESPACE, "bob")
S, C = ServerState, ServerEvent


class Policy(msgspec.Struct, frozen=True):
    """A token's claim that narrows nothing by default."""

    max_sessions: Any = UNSET
    when_full: Any = UNSET
    same_device: Any = UNSET


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What `SessionServices.verify` gives."""

    app: str = APP
    participant_id: str | None = None
    external_id: str | None = None
    scopes: tuple[str, ...] = ("notifications:set", "session:update")
    issued_at: int = int(WALL)
    expires_at: int = int(WALL) + 3600
    jti: str = "jti-1"
    version: int = 2
    policy: Policy = Policy()
    room_grants: tuple[RoomGrant, ...] = ()
    name: str | None = None
    avatar_url: str | None = None


def token_for(external_id: str | None, **fields: Any) -> Token:
    """A token with this external id."""
    participant_id = None if external_id is None else participant_id_of(NAMESPACE, external_id)
    return Token(participant_id=participant_id, external_id=external_id, **fields)


class FakeServices:
    """Tokens are words in a dict; everything can be changed by the test."""

    def __init__(self, **limits: Any) -> None:
        self.limits = SessionLimits(**limits)
        self.tokens: dict[str, Token] = {"anna": token_for("anna"), "nobody": Token()}
        self.applications: dict[str, Application] = {APP: Application(key=APP, name="App", namespace=NAMESPACE)}
        self.full = False
        self.admitted: list[tuple[str, str]] = []
        self.failed_resumes: list[str] = []
        self.resumed: list[str] = []
        self.revoked_jtis: set[tuple[str, str]] = set()
        self.verified_for: list[str | None] = []
        self.violations: list[str] = []
        self.bad: set[str] = set()
        self.joins: list[str] = []
        self.invitations = 0
        self._counter = itertools.count(1)

    def verify(
        self, token: str, address: str, now: Now, *, session_id: str | None = None, opening: bool = False
    ) -> Token:
        """Words: a token's name, or expired, or limited. Unless full."""
        if opening:
            self._check_room()
        self.verified_for.append(session_id)
        if token == "limited":
            raise RateLimitedError(retry_after=7.0)
        found = self.tokens.get(token)
        if found is None:
            raise TokenInvalidError
        if now.wall >= found.expires_at + 30:
            raise TokenExpiredError
        return found

    def application(self, key: str) -> Application | None:
        """From the dict."""
        return self.applications.get(key)

    def _check_room(self) -> None:
        if self.full:
            raise RateLimitedError(retry_after=1.0)

    def admit(self, app: str, participant: str, now: Now) -> None:
        """The same."""
        self.check_violations(participant, now)
        self._check_room()
        self.admitted.append((app, participant))

    def check_resume(self, session_id: str, address: str, now: Now) -> None:
        """Unless the session or the address is among the bad."""
        self.check_violations(session_id, now)
        self.check_violations(address, now)

    def note_resumed(self, session_id: str, now: Now) -> None:
        """Kept."""
        self.resumed.append(session_id)

    def note_failed_resume(self, address: str, now: Now) -> None:
        """Kept."""
        self.failed_resumes.append(address)

    def note_violation(self, key: str, now: Now) -> None:
        """Kept."""
        self.violations.append(key)

    def check_violations(self, key: str, now: Now) -> None:
        """Unless it is among the bad."""
        if key in self.bad:
            raise RateLimitedError(retry_after=2.0)

    def admit_join(self, app: str, participant_id: str, now: Now) -> None:
        """Unless the participant is among the bad."""
        self.check_violations(participant_id, now)
        self.joins.append(participant_id)

    def admit_invitations(self, app: str, inviter: str, count: int, now: Now) -> None:
        """The same."""
        self.check_violations(inviter, now)
        self.invitations += count

    def random_bytes(self, count: int) -> bytes:
        """Not random at all."""
        return next(self._counter).to_bytes(count, "big")

    def settings(self, **fields: Any) -> None:
        """Change the application's settings."""
        app = self.applications[APP]
        self.applications[APP] = msgspec.structs.replace(app, settings=msgspec.structs.replace(app.settings, **fields))

    def change(self, **fields: Any) -> None:
        """Change the application."""
        self.applications[APP] = msgspec.structs.replace(self.applications[APP], **fields)


def person(participant_id: str, version: int = 1, **fields: Any) -> ParticipantRecord:
    """A participant's record."""
    fields.setdefault("presence", Presence.ONLINE)
    fields.setdefault("shown", fields["presence"])
    return ParticipantRecord(app=APP, id=participant_id, version=version, **fields)


class Rig:
    """The machine, its clock, and what came out of it."""

    def __init__(self, services: FakeServices | None = None, **kwargs: Any) -> None:
        self.services = services or FakeServices()
        self.mono = 1000.0
        self.wall = WALL
        self.machine = ServerSession(self.services, self.now, address="192.0.2.1", **kwargs)
        self.sent: list[dict[str, Any]] = []
        self.calls: list[EngineCall] = []
        self.closed: Close | None = None
        self.pings = 0
        self.refusals: list[tuple[str, bool]] = []
        self.others: list[Any] = []
        self._ids = itertools.count(1)

    @property
    def now(self) -> Now:
        """Both clocks."""
        return Now(self.mono, self.wall)

    def is_in(self, state: ServerState) -> bool:
        """Whether the machine is in this state."""
        return self.machine.context.state is state

    @property
    def close_code(self) -> int | None:
        """With which the machine closed the connection."""
        return None if self.closed is None else self.closed.code

    def is_closed(self) -> bool:
        """Whether the machine closed the connection."""
        return self.closed is not None

    def pump(self) -> None:
        """Sort the effects."""
        for effect in self.machine.context.effects():
            if isinstance(effect, Send):
                self.sent.append(msgspec.json.decode(effect.data))
            elif isinstance(effect, EngineCall):
                self.calls.append(effect)
            elif isinstance(effect, Close):
                self.closed = effect
            elif isinstance(effect, Ping):
                self.pings += 1
            elif isinstance(effect, Refused):
                self.refusals.append((effect.reason, effect.resuming))
            else:
                self.others.append(effect)

    def pass_time(self, seconds: float) -> None:
        """Time continues; ticks come when they are due, and pongs never."""
        end = self.mono + seconds
        while (due := self.machine.deadline(self.now)) <= end:
            step = max(0.0, due - self.mono)
            self.mono, self.wall = self.mono + step, self.wall + step
            self.machine.tick(self.now)
            self.pump()
        self.wall += end - self.mono
        self.mono = end

    def pass_alive(self, seconds: float) -> None:
        """The same with a client that answers pings."""
        end = self.mono + seconds
        while self.mono < end:
            self.pass_time(min(1.0, end - self.mono))
            self.machine.pong(self.now)

    def raw(self, data: bytes) -> None:
        """A message of any kind."""
        self.machine.message(data, self.now)
        self.pump()

    def send(self, method: str, *, notify: bool = False, **params: Any) -> int:
        """A request; its id."""
        number = next(self._ids)
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        if not notify:
            message["id"] = number
        self.raw(msgspec.json.encode(message))
        return number

    def answer(self, result: Any, number: int | None = None) -> None:
        """The engine's answer to a call, by default the last one."""
        self.machine.answer(self.calls[-1].number if number is None else number, result, self.now)
        self.pump()

    def do(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Any other input, with now as its last argument where it takes one there."""
        getattr(self.machine, name)(*args, **kwargs)
        self.pump()

    def lost(self, code: int) -> None:
        """The connection is over."""
        self.machine.lost(code, self.now)
        self.pump()

    # -- what came out

    def reply(self, number: int | None) -> dict[str, Any]:
        """The reply to a request."""
        found = [message for message in self.sent if message.get("id", "-") == number and "method" not in message]
        assert len(found) == 1, f"{len(found)} replies to {number}: {self.sent}"
        return found[0]

    def result(self, number: int) -> Any:
        """Its result."""
        reply = self.reply(number)
        assert "result" in reply, reply
        return reply["result"]

    def error(self, number: int | None) -> int:
        """Its error's code."""
        code: int = self.reply(number)["error"]["code"]
        return code

    def notifications(self, method: str) -> list[dict[str, Any]]:
        """Params of all notifications of this kind."""
        return [message["params"] for message in self.sent if message.get("method") == method]

    @property
    def requests(self) -> list[Any]:
        """What the engine was asked."""
        return [call.request for call in self.calls]

    # -- ways to a state

    def record(self, generation: int = 1, **fields: Any) -> SessionRecord:
        """The session as the engine stores it."""
        values: dict[str, Any] = {
            "id": "p1-01",
            "app": APP,
            "participant_id": participant_id_of(NAMESPACE, "anna"),
            "external_id": "anna",
            "generation": generation,
            "node": "n1",
            "lease": "lease-1",
            "token_issued_at": int(WALL),
            "token_expires_at": int(WALL) + 3600,
            "scopes": ("notifications:set", "session:update"),
        }
        values.update(fields)
        return SessionRecord(**values)

    def attached(self, generation: int = 1, version: int = 5) -> Attached:
        """The engine's answer to an open or a resume."""
        return Attached(session=self.record(generation), participant=person(ANNA, version), created=True)

    def hello(self, **params: Any) -> int:
        """Send session.open."""
        values: dict[str, Any] = {"token": "anna", "openId": OPEN_ID, "resumeSecret": SECRET, **params}
        return self.send("session.open", **values)

    def resume(self, **params: Any) -> int:
        """Send session.resume."""
        values: dict[str, Any] = {
            "sessionId": "p1-01", "resumeSecret": SECRET, "nextSecret": NEXT_SECRET, "attempt": 1, **params,
        }  # fmt: skip
        return self.send("session.resume", **values)

    def join(self, **fields: Any) -> Rig:
        """Answer the open or resume that is under way."""
        record = self.record(**fields)
        participant = person(record.participant_id, 5, external_id=record.external_id, name="Anna")
        self.answer(Attached(session=record, participant=participant, created=True))
        return self

    def open(self, **fields: Any) -> Rig:
        """To an open session, that its client has confirmed."""
        self.hello()
        self.join(**fields)
        self.send("ping")
        self.sent.clear()
        self.calls.clear()
        return self

    @property
    def owner(self) -> Owner:
        """Of the session."""
        assert self.machine.context.owner is not None
        return self.machine.context.owner


def reading(ids: tuple[str, ...]) -> ParticipantQuery:
    """The request that reads these."""
    return ParticipantQuery(app=APP, ids=ids, limit=len(ids))


def ending(owner: Owner, reason: EndReason, text: str = "", *, can_wait: bool = False) -> EndRequest:
    """The request by which an owner ends its session."""
    return EndRequest(session_id=owner.session_id, reason=reason, text=text, owner=owner, can_wait=can_wait)


def rig_in(state: ServerState) -> Rig:
    """A machine that came to this state by inputs."""
    rig = Rig()
    if state is S.HELLO:
        return rig
    if state in (S.JOINING, S.ABANDONED):
        rig.hello()
        if state is S.ABANDONED:
            rig.lost(1006)
        return rig
    rig.open()
    if state is S.FENCED:
        rig.do("fence", rig.now)
    elif state is S.EXPIRED:
        rig.wall += 3600
        rig.do("tick", rig.now)
    elif state is S.ENDING:
        rig.send("session.close")
    elif state is S.GONE:
        rig.lost(1006)
    return rig
