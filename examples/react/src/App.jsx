import { useState } from 'react';
import { GreenroomProvider, useParticipants, useSession } from '@greenroom/react';

const SERVICE = 'http://127.0.0.1:7465';
const TEAM = ['anna', 'ben', 'chloe'];

/** Your backend knows who has signed in. That of `greenroom serve --dev` trusts whoever asks. */
const fetchToken = async (externalId) => {
  const reply = await fetch('/lobby/token', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ externalId }),
  });
  if (!reply.ok) throw new Error(`The backend answered ${reply.status}.`);
  return (await reply.json()).token;
};

export const App = () => {
  const [user, setUser] = useState();
  if (!user) return TEAM.map((id) => <button key={id} onClick={() => setUser(id)}>I am {id}</button>);
  return (
    <GreenroomProvider key={user} url={SERVICE} refresh={() => fetchToken(user)} info={{ name: user }}>
      <Me onLeave={() => setUser(undefined)} />
      <Team />
    </GreenroomProvider>
  );
};

const Me = ({ onLeave }) => {
  const { state, participant, ended, error, open, updateParticipantInfo } = useSession();
  if (ended) return <p>{ended.message} <button onClick={() => open()}>Come back</button></p>;
  if (error) return <p>{error.message}</p>;
  if (!participant) return <p>{state}</p>;
  const rename = () => updateParticipantInfo(`${participant.info.name}!`);
  return (
    <p>
      {participant.info.name} is {state} <button onClick={rename}>!</button> <button onClick={onLeave}>Leave</button>
    </p>
  );
};

const Team = () => {
  const { participants, isLoading, error } = useParticipants({ externalIds: TEAM });
  if (error) return <p>{error.message}</p>;
  if (isLoading) return <p>Loading</p>;
  return (
    <ul>
      {participants.map(({ id, info, presence }) => (
        <li key={id}>{info.name ?? info.externalId}: {presence}</li>
      ))}
    </ul>
  );
};
