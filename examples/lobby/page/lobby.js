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

/** A line for each of the others. */
function draw({ members, count }, me) {
  const others = [...members.values()].filter(({ id }) => id !== me.id);
  const lines = others.map(({ info, presence }) => {
    const line = document.createElement('li');
    line.dataset.presence = presence;
    line.textContent = `${info.name}: ${presence}`;
    return line;
  });
  $('others').replaceChildren(...lines);
  $('count').textContent = count;
}

if (person) {
  const { url, token, name } = await signIn();
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

  const room = await sdk.rooms.join('lobby');
  draw(room, me);
  room.on('changed', () => draw(room, me));
  room.on('message', (message, { info }) => ($('waves').textContent = `${info.name} waves`));
  $('wave').onclick = () => room.send({ wave: true });
  $('room').hidden = false;
}
