import { type ChildProcess, fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { Place } from './place'

interface Member {
  readonly child: ChildProcess
  readonly working: Promise<void>
  readonly ended: Promise<void>
}

/** Worker processes. Whoever is killed has a successor. */
export class Crew {
  readonly #members: Member[]
  readonly #pids: number[] = []
  kills = 0

  constructor(
    readonly program: string,
    readonly place: Place,
    size: number,
  ) {
    this.#members = Array.from({ length: size }, () => this.#hire())
  }

  #hire(): Member {
    const child = fork(this.program, { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    this.#pids.push(child.pid as number)
    child.send(this.place)
    return {
      child,
      working: new Promise((resolve) => child.once('message', () => resolve())),
      ended: new Promise((resolve) => child.once('close', () => resolve())),
    }
  }

  /** Kills a worker, once it is at work and something has happened. */
  async kill(which: number, soon: () => Promise<unknown>): Promise<void> {
    const { child, working, ended } = this.#members[which] as Member
    await working
    await soon()
    child.kill('SIGKILL')
    await ended
    this.kills++
    this.#members[which] = this.#hire()
  }

  /** Lets all of them finish. How many did not end well. */
  async stop(): Promise<number> {
    await Promise.all(
      this.#members.map(async ({ child, working, ended }) => {
        await working
        child.send('stop')
        await ended
      }),
    )
    return this.#members.filter(({ child }) => child.exitCode !== 0).length
  }

  /** Nobody is left, whatever happened. */
  killAll(): void {
    for (const { child } of this.#members) child.kill('SIGKILL')
  }

  /** Processes that are still there. */
  left(): number[] {
    return this.#pids.filter((pid) => existsSync(`/proc/${pid}`))
  }
}
