/**
 * A WebSocket with a plug: pulled, the connection is gone and no other can be made, as on a train in a tunnel. Only
 * this page needs it; an app takes the SDK as it is.
 */
class Plug {
  isPulled = false;
  #sockets = new Set();

  constructor() {
    const plug = this;
    /** What the SDK dials with. */
    this.WebSocket = class extends WebSocket {
      constructor(url, protocol) {
        if (plug.isPulled) throw new Unplugged();
        super(url, protocol);
        plug.#sockets.add(this);
        this.addEventListener('close', () => plug.#sockets.delete(this));
      }
    };
  }

  pull() {
    this.isPulled = true;
    // 4000: the session continues. A page cannot pull a real cable, which the service would have to detect by itself.
    for (const socket of this.#sockets) socket.close(4000);
  }

  putBack() {
    this.isPulled = false;
  }
}

/** The SDK takes it for a connection that could not be made, and tries again. */
class Unplugged extends Error {
  name = 'Unplugged';
  retryable = true;
}

export const SwitchableSocket = { Plug };
