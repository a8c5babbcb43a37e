import 'reflect-metadata'
import { allFaults } from './bad-weather'
import { addFindings, noFindings } from './check'
import { optionOf, table, withServers } from './command'
import { faultRun, mixedRun } from './fault-run'
import { seedOf } from './random'
import { openSlot } from './slot'

// npm run faults [-- --seed S]: what test/faults.test.ts does, with figures

async function main(): Promise<void> {
  const seed = seedOf(optionOf('seed'))
  const total = noFindings()
  await withServers(async (servers) => {
    console.log(`faults: on ${servers.names}; --seed ${seed}`)
    const slot = await openSlot(servers)
    const rows: Array<Array<string | number>> = [['fault', 'requests', 'struck', 'objects verified', 'violations']]
    for (const fault of [...allFaults, 'all of them']) {
      const run = fault === 'all of them' ? await mixedRun(slot, 100, seed) : await faultRun(slot, fault as (typeof allFaults)[number], seed)
      const struck = [...run.struck.values()].reduce((sum, count) => sum + count, 0)
      rows.push([fault, run.requests, struck, run.originals + run.objects, run.violations.length])
      console.log(`faults: ${fault}, ${struck} of ${run.requests} requests ${run.violations.length > 0 ? 'VIOLATED' : 'ok'}`)
      addFindings(total, run)
    }
    await slot.close()
    console.log(table(rows))
    console.log(`faults: ${total.violations.length} violations`)
  })
  for (const violation of total.violations) console.error(violation)
  if (total.violations.length > 0) console.error(`npm run faults -- --seed ${seed}`)
  process.exitCode = total.violations.length > 0 ? 1 : 0
}

// the library warns where nobody waits for an answer, and faults are what this is about
process.removeAllListeners('warning')
main()
