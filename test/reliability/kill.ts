import { type ChildProcess, fork } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { startFaultProxy } from '../support/fault-proxy'
import type { KillPoint } from './calls'
import { addFindings, checkOriginals, checkSettled, type Findings, noFindings } from './check'
import type { Said, Task } from './child'
import { openPlace } from './place'
import { recover } from './recover'
import { scenarioOf } from './scenarios'
import type { Slot } from './slot'
import { stateOf } from './state'

/** Where a scenario is to be killed: at a call of its own, or when half of the nth body that goes to S3 has arrived there. */
export type Point = KillPoint | { readonly when: 'amid'; readonly name: 'upload'; readonly nth: number }

export interface KillRun extends Findings {
  readonly killed: boolean
  /** The calls of a run that came to its end. */
  readonly calls: readonly string[]
  /** How many bodies went to S3. */
  readonly uploads: number
}

/** What runs go on upon, one after the other. */
export interface Ground {
  readonly slot: Slot
  /** The path of the child's program. */
  readonly program: string
}

/** No run takes so long, unless something hangs. Milliseconds. */
const longest = 60_000

/** Runs a scenario in a process of its own, which is killed at that point; then another one recovers, and everything is checked. */
export async function killRun({ slot, program }: Ground, name: string, point?: Point): Promise<KillRun> {
  const { scenario, queue } = scenarioOf(name)
  const found = noFindings()
  const place = await slot.freshPlace()
  let child: ChildProcess | undefined
  let uploads = 0
  let counting = false
  const proxy = await startFaultProxy(place.s3.endpoint, (operation, _, hasBody) => {
    if (!counting || !hasBody || !['PutObject', 'UploadPart'].includes(operation)) return undefined
    return ++uploads === point?.nth && point.when === 'amid' ? () => child?.kill('SIGKILL') : undefined
  })
  try {
    child = fork(program, { execArgv: [], stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
    const own = point?.when === 'amid' ? undefined : point
    const task: Task = { place: { ...place, s3: { ...place.s3, endpoint: proxy.url } }, scenario: name.replace(/^.*\//, ''), queue, point: own }
    const ended = await followed(child, task, () => {
      counting = true
    })
    await proxy.settled()
    await slot.settled()
    const open = await openPlace(place)
    try {
      if (ended.trouble) found.violations.push(ended.trouble)
      addFindings(found, await checkOriginals(place, open))
      found.violations.push(...(await recover(place, open, queue)))
      addFindings(found, await checkSettled(place, open))
      const is = await stateOf(open.dataSource)
      const may = await Promise.all(scenario.states.slice(ended.reached).map((state) => JSON.stringify(state)))
      if (!may.includes(is)) found.violations.push(`the rows hold ${is}, which is none of ${may.join(' and ')}`)
    } finally {
      await open.close()
    }
    return { ...found, killed: ended.killed, calls: ended.calls, uploads }
  } finally {
    child?.kill('SIGKILL')
    await proxy.stop()
    await rm(place.staging, { recursive: true, force: true })
  }
}

interface Ended {
  readonly killed: boolean
  readonly reached: number
  readonly calls: readonly string[]
  readonly trouble: string | undefined
}

/** Tells a child its task and listens until it ends. */
function followed(child: ChildProcess, task: Task, prepared: () => void): Promise<Ended> {
  let [reached, calls, errors, late] = [0, [] as readonly string[], '', false]
  const timer = setTimeout(() => {
    late = true
    child.kill('SIGKILL')
  }, longest)
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  child.on('message', (message) => {
    const said = message as Said
    if (said.said === 'reached') reached = said.state
    if (said.said === 'ended') calls = said.calls
    if (said.said !== 'prepared') return
    prepared()
    child.send('go')
  })
  child.send(task)
  return new Promise((resolve) => {
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      const why = late ? `did not end within ${longest} ms` : code === 0 || signal === 'SIGKILL' ? undefined : `ended with ${code ?? signal}`
      resolve({ killed: signal === 'SIGKILL' && !late, reached, calls, trouble: why && `the process ${why}: ${errors}` })
    })
  })
}
