import { styleText } from 'node:util'
import type { Storage } from 'typeorm-attachments'
import { look } from './picture'

type End = () => unknown

const interruption = new AbortController()

/** Tells a story to its end, or to the next chapter after Ctrl-C, and then ends what it began, the last thing first. */
export async function tell(story: (atEnd: (end: End) => void) => Promise<void>): Promise<void> {
  const endings: End[] = []
  const clock = stopwatch()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      interruption.abort()
      print('\nInterrupted: everything is being stopped.')
    })
  }
  // somebody who stops reading (… | head) must not keep us from cleaning up
  process.stdout.on('error', () => undefined)
  await story((end) => endings.push(end)).catch(fail)
  for (const end of endings.reverse()) await Promise.resolve().then(end).catch(fail)
  if (process.exitCode === undefined) print(`\nThe servers are stopped and the temporary folders are gone, ${clock()} after the beginning.`)
}

/** Says what follows. */
export function chapter(title: string): void {
  interruption.signal.throwIfAborted()
  print(`\n${inStyle('bold', title)}`)
}

/** Says one thing, under a name. */
export function say(name: string, text: string): void {
  print(`  ${inStyle('cyan', name.padEnd(14))}${text}`)
}

/** Starts now; says how long ago that is. */
export function stopwatch(): () => string {
  const start = performance.now()
  return () => {
    const passed = performance.now() - start
    return passed < 1000 ? `${Math.round(passed)} ms` : `${(passed / 1000).toFixed(1)} s`
  }
}

export function bytes(size: number): string {
  if (size < 1024) return `${size} bytes`
  return size < 1024 * 1024 ? `${(size / 1024).toFixed(1)} KB` : `${(size / 1024 / 1024).toFixed(1)} MB`
}

/** The same storage, telling of each object when it has been written and was looked at to make sure. */
export function watched(storage: Storage, verified: (style: string, size: number, pixels?: string) => void): Storage {
  const pixels = new Map<string, string>()
  return {
    ...storage,
    async write(key, body, info) {
      if (body instanceof Uint8Array) pixels.set(key, (await look(body))?.pixels ?? '')
      await storage.write(key, body, info)
    },
    async stat(key) {
      const found = await storage.stat(key)
      if (found) verified(key.split('/').at(-2) ?? key, found.size, pixels.get(key))
      return found
    },
  }
}

function fail(error: unknown): void {
  const wanted = error === interruption.signal.reason
  process.exitCode = wanted ? 130 : 1
  const { message, code, name } = error as NodeJS.ErrnoException
  if (!wanted) process.stderr.write(`\n${message || 'there was no answer'} (${code ?? name})\n`)
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

function inStyle(style: 'bold' | 'cyan', text: string): string {
  return process.stdout.isTTY && process.stdout.hasColors() ? styleText(style, text) : text
}
