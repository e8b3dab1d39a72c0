/** What to do first; the blocked, the node, and the bounds. */
import { SERVICE } from './api.js';
import { $, el, span, time } from './dom.js';

/** How a first session is opened, with this service's address and the app key, to be copied. */
export const drawFirstSteps = (key) => {
  const url = SERVICE.href.replace(/\/$/, '');
  const who = `--url ${url} --key ${key} --secret 'APP SECRET' --external-id anna`;
  $('step-token').textContent = `greenroom token client ${who}`;
  $('step-open').textContent = `import { Greenroom } from "${url}/sdk/greenroom.js";

const sdk = new Greenroom("${url}");
sdk.initializeToken("ACCESS TOKEN");
await sdk.session.open({ name: "Anna" });`;
  $('step-cli').textContent = `greenroom open ${who} --name Anna`;
};

export const drawBlocks = (items, mayLift, lift, nameOf) => {
  const rows = items.map((block) =>
    el(
      'li',
      { class: 'row', data: { id: block.participantId } },
      el(
        'span',
        { class: 'words' },
        el('span', { class: 'name' }, el('bdi', {}, nameOf(block.participantId))),
        el('span', { class: 'sub' }, block.until ? el('span', {}, 'until ', time(block.until)) : 'until lifted', block.reason ? ` · ${block.reason}` : ''),
      ),
      mayLift ? el('button', { type: 'button', class: 'small', onclick: () => lift(block) }, 'Lift') : '',
    ),
  );
  $('blocks').replaceChildren(...(rows.length ? rows : [el('li', { class: 'muted' }, 'Nobody.')]));
};

/** Who besides the service signs the application's tokens; nothing where there is nobody. */
export const drawIssuers = (items) => {
  const keysOf = ({ keys, keySet }) =>
    keySet
      ? `${keySet.keys} ${keySet.keys === 1 ? 'key' : 'keys'}${keySet.age === null ? '' : `, ${span(keySet.age)} old`}${keySet.why && ` · not fetched: ${keySet.why}`}`
      : keys.length
        ? keys.map(({ alg, kid }) => `${alg} ${kid ?? ''}`).join(', ')
        : 'a shared secret';
  $('issuers-card').hidden = !items.length;
  $('issuers').replaceChildren(
    ...items.map((one) =>
      el(
        'li',
        { class: 'row', data: { id: one.id } },
        el(
          'span',
          { class: 'words' },
          el('span', { class: 'name' }, el('bdi', {}, one.issuer)),
          el('span', { class: 'sub' }, `${one.audience} · ${keysOf(one)}`),
        ),
      ),
    ),
  );
};

export const drawNode = ({ node, otherNodes }) => {
  const isWell = node.notReady === null && !node.reaperFailing;
  const rows = [
    ['State', el('span', {}, el('i', { class: `dot ${isWell ? 'online' : 'unreachable'}` }), node.notReady ?? node.state)],
    ['Name', el('code', {}, node.name)],
    ['Version', node.version],
    ['Up for', span(node.uptime)],
    ['Engine', node.engine],
    ['Reaper', node.reaperFailing || node.reaperLag < 0.05 ? 'in time' : `${span(node.reaperLag)} behind`],
    ['Clock', Math.abs(node.clockDifference) < 0.05 ? 'in step' : `${node.clockDifference > 0 ? '+' : '−'}${span(Math.abs(node.clockDifference))}`],
    ['Waiting writes', String(node.keptWrites)],
    ['Other nodes', otherNodes.length ? String(otherNodes.length) : 'none'],
  ];
  $('node').replaceChildren(...rows.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
};

export const drawBounds = (bounds) => {
  const cell = (value, from, name) =>
    el('td', { data: { label: name } }, value === null ? '–' : from && value === 0 ? `at ${from}` : `${from ? `${from} + ` : ''}${span(value)}`);
  $('bounds').replaceChildren(
    ...bounds.map(({ cause, what, unreachable, ended, counts_from: from }) =>
      el(
        'tr',
        { data: { cause } },
        el('th', { scope: 'row' }, what),
        cell(unreachable, from, 'unreachable within'),
        cell(ended, from, 'ended within'),
      ),
    ),
  );
};
