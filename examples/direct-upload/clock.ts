import { setTimeout } from 'node:timers/promises'
import { at } from './settings'

// Has a function look every minute for what was lost, and for what has not come in time; and every hour for what was uploaded and
// never sent along.

async function run(): Promise<never> {
  for (let minute = 0; ; minute++) {
    await setTimeout(60_000)
    await fetch(at('FUNCTIONS_PORT'), { method: 'POST', body: JSON.stringify({ clock: minute % 60 === 0 ? 'hour' : 'minute' }) }).catch(console.error)
  }
}

process.once('SIGTERM', () => process.exit(0))
run()
