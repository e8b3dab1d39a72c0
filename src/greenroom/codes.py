"""Every number on the wire, in bands. The one source: the browser SDK's table and the reference page are made from it.

A number's band alone says what a client must do:

* error codes -32001 … -32049: try again; -32050 … -32099: do not;
* close codes 4000 … 4499: come back; 4500 … 4999: do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ErrorCode(IntEnum):
    """Codes of JSON-RPC errors (JSON-RPC 2.0, section 5.1, and our bands inside -32000 … -32099)."""

    # JSON-RPC's own.
    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    ILLEGAL_ARGUMENT = -32602
    INTERNAL_ERROR = -32603
    # Try again.
    SERVICE_UNAVAILABLE = -32001
    RATE_LIMITED = -32002
    OVER_CAPACITY = -32003
    DRAINING = -32004
    FENCED = -32005
    ENGINE_RECOVERING = -32006
    STATE_LOST = -32007
    TOKEN_EXPIRED = -32008
    OUTCOME_UNKNOWN = -32009
    STORAGE_FULL = -32010
    ROOMS_UNAVAILABLE = -32011
    ROOM_ENDING = -32012
    OPEN_TIMEOUT = -32040
    TOKEN_REFRESH_FAILED = -32041
    # Do not try again: something has to change first.
    TOKEN_INVALID = -32050
    TOKEN_REVOKED = -32051
    SCOPE_MISSING = -32052
    EXTERNAL_ID_MISMATCH = -32053
    TOO_MANY_SESSIONS = -32054
    PARTICIPANT_BLOCKED = -32055
    REVISION_CONFLICT = -32056
    SESSION_ENDED = -32057
    RESUME_REFUSED = -32058
    OPEN_ID_CONFLICT = -32059
    APPLICATION_DISABLED = -32060
    SESSION_NOT_OPEN = -32061
    ORIGIN_NOT_ALLOWED = -32062
    WATCH_LIMIT_REACHED = -32063
    TOKEN_MISMATCH = -32064
    ATTEMPT_SUPERSEDED = -32065
    APPLICATION_LIMIT_REACHED = -32066
    NOT_FOUND = -32067
    CONFLICT = -32068
    INVALID_CLIENT = -32069
    ROOM_PERMISSION_MISSING = -32070
    ROOM_FULL = -32071
    KEPT_OUT = -32072
    NOT_A_MEMBER = -32073
    ROOM_LIMIT_REACHED = -32074
    INVITATION_ANSWERED = -32075
    # Found by an SDK itself, never on the wire.
    NOT_INITIALIZED = -32090
    SESSION_ALREADY_OPEN = -32091
    OPEN_CANCELLED = -32092
    PROTOCOL_ERROR = -32093


class CloseCode(IntEnum):
    """WebSocket close codes (RFC 6455, section 7.4) that Greenroom sends or understands."""

    NORMAL = 1000
    GOING_AWAY = 1001
    WS_PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_UTF8 = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    # Come back.
    COME_BACK = 4000
    DRAINING = 4001
    SLOW_READER = 4002
    HEARTBEAT = 4003
    RATE_LIMITED = 4004
    STATE_LOST = 4005
    TOKEN_EXPIRED = 4006
    FENCED = 4007
    OVER_CAPACITY = 4008
    # Do not.
    UNAUTHENTICATED = 4500
    KICKED = 4501
    REPLACED = 4502
    SUPERSEDED = 4503
    IDENTITY_MISMATCH = 4504
    PROTOCOL_ERROR = 4505
    LIMIT_REACHED = 4506
    APPLICATION_DISABLED = 4507


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """What one error code means: its reason on the wire, HTTP status, platform number and what to do."""

    reason: str
    http_status: int
    platform_code: int
    meaning: str
    what_to_do: str


@dataclass(frozen=True, slots=True)
class CloseRow:
    """What one close code means and what a client should do."""

    reason: str
    meaning: str


_E = ErrorCode
_C = CloseCode

# platform_code: 89 and 90 are the platform's documented numbers (Invalid_token, Illegal_argument); where it
# documents none, the HTTP status is repeated, as its clients only show the number.
ERRORS: dict[ErrorCode, ErrorRow] = {
    _E.PARSE_ERROR: ErrorRow("Parse_error", 400, 90, "The message is not JSON.", "Send one JSON object in UTF-8."),
    _E.INVALID_REQUEST: ErrorRow(
        "Invalid_request",
        400,
        90,
        "The message is not a JSON-RPC 2.0 request.",
        "Send an object with jsonrpc, id, method and params; batches are not supported.",
    ),
    _E.METHOD_NOT_FOUND: ErrorRow(
        "Unknown_method", 404, 404, "There is no such method.", "Check the method's name and the SDK's version."
    ),
    _E.ILLEGAL_ARGUMENT: ErrorRow(
        "Illegal_argument",
        400,
        90,
        "An argument is missing, mistyped or out of range.",
        "Pass what the message asks for.",
    ),
    _E.INTERNAL_ERROR: ErrorRow(
        "Internal_error",
        500,
        500,
        "The service failed unexpectedly.",
        "Try again; if it persists, check the service's log.",
    ),
    _E.SERVICE_UNAVAILABLE: ErrorRow(
        "Service_unavailable", 503, 503, "The service cannot do this at the moment.", "Try again after the delay given."
    ),
    _E.RATE_LIMITED: ErrorRow(
        "Rate_limited", 429, 429, "Too many requests in too short a time.", "Try again after the delay given."
    ),
    _E.OVER_CAPACITY: ErrorRow(
        "over_capacity",
        503,
        503,
        "The node accepts no more sessions at the moment.",
        "Try again after the delay given.",
    ),
    _E.DRAINING: ErrorRow(
        "draining", 503, 503, "The node is being shut down.", "Connect again; another node will answer."
    ),
    _E.FENCED: ErrorRow(
        "fenced",
        503,
        503,
        "The node has lost contact with the engine and serves no calls for now.",
        "Try again shortly.",
    ),
    _E.ENGINE_RECOVERING: ErrorRow(
        "engine_recovering", 503, 503, "The engine is being restored.", "Try again within 20 seconds."
    ),
    _E.STATE_LOST: ErrorRow("state_lost", 404, 404, "The session is not known to the service.", "Open a new session."),
    _E.TOKEN_EXPIRED: ErrorRow(
        "Token_expired", 401, 89, "The token has expired.", "Get a new token from your backend and try again."
    ),
    _E.OUTCOME_UNKNOWN: ErrorRow(
        "outcome_unknown",
        503,
        503,
        "The change was made but not confirmed by enough replicas.",
        "Repeat the same call; a repeat is safe.",
    ),
    _E.STORAGE_FULL: ErrorRow(
        "storage_full", 503, 503, "The service's disk is full.", "Free disk space; the service recovers by itself."
    ),
    _E.ROOMS_UNAVAILABLE: ErrorRow(
        "Rooms_unavailable",
        503,
        503,
        "A node of the service still runs a version without rooms.",
        "Try again when all nodes are upgraded.",
    ),
    _E.ROOM_ENDING: ErrorRow("Room_ending", 503, 503, "The room is being ended.", "Try again in a few seconds."),
    _E.OPEN_TIMEOUT: ErrorRow(
        "Open_timeout", 504, 504, "No session was opened in the time given.", "Check URL and network, then try again."
    ),
    _E.TOKEN_REFRESH_FAILED: ErrorRow(
        "Token_refresh_failed",
        401,
        89,
        "The app's refresh callback returned no new token.",
        "Let the refresh callback return a new token from your backend.",
    ),
    _E.TOKEN_INVALID: ErrorRow(
        "Invalid_token", 401, 89, "The token is not one that this service accepts.", "Get a new token."
    ),
    _E.TOKEN_REVOKED: ErrorRow("Token_revoked", 401, 89, "The token was revoked.", "Get a new token."),
    _E.SCOPE_MISSING: ErrorRow(
        "Insufficient_scope", 403, 403, "The token lacks a scope.", "Ask for the scope when the token is made."
    ),
    _E.EXTERNAL_ID_MISMATCH: ErrorRow(
        "External_id_mismatch",
        403,
        403,
        "The external id given is not the token's.",
        "Leave the external id out of open, or get a token for it.",
    ),
    _E.TOO_MANY_SESSIONS: ErrorRow(
        "Too_many_sessions",
        409,
        409,
        "The participant has as many sessions as the application allows.",
        "Close one, or set when_full to replace_oldest, or raise max_sessions.",
    ),
    _E.PARTICIPANT_BLOCKED: ErrorRow(
        "Participant_blocked", 403, 403, "The participant is blocked.", "Wait until the block ends, or lift it."
    ),
    _E.REVISION_CONFLICT: ErrorRow(
        "Revision_conflict",
        409,
        409,
        "The record has changed since the revision given.",
        "Read the present record and decide again.",
    ),
    _E.SESSION_ENDED: ErrorRow("Session_ended", 410, 410, "The session has ended.", "Open a new session."),
    _E.RESUME_REFUSED: ErrorRow(
        "Resume_refused", 403, 403, "The resume secret is not this session's.", "Open a new session."
    ),
    _E.OPEN_ID_CONFLICT: ErrorRow(
        "Open_id_conflict",
        409,
        409,
        "This openId was used with another resume secret.",
        "Make a new random openId for each new session.",
    ),
    _E.APPLICATION_DISABLED: ErrorRow(
        "Application_disabled", 403, 403, "The application is disabled.", "Ask the operator to enable it."
    ),
    _E.SESSION_NOT_OPEN: ErrorRow("Session_not_open", 409, 409, "No session is open.", "Open a session first."),
    _E.ORIGIN_NOT_ALLOWED: ErrorRow(
        "Origin_not_allowed",
        403,
        403,
        "The page's origin is not on the application's list.",
        "Add the origin to allowed_origins of the application.",
    ),
    _E.WATCH_LIMIT_REACHED: ErrorRow(
        "Watch_limit_reached",
        409,
        409,
        "The session watches as many participants as the application allows.",
        "Unwatch some first, or raise max_watched.",
    ),
    _E.TOKEN_MISMATCH: ErrorRow(
        "Token_mismatch",
        403,
        403,
        "The new token is for another application or participant.",
        "Return a token for the same participant from the refresh callback.",
    ),
    _E.ATTEMPT_SUPERSEDED: ErrorRow(
        "Attempt_superseded",
        409,
        409,
        "A newer attempt already has the session.",
        "Nothing: the newer connection continues.",
    ),
    _E.APPLICATION_LIMIT_REACHED: ErrorRow(
        "Application_limit_reached",
        409,
        409,
        "The application has reached its limit of sessions.",
        "Raise the application's limit, or wait until sessions end.",
    ),
    _E.NOT_FOUND: ErrorRow("Not_found", 404, 404, "There is no such thing.", "Check the id."),
    _E.CONFLICT: ErrorRow("Conflict", 409, 409, "The change conflicts with the present state.", "Read it again first."),
    _E.INVALID_CLIENT: ErrorRow(
        "Invalid_client",
        401,
        89,
        "The app key or the app secret is wrong.",
        "Check both; if the secret is lost, make a new one.",
    ),
    _E.ROOM_PERMISSION_MISSING: ErrorRow(
        "Room_permission_missing",
        403,
        403,
        "The token does not grant this in the room.",
        "Grant the permission for the room when the token is made.",
    ),
    _E.ROOM_FULL: ErrorRow("Room_full", 409, 409, "The room is full.", "Wait until someone leaves."),
    _E.KEPT_OUT: ErrorRow(
        "Kept_out", 403, 403, "The participant was kicked out of the room.", "Wait until the time given is over."
    ),
    _E.NOT_A_MEMBER: ErrorRow("Not_a_member", 403, 403, "The session is not in the room.", "Join the room first."),
    _E.ROOM_LIMIT_REACHED: ErrorRow(
        "Room_limit_reached", 409, 409, "A limit of rooms is reached.", "Leave or end a room first."
    ),
    _E.INVITATION_ANSWERED: ErrorRow(
        "Invitation_answered",
        409,
        409,
        "The invitation already has the opposite answer.",
        "Ask for another one, or join the room.",
    ),
    _E.NOT_INITIALIZED: ErrorRow(
        "Not_initialized",
        400,
        90,
        "The SDK has no token yet.",
        "Call initialize_token(token, refresh) or initialize(app_key, app_secret) first.",
    ),
    _E.SESSION_ALREADY_OPEN: ErrorRow(
        "Session_already_open",
        409,
        409,
        "A session is open already with other info.",
        "Use update_participant_info to change name or avatar, or close first.",
    ),
    _E.OPEN_CANCELLED: ErrorRow(
        "Open_cancelled", 409, 409, "The open was ended by close.", "Call open again if a session is wanted."
    ),
    _E.PROTOCOL_ERROR: ErrorRow(
        "Protocol_error", 400, 400, "The other side violated the protocol.", "Check the URL and both sides' versions."
    ),
}

CLOSES: dict[CloseCode, CloseRow] = {
    _C.NORMAL: CloseRow("closed", "Sent by a client: ends its session at once."),
    _C.GOING_AWAY: CloseRow("going_away", "A page was closed or reloaded: the session waits 5 s for it."),
    _C.WS_PROTOCOL_ERROR: CloseRow("websocket_protocol_error", "A frame violated RFC 6455."),
    _C.UNSUPPORTED_DATA: CloseRow("unsupported_data", "Binary messages are not supported."),
    _C.NO_STATUS: CloseRow("no_status", "Never sent: the peer closed without a status."),
    _C.ABNORMAL: CloseRow("abnormal", "Never sent: the connection was lost without a Close."),
    _C.INVALID_UTF8: CloseRow("invalid_utf8", "A text message was not UTF-8."),
    _C.POLICY_VIOLATION: CloseRow("policy_violation", "A limit on fragments or control frames was exceeded."),
    _C.MESSAGE_TOO_BIG: CloseRow("message_too_big", "A message was larger than allowed."),
    _C.COME_BACK: CloseRow("come_back", "Sent by SDKs when they drop a connection whose session continues."),
    _C.DRAINING: CloseRow("draining", "The node shuts down."),
    _C.SLOW_READER: CloseRow("slow_reader", "The client did not read what it was sent."),
    _C.HEARTBEAT: CloseRow("heartbeat", "The client did not answer a ping in time."),
    _C.RATE_LIMITED: CloseRow("rate_limited", "Too many messages or opens."),
    _C.STATE_LOST: CloseRow("state_lost", "The service lost the session: open a new one."),
    _C.TOKEN_EXPIRED: CloseRow("token_expired", "The token has expired: reconnect with a new one."),
    _C.FENCED: CloseRow("fenced", "The node lost contact with the engine."),
    _C.OVER_CAPACITY: CloseRow("over_capacity", "The node accepts no more sessions."),
    _C.UNAUTHENTICATED: CloseRow("unauthenticated", "No valid token, or no first message in time."),
    _C.KICKED: CloseRow("kicked", "Kicked, blocked, or the token was revoked."),
    _C.REPLACED: CloseRow("replaced", "Another device of the participant took the session's place."),
    _C.SUPERSEDED: CloseRow("superseded", "A newer connection of the same session took over."),
    _C.IDENTITY_MISMATCH: CloseRow("identity_mismatch", "The token does not belong to the session's participant."),
    _C.PROTOCOL_ERROR: CloseRow("protocol_error", "The client violated the session protocol."),
    _C.LIMIT_REACHED: CloseRow("limit_reached", "A limit of the application is reached."),
    _C.APPLICATION_DISABLED: CloseRow("application_disabled", "The application was disabled."),
}


def is_retryable_error(code: int) -> bool:
    """Whether an error of this code may go away by itself. Unknown codes are judged by their band."""
    return -32049 <= code <= -32001 or code == ErrorCode.INTERNAL_ERROR


def is_retryable_close(code: int) -> bool:
    """Whether a client whose connection was closed with this code should come back.

    4500 … 4999 mean no. Everything else, unknown and library codes too, is an accident of the connection: yes.
    """
    return not 4500 <= code <= 4999
