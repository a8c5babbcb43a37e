import { Readable } from 'node:stream'

/** Where a process is to die: at which of its calls to the outside, and when. */
export interface KillPoint {
  readonly when: 'before' | 'after' | 'during'
  /** What is called. */
  readonly name: string
  /** Which call of that name, counting from 1. */
  readonly nth: number
}

/**
 * Counts what a process asks of the outside world, and kills it at one of these calls: before it, after it (what was
 * asked for is done, and nobody hears of it), or when half of what it writes is written.
 */
export class Calls {
  /** What was called, in its order. */
  readonly names: string[] = []
  readonly #counts = new Map<string, number>()
  #counting = false
  readonly #point: KillPoint | undefined

  constructor(point: KillPoint | undefined) {
    this.#point = point
  }

  begin(): void {
    this.#counting = true
  }

  async around<T>(name: string, call: (nth: number) => Promise<T>): Promise<T> {
    const nth = await this.#before(name)
    const result = await call(nth)
    await this.#dieAt('after', name, nth)
    return result
  }

  async *through<T>(name: string, items: AsyncIterable<T>): AsyncIterable<T> {
    const nth = await this.#before(name)
    yield* items
    await this.#dieAt('after', name, nth)
  }

  /** The body of a call, if that is where the process is to die: half of its first piece comes out, and nothing follows. */
  body(name: string, nth: number, body: Readable | Uint8Array): Readable | Uint8Array {
    if (!this.#is('during', name, nth)) return body
    const dies = () => this.#dieAt('during', name, nth)
    async function* half() {
      for await (const piece of body instanceof Readable ? body : [body]) {
        yield piece.subarray(0, piece.length >> 1)
        await dies()
      }
    }
    return Readable.from(half(), { objectMode: false })
  }

  async #before(name: string): Promise<number> {
    if (!this.#counting) return 0
    this.names.push(name)
    const nth = (this.#counts.get(name) ?? 0) + 1
    this.#counts.set(name, nth)
    await this.#dieAt('before', name, nth)
    return nth
  }

  #is(when: KillPoint['when'], name: string, nth: number): boolean {
    return this.#point?.when === when && this.#point.name === name && this.#point.nth === nth
  }

  #dieAt(when: KillPoint['when'], name: string, nth: number): Promise<void> | undefined {
    if (!this.#is(when, name, nth)) return undefined
    process.kill(process.pid, 'SIGKILL')
    return new Promise(() => undefined)
  }
}
