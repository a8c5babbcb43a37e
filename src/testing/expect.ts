import assert, { AssertionError } from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import { inspect, isDeepStrictEqual } from 'node:util'

/** Fails unless both are the same, and says in words what that would have been. */
export function same(found: unknown, expected: unknown, what: string): void {
  if (isDeepStrictEqual(found, expected)) return
  throw new AssertionError({ message: `${what}: expected ${inspect(expected)}, found ${inspect(found)}`, actual: found, expected })
}

export function holds(condition: boolean, what: string): void {
  assert.ok(condition, what)
}

/** The error of what has to fail. */
export async function failing(work: Promise<unknown>, what: string): Promise<{ readonly code?: unknown; readonly message?: unknown }> {
  const error: unknown = await work.then(
    () => assert.fail(`${what}: expected an error, and there was none`),
    (error) => error ?? {},
  )
  return error as object
}

/** Waits for a condition. Milliseconds. */
export async function until(what: string | (() => string), condition: () => boolean, within: number): Promise<void> {
  const end = performance.now() + within
  while (!condition()) {
    if (performance.now() > end) assert.fail(`${typeof what === 'string' ? what : what()} within ${within} ms`)
    await setTimeout(5)
  }
}

/** Waits for what must not take for ever. Milliseconds. */
export async function inTime<T>(what: string, work: Promise<T>, within: number): Promise<T> {
  const ended = new AbortController()
  const late = setTimeout(within, undefined, { signal: ended.signal }).then(() => assert.fail(`${what} within ${within} ms`))
  try {
    return await Promise.race([work, late])
  } finally {
    late.catch(() => undefined)
    ended.abort()
  }
}

/** Time in which something that must not happen would happen. */
export async function moment(): Promise<void> {
  await setTimeout(50)
}
