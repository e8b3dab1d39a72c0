"""Plays the scenarios of tests/scenarios against the Python machine; their format is in its README."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from greenroom.codes import ErrorCode
from greenroom.core.client import ClientSession
from greenroom.core.client import effects as fx
from greenroom.core.client.opening import SavedSession
from greenroom.core.client.rosters import LocalRoom
from greenroom.errors import CLASS_OF_CODE, GreenroomError, SessionEndedError, TokenRefreshError
from greenroom.messages import Device, ParticipantsParams
from greenroom.model import Invitation, Member, Participant, ParticipantInfo
from greenroom.tokens.reader import peek

FOLDER = Path(__file__).parents[1] / "scenarios"
_WALL = 1_700_000_000
_UPPER = re.compile(r"(?<!^)([A-Z])")

Json = Any


def token_text(claims: Mapping[str, Json]) -> str:
    """The text of a scenario's token: header, claims and signature, base64url each. One with an app is the service's,
    and its `sub` follows from the rest; any other is of an application's own issuer."""
    header, body = {"alg": "RS256", "typ": "at+jwt", "x5t": "t", "kid": "k"}, dict(claims)
    if "app" in claims:
        header = {"alg": "EdDSA", "typ": "session+jwt", "kid": "k"}
        body = {"sub": claims.get("xid", claims["app"]), **claims}
    parts = [header, body]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def snake(name: str) -> str:
    return _UPPER.sub(r"_\1", name).lower()


class Player:
    """One machine, fed with steps; gives each step's effects in the format of the scenarios."""

    def __init__(self, scenario: Mapping[str, Json]) -> None:
        self.wall_ahead = 0.0
        self.now = 0.0
        self.tokens = {name: token_text(claims) for name, claims in scenario.get("tokens", {}).items()}
        numbers, bytes_made = scenario.get("random", [0.5]), count(1)
        position = count()
        tools = fx.ClientTools(
            random=lambda: float(numbers[next(position) % len(numbers)]),
            random_bytes=lambda n: next(bytes_made).to_bytes(n, "big"),
            wall=lambda: _WALL + self.now + self.wall_ahead,
            peek=peek,
        )
        settings = {snake(name): value for name, value in scenario.get("settings", {}).items()}
        self.machine = ClientSession(tools, fx.ClientSettings(**settings))

    def play(self, step: Mapping[str, Json]) -> list[Json]:
        """Carry a step out. `at` may not be after the machine's deadline, but by `late`; a tick is at the deadline."""
        at, late = float(step.get("at", self.now)), float(step.get("late", 0.0))
        due = self.machine.deadline()
        assert at >= self.now - 1e-9, f"{step}: time goes back"
        if step["do"] == "quiet":
            return self._quiet(float(step["until"]))
        if step["do"] == "tick" or late:
            assert due is not None, f"{step}: nothing is due"
            assert abs(due + late - at) < 1e-6, f"{step}: the deadline is {due:.6f}"
            at = due + late
        else:
            assert due is None or due >= at - 1e-6, f"{step}: something is due before, at {due}"
        self.now = at
        getattr(self, "_" + snake(step["do"]))(step)
        return [self.effect(one) for one in self.machine.effects()]

    def _quiet(self, until: float) -> list[Json]:
        """Nothing but heartbeats until then: pings are answered."""
        while (due := self.machine.deadline()) is not None and due < until - 1e-6:
            self.now = max(due, self.now)
            self.machine.tick(self.now)
            for effect in self.machine.effects():
                sent = self.effect(effect)
                if sent.get("message", {}).get("method") != "ping":
                    return [sent]
                reply = json.dumps({"jsonrpc": "2.0", "id": sent["message"]["id"], "result": {}})
                self.machine.message(self.now, sent["attempt"], reply)
        self.now = until
        return []

    # -- inputs --------------------------------------------------------------------------------------------------

    def _token_of(self, value: str | None) -> str | None:
        return self.tokens[value[1:]] if value is not None and value.startswith("@") else value

    def _set_token(self, step: Mapping[str, Json]) -> None:
        token = self._token_of(step.get("token"))
        if step.get("pasted"):
            token = f" {token}\r\n"
        error = self.machine.set_token(self.now, token, refreshable=step.get("refreshable", False))
        assert (None if error is None else error.reason) == step.get("error"), step

    def _open(self, step: Mapping[str, Json]) -> None:
        info = step.get("info")
        self.machine.open(
            self.now,
            step["waiter"],
            None if info is None else ParticipantInfo(**{snake(name): value for name, value in info.items()}),
            Device(**step["device"]) if "device" in step else None,
            step.get("timeout", 10.0),
        )

    def _cancel_open(self, step: Mapping[str, Json]) -> None:
        self.machine.cancel_open(self.now, step["waiter"])

    def _close(self, step: Mapping[str, Json]) -> None:
        self.machine.close(self.now, step["waiter"])

    def _update(self, step: Mapping[str, Json]) -> None:
        self.machine.update(
            self.now,
            step["waiter"],
            step.get("name"),
            step.get("avatarUrl"),
            step.get("ifRevision"),
            step.get("attributes"),
        )

    def _set_status(self, step: Mapping[str, Json]) -> None:
        self.machine.set_status(self.now, step["waiter"], step["status"])

    def _get_participant(self, step: Mapping[str, Json]) -> None:
        self.machine.get_participant(self.now, step["waiter"])

    def _watch(self, step: Mapping[str, Json]) -> None:
        for number, params in enumerate(self.machine.participant_requests(_ids(step), step.get("externalIds", []))):
            self.machine.request(self.now, step["waiter"] + number, "participants.watch", params)

    def _get(self, step: Mapping[str, Json]) -> None:
        params = ParticipantsParams(ids=_ids(step), external_ids=step.get("externalIds", []))
        self.machine.request(self.now, step["waiter"], "participants.get", params)

    def _unwatch(self, step: Mapping[str, Json]) -> None:
        self.machine.unwatch(self.now, step["waiter"], ParticipantsParams(ids=_ids(step)))

    def _join_room(self, step: Mapping[str, Json]) -> None:
        self.machine.join_room(self.now, step["waiter"], step["room"])

    def _leave_room(self, step: Mapping[str, Json]) -> None:
        self.machine.leave_room(self.now, step["waiter"], step["room"])

    def _watch_room(self, step: Mapping[str, Json]) -> None:
        self.machine.watch_room(self.now, step["waiter"], step["room"])

    def _unwatch_room(self, step: Mapping[str, Json]) -> None:
        self.machine.unwatch_room(self.now, step["waiter"], step["room"])

    def _send_to_room(self, step: Mapping[str, Json]) -> None:
        message = msgspec.json.encode(step["message"])
        self.machine.send_to_room(self.now, step["waiter"], step["room"], message, step.get("to", []))

    def _answer_invitation(self, step: Mapping[str, Json]) -> None:
        self.machine.answer_invitation(self.now, step["waiter"], step["invitation"], accept=step["accept"])

    def _cancel_request(self, step: Mapping[str, Json]) -> None:
        self.machine.cancel_request(self.now, step["waiter"])

    def _dialed(self, step: Mapping[str, Json]) -> None:
        self.machine.dialed(self.now, step["attempt"])

    def _dial_failed(self, step: Mapping[str, Json]) -> None:
        code = ErrorCode(step.get("code", ErrorCode.SERVICE_UNAVAILABLE))
        self.machine.dial_failed(self.now, step["attempt"], CLASS_OF_CODE[code](code=code), step.get("retryAfter"))

    def _lost(self, step: Mapping[str, Json]) -> None:
        self.machine.lost(self.now, step["attempt"], step["code"], step.get("reason", ""))

    def _message(self, step: Mapping[str, Json]) -> None:
        message = step["message"]
        text = message if isinstance(message, str) else json.dumps({"jsonrpc": "2.0", **message})
        self.machine.message(self.now, step["attempt"], text)

    def _token(self, step: Mapping[str, Json]) -> None:
        answer = TokenRefreshError("as scripted") if step.get("fails") else self._token_of(step.get("token"))
        self.machine.token(self.now, step["number"], answer)

    def _restore(self, step: Mapping[str, Json]) -> None:
        self.machine.restore(msgspec.convert(step["saved"], SavedSession))

    def _online(self, step: Mapping[str, Json]) -> None:
        self.machine.online(self.now)

    def _offline(self, step: Mapping[str, Json]) -> None:
        self.machine.offline(self.now)

    def _wake(self, step: Mapping[str, Json]) -> None:
        self.machine.wake(self.now)

    def _sleep(self, step: Mapping[str, Json]) -> None:
        """The machine slept: the wall clock runs ahead, the other stood still."""
        self.wall_ahead += step["seconds"]

    def _tick(self, step: Mapping[str, Json]) -> None:
        self.machine.tick(self.now)

    # -- effects -------------------------------------------------------------------------------------------------

    def effect(self, effect: fx.Effect) -> dict[str, Json]:
        """An effect in the scenarios' format."""
        match effect:
            case fx.SendText(attempt, data):
                message = json.loads(data)
                del message["jsonrpc"]
                return {"effect": "sendText", "attempt": attempt, "message": message}
            case fx.Reject(waiter, error):
                return {"effect": "reject", "waiter": waiter, **_error(error)}
            case fx.Resolve(waiter, result):
                return {"effect": "resolve", "waiter": waiter, "result": _plain(result)}
            case fx.Notify(fx.RoomChangedEvent() as event):
                fields = {
                    name: _plain(getattr(event, name)) for name in ("room", "version", "count", "joined", "changed")
                }
                left = [{"id": one.id, "reason": reason} if reason else {"id": one.id} for one, reason in event.left]
                return {"effect": "notify", "event": "roomChanged", **fields, "left": left}
            case fx.Notify(event):
                fields = {camel(one): _plain(getattr(event, one)) for one in event.__slots__}
                return {"effect": "notify", "event": _name(event).removesuffix("Event"), **fields}
            case _:
                fields = {camel(one): _plain(getattr(effect, one)) for one in effect.__slots__}
                return {"effect": _name(effect), **fields}


def _ids(step: Mapping[str, Json]) -> list[str]:
    """`ids`, or as many made-up ones as `count` says."""
    made = [f"w{number}" for number in range(step.get("count", 0))]
    return [*step.get("ids", []), *made]


def _name(thing: object) -> str:
    name = type(thing).__name__
    return name[0].lower() + name[1:]


def _error(error: GreenroomError) -> dict[str, Json]:
    fields: dict[str, Json] = {"code": int(error.code)}
    if isinstance(error, SessionEndedError) and error.end_reason is not None:
        fields["endReason"] = error.end_reason
    return fields


def _plain(value: Json) -> Json:
    if isinstance(value, GreenroomError):
        return _error(value)
    if isinstance(value, Participant):
        info = {
            "name": value.info.name,
            "avatarUrl": value.info.avatar_url,
            "externalId": value.info.external_id,
            "attributes": value.info.attributes,
            "availability": value.availability,
        }
        given = {name: one for name, one in info.items() if one is not None}
        return {
            "id": value.id,
            "version": value.version,
            "revision": value.revision,
            "presence": value.presence.value,
            **given,
        }
    if isinstance(value, Member):
        names = {"name": value.info.name, "externalId": value.info.external_id}
        return {
            "id": value.id,
            "presence": value.presence.value,
            "sessions": value.sessions,
            "joinedAt": value.joined_at,
            "availability": value.availability,
            **{name: one for name, one in names.items() if one is not None},
        }
    if isinstance(value, LocalRoom):
        return {
            "room": value.name,
            "version": value.version,
            "count": value.count,
            "isJoined": value.is_joined,
            "members": [_plain(value.members[one]) for one in sorted(value.members)],
        }
    if isinstance(value, Invitation):
        fields = ("id", "room", "inviter", "inviter_name", "text", "created_at", "expires_at")
        return {camel(field): getattr(value, field) for field in fields}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return msgspec.to_builtins(value)


class Matcher:
    """Compares effects with what a scenario expects of them.

    An expected object matches one with at least its members; lists match item by item. A text ``$name`` stands for
    one value wherever it appears, and two names never stand for the same value; ``@name`` is a token.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._tokens = tokens
        self.bound: dict[str, Json] = {}

    def fits(self, expected: Json, actual: Json) -> bool:
        if isinstance(expected, str) and expected.startswith("$"):
            return self._bind(expected, actual)
        if isinstance(expected, str) and expected.startswith("@"):
            return bool(self._tokens[expected[1:]] == actual)
        if isinstance(expected, Mapping):
            return isinstance(actual, Mapping) and all(
                name in actual and self.fits(one, actual[name]) for name, one in expected.items()
            )
        if isinstance(expected, list):
            return (
                isinstance(actual, list)
                and len(expected) == len(actual)
                and all(self.fits(*pair) for pair in zip(expected, actual, strict=True))
            )
        return bool(expected == actual) and (expected is None) == (actual is None)

    def _bind(self, name: str, actual: Json) -> bool:
        if name in self.bound:
            return bool(self.bound[name] == actual)
        if any(one == actual and type(one) is type(actual) for one in self.bound.values()):
            return False
        self.bound[name] = actual
        return True

    def filled(self, value: Json) -> Json:
        """A step with the values in place of the names."""
        if isinstance(value, str) and value.startswith("$"):
            return self.bound[value]
        if isinstance(value, Mapping):
            return {name: self.filled(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self.filled(one) for one in value]
        return value


def play(scenario: Mapping[str, Json], note: Callable[[str], None] = print) -> None:
    """Play all steps; AssertionError at the first that does not do what is expected."""
    player = Player(scenario)
    matcher = Matcher(player.tokens)
    for number, step in enumerate(scenario["steps"]):
        inputs = {name: value for name, value in step.items() if name != "expect"}
        effects = player.play(matcher.filled(inputs))
        expected = step.get("expect", [])
        note(f"{number}: {json.dumps(inputs)[:200]}")
        for effect in effects:
            note(f"      {json.dumps(effect)[:300]}")
        where = f"{scenario['name']}, step {number} ({step['do']} at {step.get('at')})"
        assert len(effects) == len(expected), f"{where}: {len(effects)} effects, not {len(expected)}"
        for place, (wanted, actual) in enumerate(zip(expected, effects, strict=True)):
            assert matcher.fits(wanted, actual), f"{where}, effect {place}: {actual} is not {wanted}"
    if "ends" in scenario:
        assert player.machine.state == scenario["ends"]["state"]
        assert player.machine.is_open() == scenario["ends"]["isOpen"]
