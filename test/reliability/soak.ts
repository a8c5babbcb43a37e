import 'reflect-metadata'
import { optionOf, table, withServers } from './command'
import { seedOf } from './random'
import { soak } from './soak-run'

// npm run soak [-- --operations 2000 --clients 16 --kills 40 --seed S]

async function main(): Promise<void> {
  const started = Date.now()
  const seed = seedOf(optionOf('seed'))
  const operations = Number(optionOf('operations') ?? 2_000)
  const clients = Number(optionOf('clients') ?? 16)
  const kills = Number(optionOf('kills') ?? Math.ceil(operations / 50))
  await withServers(async (servers) => {
    console.log(`soak: on ${servers.names}; --seed ${seed}`)
    const run = await soak(servers, { operations, clients, kills, seed, say: (line) => console.log(line) })
    const sum = (counts: ReadonlyMap<string, number>) => [...counts.values()].reduce((to, count) => to + count, 0)
    const each = (counts: ReadonlyMap<string, number>) => [...counts].map(([name, count]) => `${count} ${name}`).join(', ')
    const rows = [
      ['soak', 'figure'],
      ['operations', `${sum(run.operations)} (${each(run.operations)})`],
      ['clients', clients],
      ['kills of workers', run.kills],
      ['requests to S3', run.requests],
      ['faults survived', `${sum(run.faults)} (${each(run.faults)})`],
      ['originals read byte for byte', run.originals],
      ['styles read', run.objects],
      ['together', `${Math.round(run.bytes / 2 ** 20)} MB`],
      ['heap at a quarter and at the end', run.heap.map((bytes) => `${Math.round(bytes / 2 ** 20)} MB`).join(', ')],
    ]
    console.log(table(rows))
    console.log(`soak: ${sum(run.operations)} operations, ${run.violations.length} violations, ${Math.round((Date.now() - started) / 1000)} s`)
    for (const violation of run.violations) console.error(violation)
    if (run.violations.length > 0) console.error(`npm run soak -- --operations ${operations} --clients ${clients} --kills ${kills} --seed ${seed}`)
    process.exitCode = run.violations.length > 0 ? 1 : 0
  })
}

// the library warns where nobody waits for an answer, and faults are what this is about
process.removeAllListeners('warning')
main()
