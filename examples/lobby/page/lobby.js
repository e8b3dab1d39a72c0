const person = location.search.slice(1); // http://127.0.0.1:8000/?anna
const $ = (id) => document.getElementById(id);

/** Asks the backend who this is: a token, and where the service is. */
async function signIn() {
  const reply = await fetch('/sign-in', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ person }),
  });
  if (!reply.ok) throw new Error(`sign-in: ${reply.status}`);
  return reply.json();
}

/** One line for each of the others, rewritten whenever they change. */
function draw({ info, id, presence }) {
  const line = $(id) ?? $('others').appendChild(document.createElement('li'));
  line.id = id;
  line.dataset.presence = presence;
  line.textContent = `${info.name ?? info.externalId}: ${presence}`;
}

if (person) {
  const { url, token, name, others } = await signIn();
  const { Greenroom } = await import(`${url}/sdk/greenroom.js`);

  const sdk = new Greenroom(url);
  sdk.initializeToken(token, async () => (await signIn()).token); // called before the token expires
  sdk.session.onStateChanged((state) => ($('state').textContent = state));
  sdk.session.onEnded(({ reason, message }) => ($('state').textContent = `${reason}: ${message}`));

  const me = await sdk.session.open({ name });
  $('name').value = me.info.name;
  $('rename').hidden = false;
  $('rename').onsubmit = async (event) => {
    event.preventDefault();
    await sdk.session.updateParticipantInfo($('name').value);
  };

  const watch = await sdk.participants.watch({ externalIds: others });
  watch.participants.forEach(draw);
  for await (const participant of watch) draw(participant);
}
