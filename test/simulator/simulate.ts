import { Actions, type End } from './actions'
import { checkEnd, checkStaging } from './invariants'
import type { Fault } from './scheduler'
import { type Lifecycle, type Setting, Violation, World } from './world'

/** One thing that somebody does, and what the scheduler chooses to happen before the next. */
export interface Step {
  readonly do: Deed
  readonly machine: 0 | 1
  readonly row: 0 | 1
  readonly end: End
  readonly which: number
  readonly choices: readonly number[]
}

export const deeds = [
  'nothing',
  'save',
  'save flawed',
  'save again',
  'detach',
  'remove',
  'save and remove',
  'retry',
  'reprocess',
  'requeue',
  'sweep',
  'kill',
  'close',
  'twin',
  'wait',
  'fault',
] as const
export type Deed = (typeof deeds)[number]

export interface Schedule {
  readonly setting: Setting
  readonly steps: readonly Step[]
}

const minute = 60_000
const waits = [minute, 6 * minute, 20 * minute, 25 * 60 * minute]
const faults: ReadonlyArray<readonly (Fault | undefined)[]> = [
  ['refused'],
  ['answer lost'],
  [undefined, undefined, 'answer lost'],
  [undefined, 'refused'],
  [undefined, undefined, undefined, undefined, 'answer lost', 'refused'],
  Array<Fault>(12).fill('refused'),
]

/** Lets a schedule happen, and then everything come to its end. What did not hold, and what happened until then. */
export async function simulate(
  lifecycle: Lifecycle,
  { setting, steps }: Schedule,
): Promise<{ violation: Violation | undefined; trace: readonly string[] }> {
  const world = new World(lifecycle, setting)
  const { scheduler } = world
  try {
    for (const step of steps) {
      scheduler.trace.push(`* ${step.do} (machine ${'AB'[step.machine]}, row ${step.row}, ${step.end}, ${step.which})`)
      take(world, step)
      await scheduler.settle()
      for (const choice of step.choices) await scheduler.step(choice)
      if (world.violation) break
    }
    const disturbed = steps.some(({ do: deed }) => ['kill', 'close', 'fault'].includes(deed))
    if (!world.violation) await comeToAnEnd(world, disturbed)
  } catch (error) {
    world.violation ??= error instanceof Violation ? error : new Violation(`the simulation broke: ${(error as Error).stack}`)
  }
  return { violation: world.violation, trace: scheduler.trace }
}

function take(world: World, { do: deed, machine, row, end, which }: Step): void {
  const host = world.hosts[machine]
  const act = new Actions(world, host)
  const does: Record<Deed, () => Promise<unknown> | undefined> = {
    nothing: () => undefined,
    save: () => act.save(row, end, ''),
    'save flawed': () => act.save(row, end, which % 2 === 0 ? ' no a' : ' no b'),
    'save again': () => act.saveAgain(which, end),
    detach: () => act.detach(row, end),
    remove: () => act.remove(row, end),
    'save and remove': () => act.saveAndRemove(which, end),
    retry: () => act.retry(row),
    reprocess: () => act.reprocess(row, (['a', 'b', 'both'] as const)[which % 3] ?? 'a'),
    requeue: () => act.requeueLost(),
    sweep: () => act.sweep(),
    kill: () => void world.kill(host),
    close: () => {
      host.closing = true
      return undefined
    },
    twin: () => void twin(world, which),
    wait: () => void pass(world, waits[which % waits.length] ?? minute),
    fault: () => void world.scheduler.faults.push(...(faults[which % faults.length] ?? [])),
  }
  const { machine: at } = host
  does[deed]()?.catch((error) => {
    const { AttachmentError } = world.lifecycle
    if (at.alive && !(error instanceof AttachmentError)) world.violation ??= new Violation(`'${deed}' ended with ${error?.stack ?? error}`)
  })
}

/** A durable queue may bring a job twice. */
function twin(world: World, which: number): void {
  if (world.setting.queue !== 'durable') return
  const running = world.hosts.flatMap((host) => [...host.running].map((waiting) => ({ host, waiting })))
  const chosen = running[which % Math.max(1, running.length)]
  if (chosen) world.queue(chosen.host, { ...chosen.waiting, due: world.time })
}

/** Time goes by. Jobs that run say meanwhile that they do, unless the scheduler of their machine is as slow as ours. */
function pass(world: World, time: number): void {
  // a day goes by only where nothing is under way: no request, no transaction, no job takes so long
  if (time > 60 * minute && world.scheduler.calls.some(({ what }) => !what.startsWith('start '))) return
  world.pass(time)
  for (const { running, beats } of world.hosts) {
    if (world.setting.queue === 'durable') for (const beat of beats) beat()
    else
      for (const { job } of running) {
        const record = job.kind === 'process' ? world.database.rows.get(job.id['id'] as number) : undefined
        if (record?.processing && job.kind === 'process' && record.version === job.version) Object.assign(record, { attemptedAt: world.now() })
      }
  }
}

/** No more faults: whatever is under way ends, what was lost is found, what failed is retried, and nothing is left over. */
async function comeToAnEnd(world: World, disturbed: boolean): Promise<void> {
  const { scheduler, hosts, setting } = world
  let late = setting.late && setting.queue === 'in process'
  scheduler.faults.length = 0
  for (const host of hosts) if (host.closing) world.kill(host)
  const quiet = async () => {
    for (let choice = 0; await scheduler.step(choice, ({ machine, what }) => machine.alive || !late || what === 'commit'); choice += 2) {
      if (world.violation) throw world.violation
      if (choice > 20_000) throw new Violation('I8: it never comes to its end')
    }
  }
  const doing = async (work: (actions: Actions) => Promise<unknown>) => {
    let failed: unknown
    const done = work(new Actions(world, hosts[0])).catch((error) => {
      failed = error
    })
    await scheduler.settle()
    await quiet()
    const result = await done
    if (failed) throw new Violation(`the end: ${(failed as Error).stack}`)
    return result
  }
  await quiet()
  const processing = () => [...world.database.rows.values()].some((record) => record?.processing)
  for (let round = 0, found = 1; round < 6 && (processing() || found > 0); round++) {
    world.pass(6 * minute)
    await quiet()
    found = Number(await doing((actions) => actions.requeueLost()))
  }
  late = false
  await quiet()
  for (const id of world.database.rows.keys()) await doing((actions) => actions.retry(id))
  const still = [...world.database.rows].filter(([id, record]) => record?.error && !world.truth.get(id)?.includes(' no '))
  if (still.length > 0) throw new Violation(`I8: a file fails although nothing is wrong with it: ${JSON.stringify(still[0]?.[1]?.error)}`)
  const violated = (what: string) => {
    throw new Violation(what)
  }
  // without crashes and faults nothing has to wait for the sweep
  if (!disturbed) checkStaging(world, violated)
  world.pass(25 * 60 * minute)
  await doing((actions) => actions.requeueLost())
  await doing((actions) => actions.sweep())
  checkEnd(world, violated)
}
