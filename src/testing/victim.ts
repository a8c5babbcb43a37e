import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { extname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { ProcessOptions } from './case'
import { inTime } from './expect'
import type { Order } from './order'

/** How long a process may take to come to a point. Milliseconds. */
const patience = 60_000

/** A process that is started to be killed. */
export interface Victim {
  /** Resolves when it has told this, now or before. */
  told(what: string): Promise<void>
  /** Ends it without a chance to do anything more. What it told before. */
  kill(): Promise<string[]>
}

/** Stands beside this file, as source and when both are built. */
const program = join(__dirname, `testing-child${extname(__filename)}`)

export function startVictim({ module, execArgv = [] }: ProcessOptions, order: Order): Victim {
  // the environment is given, because under Jest Node would take another than the tests see
  const child = fork(program, { execArgv: [...execArgv], env: { ...process.env }, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  // what it told last may come after it has ended
  const closed = Promise.all([once(child, 'close'), once(child, 'disconnect')])
  const heard = new Set<string>()
  let complaint = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-4_000)
  })
  child.on('message', (what: string) => {
    heard.add(what)
    child.emit(`told ${what}`)
  })
  child.send({ module, order }, () => undefined)

  return {
    async told(what) {
      const arrived = heard.has(what) || once(child, `told ${what}`)
      const early = closed.then(() => assert.fail(`the process with ${module} ended before it told '${what}': ${complaint}`))
      early.catch(() => undefined)
      await inTime(`the process with ${module} should tell '${what}'`, Promise.race([arrived, early]), patience)
    },
    async kill() {
      child.kill('SIGKILL')
      await closed
      return [...heard]
    },
  }
}

/** Starts a process and kills it so many milliseconds after it has told something. All that it told. */
export async function killWhen(options: ProcessOptions, order: Order, told: string, later = 0): Promise<string[]> {
  const victim = startVictim(options, order)
  try {
    await victim.told(told)
    if (later > 0) await setTimeout(later)
  } catch (error) {
    await victim.kill()
    throw error
  }
  return victim.kill()
}
