/** The page of a broker: pick a name and a room, and talk. */
import { byId } from './dom.ts';
import { Talk } from './talk.ts';

const NAMES = ['ada', 'grace', 'alan', 'edsger', 'barbara', 'dennis', 'radia', 'ken', 'leslie', 'margaret'];

const entry = byId<HTMLFormElement>('entry');
const talkView = byId('talk');
const nameInput = byId<HTMLInputElement>('name');
const roomInput = byId<HTMLInputElement>('room');
const tokenInput = byId<HTMLTextAreaElement>('token');
const textInput = byId<HTMLInputElement>('text');

let talk: Talk | undefined;

function anyName(except: string): string {
  const others = NAMES.filter((name) => name !== except);
  return others[Math.floor(Math.random() * others.length)] ?? 'you';
}

/** In development mode the broker makes a token for any name; otherwise undefined. */
async function developmentToken(user: string): Promise<string | undefined> {
  const response = await fetch(`/dev/token?sub=${encodeURIComponent(user)}`);
  if (response.status === 404) return undefined;
  if (!response.ok) throw new Error(`the broker gave no token: HTTP ${response.status}`);
  return ((await response.json()) as { token: string }).token;
}

/** Who a token is for, as far as it can be read without its key. */
function subjectOf(token: string): string {
  try {
    const [, body = ''] = token.split('.');
    const claims: unknown = JSON.parse(atob(body.replaceAll('-', '+').replaceAll('_', '/')));
    return String((claims as { sub?: unknown }).sub);
  } catch {
    // The broker will say what is wrong with it.
    return 'you';
  }
}

function start(user: string, room: string, pasted: string): void {
  const token = pasted === '' ? async () => (await developmentToken(user)) ?? '' : pasted;
  entry.hidden = true;
  talkView.hidden = false;
  byId('where').hidden = false;
  byId('room-name').textContent = room;
  if (pasted === '') history.replaceState(null, '', `#${new URLSearchParams({ room, name: user })}`);
  const second = new URLSearchParams({ room, ...(pasted === '' && { name: anyName(user) }) });
  byId<HTMLAnchorElement>('second').href = `/#${second}`;
  document.title = `${room} · Carillon`;
  talk = new Talk({ user, room, token });
  textInput.focus();
}

function stop(): void {
  talk?.end();
  talk = undefined;
  talkView.hidden = true;
  byId('where').hidden = true;
  entry.hidden = false;
  history.replaceState(null, '', '/');
  document.title = 'Carillon';
  nameInput.focus();
}

entry.addEventListener('submit', (event) => {
  event.preventDefault();
  const pasted = tokenInput.value.trim();
  start(pasted === '' ? nameInput.value : subjectOf(pasted), roomInput.value, pasted);
});

byId('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = textInput.value.trim();
  if (text !== '') talk?.say(text);
  textInput.value = '';
});

textInput.addEventListener('input', () => talk?.typed(textInput.value === ''));
byId('leave').addEventListener('click', stop);
byId('again').addEventListener('click', stop);

const wanted = new URLSearchParams(location.hash.slice(1));
const development = (await developmentToken('probe')) !== undefined;
byId('token-field').hidden = development;
nameInput.closest('label')?.toggleAttribute('hidden', !development);
nameInput.required = development;
tokenInput.required = !development;
nameInput.value = wanted.get('name') ?? anyName('');
roomInput.value = wanted.get('room') ?? 'lobby';
entry.hidden = false;
if (development && wanted.has('name') && wanted.has('room') && entry.checkValidity())
  start(nameInput.value, roomInput.value, '');
