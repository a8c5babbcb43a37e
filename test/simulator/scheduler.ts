/** A process of the simulated world. Killed, it never hears an answer again. */
export interface Machine {
  readonly name: string
  alive: boolean
}

/** Something that a machine has asked of the world, and that has not happened yet. */
export interface Call {
  readonly machine: Machine
  readonly what: string
  /** Whether it can happen now: a locked row cannot be changed. */
  ready(): boolean
  /** Happens, all at once. */
  happen(): void
  /** Never happens. */
  drop(): void
}

/** Something that takes time of its own, such as reading a stream, unless it waits for the world. */
export interface Work {
  waiting: boolean
}

/** How a call goes wrong: before it happens, or after it, its answer being lost. */
export type Fault = 'refused' | 'answer lost'

interface AskOptions {
  readonly ready?: () => boolean
  readonly dropped?: () => void
  readonly work?: Work
  /** No fault befalls it. */
  readonly sure?: boolean
}

/**
 * Decides what happens next. Whatever reaches beyond a machine is a call here; a call happens at one moment, and between two
 * moments every machine runs until it waits for the world again.
 */
export class Scheduler {
  readonly calls: Call[] = []
  readonly trace: string[] = []
  /** Faults for the calls to come, one each; undefined lets one through. */
  readonly faults: Array<Fault | undefined> = []
  /** Told after every moment. */
  afterwards: () => void = () => undefined
  readonly #works = new Set<Work>()

  constructor(readonly failure: (what: string) => Error) {}

  /**
   * Asks the world for something.
   *
   * @param dropped told when it will never happen
   */
  ask<T>(machine: Machine, what: string, effect: () => T, { ready = () => true, dropped, work, sure = false }: AskOptions = {}): Promise<T> {
    if (work) work.waiting = true
    return new Promise<T>((resolve, reject) => {
      const remove = () => this.calls.splice(this.calls.indexOf(call), 1)
      const call: Call = {
        machine,
        what,
        ready,
        drop: () => {
          remove()
          dropped?.()
        },
        happen: () => {
          remove()
          const fault = machine.alive && !sure ? this.faults.shift() : undefined
          this.trace.push(`${machine.name}${machine.alive ? '' : ' (dead)'}: ${what}${fault ? `, ${fault}` : ''}`)
          const answer = fault === 'refused' ? undefined : attempt(effect)
          if (machine.alive) {
            if (work) work.waiting = false
            if (fault) reject(this.failure(`${what}: ${fault}`))
            else if (answer && 'error' in answer) reject(answer.error)
            else resolve(answer?.value as T)
          }
          this.afterwards()
        },
      }
      this.calls.push(call)
    })
  }

  /** Nothing happens in the world while this goes on without waiting for it. */
  async meanwhile<T>(does: (work: Work) => Promise<T>): Promise<T> {
    const work = { waiting: false }
    this.#works.add(work)
    try {
      return await does(work)
    } finally {
      this.#works.delete(work)
    }
  }

  /** Lets every machine run until it waits for the world: promises settle before the next tick, streams before the next round. */
  async settle(): Promise<void> {
    await new Promise((resolve) => process.nextTick(resolve))
    while ([...this.#works].some(({ waiting }) => !waiting)) await new Promise(setImmediate)
  }

  /**
   * One call happens: of those that can, the one that is chosen. False when there is none.
   *
   * @param among which calls are looked at
   */
  async step(choice: number, among: (call: Call) => boolean = () => true): Promise<boolean> {
    const find = () => this.calls.filter((call) => among(call) && call.ready())
    let ready = find()
    if (ready.length === 0) {
      await new Promise(setImmediate)
      ready = find()
    }
    const call = ready[choice % ready.length]
    if (!call) return false
    // the request of a dead machine may still be on its way, or be lost
    if (!call.machine.alive && choice & 1) call.drop()
    else call.happen()
    await this.settle()
    return true
  }
}

function attempt<T>(effect: () => T): { value: T } | { error: unknown } {
  try {
    return { value: effect() }
  } catch (error) {
    return { error }
  }
}
