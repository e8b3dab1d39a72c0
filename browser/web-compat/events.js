/** Services are event emitters on the platform: these are Node's methods, as far as apps use them. */

/** Adds them to a service. onListener(name): someone listens from now on. */
export const withEvents = (service, onListener = () => {}) => {
  const byName = new Map();
  const of = (name) => byName.get(name) ?? [];
  const on = (name, listener, once) => {
    byName.set(name, [...of(name), { listener, once }]);
    onListener(name);
    return service;
  };
  const off = (name, listener) => {
    const at = of(name).findLastIndex((one) => one.listener === listener);
    if (at >= 0) byName.set(name, of(name).toSpliced(at, 1));
    return service;
  };
  return Object.assign(service, {
    on: (name, listener) => on(name, listener, false),
    once: (name, listener) => on(name, listener, true),
    off,
    addListener: (name, listener) => on(name, listener, false),
    removeListener: off,
    removeAllListeners: (name) => {
      name === undefined ? byName.clear() : byName.delete(name);
      return service;
    },
    setMaxListeners: () => service,
    listeners: (name) => of(name).map((one) => one.listener),
    listenerCount: (name) => of(name).length,
    /** Whether someone listens. What a listener throws is logged and goes no further. */
    emit: (name, ...values) => {
      const all = of(name);
      byName.set(name, all.filter(({ once }) => !once));
      for (const { listener } of all)
        try {
          listener(...values);
        } catch (error) {
          console.error('greenroom: a listener threw', error);
        }
      return all.length > 0;
    },
  });
};
