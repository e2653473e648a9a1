// Finds (and in a clone installs) the Node.js that Ballonet runs on, and runs a script with it.
//
// This file is plain JavaScript without dependencies because it runs before anything is installed, on whatever
// Node.js the machine has (20 or later). Ballonet itself needs Node.js 26; its binary is in npm packages, one for each
// platform, that package.json names as optional dependencies: npm installs the one that fits, checks it against the
// integrity in package-lock.json, and no install script has to run.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** The first major version of Node.js that Ballonet runs on. */
const REQUIRED_MAJOR = 26;

/** Threads that V8 has for itself at most: as many as it would have by default. */
const MOST_HELPERS = 4;

/**
 * How WebAssembly is compiled.
 *
 * --no-liftoff: optimized before it is first run. V8 would replace a first draft of a function when that is called the next
 * time, so that a guest's hart which has come into a loop, the interpreter's own above all, would stay in the slow one.
 *
 * --no-wasm-bounds-checks: an access behind the end of a memory ends the process instead of raising an exception. The
 * engine never makes one: it takes machine addresses from the TLB and the frame table only, and a WebAssembly address
 * of 32 bits with its offset can't leave the range that V8 keeps for the memory. An access that could raise an exception
 * can't be folded into the instruction that uses its value.
 *
 * --no-wasm-stack-checks: no look at the limit of the stack at the start of each function and in each loop. Translated
 * code calls no translated code but itself, to a depth that has a limit (from one region to another it goes by tail
 * calls), and the engine's functions call each other to a depth that is known. What V8 would interrupt a loop for waits
 * until the hart's slice ends, some milliseconds.
 *
 * --no-turbo-move-optimization: V8's optimizing compiler does not go over the moves between registers once more, which it has
 * put between instructions. Translations come sooner, and their loops run as fast without it.
 *
 * And what a thread takes, of which a host has one for each guest's hart:
 *
 * --no-short-builtin-calls: V8 would map its built-in functions once more for each thread, 2 MB of them resident.
 *
 * --v8-pool-size: threads in which V8 compiles JavaScript and collects garbage, four by default, whatever the machine has:
 * together they took a guest's thread its processor.
 *
 * --expose-gc: a guest's thread gives its garbage back when the guest becomes idle, since it never comes to where V8 would look.
 */
export const RUNTIME_FLAGS = [
  '--no-liftoff',
  '--no-wasm-bounds-checks',
  '--no-wasm-stack-checks',
  '--no-turbo-move-optimization',
  '--no-short-builtin-calls',
  '--expose-gc',
  `--v8-pool-size=${Math.min(MOST_HELPERS, Math.max(1, availableParallelism() - 1))}`,
];

/**
 * How glibc's malloc uses memory (mallopt(3)): it would have an arena for each thread, which keeps what compiling needed for a
 * moment, and raise the size from which memory is given back at once. The two arenas that there are may keep 16 MiB each: the
 * translator takes and frees some for every region. Others' malloc does not know these.
 */
const MALLOC = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '65536', MALLOC_TRIM_THRESHOLD_: '16777216' };

/** The folder that holds package.json: the clone, or the installed package. */
export const packageRoot = dirname(dirname(fileURLToPath(import.meta.url)));

/** True in a clone of the repository, false in an installed package (npm never packs a package-lock.json). */
export function isClone(root = packageRoot) {
  return existsSync(join(root, 'package-lock.json')) && existsSync(join(root, 'src'));
}

/**
 * What node_modules has to have been installed from: the lock file and the platform. (The Node.js that npm runs on does
 * not matter, since nothing is compiled.)
 */
function wantedStamp(root) {
  const lock = readFileSync(join(root, 'package-lock.json'));
  return `${createHash('sha256').update(lock).digest('hex')} ${process.platform} ${process.arch}\n`;
}

function readText(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function stampPath(root) {
  return join(root, 'node_modules', '.ballonet-installed');
}

function isInstalled(root) {
  return readText(stampPath(root)) === wantedStamp(root);
}

function processIsAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Longest time in ms that an installation may take before its lock counts as left by one that is gone. */
const LOCK_MS = 15 * 60_000;

/** True if a lock is without its owner: dead, never come to write its name, or at it for longer than can be. */
function isAbandoned(path) {
  const age = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
  const owner = readText(join(path, 'owner'));
  if (owner === undefined) return age > 5000;
  const [pid, host] = owner.split(' ');
  return (host === hostname() && !processIsAlive(Number(pid))) || age > LOCK_MS;
}

/**
 * Takes the lock that keeps two installations apart and returns the function that gives it back. The lock is a folder
 * (made in one step, so that only one process can have made it) with its owner's process id and host name in it. One
 * that is abandoned is moved away first, so that only one of the waiting processes removes it.
 */
async function takeLock(path) {
  const start = Date.now();
  let told = false;
  for (;;) {
    try {
      mkdirSync(path);
      writeFileSync(join(path, 'owner'), `${process.pid} ${hostname()}`);
      return () => rmSync(path, { recursive: true, force: true });
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (isAbandoned(path)) {
      const grave = `${path}.${process.pid}`;
      try {
        renameSync(path, grave);
        rmSync(grave, { recursive: true, force: true });
      } catch (error) {
        if (error.code !== 'ENOENT') throw error;
      }
      continue;
    }
    if (!told && Date.now() - start > 3000) {
      process.stderr.write(`ballonet: waiting for another installation to end (${path})\n`);
      told = true;
    }
    await sleep(100);
  }
}

function runToEnd(command, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    const output = [];
    child.stdout.on('data', (chunk) => output.push(chunk));
    child.stderr.on('data', (chunk) => output.push(chunk));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output: Buffer.concat(output).toString() }));
  });
}

/** Whether node_modules is a link: whoever made it has packages elsewhere, which npm would take away to install others. */
function isLinked(root) {
  return lstatSync(join(root, 'node_modules'), { throwIfNoEntry: false })?.isSymbolicLink() === true;
}

/**
 * Installs the clone's dependencies when they are missing or package-lock.json is not the one they were installed
 * from; not where node_modules is a link. Two of these at once: the second waits for the first, and then finds everything done.
 */
export async function ensureInstalled(root = packageRoot) {
  if (!isClone(root) || isInstalled(root) || isLinked(root)) return;
  const release = await takeLock(join(root, '.install.lock'));
  try {
    if (isInstalled(root)) return;
    process.stderr.write('ballonet: installing its npm packages (once)\n');
    const args = ['ci', '--ignore-scripts', '--include=dev', '--include=optional', '--no-audit', '--no-fund'];
    let result;
    try {
      // npm tells its scripts by environment variables what it was started for; the inner npm must not believe them.
      const env = Object.fromEntries(
        Object.entries(process.env).filter(
          ([name]) => !/^npm_(lifecycle|package|config_(global|omit|only|production))/.test(name),
        ),
      );
      delete env.NODE_ENV;
      result = await runToEnd('npm', args, { cwd: root, env });
    } catch (error) {
      throw new Error(
        `ballonet: npm could not be started in ${root} (${error.message}); install npm, or run "npm ci" there`,
      );
    }
    if (result.code !== 0) {
      // npm ends with all its options, and begins with what it thinks of the user's settings.
      const [told] = result.output
        .replace(/^npm warn .*\n/gm, '')
        .split(/^npm error\s*\n(?=npm error Usage:|npm error Clean install)/m);
      throw new Error(
        `ballonet: "npm ${args.join(' ')}" in ${root} failed with status ${result.code}:\n${told.trim()}`,
      );
    }
    // npm takes it lightly if an optional dependency could not be installed. Without the runtime nothing works.
    runtimePath(root);
    // The stamp comes last, and in one step, so that an installation that was cut short is done again.
    mkdirSync(join(root, 'node_modules'), { recursive: true });
    const unfinished = `${stampPath(root)}.${process.pid}`;
    writeFileSync(unfinished, wantedStamp(root));
    renameSync(unfinished, stampPath(root));
  } finally {
    release();
  }
}

/** The npm package that has Node.js's binary for a platform; Apple's processors have a name of their own there. */
function runtimePackage(platform = process.platform, arch = process.arch) {
  const prefix = platform === 'darwin' && arch === 'arm64' ? 'node-bin' : 'node';
  return `${prefix}-${platform}-${arch}`;
}

/** The path of a Node.js that is new enough: this one, or the one from npm. */
export function runtimePath(root = packageRoot) {
  if (Number(process.versions.node.split('.')[0]) >= REQUIRED_MAJOR) return process.execPath;
  const name = runtimePackage();
  try {
    const manifest = createRequire(join(root, 'package.json')).resolve(`${name}/package.json`);
    const binary = join(dirname(manifest), 'bin', 'node');
    accessSync(binary, constants.X_OK);
    return binary;
  } catch (error) {
    throw new Error(
      `ballonet: needs Node.js ${REQUIRED_MAJOR} or later, this is ${process.versions.node}, and the npm package ${name}, ` +
        `which brings it, is not there (${error.code}); start ballonet with Node.js ${REQUIRED_MAJOR}, or install that package`,
    );
  }
}

/**
 * Runs a script with the given Node.js as if it had been started instead of this process: standard streams, signals
 * and exit status pass through. Does not return before the script has ended.
 */
async function become(runtime, args) {
  // Stripping the types of some hundred files takes longer than the rest of the start, and each guest's thread does it again.
  const cache = join(packageRoot, 'node_modules', '.cache', 'compiled');
  const env = { NODE_COMPILE_CACHE: cache, ...MALLOC, ...process.env };
  const child = spawn(runtime, [...RUNTIME_FLAGS, ...args], { stdio: 'inherit', env });
  const forwarded = ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP', 'SIGUSR2', 'SIGWINCH'];
  // The terminal sends its signals to the child as well; a second copy would look like a second key press.
  const fromTerminal = new Set(process.stdin.isTTY ? ['SIGINT', 'SIGQUIT', 'SIGWINCH'] : []);
  const handlers = forwarded.map((signal) => {
    const handler = () => {
      if (!fromTerminal.has(signal)) child.kill(signal);
    };
    process.on(signal, handler);
    return [signal, handler];
  });
  const [code, signal] = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (...status) => resolve(status));
  });
  for (const [name, handler] of handlers) process.off(name, handler);
  if (signal) process.kill(process.pid, signal);
  process.exitCode = code ?? 1;
}

/** Installs what is missing, then runs the script (with its arguments) on the Node.js that Ballonet needs. */
export async function runWithRuntime(script, args) {
  try {
    await ensureInstalled();
    await become(runtimePath(), [script, ...args]);
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
