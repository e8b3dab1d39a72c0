/** `node --import`: '@greenroom/client' is this source tree's, until npm has installed it beside the compat package. */
import { register } from 'node:module';

register(
  'data:text/javascript,' +
    encodeURIComponent(`
      export const resolve = (name, context, next) =>
        name === '@greenroom/client' ? { url: ${JSON.stringify(new URL('../../src/index.js', import.meta.url).href)},
          shortCircuit: true, format: 'module' } : next(name, context);`),
);
