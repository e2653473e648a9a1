/**
 * How a second command reaches a running host: a Unix domain socket `PID.sock` in a folder that only the user may enter.
 * One line of JSON asks, one answers: `{"command": "explain", "guest": NAME}`, without `guest` for all;
 * `{"explanations": [...]}` or `{"error": MESSAGE}`.
 */
import { chmodSync, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { cacheDirectory } from '../guest/cache.ts';
import { hasCode, messageOf } from '../host/errors.ts';
import { type GuestExplanation, type Host, OptionError } from '../index.ts';

/** What can be asked. */
interface Question {
  readonly command: 'explain';
  readonly guest?: string;
}

type Answer = { readonly explanations: readonly GuestExplanation[] } | { readonly error: string };

/** An explanation, and the process of the host that gave it. */
export interface HostExplanation {
  readonly pid: number;
  readonly explanation: GuestExplanation;
}

/** Longest line that is read, characters, and longest time for an answer, milliseconds. */
const LONGEST_LINE = 2 ** 20;
const ANSWER_MS = 5000;
const ENDING = '.sock';

/** The folder of the sockets: that of the session if there is one, and otherwise in the cache. */
export function controlFolder(): string {
  const runtime = process.env.XDG_RUNTIME_DIR;
  return runtime?.startsWith('/') ? join(runtime, 'ballonet') : join(cacheDirectory(), 'run');
}

/** A host that can be reached; close it with the host. */
export class Control {
  readonly #server: Server;
  readonly #path: string;

  private constructor(server: Server, path: string) {
    this.#server = server;
    this.#path = path;
  }

  /**
   * Lets other commands of the same user ask about a host.
   * @throws Error when the socket can't be made
   */
  static async open(host: Host, folder = controlFolder()): Promise<Control> {
    makePrivate(folder);
    const path = join(folder, `${process.pid}${ENDING}`);
    // What a process of the same number has left behind.
    rmSync(path, { force: true });
    const server = createServer((socket) => serve(socket, host));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    chmodSync(path, 0o600);
    // Guests keep the process going, not this.
    server.unref();
    return new Control(server, path);
  }

  /** No more questions. */
  close(): void {
    this.#server.close();
    rmSync(this.#path, { force: true });
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Lets other commands ask about a host; a host that can't be reached runs all the same. */
export async function openControl(host: Host, log: (message: string) => void): Promise<Control | undefined> {
  try {
    return await Control.open(host);
  } catch (error) {
    log(`other commands can't ask about this host: ${messageOf(error)}`);
    return undefined;
  }
}

/** @throws Error when the folder is not the user's own */
function makePrivate(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { uid, mode } = lstatSync(folder);
  if (uid !== process.getuid?.()) throw new Error(`${folder} belongs to somebody else; give XDG_RUNTIME_DIR your own`);
  if ((mode & 0o077) !== 0) chmodSync(folder, 0o700);
}

function serve(socket: Socket, host: Host): void {
  socket.unref();
  socket.on('error', () => socket.destroy());
  void readLine(socket)
    .then(async (line) => await answer(JSON.parse(line) as Partial<Question> | null, host))
    .catch((error: unknown): Answer => ({ error: messageOf(error) }))
    .then((result) => socket.end(`${JSON.stringify(result)}\n`));
}

async function answer(question: Partial<Question> | null, host: Host): Promise<Answer> {
  if (question?.command !== 'explain') throw new Error('the only command is "explain"');
  const { guest } = question;
  const guests = host.guests.filter(({ name }) => guest === undefined || name === guest);
  return { explanations: await Promise.all(guests.map((each) => host.explain(each))) };
}

/**
 * Asks the running hosts of this user about a guest, or about all of them.
 * @param pid process of the host that is asked; all of them without
 * @throws OptionError when nobody knows the guest, or several do
 */
export async function askHosts(
  guest: string | undefined,
  pid?: number,
  folder = controlFolder(),
): Promise<HostExplanation[]> {
  const hosts = runningHosts(folder).filter((each) => pid === undefined || each === pid);
  const found: HostExplanation[] = [];
  const silent: number[] = [];
  for (const each of hosts) {
    const path = join(folder, `${each}${ENDING}`);
    try {
      const question: Question = { command: 'explain', ...(guest === undefined ? {} : { guest }) };
      const result = await ask(path, question);
      if ('error' in result) throw new Error(`the host of process ${each}: ${result.error}`);
      found.push(...result.explanations.map((explanation) => ({ pid: each, explanation })));
    } catch (error) {
      // A host that was killed leaves its socket behind.
      if (!hasCode(error, 'ECONNREFUSED', 'ENOENT')) throw error;
      rmSync(path, { force: true });
      silent.push(each);
    }
  }
  const asked = hosts.filter((each) => !silent.includes(each));
  if (asked.length === 0) {
    throw new OptionError('host', pid === undefined ? 'no host is running' : `process ${pid} is no host of yours`);
  }
  if (guest !== undefined && found.length === 0) {
    throw new OptionError('guest', `no running host has one of the name ${guest}; "ballonet explain" lists all`);
  }
  const pids = new Set(found.map((each) => each.pid));
  if (guest !== undefined && pids.size > 1) {
    const list = [...pids].join(', ');
    throw new OptionError('guest', `hosts ${list} have one of the name ${guest}; choose one with --host`);
  }
  return found;
}

/** Process numbers of the hosts whose sockets there are. */
function runningHosts(folder: string): number[] {
  try {
    return readdirSync(folder)
      .filter((name) => /^\d+\.sock$/.test(name))
      .map((name) => Number.parseInt(name, 10));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

async function ask(path: string, question: Question): Promise<Answer> {
  const socket = connect(path);
  socket.setTimeout(ANSWER_MS, () => socket.destroy(new Error(`${path}: no answer within ${ANSWER_MS} ms`)));
  socket.write(`${JSON.stringify(question)}\n`);
  try {
    return JSON.parse(await readLine(socket)) as Answer;
  } finally {
    socket.destroy();
  }
}

/** The first line that comes. */
function readLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end >= 0) resolve(text.slice(0, end));
      else if (text.length > LONGEST_LINE) socket.destroy(new Error('a line that is too long'));
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the connection ended without a line')));
  });
}
