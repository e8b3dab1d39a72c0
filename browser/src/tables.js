// Made by scripts/generate_browser_tables.py from the Python tables. Do not edit.

/** State, event, next state. What is not here changes nothing. */
export const TRANSITIONS = {
  disconnected: { open: "connecting" },
  connecting: { opened: "connected", failed: "disconnected", close: "disconnected" },
  connected: { lost: "reconnecting", move_on: "reconnecting", resumed: "connected", ended: "disconnected", close: "disconnected" },
  reconnecting: { resumed: "connected", stay: "connected", opened: "connected", ended: "disconnected", close: "disconnected" },
};

/** Durations in seconds, and counts. The underscore lets the build shorten the names. */
export const SETTINGS = { _attemptTimeout: 8, _pingInterval: 15, _pongTimeout: 8, _refreshTimeout: 10, _refreshGap: 5, _closeTimeout: 2, _endTimeout: 2, _requestTimeout: 10, _stableAfter: 10, _reopenGap: 60, _watchesPerMessage: 256, _maxInFlight: 16 };

/** Seconds. */
export const FIRST_DELAY = 0.2;

/** Seconds. */
export const LONGEST_DELAY = 20;

/** Seconds. */
export const MAX_RETRY_AFTER = 300;

/** The part of the service's limits that is used. */
export const PACE = 0.8;

/** Of a service that does not say. */
export const MESSAGES_PER_SECOND = 50;

/** Of a service that does not say. */
export const MESSAGES_BURST = 100;

/** Several become one message. */
export const MERGED_METHODS = ["participants.get", "participants.watch"];

/** Of one room, the next is sent when the one before is answered. */
export const EXCLUSIVE_METHODS = ["rooms.join", "rooms.leave", "rooms.unwatch", "rooms.watch"];

/** Seconds by which the wall clock ran ahead: the machine slept. */
export const WAKE_GAP = 5;

/** Seconds. A timer as late as this slept. */
export const LATE = 1;

/** Seconds for which a spent token can still be replaced. */
export const TOKEN_LEEWAY = 25;

/** A reason of session.moveOn: the node is well. */
export const DRAINING = "draining";

/** Of the WebSocket. */
export const SUBPROTOCOL = "greenroom.v1";

/** Of the WebSocket. */
export const PATH = "/v1/session";

/** One message of ours. */
export const MAX_MESSAGE_BYTES = 32768;
export const INTERNAL_ERROR = -32603;
export const SERVICE_UNAVAILABLE = -32001;
export const TOKEN_EXPIRED = -32008;
export const NOT_FOUND = -32067;
export const INVALID_CLIENT = -32069;
export const CLOSE_NORMAL = 1000;
export const CLOSE_ABNORMAL = 1006;
export const CLOSE_COME_BACK = 4000;
export const CLOSE_HEARTBEAT = 4003;

/** Errors that this SDK makes itself, by -32000 - n: reason, meaning, what to do. */
export const ERRORS = {
  602: ["Illegal_argument", "An argument is missing, mistyped or out of range.", "Pass what the message asks for."],
  1: ["Service_unavailable", "The service cannot do this at the moment.", "Try again after the delay given."],
  8: ["Token_expired", "The token has expired.", "Get a new token from your backend and try again."],
  40: ["Open_timeout", "No session was opened in the time given.", "Check URL and network, then try again."],
  41: ["Token_refresh_failed", "The app's refresh callback returned no new token.", "Let the refresh callback return a new token from your backend."],
  50: ["Invalid_token", "The token is not one that this service accepts.", "Get a new token."],
  53: ["External_id_mismatch", "The external id given is not the token's.", "Leave the external id out of open, or get a token for it."],
  57: ["Session_ended", "The session has ended.", "Open a new session."],
  60: ["Application_disabled"],
  61: ["Session_not_open", "No session is open.", "Open a session first."],
  66: ["Application_limit_reached"],
  69: ["Invalid_client", "The app key or the app secret is wrong.", "Check both; if the secret is lost, make a new one."],
  73: ["Not_a_member", "The session is not in the room.", "Join the room first."],
  90: ["Not_initialized", "The SDK has no token yet.", "Call initializeToken(token, refresh) or initialize(appKey, appSecret) first."],
  91: ["Session_already_open", "A session is open already with other info.", "Use updateParticipantInfo to change name or avatar, or close first."],
  92: ["Open_cancelled", "The open was ended by close.", "Call open again if a session is wanted."],
  93: ["Protocol_error", "The other side violated the protocol.", "Check the URL and both sides' versions."],
};

/** Class:parent:first code:other codes, names without Error, codes as -32000 - n. */
export const ERROR_TREE = "NotInitialized:Greenroom:90 IllegalArgument:Greenroom:602:63 Session:Greenroom:61 SessionNotOpen:Session:61 SessionAlreadyOpen:Session:91 OpenCancelled:Session:92 OpenTimeout:Session:40 SessionEnded:Session:57:7:58:59:65 Token:Greenroom:50 TokenInvalid:Token:50:51:60:62:64:69 TokenExpired:Token:8 TokenRefresh:Token:41 ScopeMissing:Token:52 Participant:Greenroom:55 ExternalIdMismatch:Participant:53 TooManySessions:Participant:54:66 ParticipantBlocked:Participant:55 RevisionConflict:Participant:56 Room:Greenroom:73 RoomPermission:Room:70 RoomFull:Room:71 KeptOut:Room:72 NotAMember:Room:73 RoomLimit:Room:74 InvitationAnswered:Room:75 Service:Greenroom:1 ServiceUnavailable:Service:1 RoomsUnavailable:ServiceUnavailable:11 RoomEnding:ServiceUnavailable:12 RateLimited:Service:2 Protocol:Service:93";

/** Of final close codes, which become the reason of an end. */
export const CLOSE_REASONS = { 4005: "state_lost", 4501: "kicked", 4502: "replaced", 4503: "superseded" };

/** Of close codes; the others are judged by their band. */
export const CLOSE_ACTIONS = { 4005: "reopen", 4006: "refresh", 4503: "superseded" };

/** Error codes that close codes stand for; the others end the session for the reason in CLOSE_REASONS. */
export const CLOSE_ERRORS = { 4006: -32008, 4500: -32050, 4504: -32053, 4505: -32093, 4506: -32066, 4507: -32060 };

/** Refusals that a resume, session.stay or a new token mends. */
export const HELD_CODES = [-32008, -32005, -32004];

/** Of error codes; the others are judged by their band. */
export const ACTIONS = { "-32008": "refresh", "-32007": "reopen", "-32058": "reopen", "-32059": "final", "-32065": "superseded" };

/** Of error codes: the word for an end. */
export const REASONS = { "-32055": "blocked", "-32051": "token_revoked", "-32008": "token_expired", "-32041": "token_expired", "-32060": "application_disabled", "-32007": "state_lost", "-32058": "resume_refused", "-32065": "superseded" };

/** Ends after which an SDK does not come back. */
export const FINAL_REASONS = ["closed", "replaced", "kicked", "blocked", "token_revoked", "application_disabled", "protocol_error"];

/** The platform's status for a presence. */
export const STATUS = { online: "CONNECTED", unreachable: "CONNECTING", offline: "LEFT" };
