import { setTimeout } from 'node:timers/promises'
import { at } from './settings'

// has a function look every minute for what was lost, and for what has not come in time

async function run(): Promise<never> {
  for (;;) {
    await setTimeout(60_000)
    await fetch(at('FUNCTIONS_PORT'), { method: 'POST', body: JSON.stringify({ clock: true }) }).catch(console.error)
  }
}

process.once('SIGTERM', () => process.exit(0))
run()
