import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { type BackgroundAdapter, type Perform, TryLater } from '../background/adapter'
import type { ProcessJob } from '../background/job'
import type { Storage } from '../storage/storage'
import { report, sendingOf } from './background/sample'
import { bytes, info, slowly } from './bodies'
import { type EnqueueOrder, largeSize, type Order, type WorkOrder, type WriteOrder } from './order'

// The program of a process that a contract kills. It does one order and stays, until it is killed or left alone.

const tell = (what: string) => process.send?.(what)

process.once('message', ({ module, order }: { module: string; order: Order }) => {
  obey(module, order).catch((error) => {
    // the contract shows it
    console.error(error)
    process.exit(1)
  })
})
process.once('disconnect', () => process.exit())

async function obey(module: string, order: Order): Promise<void> {
  if (order.do === 'write') return write(await made<Storage>(module, 'makeStorage'), order)
  const adapter = await made<BackgroundAdapter>(module, 'makeBackground')
  return order.do === 'work' ? work(adapter, order) : enqueue(adapter, order)
}

/** What the module's function makes, exported by name or as default, however its ES exports became CommonJS. */
async function made<T>(module: string, name: string): Promise<T> {
  const exported = createRequire(__filename)(module.startsWith('file:') ? fileURLToPath(module) : module)
  const make = [exported, exported?.default].flatMap((from) => [from?.[name], from?.default, from]).find((found) => typeof found === 'function')
  if (!make) throw new TypeError(`${module} exports no function: export an async one as default or as ${name}`)
  return make()
}

async function write(storage: Storage, { key, stop }: WriteOrder): Promise<void> {
  await storage.prepare?.()
  const body = bytes(largeSize, 1)
  const source = slowly(stop === 'half-way through' ? body.subarray(0, largeSize / 2) : body, (stream) => {
    if (stop) return tell('stopped')
    stream.push(null)
    tell('ended')
  })
  await storage.write(key, source, { ...info, size: largeSize })
  tell('written')
}

async function work(adapter: BackgroundAdapter, { first }: WorkOrder): Promise<void> {
  let begun = false
  const perform: Perform = async (job) => {
    const held = begun || first === 'hold'
    begun = true
    if (first === 'end' && !held) tell(`performed ${(job as ProcessJob).version}`)
    tell('begun')
    if (held) await new Promise(() => undefined)
    if (first === 'try later') throw new TryLater(100, new Error('not yet'))
    return report
  }
  adapter.start?.(perform)
  await adapter.work?.(perform, { concurrency: 1, queues: ['default'], attempts: 5 })
  tell('working')
}

async function enqueue(adapter: BackgroundAdapter, { job }: EnqueueOrder): Promise<void> {
  await adapter.enqueue(job, sendingOf(job))
  tell('enqueued')
}
