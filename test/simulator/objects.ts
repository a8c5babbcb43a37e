import { Readable } from 'node:stream'
import type { Storage } from '../../src'
import type { Machine, Scheduler, Work } from './scheduler'

/** A stream whose bytes are known: reading it takes no moment of its own. */
class Known extends Readable {
  constructor(readonly bytes: Buffer) {
    super({
      read() {
        this.push(bytes)
        this.push(null)
      },
    })
  }
}

/** A storage of the simulated world: every verb is one call. */
export class Objects {
  readonly held = new Map<string, { readonly body: Buffer; readonly modified: Date }>()
  /** What was ever written under a key. */
  readonly everWritten = new Map<string, string>()

  constructor(
    readonly scheduler: Scheduler,
    readonly name: string,
    readonly now: () => Date,
    readonly missing: (key: string) => Error,
    readonly violated: (what: string) => void,
  ) {}

  portFor(machine: Machine, work?: Work): Storage {
    const ask = <T>(what: string, effect: () => T, sure = false) => this.scheduler.ask(machine, `${this.name}: ${what}`, effect, { work, sure })
    return {
      write: async (key, body) => {
        const bytes = body instanceof Known ? body.bytes : body instanceof Readable ? Buffer.concat(await body.toArray()) : Buffer.from(body)
        // a removal goes on without its note: that and a crash would be two faults at once
        await ask(`write ${key}`, () => this.#write(key, bytes), key.startsWith('.deletes/'))
      },
      read: (key) => ask(`read ${key}`, () => new Known(this.#get(key))),
      stat: (key) => ask(`stat ${key}`, () => (this.held.has(key) ? { size: this.#get(key).length } : undefined)),
      delete: (keys) => ask(`delete ${keys.join(' ')}`, () => keys.forEach((key) => void this.held.delete(key))),
      list: (prefix) => this.#list(ask, prefix),
      url: () => null,
    }
  }

  async *#list(ask: <T>(what: string, effect: () => T) => Promise<T>, prefix: string) {
    const found = await ask(`list ${prefix}`, () => [...this.held].filter(([key]) => key.startsWith(prefix)))
    for (const [key, { body, modified }] of found) yield { key, size: body.length, modified }
  }

  #get(key: string): Buffer {
    const found = this.held.get(key)
    if (!found) throw this.missing(key)
    return found.body
  }

  #write(key: string, body: Buffer): void {
    const known = this.everWritten.get(key)
    if (known !== undefined && known !== body.toString()) this.violated(`I7: ${this.name} key ${key} is used for another file`)
    if (!key.startsWith('.')) this.everWritten.set(key, body.toString())
    this.held.set(key, { body, modified: this.now() })
  }
}
