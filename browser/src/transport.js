/** The way to the service: its address, WebSockets, and the token endpoint. */
import { errors } from './errors.js';
import { INVALID_CLIENT, PATH, SUBPROTOCOL } from './tables.js';

/** The service's address as http(s), without a slash at the end. Takes http, https, ws, wss and URL objects. Throws. */
export const serviceBase = (url) => {
  const text = String(url).trim();
  const found = /^(http|ws)(s?):\/\/([^/?#\s@]+(?:\/[^?#\s]*)?)$/i.exec(text);
  if (found) return `http${found[2].toLowerCase()}://${found[3].replace(/\/+$/, '')}`;
  const wrong = text.includes('://') ? 'is not the address of a service' : 'lacks http:// or https://';
  throw new errors.IllegalArgumentError(`'${text}' ${wrong}.`, { hint: 'Pass e.g. https://sessions.example.com.' });
};

/**
 * A WebSocket whose events are given to `on`: _dialed(), _failed(error), _message(text), _lost(code, reason). It is
 * closed by its `close`. A browser does not tell a page why a connection was refused, so every failure may be tried
 * again.
 */
export const connect = (base, WebSocket, on) => {
  if (!WebSocket)
    throw new errors.ProtocolError('There is no WebSocket here.', {
      hint: 'Pass new Greenroom(url, { webSocket }).',
    });
  const socket = new WebSocket('ws' + base.slice(4) + PATH, SUBPROTOCOL);
  let open = false;
  socket.onopen = () => {
    open = true;
    on._dialed();
  };
  socket.onmessage = ({ data }) => on._message(data);
  socket.onerror = () => {}; // the end follows
  socket.onclose = ({ code, reason }) => {
    if (open) on._lost(code || 1006, reason || '');
    else
      on._failed(
        new errors.ServiceUnavailableError(`${base} cannot be reached.`, { hint: 'Check the URL, and that the service runs.' }),
      );
  };
  return socket;
};

/** A v1 client access token (`POST /v1/oauth2/token`, HTTP Basic). */
export const fetchToken = async (base, key, secret) => {
  let reply;
  try {
    reply = await fetch(base + '/v1/oauth2/token', {
      method: 'POST',
      headers: {
        Authorization: 'Basic ' + btoa(unescape(encodeURIComponent(`${key}:${secret}`))),
        'Content-Type': 'application/x-www-form-urlencoded',
      },
      body: 'grant_type=client_credentials',
    });
  } catch (cause) {
    throw new errors.ServiceUnavailableError(`${base} cannot be reached.`, { cause });
  }
  const { status } = reply;
  if (status === 401) throw new errors.TokenInvalidError(undefined, { code: INVALID_CLIENT });
  const token = status === 200 && (await reply.json().catch(() => 0))?.access_token;
  if (token) return token;
  const { ProtocolError, RateLimitedError, ServiceUnavailableError } = errors;
  throw new (status === 429 ? RateLimitedError : status >= 500 ? ServiceUnavailableError : ProtocolError)(
    `${base} answered ${status}, without a token.`,
    { retryAfter: +reply.headers.get('Retry-After') || undefined },
  );
};
