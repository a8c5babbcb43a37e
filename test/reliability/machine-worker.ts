import 'reflect-metadata'
import { type Machine, openMachine } from './machine'

/** Takes jobs until it is told anything. Tells `working`, and what it warns of. */
async function work(machine: Machine): Promise<void> {
  process.removeAllListeners('warning').on('warning', ({ message }) => process.send?.({ warning: message }))
  const { attachments, close } = await openMachine(machine)
  await attachments.work({ concurrency: 2 })
  process.once('message', async () => {
    await close()
    process.disconnect()
  })
  process.send?.('working')
}

process.once('message', (machine) => {
  work(machine as Machine).catch((error) => {
    console.error(error)
    process.exit(1)
  })
})
